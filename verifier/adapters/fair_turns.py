"""Limit how many threads or greenlets do something at once, in the order in which they ask."""

import threading
from collections import deque


class FairTurns:
    """Give each free turn to the caller that has waited longest.

    With a semaphore, new callers overtake waiting ones. In a long burst, some of those would time out.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._guard = threading.Lock()
        #: A lock for each caller, held until it is its turn.
        self._waiting: deque[threading.Lock] = deque()

    def take(self, *, seconds: float) -> bool:
        """Return True if the caller gets a turn within this time. It must give that turn back."""
        with self._guard:
            if self._free:
                self._free -= 1
                return True
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        if called.acquire(timeout=seconds):
            return True
        with self._guard:
            if called in self._waiting:
                self._waiting.remove(called)
                return False
            return True  # its turn came after the timeout

    def give_back(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

"""A bounded number of turns, handed out in the order in which callers ask: for threads, and for greenlets."""

import threading
from collections import deque


class FairTurns:
    """Hand a turn that is given back to the caller that has waited longest.

    A semaphore lets a new caller overtake those that wait: in a long burst, some of them would wait until they give up.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._guard = threading.Lock()
        #: A lock for each caller, held until it is its turn.
        self._waiting: deque[threading.Lock] = deque()

    def take(self, *, seconds: float) -> bool:
        """Whether it is the caller's turn within so many seconds. It gives each turn back."""
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
            return True  # it was called just now

    def give_back(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

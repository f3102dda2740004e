"""A rate limit over a sliding window."""

from collections import deque
from collections.abc import Callable
from threading import Lock


class SlidingWindow:
    """Admit at most `limit` requests in any `seconds`. Refused requests do not count. Thread-safe."""

    def __init__(self, *, limit: int, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._limit = limit
        self._monotonic = monotonic
        self._admitted: deque[float] = deque()
        self._lock = Lock()

    def admit(self) -> bool:
        with self._lock:
            now = self._monotonic()
            while self._admitted and self._admitted[0] <= now - self._seconds:
                self._admitted.popleft()
            if len(self._admitted) >= self._limit:
                return False
            self._admitted.append(now)
            return True

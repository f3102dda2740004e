"""The time that one run may take, whatever IMDS and the verifier do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`seconds` from a start on, after which nothing is asked and nothing waited for any more."""

    seconds: float
    ends: float
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]

    @classmethod
    def start(cls, seconds: float, *, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> Budget:
        return cls(seconds=seconds, ends=monotonic() + seconds, monotonic=monotonic, sleep=sleep)

    def left(self) -> float:
        """Seconds; 0 or less where none are."""
        return self.ends - self.monotonic()

    def wait(self, seconds: float) -> bool:
        """True: they have passed. False, at once: so many are not left, and to ask earlier is not what was agreed."""
        if seconds >= self.left():
            return False
        self.sleep(seconds)
        return True

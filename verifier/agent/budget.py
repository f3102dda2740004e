"""The time limit of one run, for all requests, waits and retries together."""

from __future__ import annotations

from collections.abc import Callable

from verifier.agent.compatibility import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit of `seconds`. After its deadline the agent sends no request and does not wait."""

    seconds: float
    deadline: float
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]

    @classmethod
    def start(cls, seconds: float, *, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> Budget:
        return cls(seconds=seconds, deadline=monotonic() + seconds, monotonic=monotonic, sleep=sleep)

    def seconds_left(self) -> float:
        """Return the remaining seconds: 0 or less after the deadline."""
        return self.deadline - self.monotonic()

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds` and return True, or return False at once if less time is left."""
        if seconds >= self.seconds_left():
            return False
        self.sleep(seconds)
        return True

"""Clocks for the agent's tests."""

import time
from dataclasses import dataclass, field

from verifier.agent.budget import Budget


def real_time_budget(seconds: float) -> Budget:
    return Budget.start(seconds, monotonic=time.monotonic, sleep=time.sleep)


@dataclass(slots=True, kw_only=True)
class ManualTime:
    """A clock that only `sleep` moves."""

    now: float = 1000.0
    waits: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def budget(self, seconds: float = 600) -> Budget:
        return Budget.start(seconds, monotonic=self.monotonic, sleep=self.sleep)

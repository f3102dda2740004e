"""Clocks that a test sets."""

from dataclasses import dataclass
from datetime import datetime, timedelta


class ManualClock:
    """Implements the Clock port."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, by: timedelta) -> None:
        self.moment += by


@dataclass(slots=True)
class ManualSeconds:
    """In place of time.monotonic."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds

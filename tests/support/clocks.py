"""A clock that a test sets."""

from datetime import datetime, timedelta


class ManualClock:
    """Implements the Clock port."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, by: timedelta) -> None:
        self.moment += by

"""A clock that stands where a test puts it."""

from datetime import datetime, timedelta


class StandingClock:
    """Implements the Clock port."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, by: timedelta) -> None:
        self.moment += by

"""Read the clock of the machine."""

from datetime import UTC, datetime


class SystemClock:
    """Implement the Clock port. Not checked: that the machine's time is correct."""

    def now(self) -> datetime:
        return datetime.now(UTC)

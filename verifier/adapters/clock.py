"""The machine's clock."""

from datetime import UTC, datetime


class SystemClock:
    """Implements the Clock port. Not checked: that the machine keeps the right time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

"""What the use cases need from the outside, as protocols. The edge implements them; tests run them for real."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, aware, in UTC."""

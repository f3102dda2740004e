"""Read and write moments as RFC 3339, and write durations."""

import re
from contextlib import suppress
from datetime import UTC, datetime

# `fromisoformat` alone accepts more: dates of a week, and from Python 3.14 on 24:00:00, which is the next day.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ](?:[01]\d|2[0-3]):\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?", re.ASCII
)


def moment_json(moment: datetime, timespec: str = "auto") -> str:
    """Write the moment as RFC 3339 in UTC. `timespec` is that of datetime.isoformat: `auto` omits zero microseconds."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def read_moment(text: str) -> datetime:
    """Read an RFC 3339 time, which may lack seconds. Raises ValueError.

    Not checked: that the text has a time zone. Without one the result is naive.
    """
    with suppress(ValueError):
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text)
    raise ValueError("not a time of RFC 3339")


def milliseconds(seconds: float) -> float:
    """Convert a duration to milliseconds, rounded to a microsecond."""
    # `round` to three digits takes four times as long.
    return round(seconds * 1_000_000) / 1000

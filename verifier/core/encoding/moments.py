"""Read and write moments as RFC 3339, and write durations."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# `fromisoformat` alone accepts more: dates of a week, and from Python 3.14 on 24:00:00, which is the next day.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ](?:[01]\d|2[0-3]):\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?", re.ASCII
)


def moment_json(moment: datetime, timespec: Literal["auto", "seconds", "microseconds"] = "auto") -> str:
    """Write the moment as RFC 3339 in UTC. `timespec` is that of datetime.isoformat: `auto` omits zero microseconds.

    Raises TypeError for a moment without a time zone.
    """
    elapsed = moment - _EPOCH
    second = _second_json(elapsed.days, elapsed.seconds)
    if timespec == "seconds" or (timespec == "auto" and elapsed.microseconds == 0):
        return f"{second}Z"
    return f"{second}.{elapsed.microseconds:06d}Z"


# A request writes a dozen moments, most of them of the present second or of its certificates. `isoformat` takes 3 us.
@lru_cache(maxsize=256)
def _second_json(days: int, seconds: int) -> str:
    return (_EPOCH + timedelta(days, seconds)).replace(tzinfo=None).isoformat()


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

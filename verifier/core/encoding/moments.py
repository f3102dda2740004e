"""Write moments as RFC 3339."""

from datetime import UTC, datetime


def moment_json(moment: datetime, timespec: str = "auto") -> str:
    """Write the moment as RFC 3339 in UTC. `timespec` is that of datetime.isoformat: `auto` omits zero microseconds."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")

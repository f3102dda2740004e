"""Write moments as RFC 3339."""

from datetime import UTC, datetime


def moment_json(moment: datetime) -> str:
    """Write the moment as RFC 3339 in UTC, with microseconds only if it has any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")

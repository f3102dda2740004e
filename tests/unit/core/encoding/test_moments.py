"""Write moments as RFC 3339."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from verifier.core.encoding.moments import moment_json


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 23, 8, tzinfo=UTC), "2026-11-23T08:00:00Z"),
        (datetime(2026, 11, 23, 8, 0, 0, 1500, tzinfo=UTC), "2026-11-23T08:00:00.001500Z"),
    ],
)
def test_writes_moments_in_utc(moment: datetime, text: str) -> None:
    assert moment_json(moment) == text
    assert datetime.fromisoformat(text) == moment


def test_writes_a_moment_of_another_zone_in_utc_too() -> None:
    moment = datetime(2026, 11, 23, 10, tzinfo=timezone(timedelta(hours=2)))
    assert moment_json(moment) == "2026-11-23T08:00:00Z"

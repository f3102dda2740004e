"""Read and write moments as RFC 3339."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.core.encoding.moments import milliseconds, moment_json, read_moment


def moments() -> st.SearchStrategy[datetime]:
    zones = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
    # A day from the ends, where a moment has no UTC form.
    return st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones)  # noqa: DTZ001 - bounds are naive


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 23, 8, tzinfo=UTC), "2026-11-23T08:00:00Z"),
        (datetime(2026, 11, 23, 8, 0, 0, 1500, tzinfo=UTC), "2026-11-23T08:00:00.001500Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_writes_moments_in_utc(moment: datetime, text: str) -> None:
    assert moment_json(moment) == text
    assert read_moment(text) == moment


@given(moments())
def test_writes_what_isoformat_writes(moment: datetime) -> None:
    expected = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    assert moment_json(moment) == expected
    for timespec in ("seconds", "microseconds"):
        expected = moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
        assert moment_json(moment, timespec) == expected


def test_a_moment_without_a_zone_is_not_written() -> None:
    with pytest.raises(TypeError):
        moment_json(datetime(2026, 11, 23))  # noqa: DTZ001 - a naive one


def test_writes_a_moment_of_another_zone_in_utc_too() -> None:
    moment = datetime(2026, 11, 23, 10, tzinfo=timezone(timedelta(hours=2)))
    assert moment_json(moment) == "2026-11-23T08:00:00Z"


@pytest.mark.parametrize(
    ("timespec", "text"), [("seconds", "2026-11-23T08:00:00Z"), ("microseconds", "2026-11-23T08:00:00.000000Z")]
)
def test_writes_the_digits_that_the_caller_names(timespec: Literal["seconds", "microseconds"], text: str) -> None:
    assert moment_json(datetime(2026, 11, 23, 10, tzinfo=timezone(timedelta(hours=2))), timespec) == text


@pytest.mark.parametrize("text", ["2026-11-23T10:00:00+02:00", "2026-11-23 08:00Z", "2026-11-23T08:00:00.000000Z"])
def test_reads_moments_of_any_zone(text: str) -> None:
    assert read_moment(text) == datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-11-23T08:00:00", "2026-11-23"])
def test_a_moment_without_a_zone_is_naive(text: str) -> None:
    assert read_moment(text).utcoffset() is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23T24:00:00Z",
        "2026-11-23T08:60:00Z",
        "2026-11-31T08:00:00Z",
        "2026-W48-1T08:00:00Z",
        "20261123T080000Z",
        "2026-11-23T08:00:00,5Z",
        "2026-11-23T08:00:00.1234567Z",
        "2026-11-23T08:00:00+02:00:01",
        "2026-11-23T08:00:00Z\n",
        "2026-11-23T0८:00:00Z",
    ],
)
def test_any_other_text_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a time of RFC 3339$"):
        read_moment(text)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, 0), (0.0123456, 12.346), (0.0000004, 0), (1e-6, 0.001), (12.5, 12_500), (0.3, 300)]
)
def test_milliseconds_have_three_digits(seconds: float, expected: float) -> None:
    assert milliseconds(seconds) == expected == round(seconds * 1000, 3)

"""The sliding window on SQLite, by a clock that stands where a test puts it."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.core.tenancy import LimitedPath, Rate
from verifier.edge.rate_limits import SlidingRateLimiter
from verifier.edge.sqlite_windows import SqliteWindows
from verifier.ports import StoreUnavailable

#: The first second of a minute.
START = 1_795_420_800.0
TEN = Rate.parse("10/minute")


class Moment:
    """Seconds since 1970, as a clock that a test moves."""

    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
def windows(tmp_path: Path, moment: Moment) -> SqliteWindows:
    return SqliteWindows(tmp_path / "rates.sqlite3", now=moment)


def limiter_over(windows: SqliteWindows) -> SlidingRateLimiter:
    return SlidingRateLimiter(windows, close=windows.close)


def hits(windows: SqliteWindows, number: int, *, limit: int = 10) -> int:
    return sum(windows.acquire_sliding_window_entry("key", limit, 60) for _ in range(number))


def test_the_window_before_loses_weight_evenly(windows: SqliteWindows, moment: Moment) -> None:
    assert hits(windows, 12) == 10
    moment.at = START + 60
    assert hits(windows, 1) == 0
    moment.at = START + 90
    assert hits(windows, 10) == 5
    moment.at = START + 180
    assert hits(windows, 12) == 10


def test_two_windows_later_nothing_weighs(windows: SqliteWindows, moment: Moment) -> None:
    hits(windows, 10)
    moment.at = START + 120
    assert windows.get_sliding_window("key", 60) == (0, 0.0, 0, 120.0)
    assert hits(windows, 12) == 10


def test_a_clock_that_was_set_back_locks_nobody_out(windows: SqliteWindows, moment: Moment) -> None:
    hits(windows, 10)
    moment.at = START - 3_600
    assert hits(windows, 12) == 10


def test_takes_several_at_once_or_none(windows: SqliteWindows) -> None:
    assert windows.acquire_sliding_window_entry("key", 10, 60, amount=8)
    assert not windows.acquire_sliding_window_entry("key", 10, 60, amount=3)
    assert windows.acquire_sliding_window_entry("key", 10, 60, amount=2)


def test_forgets_what_weighs_no_more(windows: SqliteWindows, moment: Moment) -> None:
    for number in range(5):
        windows.acquire_sliding_window_entry(f"key-{number}", 10, 60)
    moment.at = START + 120
    windows.acquire_sliding_window_entry("other", 10, 60)
    assert windows.reset() == 1


def test_clears_one_key_alone(windows: SqliteWindows) -> None:
    hits(windows, 10)
    windows.acquire_sliding_window_entry("other", 1, 60)
    windows.clear("key")
    assert hits(windows, 1) == 1
    assert not windows.acquire_sliding_window_entry("other", 1, 60)


def test_knows_whether_it_can_be_read(windows: SqliteWindows, tmp_path: Path) -> None:
    assert windows.check()
    (tmp_path / "rates.sqlite3").rename(tmp_path / "aside")
    assert not windows.check()
    with pytest.raises(StoreUnavailable):
        windows.acquire_sliding_window_entry("key", 1, 60)


def test_keeps_no_fixed_windows(windows: SqliteWindows) -> None:
    with pytest.raises(NotImplementedError):
        windows.incr("key", 60)
    with pytest.raises(NotImplementedError):
        windows.get("key")
    with pytest.raises(NotImplementedError):
        windows.get_expiry("key")


@settings(max_examples=60, deadline=None)
@given(
    amount=st.integers(1, 30),
    gaps=st.lists(st.floats(0, 90, allow_nan=False), min_size=1, max_size=40),
    offset=st.floats(0, 60, allow_nan=False),
)
def test_whoever_waits_as_long_as_is_said_is_admitted(amount: int, gaps: list[float], offset: float) -> None:
    """And is told a remainder that holds."""
    with tempfile.TemporaryDirectory() as directory:
        moment = Moment(START + offset)
        windows = SqliteWindows(Path(directory) / "rates.sqlite3", now=moment)
        limiter = limiter_over(windows)
        rate = Rate.parse(f"{amount}/minute")
        for gap in gaps:
            moment.at += gap / amount
            told = limiter.hit("north", LimitedPath.NONCES, rate)
            assert 1 <= told.reset.total_seconds() <= 61
            assert 0 <= told.remaining < amount
            if not told.admitted:
                moment.at += told.reset.total_seconds()
                assert limiter.hit("north", LimitedPath.NONCES, rate).admitted
        windows.close()

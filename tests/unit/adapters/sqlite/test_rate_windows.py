"""The sliding window on SQLite, by a clock that each test sets."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.adapters.sqlite.rate_windows import SqliteRateCounters
from verifier.adapters.stores.rate_batches import BatchingRateLimiter
from verifier.core.tenancy import Rate

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
def limiter(tmp_path: Path, moment: Moment) -> BatchingRateLimiter:
    return BatchingRateLimiter(SqliteRateCounters(tmp_path / "rates.sqlite3", now=moment))


def admitted(limiter: BatchingRateLimiter, number: int) -> int:
    return sum(limiter.hit("key", TEN).admitted for _ in range(number))


def test_the_previous_window_loses_weight_evenly(limiter: BatchingRateLimiter, moment: Moment) -> None:
    assert admitted(limiter, 12) == 10
    moment.at = START + 60
    assert admitted(limiter, 1) == 0
    moment.at = START + 90
    assert admitted(limiter, 10) == 5
    moment.at = START + 180
    assert admitted(limiter, 12) == 10


def test_a_counter_has_no_weight_two_windows_later(limiter: BatchingRateLimiter, moment: Moment) -> None:
    admitted(limiter, 10)
    moment.at = START + 120
    assert admitted(limiter, 12) == 10


def test_a_clock_that_was_set_back_locks_no_caller_out(limiter: BatchingRateLimiter, moment: Moment) -> None:
    admitted(limiter, 10)
    moment.at = START - 3_600
    assert admitted(limiter, 12) == 10


def test_expired_rows_are_removed_a_few_at_a_time(limiter: BatchingRateLimiter, moment: Moment, tmp_path: Path) -> None:
    for number in range(40):
        limiter.hit(f"key-{number}", TEN)
    moment.at = START + 120
    left = []
    with closing(sqlite3.connect(tmp_path / "rates.sqlite3")) as connection:
        for _ in range(4):
            limiter.hit("other", TEN)
            left += [count for (count,) in connection.execute("SELECT count(*) FROM windows")]
    assert left == [25, 9, 1, 1]


@settings(max_examples=60, deadline=None)
@given(
    amount=st.integers(1, 30),
    gaps=st.lists(st.floats(0, 90, allow_nan=False), min_size=1, max_size=40),
    offset=st.floats(0, 60, allow_nan=False),
)
def test_a_caller_who_waits_until_the_reset_is_admitted(amount: int, gaps: list[float], offset: float) -> None:
    """The remaining number is true as well."""
    with tempfile.TemporaryDirectory() as directory:
        moment = Moment(START + offset)
        counters = SqliteRateCounters(Path(directory) / "rates.sqlite3", now=moment)
        limiter = BatchingRateLimiter(counters)
        rate = Rate.parse(f"{amount}/minute")
        for gap in gaps:
            moment.at += gap / amount
            told = limiter.hit("north", rate)
            assert 1 <= told.reset.total_seconds() <= 61
            assert 0 <= told.remaining < amount
            if not told.admitted:
                moment.at += told.reset.total_seconds()
                assert limiter.hit("north", rate).admitted
        counters.close()

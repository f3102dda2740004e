"""The count of outstanding nonces in a file, by a clock that the test sets. More is in tests/contract."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from verifier.adapters.sqlite import outstanding_nonces
from verifier.adapters.sqlite.outstanding_nonces import SqliteOutstandingNonces
from verifier.ports.stores import MAX_RATE_KEY, OutstandingNonces, StoreUnavailable

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
START = 1_700_000_000


class Clock:
    def __init__(self) -> None:
        self.after = timedelta(0)

    def __call__(self) -> float:
        return START + self.after.total_seconds()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outstanding.sqlite3"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[SqliteOutstandingNonces]:
    with closing(SqliteOutstandingNonces(path, now=clock)) as opened:
        yield opened


def rows(path: Path) -> list[tuple[str, str, int]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM outstanding ORDER BY holder, nonce").fetchall()


def test_a_row_has_the_encoded_names_and_the_time_of_expiry(store: SqliteOutstandingNonces, path: Path) -> None:
    port: OutstandingNonces = store
    assert port.reserve("a:{b}", "c d", limit=1, lifetime=MINUTE) is None
    assert rows(path) == [("a%3A%7Bb%7D", "c%20d", (START + 60) * 1_000_000)]


def test_the_file_is_marked_as_what_it_is(store: SqliteOutstandingNonces, path: Path) -> None:
    store.reserve("g", "n", limit=1, lifetime=MINUTE)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"IMVO"),)
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_count_is_not_flushed_to_the_disk(store: SqliteOutstandingNonces) -> None:
    with store._file.connection() as connection:  # noqa: SLF001 - each connection has its own setting
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


def test_a_full_group_waits_exactly_until_a_nonce_expires(store: SqliteOutstandingNonces, clock: Clock) -> None:
    assert store.reserve("g", "a", limit=2, lifetime=MINUTE) is None
    clock.after = timedelta(seconds=10)
    assert store.reserve("g", "b", limit=2, lifetime=MINUTE) is None
    assert store.reserve("g", "c", limit=2, lifetime=MINUTE) == timedelta(seconds=50)
    assert store.reserve("g", "c", limit=1, lifetime=MINUTE) == timedelta(seconds=60)
    clock.after = timedelta(seconds=59)
    assert store.reserve("g", "c", limit=2, lifetime=MINUTE) == timedelta(seconds=1)
    clock.after = timedelta(seconds=60)
    assert store.reserve("g", "c", limit=2, lifetime=MINUTE) is None
    assert store.reserve("g", "d", limit=2, lifetime=MINUTE) == timedelta(seconds=10)


def test_a_refused_nonce_is_not_counted(store: SqliteOutstandingNonces, path: Path) -> None:
    assert store.reserve("g", "a", limit=1, lifetime=MINUTE) is None
    assert store.reserve("g", "b", limit=1, lifetime=MINUTE) is not None
    assert [nonce for _, nonce, _ in rows(path)] == ["a"]


def test_a_released_nonce_is_counted_no_longer(store: SqliteOutstandingNonces, path: Path) -> None:
    for group in ("g", "h:"):
        for nonce in ("a:", "b"):
            assert store.reserve(group, nonce, limit=2, lifetime=MINUTE) is None
    store.release("h:", "a:")
    assert [(group, nonce) for group, nonce, _ in rows(path)] == [("g", "a%3A"), ("g", "b"), ("h%3A", "b")]


def test_a_reservation_removes_a_few_rows_that_have_expired(
    store: SqliteOutstandingNonces, path: Path, clock: Clock
) -> None:
    for number in range(40):
        assert store.reserve("g", str(number), limit=40, lifetime=MINUTE) is None
    clock.after = MINUTE
    assert store.reserve("h", "a", limit=1, lifetime=MINUTE) is None
    assert len(rows(path)) == 40 - 16 + 1


def test_the_least_lifetime_is_a_microsecond(store: SqliteOutstandingNonces) -> None:
    assert store.reserve("g", "a", limit=1, lifetime=MICROSECOND) is None
    assert store.reserve("g", "b", limit=1, lifetime=MINUTE) == MICROSECOND


def test_invalid_arguments_are_mistakes_of_the_caller(store: SqliteOutstandingNonces) -> None:
    for group, limit, lifetime in (("x" * (MAX_RATE_KEY + 1), 1, MINUTE), ("g", 0, MINUTE), ("g", 1, timedelta(0))):
        with pytest.raises(ValueError, match=r"characters|not positive"):
            store.reserve(group, "n", limit=limit, lifetime=lifetime)


def test_another_writer_is_waited_for_and_then_named(path: Path) -> None:
    with (
        closing(SqliteOutstandingNonces(path, busy_timeout=timedelta(milliseconds=50))) as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            store.reserve("g", "n", limit=1, lifetime=MINUTE)


def test_closing_closes_the_file(store: SqliteOutstandingNonces, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(store._file, "close", lambda: closed.append(True))  # noqa: SLF001 - the file alone has something open
    store.close()
    assert closed == [True]


def test_each_reservation_gives_back_what_expired_rows_took(
    store: SqliteOutstandingNonces, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[sqlite3.Connection] = []
    monkeypatch.setattr(outstanding_nonces, "give_back", given.append)
    store.reserve("g", "n", limit=1, lifetime=MINUTE)
    assert len(given) == 1

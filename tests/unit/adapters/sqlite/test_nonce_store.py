"""What can be said of the SQLite store without a fault of the file. The rest is in tests/contract."""

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from verifier.adapters.sqlite.files import MINIMUM_SQLITE
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.core.nonces import FirstUse, NonceRecord, UnknownNonce
from verifier.ports.stores import NonceKey, NonceStore, StoreUnavailable

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEEP = timedelta(hours=6)
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))
KEY = NonceKey(tenant="default", nonce="1234567890")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteNonceStore]:
    with closing(SqliteNonceStore(tmp_path / "nonces.sqlite3")) as store:
        yield store


def test_is_a_nonce_store(store: SqliteNonceStore) -> None:
    port: NonceStore = store
    port.ping()


def test_refuses_a_database_in_memory() -> None:
    with pytest.raises(ValueError, match="needs a file"):
        SqliteNonceStore(Path(":memory:"))


@pytest.mark.parametrize("busy_timeout", [timedelta(0), timedelta(seconds=-1)])
def test_refuses_to_wait_for_no_time(tmp_path: Path, busy_timeout: timedelta) -> None:
    with pytest.raises(ValueError, match="busy_timeout is not positive"):
        SqliteNonceStore(tmp_path / "nonces.sqlite3", busy_timeout=busy_timeout)
    assert not list(tmp_path.iterdir())


def test_names_the_sqlite_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 9))
    with pytest.raises(StoreUnavailable, match=re.escape("SQLite 3.37.0 or later is needed; this Python has 3.36.9.")):
        SqliteNonceStore(tmp_path / "nonces.sqlite3")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", MINIMUM_SQLITE)
    SqliteNonceStore(tmp_path / "nonces.sqlite3")


def test_leaves_nothing_open_and_nothing_behind_after_construction(tmp_path: Path) -> None:
    SqliteNonceStore(tmp_path / "nonces.sqlite3")
    assert [file.name for file in tmp_path.iterdir()] == ["nonces.sqlite3"]


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?mode=memory", "a#b.db", "ö.db", "file:x", "%2e%2e"])
def test_a_path_is_a_path_and_not_part_of_a_uri(tmp_path: Path, name: str) -> None:
    with closing(SqliteNonceStore(tmp_path / name)) as store:
        store.issue(KEY, RECORD, keep=KEEP, now=NOW)
        assert (tmp_path / name).is_file()
    with closing(SqliteNonceStore(tmp_path / name)) as store:
        assert store.redeem(KEY, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


def test_a_relative_path_is_the_one_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(SqliteNonceStore(Path("nonces.sqlite3"))) as store:
        monkeypatch.chdir(tmp_path.parent)
        store.issue(KEY, RECORD, keep=KEEP, now=NOW)
    assert (tmp_path / "nonces.sqlite3").is_file()


def test_makes_the_directories_above_it_too(tmp_path: Path) -> None:
    SqliteNonceStore(tmp_path / "a" / "b" / "nonces.sqlite3")
    assert (tmp_path / "a" / "b" / "nonces.sqlite3").is_file()


def test_a_directory_in_its_place_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        SqliteNonceStore(tmp_path)


def test_a_file_in_the_place_of_its_directory_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        SqliteNonceStore(tmp_path / "file" / "nonces.sqlite3")


def test_counts_keep_from_now_in_whatever_zone(store: SqliteNonceStore) -> None:
    elsewhere = timezone(timedelta(hours=-8))
    store.issue(KEY, RECORD, keep=KEEP, now=NOW.astimezone(elsewhere))
    assert store.redeem(KEY, keep=KEEP, now=NOW + KEEP) == UnknownNonce()
    assert store.redeem(KEY, keep=KEEP, now=(NOW + KEEP).astimezone(elsewhere) - timedelta.resolution) == FirstUse(
        record=RECORD
    )


def test_refuses_a_clock_without_a_zone(store: SqliteNonceStore) -> None:
    with pytest.raises(TypeError):
        store.issue(KEY, RECORD, keep=KEEP, now=NOW.replace(tzinfo=None))
    with pytest.raises(TypeError):
        store.redeem(KEY, keep=KEEP, now=NOW.replace(tzinfo=None))


def test_a_thread_that_keeps_the_others_waiting_is_told_as_a_lock(tmp_path: Path) -> None:
    inside, done = threading.Event(), threading.Event()
    with closing(SqliteNonceStore(tmp_path / "n.db", busy_timeout=timedelta(milliseconds=50))) as store:

        def hold() -> None:
            with store._connection():  # noqa: SLF001 -- no public call can be held at a chosen point
                inside.set()
                done.wait(30)

        holder = threading.Thread(target=hold)
        holder.start()
        try:
            assert inside.wait(30)
            with pytest.raises(StoreUnavailable, match="locked"):
                store.ping()
        finally:
            done.set()
            holder.join()
        store.ping()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_threads_that_end_leave_no_connections_behind(store: SqliteNonceStore) -> None:
    store.ping()
    before = open_files()
    for _ in range(20):
        thread = threading.Thread(target=store.ping)
        thread.start()
        thread.join()
    assert open_files() <= before  # what earlier tests left may be collected meanwhile


def test_detail_names_the_file_and_its_setting_and_not_the_nonce(tmp_path: Path) -> None:
    path = tmp_path / "nonces.sqlite3"
    with closing(SqliteNonceStore(path)) as store:
        store.issue(KEY, RECORD, keep=KEEP, now=NOW)
        store.close()
        path.unlink()
        with pytest.raises(StoreUnavailable) as caught:
            store.redeem(KEY, keep=KEEP, now=NOW)
    assert KEY.nonce not in caught.value.detail
    assert caught.value.detail.endswith(f" ({path}, VERIFIER_NONCE_STORE).")

"""What can be said of the SQLite store without a fault of the file. The rest is in tests/contract."""

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from verifier.adapters.records.nonces import encode_record
from verifier.adapters.sqlite import nonce_store
from verifier.adapters.sqlite.files import MINIMUM_SQLITE
from verifier.adapters.sqlite.nonce_store import FORGET_BATCH, SqliteNonceStore
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, UnknownNonce
from verifier.ports.stores import DocumentKey, NonceKey, NonceStore, StoreUnavailable

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


MICROSECOND = timedelta.resolution
#: Microseconds since 1970.
EPOCH = int(NOW.timestamp()) * 1_000_000
DOCUMENT = DocumentKey(tenant="a:b", digest="{c}")


def rows(store: SqliteNonceStore) -> list[tuple[str, str, str, int, int]]:
    with store._connection() as connection:  # noqa: SLF001 - the rows are a promise to later releases
        return connection.execute("SELECT tenant, nonce, record, forget_at, uses FROM nonces ORDER BY nonce").fetchall()


def test_a_row_has_the_encoded_names_the_record_and_its_uses(store: SqliteNonceStore) -> None:
    key = NonceKey(tenant="a:b", nonce="{c}")
    assert store.issue(key, RECORD, keep=KEEP, now=NOW)
    forget_at = EPOCH + 6 * 3600 * 1_000_000
    assert rows(store) == [("a%3Ab", "%7Bc%7D", encode_record(RECORD), forget_at, 0)]
    assert store.redeem(key, keep=2 * KEEP, now=NOW) == FirstUse(record=RECORD)
    assert [row[3:] for row in rows(store)] == [(forget_at + 6 * 3600 * 1_000_000, 1)]


def test_the_first_redemption_alone_counts(store: SqliteNonceStore) -> None:
    assert store.redeem(KEY, keep=KEEP, now=NOW) == UnknownNonce()
    assert store.issue(KEY, RECORD, keep=KEEP, now=NOW)
    assert store.redeem(KEY, keep=KEEP, now=NOW) == FirstUse(record=RECORD)
    assert [store.redeem(KEY, keep=KEEP, now=NOW) for _ in range(2)] == [AlreadyUsed()] * 2


def test_a_nonce_that_is_known_is_not_issued_until_it_is_forgotten(store: SqliteNonceStore) -> None:
    assert store.issue(KEY, RECORD, keep=KEEP, now=NOW)
    assert not store.issue(KEY, RECORD, keep=KEEP, now=NOW + KEEP - MICROSECOND)
    assert store.issue(KEY, RECORD, keep=KEEP, now=NOW + KEEP)


def test_a_document_is_remembered_beside_the_nonces(store: SqliteNonceStore) -> None:
    assert store.issue(NonceKey(tenant="a:b", nonce="{c}"), RECORD, keep=KEEP, now=NOW)
    assert store.remember(DOCUMENT, keep=KEEP, now=NOW)
    assert not store.remember(DOCUMENT, keep=KEEP, now=NOW)
    forget_at = EPOCH + 6 * 3600 * 1_000_000
    assert rows(store)[1] == ("a%3Ab", "document:%7Bc%7D", "", forget_at, 1)
    assert store.remember(DOCUMENT, keep=KEEP, now=NOW + KEEP)


def test_one_call_removes_a_small_batch(store: SqliteNonceStore) -> None:
    for number in range(40):
        assert store.issue(NonceKey(tenant="default", nonce=str(number)), RECORD, keep=KEEP, now=NOW)
    assert store.issue(KEY, RECORD, keep=KEEP, now=NOW + KEEP)
    assert len(rows(store)) == 40 - FORGET_BATCH + 1
    assert FORGET_BATCH == 16


@pytest.mark.parametrize("keep", [timedelta(0), -MICROSECOND])
def test_a_time_that_is_not_positive_is_a_mistake_of_the_caller(store: SqliteNonceStore, keep: timedelta) -> None:
    for call in (
        lambda: store.issue(KEY, RECORD, keep=keep, now=NOW),
        lambda: store.redeem(KEY, keep=keep, now=NOW),
        lambda: store.remember(DOCUMENT, keep=keep, now=NOW),
    ):
        with pytest.raises(ValueError, match="keep is not positive"):
            call()
    assert store.issue(KEY, RECORD, keep=MICROSECOND, now=NOW)


def test_the_file_is_marked_with_its_version(tmp_path: Path) -> None:
    path = tmp_path / "nonces.sqlite3"
    with closing(SqliteNonceStore(path)), closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("PRAGMA application_id").fetchone() == (0,)


def test_a_read_only_file_fails_the_ping(store: SqliteNonceStore) -> None:
    with store._connection() as connection:  # noqa: SLF001 - a file system that became read-only, for any user
        connection.execute("PRAGMA query_only = on")
    with pytest.raises(StoreUnavailable):
        store.ping()


def test_each_entry_gives_back_what_expired_nonces_took(
    store: SqliteNonceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[sqlite3.Connection] = []
    monkeypatch.setattr(nonce_store, "give_back", given.append)
    store.issue(KEY, RECORD, keep=KEEP, now=NOW)
    store.remember(DOCUMENT, keep=KEEP, now=NOW)
    assert len(given) == 2


def test_closing_closes_the_file(store: SqliteNonceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(store._file, "close", lambda: closed.append(True))  # noqa: SLF001 - the file alone has something open
    store.close()
    assert closed == [True]


def test_a_file_of_a_later_release_is_told_as_a_nonce_file(tmp_path: Path) -> None:
    path = tmp_path / "nonces.sqlite3"
    SqliteNonceStore(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreUnavailable, match=r"\bnonce "):
        SqliteNonceStore(path)

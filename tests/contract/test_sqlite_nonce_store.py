"""What the SQLite store does with its file, and when the file is away or not what it should be."""

import itertools
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.forking import from_processes
from support.redeemer import redeem

from verifier.adapters.records.nonces import encode_record
from verifier.adapters.sqlite.files import GIVE_BACK_PAGES, LOG_PAGES, SPARE_PAGES
from verifier.adapters.sqlite.nonce_store import FORGET_BATCH, SqliteNonceStore
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, UnknownNonce
from verifier.ports.stores import DocumentKey, NonceKey, StoreUnavailable

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEEP = timedelta(hours=6)
MOMENT = timedelta(microseconds=1)
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))
KEY = NonceKey(tenant="default", nonce="1234567890")
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "nonces.sqlite3"


@contextmanager
def opened(path: Path, *, busy_timeout: timedelta = timedelta(seconds=5)) -> Iterator[SqliteNonceStore]:
    with closing(SqliteNonceStore(path, busy_timeout=busy_timeout)) as store:
        yield store


@contextmanager
def administering(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def count(path: Path) -> int:
    with administering(path) as connection:
        [(entries,)] = connection.execute("SELECT count(*) FROM nonces").fetchall()
        return int(entries)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def issue(store: SqliteNonceStore, key: NonceKey = KEY, *, now: datetime = NOW) -> bool:
    return store.issue(key, RECORD, keep=KEEP, now=now)


def test_makes_the_file_and_its_directory_for_its_owner_alone(path: Path) -> None:
    umask = os.umask(0)
    try:
        with opened(path) as store:
            issue(store)
            assert mode(path.parent) == 0o700
            files = {file.name: mode(file) for file in path.parent.iterdir()}
            assert files == {
                "nonces.sqlite3": 0o600,
                "nonces.sqlite3-wal": 0o600,
                "nonces.sqlite3-shm": 0o600,
            }
    finally:
        os.umask(umask)


def test_flushes_each_commit_to_the_disk(path: Path) -> None:
    with opened(path) as store, store._connection() as connection:  # noqa: SLF001 -- the setting is the connection's and cannot be seen from outside
        assert connection.execute("PRAGMA synchronous").fetchall() == [(2,)]  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_survives_a_restart(path: Path) -> None:
    with opened(path) as store:
        issue(store)
        issue(store, NonceKey(tenant="default", nonce="2"))
        store.redeem(KEY, keep=KEEP, now=NOW)
    with opened(path) as store:
        assert store.redeem(KEY, keep=KEEP, now=NOW) == AlreadyUsed()
        assert store.redeem(NonceKey(tenant="default", nonce="2"), keep=KEEP, now=NOW) == FirstUse(record=RECORD)


def test_survives_the_death_of_its_process(path: Path) -> None:
    with opened(path) as store:
        issue(store)
    arguments = ("sqlite", str(path), "nonce", KEY.tenant, KEY.nonce, NOW.isoformat())
    assert from_processes(redeem, [arguments]) == ["FirstUse"]  # the process closes nothing
    with opened(path) as store:
        assert store.redeem(KEY, keep=KEEP, now=NOW) == AlreadyUsed()


def test_many_processes_may_make_the_store_at_once(path: Path) -> None:
    arguments = ("sqlite", str(path), "nonce", KEY.tenant, KEY.nonce, NOW.isoformat())
    assert from_processes(redeem, [arguments] * 4) == ["UnknownNonce"] * 4
    assert {file.name for file in path.parent.iterdir()} <= {path.name, f"{path.name}-wal", f"{path.name}-shm"}


def test_remembers_until_keep_has_passed_and_no_longer(path: Path) -> None:
    with opened(path) as store:
        issue(store)
        moment = NOW + KEEP
        assert store.redeem(KEY, keep=2 * KEEP, now=moment) == UnknownNonce()
        for outcome in (FirstUse(record=RECORD), AlreadyUsed(), AlreadyUsed()):
            assert store.redeem(KEY, keep=2 * KEEP, now=moment - MOMENT) == outcome
            moment += 2 * KEEP - MOMENT
            assert store.redeem(KEY, keep=2 * KEEP, now=moment) == UnknownNonce()


def test_a_clock_that_is_set_back_and_a_shorter_keep_shorten_no_memory(path: Path) -> None:
    with opened(path) as store:
        issue(store)
        store.redeem(KEY, keep=KEEP, now=NOW)
        assert store.redeem(KEY, keep=KEEP, now=NOW - KEEP / 2) == AlreadyUsed()
        assert store.redeem(KEY, keep=MOMENT, now=NOW) == AlreadyUsed()
        assert store.redeem(KEY, keep=MOMENT, now=NOW + KEEP - MOMENT) == AlreadyUsed()
        assert store.redeem(KEY, keep=MOMENT, now=NOW + KEEP) == UnknownNonce()


def test_remembers_a_document_until_keep_has_passed_and_no_longer(path: Path) -> None:
    document = DocumentKey(tenant="default", digest="ab" * 32)
    with opened(path) as store:
        assert store.remember(document, keep=KEEP, now=NOW)
        assert not store.remember(document, keep=KEEP, now=NOW + KEEP - MOMENT)
        assert store.remember(document, keep=KEEP, now=NOW + KEEP)


def test_a_service_that_issues_no_nonces_still_removes_the_forgotten(path: Path) -> None:
    with opened(path) as store:
        for number in range(FORGET_BATCH):
            store.remember(DocumentKey(tenant="default", digest=str(number)), keep=KEEP, now=NOW)
        store.remember(DocumentKey(tenant="default", digest="later"), keep=KEEP, now=NOW + KEEP)
        assert count(path) == 1


def test_remembers_documents_over_a_restart(path: Path) -> None:
    document = DocumentKey(tenant="default", digest="ab" * 32)
    with opened(path) as store:
        assert store.remember(document, keep=KEEP, now=NOW)
    with opened(path) as store:
        assert not store.remember(document, keep=KEEP, now=NOW)


def test_a_forgotten_nonce_can_be_issued_again_even_where_it_is_not_removed_yet(path: Path) -> None:
    with opened(path) as store:
        others = [NonceKey(tenant="default", nonce=f"other-{index}") for index in range(2 * FORGET_BATCH)]
        assert all(issue(store, key, now=NOW - MOMENT) for key in others)
        issue(store)
        store.redeem(KEY, keep=KEEP, now=NOW)
        assert not issue(store, now=NOW + KEEP - MOMENT)
        # The batches that go with these two issues are the others', who are older.
        assert issue(store, now=NOW + KEEP)
        assert store.redeem(KEY, keep=KEEP, now=NOW + KEEP) == FirstUse(record=RECORD)


def test_removes_the_forgotten_in_small_batches(path: Path) -> None:
    with opened(path) as store:
        for index in range(2 * FORGET_BATCH + 1):
            issue(store, NonceKey(tenant="default", nonce=str(index)))
        later = NOW + KEEP
        sizes = []
        for index in range(4):
            issue(store, NonceKey(tenant="later", nonce=str(index)), now=later)
            sizes.append(count(path))
        assert sizes == [FORGET_BATCH + 2, 3, 3, 4]


def test_removes_nothing_that_is_still_remembered(path: Path) -> None:
    with opened(path) as store:
        issue(store)
        store.redeem(KEY, keep=KEEP, now=NOW)
        issue(store, NonceKey(tenant="default", nonce="2"), now=NOW + KEEP - MOMENT)
        assert count(path) == 2


def test_a_refused_issue_still_removes_the_forgotten(path: Path) -> None:
    with opened(path) as store:
        issue(store, now=NOW)
        issue(store, NonceKey(tenant="default", nonce="2"), now=NOW + MOMENT)
        assert not issue(store, NonceKey(tenant="default", nonce="2"), now=NOW + KEEP)
        assert count(path) == 1


def insert(path: Path, entries: int) -> None:
    """So many nonces, each of which is forgotten, in one transaction of another process."""
    with administering(path) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO nonces VALUES ('default', ?, ?, 0, 0)",
            ((f"{number:010}", encode_record(RECORD)) for number in range(entries)),
        )
        connection.execute("COMMIT")


def pages(path: Path) -> tuple[int, int]:
    """How many the file has, and how many of them hold nothing."""
    with administering(path) as connection:
        [(count,)] = connection.execute("PRAGMA page_count").fetchall()
        [(spare,)] = connection.execute("PRAGMA freelist_count").fetchall()
        return int(count), int(spare)


def test_gives_the_room_of_the_forgotten_back_in_small_steps(path: Path) -> None:
    with opened(path) as store:
        insert(path, 20_000)
        with administering(path) as connection:
            connection.execute("DELETE FROM nonces")
        length, spare = pages(path)
        steps = 0
        while spare > SPARE_PAGES:
            issue(store, NonceKey(tenant="default", nonce=str(steps)))
            steps += 1
            (shorter, spare), longer = pages(path), length
            assert 0 < longer - shorter <= GIVE_BACK_PAGES
            length = shorter
        assert steps > 10
        # A little room is kept, for the nonces of the next minutes.
        issue(store, NonceKey(tenant="default", nonce="another"))
        assert pages(path) == (length, SPARE_PAGES)
    with administering(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_log_is_bounded_and_cut_where_it_was_longer(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    bound = LOG_PAGES * 4200  # a page in the log has a head of 24 bytes
    with opened(path) as store, administering(path) as other:
        other.execute("SELECT count(*) FROM nonces").fetchall()  # a file that is open elsewhere keeps its log
        insert(path, 40_000)
        assert log.stat().st_size > bound
        numbers = itertools.count()
        while log.stat().st_size > bound:
            assert next(numbers) < 100
            issue(store, NonceKey(tenant="default", nonce=f"cut-{next(numbers)}"))
        sizes = set()
        for number in range(400):
            issue(store, NonceKey(tenant="default", nonce=str(number)))
            sizes.add(log.stat().st_size)
        assert max(sizes) <= bound


def test_a_file_of_an_earlier_release_is_used_as_it_is(path: Path) -> None:
    """Without auto_vacuum it stays as long as it is, and its pages are used again."""
    with opened(path) as store:
        issue(store)
    with administering(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = WAL")
        assert connection.execute("PRAGMA auto_vacuum").fetchall() == [(0,)]
    with opened(path) as store:
        insert(path, 20_000)
        with administering(path) as connection:
            connection.execute("DELETE FROM nonces WHERE forget_at = 0")
        length, _ = pages(path)
        for number in range(50):
            issue(store, NonceKey(tenant="default", nonce=str(number)))
        assert pages(path)[0] == length
        assert store.redeem(KEY, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


def test_a_removed_directory_is_unavailable(path: Path) -> None:
    with opened(path) as store:
        issue(store)
        shutil.rmtree(path.parent)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="cannot be reached: No such file or directory"):
                store.redeem(KEY, keep=KEEP, now=NOW)
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                issue(store)
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                store.ping()
        assert not path.parent.exists()


def test_a_file_that_was_replaced_is_seen_as_the_other_one(path: Path, tmp_path: Path) -> None:
    with opened(path) as store, opened(tmp_path / "other.sqlite3") as other:
        issue(store)
        other.close()
        (tmp_path / "other.sqlite3").replace(path)
        path.with_name(f"{path.name}-wal").unlink()
        path.with_name(f"{path.name}-shm").unlink()
        assert store.redeem(KEY, keep=KEEP, now=NOW) == UnknownNonce()


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "format 0"),
        (b"this was never a database, whatever its name says\n" * 100, "is not a database"),
    ],
)
def test_a_file_of_something_else_is_unavailable(path: Path, content: bytes, detail: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match=detail):
        SqliteNonceStore(path)
    assert path.read_bytes() == content


def test_a_file_that_became_garbage_is_unavailable(path: Path) -> None:
    with opened(path) as store:
        issue(store)
        store.close()
        path.write_bytes(b"garbage" * 1000)
        with pytest.raises(StoreUnavailable, match="is not a database"):
            store.redeem(KEY, keep=KEEP, now=NOW)


def test_a_damaged_page_is_unavailable(path: Path) -> None:
    with opened(path) as store:
        issue(store)
        store.close()
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
        with pytest.raises(StoreUnavailable, match="is damaged"):
            store.redeem(KEY, keep=KEEP, now=NOW)


@pytest.mark.parametrize("version", [0, 2, -1])
def test_another_schema_version_is_refused_and_left_alone(path: Path, version: int) -> None:
    with opened(path) as store:
        issue(store)
    with administering(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    advice = (
        "and this release knows format 1: update imds-verifier"
        if version > 1
        else "and this release reads none before format 1"
    )
    with pytest.raises(StoreUnavailable, match=f"The nonce database has format {version}[,;] {advice}"):
        SqliteNonceStore(path)
    assert count(path) == 1


def test_a_log_without_its_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.with_name(f"{path.name}-wal").write_bytes(b"of another database")
    with pytest.raises(StoreUnavailable, match="Restore or remove both"):
        SqliteNonceStore(path)


def test_a_record_that_we_did_not_write_is_unavailable_and_no_verdict(path: Path) -> None:
    with opened(path) as store:
        issue(store)
        with administering(path) as connection:
            connection.execute("UPDATE nonces SET record = '[]'")
        with pytest.raises(StoreUnavailable, match="cannot read"):
            store.redeem(KEY, keep=KEEP, now=NOW)


def test_another_writer_is_waited_for_and_then_named(path: Path) -> None:
    with opened(path, busy_timeout=timedelta(seconds=0.1)) as store, administering(path) as connection:
        issue(store)
        connection.execute("BEGIN IMMEDIATE")
        for attempt in (
            lambda: store.redeem(KEY, keep=KEEP, now=NOW),
            lambda: issue(store, NonceKey(tenant="default", nonce="2")),
            store.ping,
        ):
            with pytest.raises(StoreUnavailable, match="is locked"):
                attempt()
        connection.execute("ROLLBACK")
        assert store.redeem(KEY, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


def test_a_read_only_store_is_unavailable() -> None:
    # Not in tmp_path, whose parents only their owner may enter.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "nonces.sqlite3"
        with opened(path) as store:
            issue(store)
        path.chmod(0o444)
        Path(directory).chmod(0o555)
        with (
            unprivileged(),
            pytest.raises(StoreUnavailable, match=r"read-only|cannot be opened"),
            opened(path) as store,
        ):
            store.ping()
        Path(directory).chmod(0o700)
        path.chmod(0o600)
        with opened(path) as store:
            assert store.redeem(KEY, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


def test_a_store_that_becomes_read_only_is_unavailable() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "nonces.sqlite3"
        with opened(path) as store:
            issue(store)
            store.close()
            # The log beside it could be written, so that it is the file alone that says no.
            Path(directory).chmod(0o777)
            path.chmod(0o444)
            with unprivileged():
                for attempt in (store.ping, lambda: store.redeem(KEY, keep=KEEP, now=NOW), lambda: issue(store)):
                    with pytest.raises(StoreUnavailable, match="is read-only"):
                        attempt()


def test_a_directory_that_may_not_be_made_is_unavailable() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o555)
        with unprivileged(), pytest.raises(StoreUnavailable, match="Permission denied"):
            SqliteNonceStore(Path(directory) / "state" / "nonces.sqlite3")
        Path(directory).chmod(0o700)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Inside, file modes hold for this process: root, whom they do not bind, is somebody else for the while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_disk_that_takes_no_more_is_unavailable_and_loses_nothing(path: Path) -> None:
    with opened(path) as store:
        issue(store)
    # In a process of its own: the limit would hold for pytest's own files too.
    code = f"""
import resource, signal
from datetime import datetime, timedelta
from pathlib import Path
from verifier.core.nonces import NonceRecord
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.ports.stores import NonceKey, StoreUnavailable
now = datetime.fromisoformat({NOW.isoformat()!r})
store = SqliteNonceStore(Path({str(path)!r}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, resource.RLIM_INFINITY))
issued = 0
try:
    for number in range(1000):
        issued += store.issue(NonceKey(tenant="full", nonce=str(number)),
            NonceRecord(issued_at=now, expires_at=now), keep=timedelta(hours=1), now=now)
except StoreUnavailable as unavailable:
    print(issued, unavailable.detail)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    issued, _, detail = done.stdout.partition(" ")
    cause = "The disk of the nonce database fails to read or write"
    assert detail.strip() == f"{cause} ({path}, VERIFIER_NONCE_STORE)."
    assert count(path) == int(issued) + 1
    with opened(path) as store:
        assert store.redeem(KEY, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


def test_a_full_database_is_told_as_a_full_disk(path: Path) -> None:
    with opened(path) as store:
        with store._connection() as connection:  # noqa: SLF001 -- a limit of the connection's is the one disk that a test can fill
            connection.execute("PRAGMA max_page_count = 1")
        numbers = itertools.count()
        with pytest.raises(StoreUnavailable, match="is full"):
            all(issue(store, NonceKey(tenant="default", nonce=str(next(numbers)))) for _ in range(1000))
        assert count(path) == next(numbers) - 1
        assert issue(store, NonceKey(tenant="default", nonce="on a new connection"))


def test_what_was_begun_is_rolled_back_whatever_ends_it(path: Path) -> None:
    with opened(path) as store:
        with suppress(KeyboardInterrupt), store._connection() as connection:  # noqa: SLF001 -- no public call can be interrupted at a chosen point
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO nonces VALUES ('default', '1', '[]', 0, 0)")
            raise KeyboardInterrupt
        assert count(path) == 0
        store.ping()


def test_a_forked_child_opens_connections_of_its_own(path: Path) -> None:
    with opened(path) as store:
        issue(store)
        child = os.fork()
        if child == 0:
            status = 1
            with suppress(BaseException):
                status = 0 if store.redeem(KEY, keep=KEEP, now=NOW) == FirstUse(record=RECORD) else 2
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.redeem(KEY, keep=KEEP, now=NOW) == AlreadyUsed()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["issue", "redeem"]),
            st.sampled_from(["1", "2", "3"]),
            st.integers(min_value=1, max_value=4),
            st.integers(min_value=0, max_value=2),
        ),
        max_size=16,
    )
)
def test_agrees_with_a_dictionary_as_time_passes(steps: list[tuple[str, str, int, int]]) -> None:
    second = timedelta(seconds=1)
    now = NOW
    known: dict[str, tuple[datetime, bool]] = {}
    with tempfile.TemporaryDirectory() as directory, opened(Path(directory) / "nonces.sqlite3") as store:
        for action, nonce, keep, passed in steps:
            now += passed * second
            known = {name: entry for name, entry in known.items() if entry[0] > now}
            key = NonceKey(tenant="default", nonce=nonce)
            if action == "issue":
                assert store.issue(key, RECORD, keep=keep * second, now=now) == (nonce not in known)
                known.setdefault(nonce, (now + keep * second, False))
            elif nonce not in known:
                assert store.redeem(key, keep=keep * second, now=now) == UnknownNonce()
            else:
                forget_at, used = known[nonce]
                outcome = AlreadyUsed() if used else FirstUse(record=RECORD)
                assert store.redeem(key, keep=keep * second, now=now) == outcome
                known[nonce] = (max(forget_at, now + keep * second), True)

"""What the SQLite registry does with its file and its clock, and when the file is away or not what it should be."""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from support.trust_registry_calls import CALLS, EVENT, HOUR, NONCONFORMING, NOW, OBSERVATION

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.core.trust.bundle import Denials
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.ports.stores import StoreUnavailable
from verifier.ports.trust import FeedState, TrustRegistry

MOMENT = timedelta(microseconds=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "trust.sqlite3"


@contextmanager
def opened(path: Path, *, busy_timeout: timedelta = timedelta(seconds=5)) -> Iterator[SqliteTrustRegistry]:
    with closing(SqliteTrustRegistry(path, busy_timeout=busy_timeout)) as registry:
        yield registry


@contextmanager
def administering(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def test_makes_the_file_and_its_directory_for_its_owner_alone(path: Path) -> None:
    umask = os.umask(0)
    try:
        with opened(path) as registry:
            registry.record(OBSERVATION, [])
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            assert modes == {f"trust.sqlite3{suffix}": 0o600 for suffix in ("", "-wal", "-shm")}
    finally:
        os.umask(umask)


def test_a_claim_ends_when_its_time_has_passed_and_not_before(path: Path) -> None:
    now = NOW
    with closing(SqliteTrustRegistry(path, clock=lambda: now)) as registry:
        assert registry.claim("fetch", lasting=HOUR)
        now = NOW + HOUR - MOMENT
        assert registry.is_claimed("fetch")
        assert not registry.claim("fetch", lasting=HOUR)
        now = NOW + HOUR
        assert not registry.is_claimed("fetch")
        assert registry.claim("fetch", lasting=HOUR)
        assert registry.is_claimed("fetch")


def test_a_refused_claim_does_not_lengthen_the_one_that_there_is(path: Path) -> None:
    now = NOW
    with closing(SqliteTrustRegistry(path, clock=lambda: now)) as registry:
        registry.claim("fetch", lasting=HOUR)
        now = NOW + HOUR - MOMENT
        registry.claim("fetch", lasting=24 * HOUR)
        now = NOW + HOUR
        assert not registry.is_claimed("fetch")


def test_removes_claims_that_have_passed(path: Path) -> None:
    now = NOW
    with closing(SqliteTrustRegistry(path, clock=lambda: now)) as registry, administering(path) as connection:
        for index in range(100):
            registry.claim(str(index), lasting=HOUR)
        registry.claim("long", lasting=24 * HOUR)
        now = NOW + HOUR
        registry.claim("next", lasting=HOUR)
        assert connection.execute("SELECT name FROM claims ORDER BY name").fetchall() == [("long",), ("next",)]


def test_counts_claims_by_the_clock_of_the_machine_where_nobody_says_otherwise(path: Path) -> None:
    with opened(path) as registry:
        assert registry.claim("fetch", lasting=HOUR)
        assert registry.is_claimed("fetch")


def test_holds_no_more_events_than_it_tells(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.adapters.sqlite.trust_registry.MAX_AUDIT_EVENTS", 3)
    with opened(path) as registry, administering(path) as connection:
        for revision in range(10):
            registry.decide(OperatorDecisions(), EVENT, expected=revision)
        assert connection.execute("SELECT count(*) FROM events").fetchall() == [(3,)]


def test_is_not_taken_for_the_file_of_the_nonces_nor_that_for_this(tmp_path: Path) -> None:
    with opened(tmp_path / "trust") as registry, closing(SqliteNonceStore(tmp_path / "nonces")) as nonces:
        registry.revision()
        nonces.ping()
        with pytest.raises(StoreUnavailable, match="The file of the nonce database is not a nonce database"):
            SqliteNonceStore(tmp_path / "trust")
        with pytest.raises(StoreUnavailable, match="The file of the trust database is not a trust database"):
            SqliteTrustRegistry(tmp_path / "nonces")


def test_refuses_a_database_in_memory() -> None:
    with pytest.raises(ValueError, match="the trust database needs a file"):
        SqliteTrustRegistry(Path(":memory:"))


def test_a_removed_file_is_unavailable(path: Path) -> None:
    with opened(path) as registry:
        path.unlink()
        for call in CALLS:
            with pytest.raises(StoreUnavailable, match="The trust database cannot be reached: No such file"):
                call(registry)


def test_a_file_of_something_else_is_unavailable(path: Path) -> None:
    with opened(path) as registry:
        registry.close()
        path.write_bytes(b"garbage" * 1000)
        for call in CALLS:
            with pytest.raises(StoreUnavailable, match="The trust database is not a database"):
                call(registry)


@pytest.mark.parametrize("version", [2, 5])
def test_another_schema_version_is_unavailable(path: Path, version: int) -> None:
    with opened(path), administering(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    advice = (
        "and this release knows format 4: update imds-verifier"
        if version > 4
        else "and this release reads none before format 3"
    )
    with pytest.raises(StoreUnavailable, match=f"The trust database has format {version}[,;] {advice}"):
        SqliteTrustRegistry(path)


def make_version_3(path: Path) -> None:
    """Make the file as the release before trust feeds left it."""
    with opened(path) as registry, administering(path) as connection:
        assert registry.decide(OperatorDecisions(rejected=frozenset()), EVENT, expected=0)
        for statement in ("DROP TABLE feed_files", "DROP TABLE feed_look", "PRAGMA user_version = 3"):
            connection.execute(statement)


def test_upgrades_the_file_of_the_release_before(path: Path) -> None:
    make_version_3(path)
    with opened(path) as registry:
        assert registry.audit_log(most=1) == (EVENT,)
        assert registry.feed() == (FeedState(), 0)
        assert registry.keep_feed(FeedState(problem="away"), expected=0)
    with opened(path) as registry:
        assert registry.feed()[0].problem == "away"


def test_several_processes_upgrade_a_file_once(path: Path) -> None:
    make_version_3(path)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            with suppress(BaseException), opened(path) as registry:
                status = 0 if registry.feed()[0] == FeedState() else 2
            os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4


def test_a_look_at_the_feed_writes_its_files_only_if_they_change(path: Path) -> None:
    with opened(path) as registry, administering(path) as connection:
        connection.execute("CREATE TRIGGER seen BEFORE UPDATE ON feed_files BEGIN SELECT RAISE(ABORT, 'written'); END")
        assert registry.keep_feed(FeedState(checked_at=NOW), expected=0)
        with pytest.raises(StoreUnavailable):
            registry.keep_feed(FeedState(offered=b"{}"), expected=1)
        # The transaction is one: neither part was kept.
        assert registry.feed() == (FeedState(checked_at=NOW), 1)


def test_does_not_create_its_file_where_it_must_not(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="The trust database"):
        SqliteTrustRegistry(path, create=False)
    assert not path.parent.exists()
    with opened(path) as registry:
        registry.decide(OperatorDecisions(), EVENT, expected=0)
        with closing(SqliteTrustRegistry(path, create=False)) as other:
            assert other.audit_log(most=1) == (EVENT,)


def test_another_writer_is_waited_for_and_then_named(path: Path) -> None:
    with opened(path, busy_timeout=timedelta(seconds=0.05)) as registry, administering(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for call in (CALLS[2], CALLS[4], CALLS[5], CALLS[8], CALLS[11]):
            with pytest.raises(StoreUnavailable, match="The trust database is locked by another writer"):
                call(registry)
        assert registry.revision() == 0
        connection.execute("ROLLBACK")
        assert registry.decide(OperatorDecisions(), EVENT, expected=0)


@pytest.mark.parametrize(
    ("damage", "call"),
    [
        ("UPDATE decisions SET decisions = '[]'", CALLS[1]),
        ("DELETE FROM decisions", CALLS[0]),
        ("UPDATE issuers SET observation = '[1]'", CALLS[3]),
        ("UPDATE issuers SET authorities = '[2,[]]'", CALLS[3]),
        ("UPDATE issuers SET documents = 0", CALLS[3]),
        ("UPDATE issuers SET first_seen = 9223372036854775807", CALLS[3]),
        ("UPDATE issuers SET first_seen = last_seen + 1", CALLS[3]),
        ("UPDATE events SET event = 'null'", CALLS[7]),
        ("UPDATE nonconforming SET latest = '[1]'", CALLS[9]),
        ("UPDATE nonconforming SET documents = 0", CALLS[9]),
        ("UPDATE nonconforming SET first_seen = last_seen + 1", CALLS[9]),
        ("UPDATE feed_files SET record = '[1]'", CALLS[10]),
        ("UPDATE feed_look SET record = '[2,null,\"\"]'", CALLS[10]),
        ("DELETE FROM feed_files", CALLS[10]),
        ("DELETE FROM feed_look", CALLS[10]),
        ("DROP TABLE decisions", CALLS[0]),
        ("DROP TABLE claims", CALLS[6]),
    ],
)
def test_what_we_did_not_write_is_unavailable(path: Path, damage: str, call: Callable[[TrustRegistry], object]) -> None:
    with opened(path) as registry, administering(path) as connection:
        registry.decide(OperatorDecisions(), EVENT, expected=0)
        registry.record(OBSERVATION, [b"der"])
        registry.record_nonconforming(NONCONFORMING)
        connection.execute(damage)
        with pytest.raises(StoreUnavailable, match="The trust "):
            call(registry)


def test_a_decision_that_cannot_be_audited_is_not_in_force(path: Path) -> None:
    with opened(path) as registry, administering(path) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END")
        decided = OperatorDecisions(denials=Denials(spki_sha256=frozenset({"ab"})))
        with pytest.raises(StoreUnavailable):
            registry.decide(decided, EVENT, expected=0)
        assert registry.decisions() == (OperatorDecisions(), 0)
        connection.execute("DROP TRIGGER full")
        assert registry.decide(decided, EVENT, expected=0)


def test_a_forked_child_opens_connections_of_its_own(path: Path) -> None:
    with opened(path) as registry:
        registry.record(OBSERVATION, [])
        child = os.fork()
        if child == 0:
            status = 1
            with suppress(BaseException):
                status = 2 if registry.record(OBSERVATION, []) else 0
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [found.documents for found in registry.discovered()] == [2]

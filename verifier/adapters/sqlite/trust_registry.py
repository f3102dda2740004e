"""Store the trust registry in its own SQLite file, which the threads and worker processes of one host share.

Do not use it on a network file system. Several hosts need verifier.adapters.redis.trust_registry.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from verifier.adapters.clock import SystemClock
from verifier.adapters.records import trust as records
from verifier.adapters.records.feed import decode_feed, encode_feed_files, encode_feed_look
from verifier.adapters.records.nonces import encode_text, microseconds
from verifier.adapters.sqlite.files import BUSY_TIMEOUT, Layout, SqliteFile
from verifier.core.discovery import DiscoveredIssuer, IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.ports.stores import StoreUnavailable
from verifier.ports.trust import (
    MAX_AUDIT_EVENTS,
    MAX_DISCOVERED,
    MAX_NONCONFORMING,
    FeedState,
    NonconformingRecord,
    TrustAuditEvent,
)

# Two tables, so that a look at the feed rewrites its files only if they change.
_FEED = (
    """
    CREATE TABLE feed_files (  -- one row
        one    INTEGER PRIMARY KEY CHECK (one = 1),
        record TEXT NOT NULL  -- encode_feed_files
    ) STRICT
    """,
    """
    CREATE TABLE feed_look (  -- one row
        one      INTEGER PRIMARY KEY CHECK (one = 1),
        revision INTEGER NOT NULL,
        record   TEXT    NOT NULL  -- encode_feed_look
    ) STRICT
    """,
    f"INSERT INTO feed_files VALUES (1, '{encode_feed_files(FeedState())}')",  # noqa: S608 -- of constants
    f"INSERT INTO feed_look VALUES (1, 0, '{encode_feed_look(FeedState())}')",  # noqa: S608 -- of constants
)

_LAYOUT = Layout(
    name="trust",
    version=4,
    upgrades={3: _FEED},
    application_id=0x696D7472,  # "imtr"
    statements=(
        """
        CREATE TABLE decisions (  -- one row
            one       INTEGER PRIMARY KEY CHECK (one = 1),
            revision  INTEGER NOT NULL,
            decisions TEXT    NOT NULL  -- encode_decisions
        ) STRICT
        """,
        f"INSERT INTO decisions VALUES (1, 0, '{records.encode_decisions(OperatorDecisions())}')",  # noqa: S608 -- of constants
        """
        CREATE TABLE issuers (
            id          TEXT    NOT NULL PRIMARY KEY,
            observation    TEXT    NOT NULL,  -- encode_observation: the latest
            first_seen  INTEGER NOT NULL,  -- microseconds since 1970, UTC
            last_seen   INTEGER NOT NULL,  -- likewise
            documents   INTEGER NOT NULL,
            authorities TEXT               -- encode_authorities, if any were checked
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX issuers_by_giving_way ON issuers (authorities IS NOT NULL, last_seen, id)",
        """
        CREATE TABLE nonconforming (
            id         TEXT    NOT NULL PRIMARY KEY,  -- nonconforming_id
            latest     TEXT    NOT NULL,  -- encode_nonconforming
            first_seen INTEGER NOT NULL,  -- microseconds since 1970, UTC
            last_seen  INTEGER NOT NULL,  -- likewise
            documents  INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE events (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            event  TEXT NOT NULL  -- encode_event
        ) STRICT
        """,
        """
        CREATE TABLE claims (
            name  TEXT    NOT NULL PRIMARY KEY,  -- encode_text
            until INTEGER NOT NULL               -- microseconds since 1970, UTC
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX claims_by_until ON claims (until)",
        *_FEED,
    ),
)

_DECIDE = """
    UPDATE decisions SET decisions = :decisions, revision = revision + 1 WHERE revision = :expected RETURNING 1
"""

_KEEP_LOOK = """
    UPDATE feed_look SET record = :look, revision = revision + 1 WHERE revision = :expected RETURNING 1
"""

_RECORD = """
    INSERT INTO issuers (id, observation, first_seen, last_seen, documents, authorities)
    VALUES (:id, :observation, :seen_at, :seen_at, 1, :authorities)
    ON CONFLICT (id) DO UPDATE SET
        observation = CASE WHEN excluded.last_seen >= last_seen THEN excluded.observation ELSE observation END,
        first_seen = min(first_seen, excluded.first_seen),
        last_seen = max(last_seen, excluded.last_seen),
        documents = documents + 1,
        authorities = coalesce(excluded.authorities, authorities)
"""

# Issuers without checked authorities are removed first, and among them the least recently seen.
_GIVE_WAY = """
    DELETE FROM issuers WHERE id IN (
        SELECT id FROM issuers ORDER BY authorities IS NOT NULL, last_seen, id
        LIMIT max(0, (SELECT count(*) FROM issuers) - :most)
    )
"""

_RECORD_NONCONFORMING = """
    INSERT INTO nonconforming (id, latest, first_seen, last_seen, documents)
    VALUES (:id, :latest, :seen_at, :seen_at, 1)
    ON CONFLICT (id) DO UPDATE SET
        latest = CASE WHEN excluded.last_seen >= last_seen THEN excluded.latest ELSE latest END,
        first_seen = min(first_seen, excluded.first_seen),
        last_seen = max(last_seen, excluded.last_seen),
        documents = documents + 1
    RETURNING documents
"""

_FORGET_NONCONFORMING = """
    DELETE FROM nonconforming WHERE id IN (
        SELECT id FROM nonconforming ORDER BY last_seen, id
        LIMIT max(0, (SELECT count(*) FROM nonconforming) - :most)
    )
"""

_CLAIM = "INSERT INTO claims (name, until) VALUES (:name, :until) ON CONFLICT (name) DO NOTHING RETURNING 1"

_EVENTS = "SELECT event FROM events ORDER BY number DESC LIMIT ?"

_MACHINE_CLOCK = SystemClock().now


class SqliteTrustRegistry:
    """Implement the TrustRegistry port in the file at `path`, which SqliteFile creates and shares.

    The file must not be the file of the nonces. Construction raises StoreUnavailable and ValueError as SqliteFile does,
    and StoreUnavailable if `create` is false and the file is missing. `clock` is used for claims only.
    Not checked: that the clock is not set back, which makes claims last longer.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout: timedelta = BUSY_TIMEOUT,
        clock: Callable[[], datetime] = _MACHINE_CLOCK,
        create: bool = True,
    ) -> None:
        self._file = SqliteFile(path, _LAYOUT, busy_timeout=busy_timeout, create=create)
        self._clock = clock

    def revision(self) -> int:
        return self._stored_decisions()[1]

    def decisions(self) -> tuple[OperatorDecisions, int]:
        decisions, revision = self._stored_decisions()
        return records.decode_decisions(decisions), revision

    def decide(self, decisions: OperatorDecisions, event: TrustAuditEvent, *, expected: int) -> bool:
        """Store the decisions in one transaction. Return false if the revision is not the expected one."""
        row = {"decisions": records.encode_decisions(decisions), "expected": expected}
        encoded = records.encode_event(event)
        with self._file.transaction() as connection:
            decided = bool(connection.execute(_DECIDE, row).fetchall())
            if decided:
                number = connection.execute("INSERT INTO events (event) VALUES (?)", (encoded,)).lastrowid
                connection.execute("DELETE FROM events WHERE number <= ? - ?", (number, MAX_AUDIT_EVENTS))
        return decided

    def feed(self) -> tuple[FeedState, int]:
        with self._file.connection() as connection:
            rows: list[tuple[str, str, int]] = connection.execute(
                "SELECT feed_files.record, feed_look.record, feed_look.revision FROM feed_files JOIN feed_look"
            ).fetchall()
        if not rows:
            raise StoreUnavailable("The trust database is damaged: the state of the feed is missing.")
        [(files, look, revision)] = rows
        return decode_feed(files, look), revision

    def keep_feed(self, state: FeedState, *, expected: int) -> bool:
        row = {
            "files": encode_feed_files(state),
            "look": encode_feed_look(state),
            "expected": expected,
        }
        with self._file.transaction() as connection:
            kept = bool(connection.execute(_KEEP_LOOK, row).fetchall())
            if kept:
                connection.execute("UPDATE feed_files SET record = :files WHERE record <> :files", row)
        return kept

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        with self._file.connection() as connection:
            rows = connection.execute(
                "SELECT observation, first_seen, documents, authorities FROM issuers ORDER BY last_seen DESC, id DESC"
            ).fetchall()
        return tuple(
            records.discovered_issuer(observation, first_seen=first_seen, documents=documents, authorities=authorities)
            for observation, first_seen, documents, authorities in rows
        )

    def record(self, observation: IssuerObservation, authorities: Sequence[bytes]) -> bool:
        """Record the observation, with bounded texts (bound_observation) and at most MAX_AUTHORITIES authorities.

        New checked authorities replace the stored ones and increase the revision.
        """
        bounded = records.bound_observation(observation)
        row = {
            "id": bounded.id,
            "observation": records.encode_observation(bounded),
            "seen_at": microseconds(bounded.seen_at),
            "authorities": records.encode_authorities(authorities[: records.MAX_AUTHORITIES]) if authorities else None,
        }
        with self._file.transaction() as connection:
            known = connection.execute("SELECT authorities FROM issuers WHERE id = :id", row).fetchall()
            is_new = not known
            are_new = row["authorities"] is not None and known != [(row["authorities"],)]
            connection.execute(_RECORD, row)
            connection.execute(_GIVE_WAY, {"most": MAX_DISCOVERED})
            if are_new:
                connection.execute("UPDATE decisions SET revision = revision + 1")
        return is_new or are_new

    def record_nonconforming(self, document: NonconformingDocument) -> bool:
        """Record the document with bounded texts (bound_nonconforming)."""
        bounded = records.bound_nonconforming(document)
        row = {
            "id": records.nonconforming_id(bounded),
            "latest": records.encode_nonconforming(bounded),
            "seen_at": microseconds(bounded.seen_at),
        }
        with self._file.transaction() as connection:
            [(documents,)] = connection.execute(_RECORD_NONCONFORMING, row).fetchall()
            connection.execute(_FORGET_NONCONFORMING, {"most": MAX_NONCONFORMING})
        return bool(documents == 1)

    def nonconforming(self) -> tuple[NonconformingRecord, ...]:
        with self._file.connection() as connection:
            rows = connection.execute(
                "SELECT latest, first_seen, documents FROM nonconforming ORDER BY last_seen DESC, id DESC"
            ).fetchall()
        return tuple(
            records.nonconforming_record(latest, first_seen=first_seen, documents=documents)
            for latest, first_seen, documents in rows
        )

    def claim(self, name: str, *, lasting: timedelta) -> bool:
        """Claim the name, and remove the claims that have expired."""
        if lasting <= timedelta(0):
            raise ValueError("lasting is not positive")
        with self._file.transaction() as connection:
            # Read the clock inside the transaction, so that a later writer never has an earlier time.
            now = self._clock()
            connection.execute("DELETE FROM claims WHERE until <= ?", (microseconds(now),))
            row = {"name": encode_text(name), "until": microseconds(now + lasting)}
            claimed = connection.execute(_CLAIM, row).fetchall()
        return bool(claimed)

    def is_claimed(self, name: str) -> bool:
        with self._file.connection() as connection:
            row = {"name": encode_text(name), "now": microseconds(self._clock())}
            found = connection.execute("SELECT 1 FROM claims WHERE name = :name AND until > :now", row).fetchall()
        return bool(found)

    def audit_log(self, *, most: int) -> tuple[TrustAuditEvent, ...]:
        with self._file.connection() as connection:
            rows = connection.execute(_EVENTS, (max(0, most),)).fetchall()  # SQLite treats a negative limit as no limit
        return tuple(records.decode_event(event) for (event,) in rows)

    def _stored_decisions(self) -> tuple[str, int]:
        with self._file.connection() as connection:
            rows: list[tuple[str, int]] = connection.execute("SELECT decisions, revision FROM decisions").fetchall()
        if not rows:
            raise StoreUnavailable("The trust database is damaged: its decisions are missing.")
        return rows[0]

    def close(self) -> None:
        self._file.close()

"""The embedded nonce store: one SQLite file, shared by the threads and the worker processes of one host.

Not for a network file system (its locks and its shared memory do not reach there), and not for several hosts: they
want verifier.adapters.redis.nonce_store.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from verifier.adapters.records.nonces import decode_record, encode_record, encode_text, microseconds
from verifier.adapters.sqlite.files import BUSY_TIMEOUT, MINIMUM_SQLITE, Layout, SqliteFile, give_back
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.ports.stores import DocumentKey, NonceKey

__all__ = ["BUSY_TIMEOUT", "FORGET_BATCH", "MINIMUM_SQLITE", "SqliteNonceStore"]

#: How many forgotten nonces one issue removes at most: more than the one that it adds, so that the file stops
#: growing, and few enough that no single caller pays for a night's worth.
FORGET_BATCH = 16

_LAYOUT = Layout(
    name="nonce",
    version=1,
    application_id=0,
    statements=(
        """
        CREATE TABLE nonces (
            tenant    TEXT    NOT NULL,  -- encode_text
            nonce     TEXT    NOT NULL,  -- encode_text; of a document that answered none: `document:`, and its digest
            record    TEXT    NOT NULL,  -- encode_record
            forget_at INTEGER NOT NULL,  -- microseconds since 1970, UTC
            uses      INTEGER NOT NULL,  -- redemptions so far; the first is the only one that counted
            PRIMARY KEY (tenant, nonce)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX nonces_by_forget_at ON nonces (forget_at)",
    ),
)

_FORGET = """
    DELETE FROM nonces WHERE (tenant, nonce) IN
        (SELECT tenant, nonce FROM nonces WHERE forget_at <= :now ORDER BY forget_at LIMIT :batch)
"""

# An entry that is forgotten, and only not yet removed, gives way as if it were not there.
_ENTER = """
    INSERT INTO nonces (tenant, nonce, record, forget_at, uses) VALUES (:tenant, :nonce, :record, :forget_at, :uses)
    ON CONFLICT (tenant, nonce) DO UPDATE
        SET record = excluded.record, forget_at = excluded.forget_at, uses = excluded.uses
        WHERE nonces.forget_at <= :now
    RETURNING 1
"""

# One statement, hence one transaction: SQLite admits one writer at a time, so exactly one of any callers reads 1.
_REDEEM = """
    UPDATE nonces SET uses = uses + 1 WHERE tenant = :tenant AND nonce = :nonce AND forget_at > :now
    RETURNING uses, record
"""

# Looks for a row that is not there, as a writer: BEGIN IMMEDIATE alone succeeds on a read-only database.
_PROBE = "UPDATE nonces SET uses = uses WHERE tenant = '' AND nonce = ''"


class SqliteNonceStore:
    """A NonceStore in the file at `path`, which is made, shared between threads and processes, and faulted as
    SqliteFile says: StoreUnavailable and ValueError at construction too."""

    def __init__(self, path: Path, *, busy_timeout: timedelta = BUSY_TIMEOUT) -> None:
        self._file = SqliteFile(path, _LAYOUT, busy_timeout=busy_timeout)
        self._connection = self._file.connection

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        """As the port says. Removes a few of the forgotten, and gives a little of the room that they leave back, in the
        same transaction, hence with the same flush."""
        row: dict[str, str | int] = {"nonce": encode_text(key.nonce), "record": encode_record(record), "uses": 0}
        return self._enter(key.tenant, row, keep=keep, now=now)

    def redeem(self, key: NonceKey, *, now: datetime) -> Redemption:
        """As the port says. The answer is on the disk before it is given."""
        row = {"tenant": encode_text(key.tenant), "nonce": encode_text(key.nonce), "now": microseconds(now)}
        with self._connection() as connection:
            # The statement commits when its last row is fetched, so nothing is concluded before fetchall returns.
            found = connection.execute(_REDEEM, row).fetchall()
        match found:
            case []:
                return UnknownNonce()
            case [(1, str(encoded))]:
                return FirstUse(record=decode_record(encoded))
            case _:
                return AlreadyUsed()

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        """As the port says, and as issue does. No nonce meets a document: encode_text leaves no colon."""
        row: dict[str, str | int] = {"nonce": f"document:{encode_text(key.digest)}", "record": "", "uses": 1}
        return self._enter(key.tenant, row, keep=keep, now=now)

    def _enter(self, tenant: str, row: Mapping[str, str | int], *, keep: timedelta, now: datetime) -> bool:
        """Whether the row is entered, where none with its names is remembered."""
        if keep <= timedelta(0):
            raise ValueError("keep is not positive")
        known = {"tenant": encode_text(tenant), "forget_at": microseconds(now + keep), "now": microseconds(now)}
        with self._file.transaction() as connection:
            connection.execute(_FORGET, {"now": known["now"], "batch": FORGET_BATCH})
            entered = connection.execute(_ENTER, {**row, **known}).fetchall()
            give_back(connection)
        return bool(entered)

    def ping(self) -> None:
        """Returns where the table can be read and may be written to. Not checked: that the disk has room."""
        with self._connection() as connection:
            connection.execute(_PROBE)

    def close(self) -> None:
        """Closes the connection of this process, which no thread of it is using. The next call opens another."""
        self._file.close()

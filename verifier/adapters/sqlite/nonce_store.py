"""Store nonces in one SQLite file, which the threads and worker processes of one host share.

Do not use it on a network file system, which does not support SQLite's locks and shared memory. Several hosts need
verifier.adapters.redis.nonce_store.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from verifier.adapters.records.nonces import decode_record, encode_record, encode_text, microseconds
from verifier.adapters.sqlite.files import BUSY_TIMEOUT, Layout, SqliteFile, give_back
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.ports.stores import DocumentKey, NonceKey

#: The number of expired nonces that one call removes. It is more than the one that the call adds, so that the file does
#: not grow, and small enough that one caller does not pay for a large backlog.
FORGET_BATCH = 16

_LAYOUT = Layout(
    name="nonce",
    version=1,
    application_id=0,
    statements=(
        """
        CREATE TABLE nonces (
            tenant    TEXT    NOT NULL,  -- encode_text
            nonce     TEXT    NOT NULL,  -- encode_text; for a document without a nonce: `document:` and its digest
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

# A new entry replaces an expired one that is not yet removed.
_ENTER = """
    INSERT INTO nonces (tenant, nonce, record, forget_at, uses) VALUES (:tenant, :nonce, :record, :forget_at, :uses)
    ON CONFLICT (tenant, nonce) DO UPDATE
        SET record = excluded.record, forget_at = excluded.forget_at, uses = excluded.uses
        WHERE nonces.forget_at <= :now
    RETURNING 1
"""

# A single statement is a transaction. SQLite admits one writer at a time, so exactly one caller reads 1.
# `max`: the store forgets a nonce no earlier if the clock is set back.
_REDEEM = """
    UPDATE nonces SET uses = uses + 1, forget_at = max(forget_at, :forget_at)
    WHERE tenant = :tenant AND nonce = :nonce AND forget_at > :now
    RETURNING uses, record
"""

# Updates a row that does not exist. BEGIN IMMEDIATE alone succeeds on a read-only database.
_PROBE = "UPDATE nonces SET uses = uses WHERE tenant = '' AND nonce = ''"


class SqliteNonceStore:
    """Implement the NonceStore port in the file at `path`, which SqliteFile creates and shares.

    Construction raises StoreUnavailable and ValueError as SqliteFile does.
    """

    def __init__(self, path: Path, *, busy_timeout: timedelta = BUSY_TIMEOUT) -> None:
        self._file = SqliteFile(path, _LAYOUT, busy_timeout=busy_timeout)
        self._connection = self._file.connection

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        """Store the nonce. The same transaction removes a few expired nonces and returns some of their disk space."""
        row: dict[str, str | int] = {"nonce": encode_text(key.nonce), "record": encode_record(record), "uses": 0}
        return self._enter(key.tenant, row, keep=keep, now=now)

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:
        """Redeem the nonce. The redemption is on the disk before the method returns."""
        row = {"tenant": encode_text(key.tenant), "nonce": encode_text(key.nonce), **_times(keep, now)}
        with self._connection() as connection:
            # The statement commits when the last row is fetched, so use the result only after fetchall.
            found = connection.execute(_REDEEM, row).fetchall()
        match found:
            case []:
                return UnknownNonce()
            case [(1, str(encoded))]:
                return FirstUse(record=decode_record(encoded))
            case _:
                return AlreadyUsed()

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        """Remember the document. Its key has a colon, which encode_text escapes, so it is different from all nonces."""
        row: dict[str, str | int] = {"nonce": f"document:{encode_text(key.digest)}", "record": "", "uses": 1}
        return self._enter(key.tenant, row, keep=keep, now=now)

    def _enter(self, tenant: str, row: Mapping[str, str | int], *, keep: timedelta, now: datetime) -> bool:
        """Insert the row. Return false if an unexpired row has the same key."""
        known = {"tenant": encode_text(tenant), **_times(keep, now)}
        with self._file.transaction() as connection:
            connection.execute(_FORGET, {"now": known["now"], "batch": FORGET_BATCH})
            entered = connection.execute(_ENTER, {**row, **known}).fetchall()
            give_back(connection)
        return bool(entered)

    def ping(self) -> None:
        """Raise StoreUnavailable unless the table can be read and written. Not checked: that the disk has space."""
        with self._connection() as connection:
            connection.execute(_PROBE)

    def close(self) -> None:
        """Close the connection of this process while no thread uses it. The next call opens another one."""
        self._file.close()


def _times(keep: timedelta, now: datetime) -> dict[str, int]:
    if keep <= timedelta(0):
        raise ValueError("keep is not positive")
    return {"now": microseconds(now), "forget_at": microseconds(now + keep)}

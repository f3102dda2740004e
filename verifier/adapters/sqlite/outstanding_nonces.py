"""Count outstanding nonces in one SQLite file, which the workers of one host share."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from verifier.adapters.records.nonces import encode_text
from verifier.adapters.records.outstanding import check_reservation
from verifier.adapters.sqlite.files import BUSY_TIMEOUT, Layout, SqliteFile, give_back

_MICROSECOND = timedelta(microseconds=1)
#: The number of expired rows that one reservation removes: more than the one that it adds, and few enough for a caller.
_FORGET_BATCH = 16

_LAYOUT = Layout(
    name="outstanding nonces",
    version=1,
    application_id=0x494D564F,  # IMVO
    statements=(
        """
        CREATE TABLE outstanding (
            holder      TEXT    NOT NULL,  -- encode_text of the group
            nonce       TEXT    NOT NULL,  -- encode_text
            expires_at  INTEGER NOT NULL,  -- microseconds since 1970
            PRIMARY KEY (holder, nonce)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX outstanding_by_holder ON outstanding (holder, expires_at)",
        "CREATE INDEX outstanding_by_expires_at ON outstanding (expires_at)",
    ),
    # A power cut loses the last counts. They are worth less than a flush for each nonce.
    flushed=False,
)
_FORGET = """
    DELETE FROM outstanding WHERE (holder, nonce) IN
        (SELECT holder, nonce FROM outstanding WHERE expires_at <= :now ORDER BY expires_at LIMIT :batch)
"""
# The row of which the expiry leaves fewer than `limit`: there is none if there are fewer already.
_FREEING = """
    SELECT expires_at FROM outstanding WHERE holder = :holder AND expires_at > :now
    ORDER BY expires_at DESC LIMIT 1 OFFSET :limit - 1
"""
_RESERVE = "INSERT OR REPLACE INTO outstanding (holder, nonce, expires_at) VALUES (:holder, :nonce, :expires_at)"
_RELEASE = "DELETE FROM outstanding WHERE holder = :holder AND nonce = :nonce"


class SqliteOutstandingNonces:
    """Count nonces in the file at `path`, which SqliteFile makes and shares. Implements the OutstandingNonces port.

    `now` returns seconds since 1970.
    """

    def __init__(
        self, path: Path, *, busy_timeout: timedelta = BUSY_TIMEOUT, now: Callable[[], float] = time.time
    ) -> None:
        self._file = SqliteFile(path, _LAYOUT, busy_timeout=busy_timeout)
        self._now = now

    def reserve(self, group: str, nonce: str, *, limit: int, lifetime: timedelta) -> timedelta | None:
        """Count the nonce as the port says, and remove a few rows that have expired."""
        check_reservation(group, limit=limit, lifetime=lifetime)
        with self._file.transaction() as connection:
            # Read the clock after the wait for other writers.
            now = int(self._now() * 1_000_000)
            row = {
                "holder": encode_text(group),
                "nonce": encode_text(nonce),
                "now": now,
                "expires_at": now + lifetime // _MICROSECOND,
                "limit": limit,
                "batch": _FORGET_BATCH,
            }
            connection.execute(_FORGET, row)
            freeing = connection.execute(_FREEING, row).fetchall()
            if not freeing:
                connection.execute(_RESERVE, row)
            give_back(connection)
        return (freeing[0][0] - now) * _MICROSECOND if freeing else None

    def release(self, group: str, nonce: str) -> None:
        """Count the nonce no longer."""
        with self._file.transaction() as connection:
            connection.execute(_RELEASE, {"holder": encode_text(group), "nonce": encode_text(nonce)})

    def close(self) -> None:
        self._file.close()

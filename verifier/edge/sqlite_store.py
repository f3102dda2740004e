"""The embedded nonce store: one SQLite file, shared by the threads and the worker processes of one host.

Not for a network file system (its locks and its shared memory do not reach there), and not for several hosts: they
want verifier.edge.redis_store.
"""

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from verifier.core.model import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.edge.nonce_records import decode_record, encode_record, encode_text, microseconds
from verifier.ports import NonceKey, StoreUnavailable

#: RETURNING came with 3.35, STRICT tables with 3.37 (both 2021).
MINIMUM_SQLITE = (3, 37, 0)

#: How long a call waits for other writers before it says that the store is away.
BUSY_TIMEOUT = timedelta(seconds=5)

#: How many forgotten nonces one issue removes at most: more than the one that it adds, so that the file stops
#: growing, and few enough that no single caller pays for a night's worth.
FORGET_BATCH = 16

_SCHEMA_VERSION = 1

_SCHEMA = (
    """
    CREATE TABLE nonces (
        tenant    TEXT    NOT NULL,  -- encode_text
        nonce     TEXT    NOT NULL,  -- encode_text
        record    TEXT    NOT NULL,  -- encode_record
        forget_at INTEGER NOT NULL,  -- microseconds since 1970, UTC
        uses      INTEGER NOT NULL,  -- redemptions so far; the first is the only one that counted
        PRIMARY KEY (tenant, nonce)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX nonces_by_forget_at ON nonces (forget_at)",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)

_FORGET = """
    DELETE FROM nonces WHERE (tenant, nonce) IN
        (SELECT tenant, nonce FROM nonces WHERE forget_at <= :now ORDER BY forget_at LIMIT :batch)
"""

# An entry that is forgotten, and only not yet removed, gives way as if it were not there.
_ISSUE = """
    INSERT INTO nonces (tenant, nonce, record, forget_at, uses) VALUES (:tenant, :nonce, :record, :forget_at, 0)
    ON CONFLICT (tenant, nonce) DO UPDATE
        SET record = excluded.record, forget_at = excluded.forget_at, uses = 0 WHERE nonces.forget_at <= :now
    RETURNING 1
"""

# One statement, hence one transaction: SQLite admits one writer at a time, so exactly one of any callers reads 1.
_REDEEM = """
    UPDATE nonces SET uses = uses + 1 WHERE tenant = :tenant AND nonce = :nonce AND forget_at > :now
    RETURNING uses, record
"""

# Looks for a row that is not there, as a writer: BEGIN IMMEDIATE alone succeeds on a read-only database.
_PROBE = "UPDATE nonces SET uses = uses WHERE tenant = '' AND nonce = ''"

#: What an operator is told, by SQLite's primary result code. No message of SQLite's own is repeated.
_DETAILS = {
    sqlite3.SQLITE_BUSY: "The nonce database is locked by another writer.",
    sqlite3.SQLITE_LOCKED: "The nonce database is locked by another writer.",
    sqlite3.SQLITE_FULL: "The disk of the nonce database is full.",
    sqlite3.SQLITE_READONLY: "The nonce database is read-only.",
    sqlite3.SQLITE_PERM: "The nonce database may not be accessed: permission denied.",
    sqlite3.SQLITE_CANTOPEN: "The nonce database cannot be opened: it is missing, or permission is denied.",
    sqlite3.SQLITE_NOTADB: "The nonce database is not a database.",
    sqlite3.SQLITE_CORRUPT: "The nonce database is damaged.",
    sqlite3.SQLITE_IOERR: "The disk of the nonce database fails to read or write.",
}


class _Process:
    """What one process has of the store: a connection, the file (device, inode) that it was opened on, and the turn of
    its threads. One connection is enough where each operation writes and SQLite lets one writer in: threads that wait
    here go on at once when it is their turn, whereas SQLite's own waiting sleeps ever longer."""

    __slots__ = ("connection", "file", "turn")

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.connection: sqlite3.Connection | None = None
        self.file = (0, 0)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class SqliteNonceStore:
    """A NonceStore in the file at `path`, made with its directory where it is not there yet (modes 0600 and 0700).

    A connection is opened at the first call in each process and used there alone, by one thread at a time, so the
    store may be built before gunicorn forks. Construction leaves none open. A call waits `busy_timeout` at most for
    the other threads of its process, and as long for the other processes.

    Raises StoreUnavailable where the file cannot be made or read, is not a nonce database of this schema version, or
    SQLite is too old; ValueError for `:memory:`, in which every process would have nonces of its own.
    Not checked: that the modes of a file or directory that was there before are as narrow.
    """

    def __init__(self, path: Path, *, busy_timeout: timedelta = BUSY_TIMEOUT) -> None:
        if str(path) == ":memory:":
            raise ValueError("the nonce store needs a file: a database in memory is neither shared nor kept")
        if busy_timeout <= timedelta(0):
            raise ValueError("busy_timeout is not positive")
        _require(sqlite3.sqlite_version_info)
        self._path = path.absolute()
        self._busy_timeout = busy_timeout
        # By process: what a fork inherited is neither used nor closed in the child (sqlite.org/howtocorrupt.html, 2.6).
        self._processes: dict[int, _Process] = {}
        with _failures_named():
            # The log is looked for first: where it is and the file then is not, no other process is just making both.
            if self._path.with_name(f"{self._path.name}-wal").exists() and not self._path.exists():
                raise StoreUnavailable("The nonce database is gone and its log (-wal) is not: they belong together.")
            if not self._path.exists():
                _create(self._path)
            self._open().close()

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        """As the port says. Removes a few of the forgotten in the same transaction, hence with the same flush."""
        if keep <= timedelta(0):
            raise ValueError("keep is not positive")
        row = {
            "tenant": encode_text(key.tenant),
            "nonce": encode_text(key.nonce),
            "record": encode_record(record),
            "forget_at": microseconds(now + keep),
            "now": microseconds(now),
        }
        with self._connection() as connection:
            # IMMEDIATE takes the writer's place at once: a transaction that began as a reader could lose it midway.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_FORGET, {"now": row["now"], "batch": FORGET_BATCH})
            issued = connection.execute(_ISSUE, row).fetchall()
            connection.execute("COMMIT")
        return bool(issued)

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

    def ping(self) -> None:
        """Returns where the table can be read and may be written to. Not checked: that the disk has room."""
        with self._connection() as connection:
            connection.execute(_PROBE)

    def close(self) -> None:
        """Closes the connection of this process, which no thread of it is using. The next call opens another."""
        process = self._processes.pop(os.getpid(), None)
        if process is not None:
            process.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The connection of this process to the file that is at the path now, for one thread, which waits its turn."""
        process = self._processes.setdefault(os.getpid(), _Process())
        if not process.turn.acquire(timeout=self._busy_timeout.total_seconds()):
            raise StoreUnavailable(_DETAILS[sqlite3.SQLITE_BUSY])
        try:
            with _failures_named():
                file = _identity(self._path)
                # A file that was deleted or replaced lives on behind its open connections, unseen by other workers.
                if process.connection is None or process.file != file:
                    process.close()
                    process.connection, process.file = self._open(), file
                with _closed_on_failure(process):
                    yield process.connection
        finally:
            process.turn.release()

    def _open(self) -> sqlite3.Connection:
        connection = _connect(self._path, timeout=self._busy_timeout)
        with _closed_on_failure(connection):
            [(version,)] = connection.execute("PRAGMA user_version").fetchall()
            if version != _SCHEMA_VERSION:
                raise StoreUnavailable(
                    f"The nonce database has schema version {version}; this release knows {_SCHEMA_VERSION} alone."
                )
        return connection


def _require(version: tuple[int, ...]) -> None:
    if version < MINIMUM_SQLITE:
        raise StoreUnavailable(
            f"SQLite {_dotted(MINIMUM_SQLITE)} or later is needed; this Python has {_dotted(version)}."
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _create(path: Path) -> None:
    """A nonce database is at `path`, whole, whichever of several processes that start at once made it: each makes one
    aside, and the first to link it there has made this one. (To switch one shared file to WAL is not safe to race.)"""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as aside:
        made = Path(aside) / path.name
        made.touch(mode=0o600)  # SQLite gives its log and its shared memory the modes of the file
        with closing(_connect(made, timeout=timedelta(0))) as connection:
            [(mode,)] = connection.execute("PRAGMA journal_mode = WAL").fetchall()
            if mode != "wal":
                raise StoreUnavailable("The nonce database's file system cannot share memory (WAL); use a local one.")
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
        with suppress(FileExistsError):
            path.hardlink_to(made)


def _connect(path: Path, *, timeout: timedelta) -> sqlite3.Connection:
    # mode=rw opens what is there and makes nothing: a database that vanished is a fault, not a fresh start.
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=timeout.total_seconds(),
        isolation_level=None,  # transactions begin and end where this module says so
        check_same_thread=False,  # one thread at a time, but not always the same: _Process.turn sees to it
    )
    with _closed_on_failure(connection):
        # FULL flushes the log at each commit. With NORMAL, WAL may lose the last commits in a power cut, and a used
        # nonce would be an unused one again.
        connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextmanager
def _closed_on_failure(connection: sqlite3.Connection | _Process) -> Iterator[None]:
    """Whatever ends it too early is rolled back and the connection closed, so that nobody goes on from half-way."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(_detail(error)) from error
    except OSError as error:
        raise StoreUnavailable(f"The nonce database cannot be reached: {error.strerror}.") from error


def _detail(error: sqlite3.Error) -> str:
    """One sentence about `error`; without a result code, where the module and not SQLite raised it, a general one."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    # The primary result code is the low octet of the extended one (sqlite.org/rescode.html).
    return _DETAILS.get(code & 0xFF if code is not None else -1, f"The nonce database failed ({name}).")

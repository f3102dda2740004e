"""Open one SQLite file for each embedded store, and share it among the threads and workers of one host.

Do not put the file on a network file system: SQLite's locks and shared memory do not work there.
"""

import dataclasses
import os
import sqlite3
import tempfile
import weakref
from _thread import LockType
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import field
from datetime import timedelta
from pathlib import Path

from verifier.adapters.native_lock import native_lock
from verifier.adapters.sqlite.failures import detail_of, failures_named
from verifier.core.encoding.formats import explain_newer_format
from verifier.core.values import dataclass
from verifier.ports.stores import STORE_SETTING, StoreUnavailable

#: RETURNING came with 3.35, STRICT tables with 3.37 (both 2021).
MINIMUM_SQLITE = (3, 37, 0)

#: How long a call waits for other writers before it raises StoreUnavailable.
BUSY_TIMEOUT = timedelta(seconds=5)

PAGE_BYTES = 4096

#: The approximate maximum length of the log (-wal): 4 MiB. It is SQLite's default, which a build may change.
LOG_PAGES = 1000
#: This many pages (1 MiB) may stay free, so that a file of usual size does not shrink and grow repeatedly.
SPARE_PAGES = 256
#: How many free pages one call returns at most, so that no caller waits until a long backlog is cleared.
GIVE_BACK_PAGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Describe the content of one kind of file. Messages use `name`, as in `The nonce database is read-only.`

    The header of the file has both numbers (PRAGMA user_version, application_id). `version` is that of the tables.
    `application_id` identifies the kind, so that a store does not open a file of another kind.
    """

    name: str
    version: int
    application_id: int
    statements: tuple[str, ...]
    #: The statements that change a file of an earlier version into the next version.
    upgrades: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    #: Whether each commit is on the disk before the call returns. If not, a power failure may lose the last commits.
    flushed: bool = True
    #: Whether deleted rows are overwritten with zeros at once (PRAGMA secure_delete).
    overwritten: bool = False


@dataclasses.dataclass(slots=True, eq=False)
class _Process:
    """The state of one process: its connection, the file (device, inode) of the connection, and a lock for its threads.

    One connection is enough, because each operation writes and SQLite allows one writer. Threads that wait for the lock
    continue at once, whereas SQLite's own waiting sleeps longer and longer.
    """

    turn: LockType = field(default_factory=native_lock)
    connection: sqlite3.Connection | None = None
    file: tuple[int, int] = (0, 0)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def _close_own(processes: dict[int, _Process]) -> None:
    """Close the connection that this process opened, but not one that it inherited from its parent."""
    process = processes.pop(os.getpid(), None)
    if process is not None:
        process.close()


class SqliteFile:
    """Hold the database at `path`. Unless `create` is False, a missing file or directory is created (0600, 0700).

    Each process opens its own connection at its first call, and one thread at a time uses it. Construction leaves no
    connection open, so the store may be created before gunicorn forks. A call waits at most `busy_timeout` for the
    other threads of its process, and again as long for other processes. Errors name the path and `setting`.

    Raises StoreUnavailable if the file cannot be created or read, is not a database of this layout and version, or
    SQLite is too old. Raises ValueError for `:memory:`, because each process would have a separate store.
    Not checked: the modes of an existing file or directory.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        *,
        busy_timeout: timedelta,
        create: bool = True,
        setting: str = STORE_SETTING,
    ) -> None:
        if str(path) == ":memory:":
            raise ValueError(f"the {layout.name} database needs a file: one in memory is neither shared nor kept")
        if busy_timeout <= timedelta(0):
            raise ValueError("busy_timeout is not positive")
        _require(sqlite3.sqlite_version_info)
        self._path = path.absolute()
        self._layout = layout
        self._busy_timeout = busy_timeout
        self._setting = setting
        # By process: a child neither uses nor closes an inherited connection (sqlite.org/howtocorrupt.html, 2.6).
        self._processes: dict[int, _Process] = {}
        # A store that is no longer referenced closes its connection. Not at exit: a thread may still be using it.
        weakref.finalize(self, _close_own, self._processes).atexit = False
        with self._failures_located():
            # Look for the log first: if it exists and the file then does not, no other process is creating both.
            if self._path.with_name(f"{self._path.name}-wal").exists() and not self._path.exists():
                raise StoreUnavailable(
                    f"The {layout.name} database is missing, but its log (-wal) exists. Restore or remove both."
                )
            if create and not self._path.exists():
                _create(self._path, layout)
            self._open().close()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection of this process to the file that is at the path now. Other threads wait until it ends.

        An exception rolls the transaction back. Errors of SQLite are raised as StoreUnavailable.
        """
        process = self._processes.setdefault(os.getpid(), _Process())
        with self._failures_located():
            if not process.turn.acquire(timeout=self._busy_timeout.total_seconds()):
                raise StoreUnavailable(detail_of(self._layout.name, sqlite3.SQLITE_BUSY, ""))
            try:
                file = _identity(self._path)
                # Open connections keep a deleted or replaced file alive, but other workers no longer see that file.
                if process.connection is None or process.file != file:
                    process.close()
                    process.connection, process.file = self._open(), file
                with _closed_on_failure(process):
                    yield process.connection
            finally:
                process.turn.release()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run one write transaction: all of its changes are committed (see Layout.flushed), or none of them."""
        with self.connection() as connection:
            # IMMEDIATE takes the write lock at once: a transaction that began as a reader could fail to get it later.
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read in one transaction, so that all reads see the same state."""
        with self.connection() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    def empty_log(self) -> None:
        """Copy the log (-wal) into the file and truncate it, unless another process reads the file at this moment.

        Deleted content is in the log until then.
        """
        with self.connection() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the connection of this process while no thread uses it. The next call opens another one."""
        _close_own(self._processes)

    @contextmanager
    def _failures_located(self) -> Iterator[None]:
        """Name the file and its setting in every StoreUnavailable."""
        try:
            with failures_named(self._layout.name):
                yield
        except StoreUnavailable as error:
            raise error.located(f"{self._path}, {self._setting}") from error

    def _open(self) -> sqlite3.Connection:
        connection = _connect(self._path, timeout=self._busy_timeout, flushed=self._layout.flushed)
        if self._layout.overwritten:
            connection.execute("PRAGMA secure_delete = ON")
        with _closed_on_failure(connection):
            name, known = self._layout.name, self._layout.version
            [(application_id,)] = connection.execute("PRAGMA application_id").fetchall()
            if application_id != self._layout.application_id:
                raise StoreUnavailable(
                    f"The file of the {name} database is not a {name} database. Each database needs its own file."
                )
            version = _upgrade(connection, self._layout)
            if version != known:
                explained = explain_newer_format(f"The {name} database", version, known)
                oldest = min(self._layout.upgrades, default=known)
                old = f"The {name} database has format {version}, and this release reads none before format {oldest}"
                raise StoreUnavailable(f"{explained or old}.")
        return connection


def _upgrade(connection: sqlite3.Connection, layout: Layout) -> int:
    """Bring the tables to the version of the layout, as far as it has upgrades. Return the version of the file."""
    version = _version(connection)
    if version in layout.upgrades:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have upgraded the file since the first look.
        version = _version(connection)
        while version in layout.upgrades:
            for statement in layout.upgrades[version]:
                connection.execute(statement)
            version += 1
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    return version


def _version(connection: sqlite3.Connection) -> int:
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    return int(version)


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


def _create(path: Path, layout: Layout) -> None:
    """Create a whole database at `path`, also if several processes start at once.

    Each process creates one in a temporary directory, and the first one to link it to `path` wins. Switching one shared
    file to WAL is not safe in a race.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as aside:
        made = Path(aside) / path.name
        made.touch(mode=0o600)  # SQLite gives its log and its shared memory the modes of the file
        with closing(_connect(made, timeout=timedelta(0), flushed=True)) as connection:
            # This must be the first change of the file: later it would need a VACUUM, which copies the whole file.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            [(mode,)] = connection.execute("PRAGMA journal_mode = WAL").fetchall()
            if mode != "wal":
                raise StoreUnavailable(
                    f"The {layout.name} database's file system cannot share memory (WAL); use a local one."
                )
            connection.execute("BEGIN IMMEDIATE")
            for statement in layout.statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {layout.application_id}")
            connection.execute(f"PRAGMA user_version = {layout.version}")
            connection.execute("COMMIT")
        with suppress(FileExistsError):
            path.hardlink_to(made)


def _connect(path: Path, *, timeout: timedelta, flushed: bool) -> sqlite3.Connection:
    # mode=rw creates no file: a database that vanished is a fault, not a fresh start.
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=timeout.total_seconds(),
        isolation_level=None,  # this module begins and ends transactions
        check_same_thread=False,  # different threads use it, but _Process.turn admits one at a time
    )
    with _closed_on_failure(connection):
        # FULL flushes the log at each commit. With NORMAL, a power failure may lose the last commits: a used nonce
        # would be valid again, and a denied certificate would be accepted again.
        connection.execute(f"PRAGMA synchronous = {'FULL' if flushed else 'NORMAL'}")
        # After LOG_PAGES pages, SQLite copies the log into the file and overwrites it. A longer log is truncated.
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_PAGES * PAGE_BYTES}")
    return connection


def give_back(connection: sqlite3.Connection) -> None:
    """Shrink the file by at most GIVE_BACK_PAGES, if more than SPARE_PAGES are free. Call it in a transaction.

    A file of an earlier release does not shrink: its pages are reused.
    """
    [(spare,)] = connection.execute("PRAGMA freelist_count").fetchall()
    for _ in range(min(GIVE_BACK_PAGES, max(0, spare - SPARE_PAGES))):
        # One page at a time: each step frees a page, and Python makes one step for a statement without columns.
        connection.execute("PRAGMA incremental_vacuum(1)")


@contextmanager
def _closed_on_failure(connection: sqlite3.Connection | _Process) -> Iterator[None]:
    """Run one transaction. An exception rolls it back and closes the connection."""
    try:
        yield
    except BaseException:
        connection.close()
        raise

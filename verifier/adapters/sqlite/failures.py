"""Say what failed when SQLite fails, without its own messages."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from verifier.ports.stores import StoreUnavailable

#: The message for the operator, by SQLite's primary result code. SQLite's own messages are not repeated.
_DETAILS = {
    sqlite3.SQLITE_BUSY: "is locked by another writer",
    sqlite3.SQLITE_LOCKED: "is locked by another writer",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_PERM: "may not be accessed: permission denied",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: it is missing, or permission is denied",
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
}
_DISK_DETAILS = {
    sqlite3.SQLITE_FULL: "is full",
    sqlite3.SQLITE_IOERR: "fails to read or write",
}


@contextmanager
def failures_named(database: str) -> Iterator[None]:
    """Raise StoreUnavailable for a failure of SQLite or of the file. Its sentence names the database."""
    try:
        yield
    except sqlite3.Error as error:
        # Without a result code, the module and not SQLite raised it.
        code: int = getattr(error, "sqlite_errorcode", -1)
        name: str = getattr(error, "sqlite_errorname", type(error).__name__)
        raise StoreUnavailable(detail_of(database, code, name)) from error
    except OSError as error:
        raise StoreUnavailable(f"The {database} database cannot be reached: {error.strerror}.") from error


def detail_of(database: str, code: int, name: str) -> str:
    """Return the sentence for this result code of SQLite. `name` is its name there."""
    primary = code & 0xFF if code >= 0 else code  # the low byte of the extended one (sqlite.org/rescode.html)
    if primary in _DISK_DETAILS:
        return f"The disk of the {database} database {_DISK_DETAILS[primary]}."
    return f"The {database} database {_DETAILS.get(primary, f'failed ({name})')}."

"""The counters of `limits` on the embedded store: one SQLite file, shared by the workers of one host."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport

from verifier.edge.sqlite_files import BUSY_TIMEOUT, Layout, SqliteFile
from verifier.ports import StoreUnavailable

_MICROSECONDS = 1_000_000

_LAYOUT = Layout(
    name="rate",
    version=1,
    application_id=0x494D5652,  # IMVR
    statements=(
        """
        CREATE TABLE windows (
            key        TEXT    PRIMARY KEY,
            number     INTEGER NOT NULL,  -- of the window: microseconds since 1970, divided by its length
            current    INTEGER NOT NULL,  -- counted in it
            previous   INTEGER NOT NULL,  -- counted in the one before
            forget_at  INTEGER NOT NULL   -- microseconds since 1970: nothing of it weighs any more
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX windows_by_forget_at ON windows (forget_at)",
    ),
    # Whoever cuts the power has not sent requests: what a crash forgets is worth less than a flush for each request.
    flushed=False,
)
_FORGET = "DELETE FROM windows WHERE forget_at <= ?"
_READ = "SELECT number, current, previous FROM windows WHERE key = ?"
_WRITE = """
    INSERT INTO windows (key, number, current, previous, forget_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET
        number = excluded.number, current = excluded.current, previous = excluded.previous,
        forget_at = excluded.forget_at
"""


class SqliteWindows(Storage, SlidingWindowCounterSupport):
    """The sliding windows of `limits`, in the file at `path`, which is made, shared and faulted as SqliteFile says.

    Windows begin at multiples of their length since 1970. `now` gives seconds since then. A counter from the future,
    after a clock was set back, counts for nothing. Of the library's other strategies there is nothing here.
    """

    STORAGE_SCHEME = None

    def __init__(
        self, path: Path, *, busy_timeout: timedelta = BUSY_TIMEOUT, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__()
        self._file = SqliteFile(path, _LAYOUT, busy_timeout=busy_timeout)
        self._now = now

    @property
    def base_exceptions(self) -> type[Exception]:
        return StoreUnavailable

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """True where `amount` more fit, and are counted; False, and nothing changed, where they do not."""
        with self._file.transaction() as connection:
            # Read inside the transaction: who waited for other writers counts in the window that it then is.
            at = int(self._now() * _MICROSECONDS)
            length = expiry * _MICROSECONDS
            number, gone = divmod(at, length)
            previous, current = _counts(connection.execute(_READ, (key,)).fetchall(), number)
            if previous * (length - gone) // length + current + amount > limit:
                return False
            connection.execute(_FORGET, (at,))
            connection.execute(_WRITE, (key, number, current + amount, previous, (number + 2) * length))
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The count of the window before and the seconds that it still weighs; the same of the current one."""
        with self._file.connection() as connection:
            rows = connection.execute(_READ, (key,)).fetchall()
        number, gone = divmod(int(self._now() * _MICROSECONDS), expiry * _MICROSECONDS)
        previous, current = _counts(rows, number)
        left = expiry - gone / _MICROSECONDS
        return previous, left if previous else 0.0, current, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002 - the signature is the library's
        """Nothing was counted under the key."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM windows WHERE key = ?", (key,))

    def clear(self, key: str) -> None:
        self.clear_sliding_window(key, 0)

    def reset(self) -> int | None:
        """Nothing was counted at all. Returns how many counters there were."""
        with self._file.transaction() as connection:
            return connection.execute("DELETE FROM windows").rowcount

    def check(self) -> bool:
        """Whether the file can be read."""
        try:
            self.get_sliding_window("", 1)
        except StoreUnavailable:
            return False
        return True

    def incr(self, key: str, expiry: int, amount: int = 1) -> NoReturn:
        raise NotImplementedError("fixed windows are not kept here")

    def get(self, key: str) -> NoReturn:
        raise NotImplementedError("fixed windows are not kept here")

    def get_expiry(self, key: str) -> NoReturn:
        raise NotImplementedError("fixed windows are not kept here")

    def close(self) -> None:
        """Closes the connection of this process. The next call opens another."""
        self._file.close()


def _counts(rows: list[tuple[int, int, int]], number: int) -> tuple[int, int]:
    """What was counted in the window before `number`, and in it."""
    match rows:
        case [(found, current, previous)] if found == number:
            return previous, current
        case [(found, current, _)] if found == number - 1:
            return current, 0
        case _:
            return 0, 0

"""Counters of rates on the embedded store: one SQLite file, which the workers of one host share."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from verifier.adapters.records.rates import Taken, Window, length_of, name_of, take
from verifier.adapters.sqlite.files import BUSY_TIMEOUT, Layout, SqliteFile, give_back
from verifier.core.tenancy import Rate

_MICROSECONDS = 1_000_000
#: The number of expired rows that one request removes: more than the one that it adds, and few enough for one caller.
_FORGET_BATCH = 16

_LAYOUT = Layout(
    name="rate",
    version=1,
    application_id=0x494D5652,  # IMVR
    statements=(
        """
        CREATE TABLE windows (
            key        TEXT    PRIMARY KEY,
            number     INTEGER NOT NULL,  -- of the window: microseconds since 1970, divided by its length
            current    INTEGER NOT NULL,  -- requests in this window
            previous   INTEGER NOT NULL,  -- requests in the window before
            forget_at  INTEGER NOT NULL   -- microseconds since 1970: from then on, neither counter has weight
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX windows_by_forget_at ON windows (forget_at)",
    ),
    # A power cut loses the last counts. They are worth less than a flush for each request.
    flushed=False,
)
_FORGET = """
    DELETE FROM windows WHERE key IN (SELECT key FROM windows WHERE forget_at <= ? ORDER BY forget_at LIMIT ?)
"""
_READ = "SELECT number, current, previous FROM windows WHERE key = ?"
_WRITE = "INSERT OR REPLACE INTO windows (key, number, current, previous, forget_at) VALUES (?, ?, ?, ?, ?)"


class SqliteRateCounters:
    """Count requests in the file at `path`, which SqliteFile makes and shares. Implements RateCounters.

    `now` returns seconds since 1970. A counter from the future, after a clock was set back, does not count.
    """

    def __init__(
        self, path: Path, *, busy_timeout: timedelta = BUSY_TIMEOUT, now: Callable[[], float] = time.time
    ) -> None:
        self._file = SqliteFile(path, _LAYOUT, busy_timeout=busy_timeout)
        self._now = now

    def hit(self, key: str, rate: Rate, most: int) -> Taken:
        """Count as many of `most` requests as the rate admits, and remove a few rows that have expired."""
        name, length = name_of(key, rate), length_of(rate)
        with self._file.transaction() as connection:
            # Read the clock after the wait for other writers, which may last until the next window.
            at = int(self._now() * _MICROSECONDS)
            number, gone = divmod(at, length)
            previous, current = _counters(connection.execute(_READ, (name,)).fetchall(), number)
            taken = take(rate, Window(length, gone, previous, current), most)
            if taken.admitted:
                connection.execute(_FORGET, (at, _FORGET_BATCH))
                connection.execute(_WRITE, (name, number, taken.window.current, previous, (number + 2) * length))
                give_back(connection)
        return taken

    def close(self) -> None:
        self._file.close()


def _counters(rows: list[tuple[int, int, int]], number: int) -> tuple[int, int]:
    """Return the counters of the window before `number` and of `number`."""
    match rows:
        case [(found, current, previous)] if found == number:
            return previous, current
        case [(found, current, _)] if found == number - 1:
            return current, 0
        case _:
            return 0, 0

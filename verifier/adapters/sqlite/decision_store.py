"""Keep decisions in one SQLite file, which the threads and worker processes of one host share.

Do not use it on a network file system. Several hosts need verifier.adapters.redis.decision_store.
"""

import shutil
import sqlite3
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path

from verifier.adapters.clock import SystemClock
from verifier.adapters.records.decisions import Entry, decision_of, decode_text, entry_of, filters_of
from verifier.adapters.records.nonces import encode_text, microseconds
from verifier.adapters.sqlite import decision_bounds, vm_counts
from verifier.adapters.sqlite.decision_scan import END, Range, scan
from verifier.adapters.sqlite.files import BUSY_TIMEOUT, Layout, SqliteFile, give_back
from verifier.ports.clock import Clock
from verifier.ports.decisions import (
    DECISION_STORE_SETTING,
    KEEP_DECISIONS,
    KEEP_USAGE,
    AppraisalRecord,
    Decision,
    Dimension,
    Position,
    Scan,
    Selection,
    Usage,
)
from verifier.ports.stores import StoreUnavailable

#: The space on the disk that decisions leave to the other stores. With less, each new decision replaces older ones.
RESERVED_BYTES = 16 * 1024 * 1024

#: The number of decisions that one transaction of `erase` deletes. Appends may run in between.
_ERASE_BATCH = 1000

_LAYOUT = Layout(
    name="decision",
    version=1,
    application_id=0x494D5644,  # IMVD
    overwritten=True,  # an erasure for privacy
    statements=(
        """
        CREATE TABLE tenants (
            id            INTEGER PRIMARY KEY,
            name          TEXT NOT NULL UNIQUE,  -- encode_text
            counted_since INTEGER                -- ordinal of the first day whose VMs are all counted
        ) STRICT
        """,
        """
        CREATE TABLE decisions (
            id              INTEGER PRIMARY KEY AUTOINCREMENT,
            tenant          INTEGER NOT NULL,
            stage           TEXT    NOT NULL,
            at              INTEGER NOT NULL,  -- microseconds since 1970, UTC
            request_id      TEXT    NOT NULL,  -- encode_text, as the others
            vm_id           TEXT    NOT NULL,
            subscription_id TEXT    NOT NULL,
            verdict         TEXT    NOT NULL,
            code            TEXT    NOT NULL,
            plan            TEXT    NOT NULL,
            bytes           INTEGER NOT NULL,  -- of the line and ROW_BYTES
            line            TEXT    NOT NULL   -- line_of
        ) STRICT
        """,
        "CREATE UNIQUE INDEX decisions_by_request ON decisions (tenant, request_id)",
        # The indexes cover the filters, so that a scan reads only the rows that it returns.
        "CREATE INDEX decisions_by_stage ON decisions (tenant, stage, at, id, verdict, code, plan)",
        """
        CREATE INDEX decisions_by_vm ON decisions (tenant, vm_id, at, id, subscription_id, verdict, code, plan)
            WHERE vm_id <> ''
        """,
        """
        CREATE INDEX decisions_by_subscription ON decisions (tenant, subscription_id, at, id, verdict, code, plan)
            WHERE subscription_id <> ''
        """,
        "CREATE INDEX decisions_by_age ON decisions (at)",
        """
        CREATE TABLE totals (
            tenant INTEGER NOT NULL,
            stage  TEXT    NOT NULL,
            bytes  INTEGER NOT NULL,
            PRIMARY KEY (tenant, stage)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TRIGGER decision_deleted AFTER DELETE ON decisions BEGIN
            UPDATE totals SET bytes = bytes - old.bytes WHERE tenant = old.tenant AND stage = old.stage;
        END
        """,
        *vm_counts.STATEMENTS,
    ),
)

_ENTER_TENANT = "INSERT INTO tenants (name) VALUES (:name) ON CONFLICT DO NOTHING"
_TENANT = "SELECT id FROM tenants WHERE name = :name"
_TENANTS = f"""
    SELECT name FROM tenants
    WHERE EXISTS (SELECT 1 FROM totals WHERE tenant = tenants.id AND bytes > 0) OR {vm_counts.HAS_COUNTS}
"""  # noqa: S608 -- of constants

_COLUMNS = "tenant, stage, at, request_id, vm_id, subscription_id, verdict, code, plan, bytes, line"
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# One statement for many rows: each statement of a thread waits for its turn among the threads of the process.
_APPENDS = {
    rows: f"INSERT INTO decisions ({_COLUMNS}) VALUES {', '.join([_ROW] * rows)} ON CONFLICT DO NOTHING"  # noqa: S608 -- of constants
    for rows in (64, 8, 1)
}
_LAST = "SELECT coalesce(max(id), 0) FROM decisions"
# NOT INDEXED: without it, SQLite groups in the order of an index, and reads all of it instead of the new rows.
_ADD_TO_TOTALS = """
    INSERT INTO totals
        SELECT tenant, stage, sum(bytes) FROM decisions NOT INDEXED WHERE id > :last GROUP BY tenant, stage
        ON CONFLICT (tenant, stage) DO UPDATE SET bytes = bytes + excluded.bytes
"""
_FIND = "SELECT at, id, line FROM decisions WHERE tenant = :tenant AND request_id = :request_id AND at >= :since"

_ERASE = """
    DELETE FROM decisions WHERE id IN (
        SELECT id FROM decisions WHERE tenant = :tenant AND {index} = :value AND {index} <> '' LIMIT :rows
    )
"""
_ERASE_VM, _ERASE_SUBSCRIPTION = (_ERASE.format(index=name) for name in ("vm_id", "subscription_id"))


class SqliteDecisionStore:
    """Implement the DecisionStore port in the file at `path`, which SqliteFile creates and shares.

    A tenant's decisions use at most `bytes_per_tenant` in the file, and its counts as much again. `clock` decides what
    is too old. `reserved_bytes` of the disk stay free for the other stores.
    Construction raises StoreUnavailable and ValueError as SqliteFile does.
    Not checked: that free pages of the file and of its log hold no more bytes of an erased decision.
    """

    def __init__(
        self,
        path: Path,
        *,
        bytes_per_tenant: int,
        busy_timeout: timedelta = BUSY_TIMEOUT,
        clock: Clock | None = None,
        reserved_bytes: int = RESERVED_BYTES,
    ) -> None:
        if bytes_per_tenant <= 0:
            raise ValueError("bytes_per_tenant is not positive")
        self._file = SqliteFile(path, _LAYOUT, busy_timeout=busy_timeout, setting=DECISION_STORE_SETTING)
        self._directory = path.absolute().parent
        self._place = f"{path.absolute()}, {DECISION_STORE_SETTING}"
        self._bytes_per_tenant = bytes_per_tenant
        self._clock = clock or SystemClock()
        self._reserved_bytes = reserved_bytes

    def append(self, records: Sequence[AppraisalRecord]) -> None:
        """Keep all records in one transaction, or none. It also deletes some of the rows that are beyond a bound.

        If the disk is short of space, each new decision replaces older ones of its tenant. The error then means that
        some of the records found none to replace. The others are kept.
        """
        entries = sorted(map(entry_of, records), key=attrgetter("tenant"))
        rows = 2 * len(entries) + decision_bounds.SPARE_ROWS
        refused = 0
        with self._file.transaction() as connection:
            # Read the clock after the wait for other writers.
            now = self._clock.now()
            decision_bounds.expire(connection, microseconds(now - KEEP_DECISIONS), rows)
            vm_counts.expire(connection, (now - KEEP_USAGE).date(), rows)
            free = shutil.disk_usage(self._directory).free
            for name, group in groupby(entries, key=attrgetter("tenant")):
                connection.execute(_ENTER_TENANT, {"name": name})
                tenant, of_tenant = _tenant(connection, name), list(group)
                if free < self._reserved_bytes:
                    is_strict = free < self._reserved_bytes // 2
                    of_tenant, number = decision_bounds.make_room(connection, tenant, of_tenant, is_strict=is_strict)
                    refused += number
                _append(connection, [_row(tenant, entry) for entry in of_tenant])
                decision_bounds.trim(connection, tenant, self._bytes_per_tenant, of_tenant)
                vm_counts.count(connection, tenant, of_tenant)
                vm_counts.trim(connection, tenant, self._bytes_per_tenant, rows)
            give_back(connection)
        if refused:
            detail = f"The disk of the decision database has less than {self._reserved_bytes // 2**20} MiB left"
            raise StoreUnavailable(f"{detail}, reserved for the other stores.").located(self._place)

    def find(self, request_id: str, *, tenant: str) -> Decision | None:
        with self._file.connection() as connection:
            row = {
                "tenant": _tenant(connection, encode_text(tenant)),
                "request_id": encode_text(request_id),
                "since": self._oldest(),
            }
            found = connection.execute(_FIND, row).fetchall()
            return next((decision_of(line, Position(at, number)) for at, number, line in found), None)

    def scan(self, selection: Selection, *, tenant: str, before: Position | None, limit: int, most: int) -> Scan:
        """Scan an index that covers the filters. An empty vmId or subscription finds no decision."""
        since = self._oldest() if selection.since is None else max(self._oldest(), microseconds(selection.since))
        ends = [END if before is None else before]
        ends += [Position(microseconds(selection.until), 0)] if selection.until else []
        with self._file.snapshot() as connection:
            within = Range(
                tenant=_tenant(connection, encode_text(tenant)),
                low=Position(since, 0),
                high=min(ends),
                filters=filters_of(selection),
            )
            return scan(connection, within, limit=limit, most=most)

    def tenants(self) -> tuple[str, ...]:
        with self._file.connection() as connection:
            names = connection.execute(_TENANTS).fetchall()
        return tuple(sorted(decode_text(name) for (name,) in names))

    def erase(self, *, tenant: str, vm_id: str | None = None, subscription_id: str | None = None) -> int:
        """Delete in several transactions, so that appends do not wait for all of them."""
        if (vm_id is None) == (subscription_id is None):
            raise ValueError("exactly one of vm_id and subscription_id is needed")
        vm, subscription = encode_text(vm_id or ""), encode_text(subscription_id or "")
        with self._file.snapshot() as connection:
            number = _tenant(connection, encode_text(tenant))
            months = vm_counts.months(connection, number)
        row = {"tenant": number, "value": vm or subscription, "rows": _ERASE_BATCH}
        erased, last = 0, _ERASE_BATCH
        while last == _ERASE_BATCH:
            with self._file.transaction() as connection:
                last = connection.execute(_ERASE_VM if vm else _ERASE_SUBSCRIPTION, row).rowcount
                give_back(connection)
            erased += last
        for month in months:
            with self._file.transaction() as connection:
                vm_counts.erase(connection, number, month, vm_id=vm, subscription_id=subscription)
        with self._file.transaction() as connection:
            vm_counts.forget_offers(connection, number)
        self._file.empty_log()
        return erased

    def usage(self, first: date, last: date, *, tenant: str, by: Dimension) -> Usage:
        with self._file.snapshot() as connection:
            number = _tenant(connection, encode_text(tenant))
            oldest = (self._clock.now() - KEEP_USAGE).date()
            return vm_counts.usage(connection, number, (first, last), oldest, by)

    def close(self) -> None:
        self._file.close()

    def _oldest(self) -> int:
        return microseconds(self._clock.now() - KEEP_DECISIONS)


def _tenant(connection: sqlite3.Connection, name: str) -> int:
    """Return the number of a tenant, or 0, which no row has, if the tenant is unknown."""
    found: list[tuple[int]] = connection.execute(_TENANT, {"name": name}).fetchall()
    return found[0][0] if found else 0


def _row(tenant: int, entry: Entry) -> tuple[str | int, ...]:
    """Return the values of _COLUMNS."""
    return (
        tenant,
        entry.stage,
        entry.at,
        entry.request_id,
        entry.vm_id,
        entry.subscription_id,
        entry.verdict,
        entry.code,
        entry.plan,
        decision_bounds.size_of(entry),
        entry.line,
    )


def _append(connection: sqlite3.Connection, rows: Sequence[tuple[str | int, ...]]) -> None:
    """Insert the rows whose request is not there yet, and add their bytes to the totals."""
    [(last,)] = connection.execute(_LAST).fetchall()
    start = 0
    for number, statement in _APPENDS.items():
        while len(rows) - start >= number:
            connection.execute(statement, tuple(chain.from_iterable(rows[start : start + number])))
            start += number
    connection.execute(_ADD_TO_TOTALS, {"last": last})

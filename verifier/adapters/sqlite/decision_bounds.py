"""Bound the decisions in SQLite: in age, in bytes of each tenant and stage, and by the space on the disk."""

import sqlite3
from collections.abc import Sequence

from verifier.adapters.records.decisions import Entry
from verifier.adapters.sqlite import vm_counts
from verifier.adapters.sqlite.files import PAGE_BYTES
from verifier.ports.decisions import SHARES, Stage

#: What a row uses in the file besides its line: other columns, and entries in the indexes.
ROW_BYTES = 700

#: How many pages one transaction may add for entries that do not fit into their page.
_SPLIT_PAGES = 16

#: One call deletes twice as much as it adds, and this much more, so that a backlog shrinks and no caller waits long.
SPARE_ROWS = 64
_SPARE_BYTES = SPARE_ROWS * 2 * ROW_BYTES
#: The stages in the order in which their rows give way.
_STAGES = (Stage.UNVERIFIED, Stage.AUTHENTIC, Stage.FRESH)

_TOTAL = "SELECT bytes FROM totals WHERE tenant = :tenant AND stage = :stage"
_EXPIRE = "DELETE FROM decisions WHERE id IN (SELECT id FROM decisions WHERE at < :oldest ORDER BY at LIMIT :rows)"
# The oldest rows that have `bytes` together. No row has fewer than ROW_BYTES, so `rows` of them are enough.
_DELETE_OLDEST = """
    DELETE FROM decisions WHERE id IN (
        SELECT id FROM (
            SELECT id, sum(bytes) OVER (ORDER BY at, id ROWS UNBOUNDED PRECEDING) - bytes AS older FROM (
                SELECT id, at, bytes FROM decisions WHERE tenant = :tenant AND stage = :stage ORDER BY at, id
                LIMIT :rows
            )
        ) WHERE older < :bytes
    )
"""

_KNOWN = "SELECT 1 FROM decisions WHERE tenant = :tenant AND request_id = :request_id"


def size_of(entry: Entry) -> int:
    return ROW_BYTES + len(entry.line)


def expire(connection: sqlite3.Connection, oldest: int, rows: int) -> None:
    """Delete at most `rows` decisions of any tenant from before `oldest`, in microseconds."""
    connection.execute(_EXPIRE, {"oldest": oldest, "rows": rows})


def trim(connection: sqlite3.Connection, tenant: int, most: int, added: Sequence[Entry]) -> None:
    """Delete the oldest rows of each stage that uses more than its share of `most` bytes.

    The number of the rows is bounded by what was added.
    """
    for stage in _STAGES:
        size = sum(size_of(entry) for entry in added if entry.stage is stage)
        excess = _total(connection, tenant, stage) - int(most * SHARES[stage])
        _delete_oldest(connection, tenant, stage, min(excess, 2 * size + _SPARE_BYTES))


def make_room(
    connection: sqlite3.Connection, tenant: int, entries: Sequence[Entry], *, is_strict: bool
) -> tuple[list[Entry], int]:
    """Delete older rows for what the new entries need beyond the free pages, so that the file does not grow.

    Returns the entries that may be added, and the number of those for which there is no room. Rows that are deleted
    between others leave no free page, so the file may still grow a little, unless `is_strict`.
    """
    new = [
        entry
        for entry in entries
        if not connection.execute(_KNOWN, {"tenant": tenant, "request_id": entry.request_id}).fetchall()
    ]
    free = _free_bytes(connection)
    affordable, total = set(), 0
    for number, stage in enumerate(_STAGES, 1):
        of_stage = [entry for entry in new if entry.stage is stage]
        needed = sum(size_of(entry) + (vm_counts.COUNT_BYTES if entry.groups else 0) for entry in of_stage)
        # A row of a later stage may replace rows of an earlier one, never the reverse.
        replaced = _STAGES[:number]
        if needed <= free + sum(_total(connection, tenant, each) for each in replaced):
            affordable.add(stage)
            total += needed
            free, needed = max(0, free - needed), max(0, needed - free)
            for each in replaced:
                needed -= _delete_oldest(connection, tenant, each, needed)
    if is_strict and total > _free_bytes(connection):
        return [], len(new)
    added = [entry for entry in new if entry.stage in affordable]
    return added, len(new) - len(added)


def _free_bytes(connection: sqlite3.Connection) -> int:
    """Return what fits into the free pages. Index entries are spread, so only half of the pages count."""
    [(pages,)] = connection.execute("PRAGMA freelist_count").fetchall()
    return int(max(0, pages - _SPLIT_PAGES)) * PAGE_BYTES // 2


def _total(connection: sqlite3.Connection, tenant: int, stage: Stage) -> int:
    found: list[tuple[int]] = connection.execute(_TOTAL, {"tenant": tenant, "stage": stage}).fetchall()
    return found[0][0] if found else 0


def _delete_oldest(connection: sqlite3.Connection, tenant: int, stage: Stage, size: int) -> int:
    """Delete the oldest rows that use `size` bytes or a little more. Return how many bytes they used."""
    if size <= 0:
        return 0
    total = _total(connection, tenant, stage)
    row = {"tenant": tenant, "stage": stage, "bytes": size, "rows": size // ROW_BYTES + 1}
    connection.execute(_DELETE_OLDEST, row)
    return total - _total(connection, tenant, stage)

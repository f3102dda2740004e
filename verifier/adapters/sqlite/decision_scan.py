"""Scan the decisions of one tenant, newest first. SQLite skips, compares and counts the rows."""

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from verifier.adapters.records.decisions import decision_of
from verifier.core.values import dataclass
from verifier.ports.decisions import Position, Scan, Stage

#: Later than each decision.
END: Final = Position(2**62, 0)

# INDEXED BY makes sure that each part comes in order from this index. SQLite merges the parts.
_PART = """
    SELECT {columns} FROM decisions INDEXED BY {index}
    WHERE tenant = :tenant AND {part} AND (at, id) >= (:low_at, :low_id) AND (at, id) < (:high_at, :high_id)
"""
# The indexes of ids leave out rows with an empty id, so the condition must do so too.
_BY_VM = ("decisions_by_vm", ("vm_id = :vm_id AND vm_id <> ''",))
_BY_SUBSCRIPTION = ("decisions_by_subscription", ("subscription_id = :subscription_id AND subscription_id <> ''",))
_BY_STAGE = ("decisions_by_stage", tuple(f"stage = '{stage}'" for stage in Stage))
_NEWEST = " ORDER BY at DESC, id DESC LIMIT :rows OFFSET :skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The rows of one tenant that a scan may look at: from `low`, inclusive, to `high`, exclusive.

    `filters` are the encoded texts that a column must have to be selected.
    """

    tenant: int
    low: Position
    high: Position
    filters: Mapping[str, str]


def scan(connection: sqlite3.Connection, within: Range, *, limit: int, most: int) -> Scan:
    """Find at most `limit` rows among the newest `most` of the range. Call it in a snapshot."""
    (index, parts), compared = _choose(within.filters)
    values = {**within.filters, "tenant": within.tenant}

    def read(columns: str, low: Position, high: Position, rest: str = "", **more: int) -> list[tuple[Any, ...]]:
        statement = " UNION ALL ".join(_PART.format(columns=columns, index=index, part=part) + rest for part in parts)
        places = {"low_at": low[0], "low_id": low[1], "high_at": high[0], "high_id": high[1]}
        return connection.execute(statement + (_NEWEST if more else ""), {**values, **places, **more}).fetchall()

    # Without a filter, each row is selected, and the first rows are enough.
    most = most if compared else min(most, limit)
    last = read("at, id", within.low, within.high, rows=1, skipped=most - 1)
    low = Position(*last[0]) if last else within.low
    condition = "".join(f" AND {name} = :{name}" for name in compared)
    found = read("at, id, line", low, within.high, condition, rows=limit, skipped=0)
    if len(found) == limit:
        low = Position(*found[-1][:2])
    return Scan(
        decisions=tuple(decision_of(line, Position(at, number)) for at, number, line in found),
        scanned=sum(number for (number,) in read("count(*)", low, within.high)),
        reached=low if read("at, id", within.low, low, rows=1, skipped=0) else None,
    )


def _choose(filters: Mapping[str, str]) -> tuple[tuple[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the index with its parts, and the columns that are to be compared besides."""
    for name, choice in (("vm_id", _BY_VM), ("subscription_id", _BY_SUBSCRIPTION)):
        if name in filters:
            return choice, tuple(other for other in filters if other != name)
    return _BY_STAGE, tuple(filters)

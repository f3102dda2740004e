"""Count the verified VMs of each day, in tables of the decision store.

One row says on which days of a month a VM was verified under one offer. A tenant with 100,000 VMs needs about 8 MB a
month.
"""

import hashlib
import sqlite3
from collections.abc import Iterable
from datetime import date

from verifier.adapters.records.decisions import Entry, decode_text
from verifier.adapters.records.nonces import moment
from verifier.ports.decisions import Dimension, Usage

# What one row uses in the file.
_VM_BYTES = 80
_OFFER_BYTES = 200
#: The most that one verified record adds to the file.
COUNT_BYTES = _VM_BYTES + _OFFER_BYTES

STATEMENTS = (
    # What a VM is counted under. A subscription is part of it, so that its counts can be erased.
    """
    CREATE TABLE offers (
        id              INTEGER PRIMARY KEY,
        tenant          INTEGER NOT NULL,
        subscription_id TEXT    NOT NULL,  -- encode_text, as the others
        plan            TEXT    NOT NULL,
        product         TEXT    NOT NULL,
        sku             TEXT    NOT NULL,
        cloud           TEXT    NOT NULL,
        month           INTEGER NOT NULL,  -- the last one in which it counted
        UNIQUE (tenant, subscription_id, plan, product, sku, cloud)
    ) STRICT
    """,
    "CREATE INDEX offers_by_month ON offers (tenant, month)",
    """
    CREATE TABLE verified_vms (
        tenant INTEGER NOT NULL,
        month  INTEGER NOT NULL,  -- since the year 0
        vm     BLOB    NOT NULL,  -- the start of the SHA-256 of the vmId
        offer  INTEGER NOT NULL,
        days   INTEGER NOT NULL,  -- bit 0 is the first day of the month
        PRIMARY KEY (tenant, month, vm, offer)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE months (  -- those that have counts
        tenant INTEGER NOT NULL,
        month  INTEGER NOT NULL,
        bytes  INTEGER NOT NULL,
        PRIMARY KEY (tenant, month)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX months_by_age ON months (month)",
    f"""
    CREATE TRIGGER vm_added AFTER INSERT ON verified_vms BEGIN
        INSERT INTO months VALUES (new.tenant, new.month, {_VM_BYTES})
            ON CONFLICT (tenant, month) DO UPDATE SET bytes = bytes + excluded.bytes;
    END
    """,  # noqa: S608 -- of constants
    f"""
    CREATE TRIGGER vm_deleted AFTER DELETE ON verified_vms BEGIN
        UPDATE months SET bytes = bytes - {_VM_BYTES} WHERE tenant = old.tenant AND month = old.month;
        DELETE FROM months WHERE tenant = old.tenant AND month = old.month AND bytes <= 0;
    END
    """,  # noqa: S608 -- of constants
    # The offers that no longer count. They are few: those that were last seen in this month.
    """
    CREATE TRIGGER month_deleted AFTER DELETE ON months BEGIN
        DELETE FROM offers WHERE tenant = old.tenant AND month <= old.month
            AND month < coalesce((SELECT min(month) FROM months WHERE tenant = old.tenant), old.month + 1);
    END
    """,
)

#: True for a row of `tenants` that has counts.
HAS_COUNTS = "EXISTS (SELECT 1 FROM months WHERE tenant = tenants.id)"

_ENTER_OFFER = """
    INSERT INTO offers (tenant, subscription_id, plan, product, sku, cloud, month)
    VALUES (:tenant, :subscription_id, :plan, :product, :sku, :cloud, :month)
    ON CONFLICT (tenant, subscription_id, plan, product, sku, cloud) DO UPDATE SET month = excluded.month
        WHERE month < excluded.month
"""
_COUNT = """
    INSERT INTO verified_vms (tenant, month, vm, offer, days)
    SELECT :tenant, :month, :vm, id, :days FROM offers
        WHERE (tenant, subscription_id, plan, product, sku, cloud)
            = (:tenant, :subscription_id, :plan, :product, :sku, :cloud)
    ON CONFLICT (tenant, month, vm, offer) DO UPDATE SET days = days | excluded.days WHERE days & excluded.days = 0
"""
_COUNTED_SINCE = "UPDATE tenants SET counted_since = :day WHERE id = :tenant AND counted_since IS NULL"
_NOT_COUNTED_BEFORE = "UPDATE tenants SET counted_since = max(counted_since, :day) WHERE id = :tenant"
_OLDEST_MONTH = "SELECT tenant, month FROM months WHERE month < :month ORDER BY month LIMIT 1"
_USED = f"""
    SELECT (SELECT coalesce(sum(bytes), 0) FROM months WHERE tenant = :tenant)
        + (SELECT count(*) FROM offers WHERE tenant = :tenant) * {_OFFER_BYTES}
"""  # noqa: S608 -- of constants
_FIRST_MONTH = "SELECT min(month) FROM months WHERE tenant = :tenant"
_DELETE = """
    DELETE FROM verified_vms WHERE tenant = :tenant AND month = :month AND (vm, offer) IN (
        SELECT vm, offer FROM verified_vms WHERE tenant = :tenant AND month = :month LIMIT :rows
    )
"""
_MONTHS = "SELECT month FROM months WHERE tenant = :tenant"
_ERASE_VM = "DELETE FROM verified_vms WHERE tenant = :tenant AND month = :month AND vm = :vm"
_ERASE_SUBSCRIPTION = """
    DELETE FROM verified_vms WHERE tenant = :tenant AND month = :month
        AND offer IN (SELECT id FROM offers WHERE tenant = :tenant AND subscription_id = :subscription_id)
"""
_FORGET_OFFERS = """
    DELETE FROM offers WHERE tenant = :tenant
        AND id NOT IN (SELECT offer FROM verified_vms WHERE tenant = :tenant)
"""
_SINCE = "SELECT counted_since FROM tenants WHERE id = :tenant"
_COUNTED = """
    verified_vms.tenant = :tenant AND verified_vms.month BETWEEN :first AND :last
        AND days & CASE verified_vms.month WHEN :first THEN :first_days ELSE -1 END
            & CASE verified_vms.month WHEN :last THEN :last_days ELSE -1 END
"""
_TOTAL = f"SELECT count(DISTINCT vm) FROM verified_vms WHERE {_COUNTED}"  # noqa: S608 -- of constants
_GROUPS = {
    by: f"""
        SELECT {by}, count(DISTINCT vm) FROM verified_vms JOIN offers ON offers.id = offer WHERE {_COUNTED} GROUP BY 1
    """  # noqa: S608 -- of constants
    for by in Dimension
}


def count(connection: sqlite3.Connection, tenant: int, entries: Iterable[Entry]) -> None:
    """Count the VM of each verified entry on its day. A VM counts once a day under each offer."""
    # A statement takes longer than a look into these tables, and most entries of a batch repeat an offer.
    offers: dict[tuple[object, ...], dict[str, str | int]] = {}
    rows: dict[tuple[object, ...], dict[str, str | int | bytes]] = {}
    for entry in entries:
        if not entry.groups:
            continue
        day = moment(entry.at).date()
        key = (_month(day), entry.subscription_id, *entry.groups.values())
        if key not in offers:
            offers[key] = {
                "tenant": tenant,
                "subscription_id": entry.subscription_id,
                "month": _month(day),
                **{by.value: text for by, text in entry.groups.items()},
            }
        if (key, day, entry.vm_id) not in rows:
            vm, days = _vm(entry.vm_id), 1 << day.day - 1
            rows[key, day, entry.vm_id] = {**offers[key], "vm": vm, "days": days, "day": day.toordinal()}
    connection.executemany(_ENTER_OFFER, offers.values())
    connection.executemany(_COUNT, rows.values())
    connection.executemany(_COUNTED_SINCE, list(rows.values())[:1])


def expire(connection: sqlite3.Connection, oldest: date, rows: int) -> None:
    """Delete at most `rows` counts of the months before that of `oldest`."""
    for tenant, month in connection.execute(_OLDEST_MONTH, {"month": _month(oldest)}).fetchall():
        connection.execute(_DELETE, {"tenant": tenant, "month": month, "rows": rows})


def trim(connection: sqlite3.Connection, tenant: int, most: int, rows: int) -> None:
    """Delete at most `rows` of the tenant's oldest counts if they use more than `most` bytes."""
    [(used,)] = connection.execute(_USED, {"tenant": tenant}).fetchall()
    [(month,)] = connection.execute(_FIRST_MONTH, {"tenant": tenant}).fetchall()
    if used > most and month is not None:
        connection.execute(_DELETE, {"tenant": tenant, "month": month, "rows": rows})
        # The rest of the month is no longer a whole count.
        connection.execute(_NOT_COUNTED_BEFORE, {"tenant": tenant, "day": _first_day(month + 1).toordinal()})


def forget_offers(connection: sqlite3.Connection, tenant: int) -> None:
    """Delete the offers that no longer count, after an erasure."""
    connection.execute(_FORGET_OFFERS, {"tenant": tenant})


def months(connection: sqlite3.Connection, tenant: int) -> list[int]:
    """Return the months that have counts."""
    return [month for (month,) in connection.execute(_MONTHS, {"tenant": tenant}).fetchall()]


def erase(connection: sqlite3.Connection, tenant: int, month: int, *, vm_id: str, subscription_id: str) -> None:
    """Delete the counts of the VM and of the subscription in the month. An empty id deletes none."""
    place = {"tenant": tenant, "month": month}
    if vm_id:
        connection.execute(_ERASE_VM, {**place, "vm": _vm(vm_id)})
    if subscription_id:
        connection.execute(_ERASE_SUBSCRIPTION, {**place, "subscription_id": subscription_id})


def usage(connection: sqlite3.Connection, tenant: int, days: tuple[date, date], oldest: date, by: Dimension) -> Usage:
    """Count the distinct VMs from the first day to the last, without days before `oldest`."""
    first, last = max(days[0], oldest), days[1]
    span = {
        "tenant": tenant,
        "first": _month(first),
        "first_days": -1 << first.day - 1,
        "last": _month(last),
        "last_days": (1 << last.day) - 1,
    }
    [(total,)] = connection.execute(_TOTAL, span).fetchall()
    groups = connection.execute(_GROUPS[by], span).fetchall()
    since = [day for (day,) in connection.execute(_SINCE, span).fetchall() if day is not None]
    return Usage(
        total=total,
        groups={decode_text(group): number for group, number in groups},
        exact=True,
        counted_since=max(date.fromordinal(since[0]), oldest) if since else None,
    )


def _vm(vm_id: str) -> bytes:
    return hashlib.sha256(vm_id.encode("ascii")).digest()[:16]


def _month(day: date) -> int:
    return day.year * 12 + day.month - 1


def _first_day(month: int) -> date:
    return date(month // 12, month % 12 + 1, 1)

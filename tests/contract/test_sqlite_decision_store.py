"""Check what the SQLite store of decisions does with its file: plans, bounds, space on the disk, and faults."""

import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.clocks import ManualClock
from support.decisions import PLAN, SUBSCRIPTION, VM, claims_of, garbage_of, record_of

from verifier.adapters.sqlite.decision_bounds import ROW_BYTES, SPARE_ROWS
from verifier.adapters.sqlite.decision_scan import END, Range, scan
from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.adapters.sqlite.files import SPARE_PAGES
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.ports.decisions import (
    KEEP_DECISIONS,
    KEEP_USAGE,
    SHARES,
    DecisionStore,
    Dimension,
    Position,
    Selection,
    Stage,
)
from verifier.ports.stores import StoreUnavailable

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
MEBIBYTE = 2**20
ALL = Selection()
OTHER_VM = "11111111-2222-3333-4444-555555555555"
OTHER_SUBSCRIPTION = "66666666-2222-3333-4444-555555555555"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.sqlite3"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def store(path: Path, clock: ManualClock) -> Iterator[SqliteDecisionStore]:
    with closing(SqliteDecisionStore(path, bytes_per_tenant=64 * MEBIBYTE, clock=clock)) as store:
        yield store


def bytes_of(path: Path) -> bytes:
    """Return the bytes of the file and of its log."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*") if not file.name.endswith("-shm"))


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def number(path: Path, statement: str) -> int:
    [(value,)] = rows(path, statement)
    return int(value)


def check_totals(path: Path) -> None:
    """Compare the totals that triggers keep with the rows."""
    kept = rows(path, "SELECT tenant, stage, bytes FROM totals WHERE bytes <> 0 ORDER BY 1, 2")
    assert kept == rows(path, "SELECT tenant, stage, sum(bytes) FROM decisions GROUP BY 1, 2 ORDER BY 1, 2")
    counted = rows(path, "SELECT tenant, month FROM months ORDER BY 1, 2")
    assert counted == rows(path, "SELECT DISTINCT tenant, month FROM verified_vms ORDER BY 1, 2")
    assert rows(path, "SELECT offer FROM verified_vms WHERE offer NOT IN (SELECT id FROM offers)") == []
    assert rows(path, "SELECT id FROM offers WHERE id NOT IN (SELECT offer FROM verified_vms)") == []


def scanned(store: DecisionStore, tenant: str, selection: Selection = ALL) -> list[dict[str, Any]]:
    found = store.scan(selection, tenant=tenant, before=None, limit=100_000, most=100_000)
    assert found.reached is None
    return [dict(decision.fields) for decision in found.decisions]


class Explaining(sqlite3.Connection):
    """Keep the query plan of each statement."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of sqlite3
        super().__init__(*arguments, **options)
        self.plans: list[str] = []

    def execute(self, statement: str, values: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401 - as sqlite3 says
        self.plans += [row[3] for row in super().execute(f"EXPLAIN QUERY PLAN {statement}", values)]
        return super().execute(statement, values)


@pytest.mark.parametrize("compared", [{}, {"code": "c"}, {"verdict": "refused", "plan": "gold", "code": "c"}])
@pytest.mark.parametrize(
    ("index", "named"),
    [
        ("decisions_by_stage", {}),
        ("decisions_by_vm", {"vm_id": VM}),
        ("decisions_by_subscription", {"subscription_id": SUBSCRIPTION}),
        ("decisions_by_vm", {"vm_id": VM, "subscription_id": SUBSCRIPTION}),
    ],
)
def test_each_scan_reads_one_index_in_order(
    store: SqliteDecisionStore, path: Path, index: str, named: dict[str, str], compared: dict[str, str]
) -> None:
    store.append([record_of(NOW, "default", code="c") for _ in range(30)])
    within = Range(tenant=1, low=Position(0, 0), high=END, filters={**named, **compared})
    with closing(sqlite3.connect(path, factory=Explaining)) as connection:
        assert scan(connection, within, limit=5, most=20).scanned >= 5
        assert len(connection.plans) >= 4
        tables = {plan for plan in connection.plans if " decisions " in f"{plan} "}
        assert tables
        for plan in tables:
            assert re.fullmatch(rf"SEARCH decisions USING (COVERING )?INDEX {index} \(tenant=\? AND .*\)", plan)
        assert not [plan for plan in connection.plans if "TEMP B-TREE" in plan]


def test_deletions_and_lookups_use_an_index(store: SqliteDecisionStore, path: Path) -> None:
    """No statement that the store runs reads a whole table that grows."""
    store.append([record_of(NOW, "default")])
    seen: list[str] = []
    with store._file.connection() as connection:  # noqa: SLF001 - the statements that it runs
        connection.set_trace_callback(seen.append)
    store.append([record_of(NOW - SECOND, name, stage=stage) for name in ("default", "new") for stage in Stage])
    store.find("x", tenant="default")
    store.tenants()
    store.erase(tenant="default", vm_id="x")
    store.erase(tenant="default", subscription_id="x")
    store.usage(NOW.date(), NOW.date(), tenant="default", by=Dimension.SKU)
    with store._file.connection() as connection:  # noqa: SLF001 - as above
        connection.set_trace_callback(None)
    statements = {statement for statement in seen if re.match(r"\s*(SELECT|INSERT|DELETE|UPDATE)", statement)}
    assert len(statements) > 15
    with closing(sqlite3.connect(path)) as connection:
        plans = [row[3] for each in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {each}")]
    assert {plan for plan in plans if re.match(r"SCAN (decisions|verified_vms|offers)", plan)} == set()


def test_garbage_leaves_each_record_of_another_stage(path: Path, clock: ManualClock) -> None:
    bound = 4 * MEBIBYTE
    with closing(SqliteDecisionStore(path, bytes_per_tenant=bound, clock=clock)) as store:
        store.append([record_of(NOW - DAY, "default", request_id="fresh")])
        for start in range(0, 20_000, 2000):
            store.append([garbage_of(NOW + (start + index) * SECOND / 1000, "default") for index in range(2000)])
            assert number(path, "SELECT sum(bytes) FROM decisions") <= bound * SHARES[Stage.UNVERIFIED] + 10_000
        assert [record["requestId"] for record in scanned(store, "default", Selection(code="verified"))] == ["fresh"]
    check_totals(path)


def test_old_rows_of_idle_tenants_are_deleted(store: SqliteDecisionStore, path: Path, clock: ManualClock) -> None:
    store.append([record_of(NOW, "idle", claims=claims_of(f"vm-{index}")) for index in range(1000)])
    clock.advance(KEEP_DECISIONS + SECOND)
    for _ in range(1000 // SPARE_ROWS + 1):
        before = number(path, "SELECT count(*) FROM decisions")
        store.append([record_of(clock.moment, "busy")])
        # One call deletes few rows, and so takes little time.
        assert before - number(path, "SELECT count(*) FROM decisions") <= SPARE_ROWS + 2
    assert number(path, "SELECT count(*) FROM decisions WHERE at < 1795500000000000 AND tenant = 1") == 0
    assert store.tenants() == ("busy", "idle")
    clock.moment = NOW + KEEP_USAGE + 31 * DAY
    for _ in range(1000 // SPARE_ROWS + 1):
        store.append([garbage_of(clock.moment, "busy")])
    assert number(path, "SELECT count(*) FROM verified_vms WHERE tenant = 1") == 0
    assert number(path, "SELECT count(*) FROM offers WHERE tenant = 1") == 0
    assert "idle" not in store.tenants()
    check_totals(path)


def test_the_file_is_within_the_bound_and_shrinks(path: Path, clock: ManualClock) -> None:
    """A full store of records and counts has about the size that it may have."""
    bound = 4 * MEBIBYTE
    with closing(SqliteDecisionStore(path, bytes_per_tenant=bound, clock=clock)) as store:
        for start in range(0, 12_000, 500):
            moments = [NOW + (start + index) * SECOND for index in range(500)]
            store.append(
                [record_of(at, "default", claims=claims_of(f"vm-{index}")) for index, at in enumerate(moments)]
            )
        size = number(path, "SELECT page_count * 4096 FROM pragma_page_count")
        assert bound / 2 < size < bound + 2 * MEBIBYTE
    with closing(SqliteDecisionStore(path, bytes_per_tenant=bound // 16, clock=clock)) as store:
        for index in range(400):
            store.append([record_of(NOW + index * SECOND, "default")])
        assert number(path, "SELECT page_count * 4096 FROM pragma_page_count") < bound / 16 + 2 * MEBIBYTE
    assert number(path, "SELECT freelist_count FROM pragma_freelist_count") <= SPARE_PAGES + 64


class TestShortDisk:
    @pytest.fixture
    def short(self, store: SqliteDecisionStore, path: Path, clock: ManualClock) -> Iterator[SqliteDecisionStore]:
        """Open a store whose disk is short of space, with 300 records of garbage and 300 verified ones."""
        store.append([garbage_of(NOW - DAY, "default", request_id=f"garbage-{index}") for index in range(300)])
        store.append([record_of(NOW - DAY, "default", request_id=f"fresh-{index}") for index in range(300)])
        # The disk has less than this and more than half of it, also if other programs write meanwhile.
        reserved = shutil.disk_usage(path.parent).free * 3 // 2
        with closing(
            SqliteDecisionStore(path, bytes_per_tenant=64 * MEBIBYTE, clock=clock, reserved_bytes=reserved)
        ) as short:
            yield short

    def test_new_records_replace_old_ones_and_the_file_does_not_grow(
        self, short: SqliteDecisionStore, path: Path
    ) -> None:
        short.append([record_of(NOW, "default")])
        pages = number(path, "SELECT page_count FROM pragma_page_count")
        for index in range(400):
            vm = claims_of(f"vm-{index}", f"subscription-{index}")
            short.append([record_of(NOW + index * SECOND, "default", request_id=f"new-{index}", claims=vm)])
        assert number(path, "SELECT page_count FROM pragma_page_count") <= pages
        kept = {record["requestId"] for record in scanned(short, "default")}
        assert "new-399" in kept
        # First the garbage gave way, and then the oldest genuine ones.
        assert not [name for name in kept if str(name).startswith("garbage")]
        assert 0 < len([name for name in kept if str(name).startswith("fresh")]) < 300
        check_totals(path)

    def test_garbage_replaces_garbage_only(self, short: SqliteDecisionStore) -> None:
        for index in range(400):
            short.append([garbage_of(NOW + index * SECOND, "default", request_id=f"new-{index}")])
        kept = [str(record["requestId"]) for record in scanned(short, "default")]
        assert len([name for name in kept if name.startswith("fresh")]) == 300
        assert not [name for name in kept if name.startswith("garbage")]

    def test_records_without_one_to_replace_are_refused_alone(self, short: SqliteDecisionStore, path: Path) -> None:
        replay = record_of(NOW, "new", request_id="replay", stage=Stage.AUTHENTIC, code="replayed")
        batch = [replay, record_of(NOW, "default", request_id="mine"), record_of(NOW, "new", request_id="theirs")]
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"has less than \d+ MiB left.*VERIFIER_DECISION_STORE\)\.$"):
                short.append(batch)
        assert short.find("mine", tenant="default") is not None
        assert short.find("theirs", tenant="new") is None
        assert "new" not in short.tenants()
        # The batch was sent again. What it had added did not replace more.
        assert len(scanned(short, "default")) >= 600 - 3
        check_totals(path)

    def test_a_batch_that_is_kept_already_needs_no_room(self, short: SqliteDecisionStore) -> None:
        kept = scanned(short, "default")
        short.append([record_of(NOW - DAY, "default", request_id=f"fresh-{index}") for index in range(300)])
        assert scanned(short, "default") == kept

    def test_the_last_bytes_of_the_disk_are_for_free_pages_only(
        self, short: SqliteDecisionStore, path: Path, clock: ManualClock
    ) -> None:
        """Garbage and genuine records are mixed, so that deleted rows leave no free pages at first."""
        for index in range(100):
            short.append([record_of(NOW, "default"), garbage_of(NOW, "default")] if index % 2 else [])
        short.close()
        pages = number(path, "SELECT page_count FROM pragma_page_count")
        kept = refused = 0
        with closing(
            SqliteDecisionStore(path, bytes_per_tenant=64 * MEBIBYTE, clock=clock, reserved_bytes=2**62)
        ) as strict:
            for index in range(400):
                vm = claims_of(f"vm-{index}", f"subscription-{index}")
                try:
                    strict.append([record_of(NOW + index * SECOND, "default", claims=vm), garbage_of(NOW, "default")])
                    kept += 1
                except StoreUnavailable:
                    refused += 1
                assert number(path, "SELECT page_count FROM pragma_page_count") <= pages
        assert kept > 100
        assert refused > 0
        check_totals(path)


class TestCounts:
    def test_the_oldest_counts_give_way_and_the_first_whole_day_says_so(self, path: Path, clock: ManualClock) -> None:
        bound = MEBIBYTE // 8
        with closing(SqliteDecisionStore(path, bytes_per_tenant=bound, clock=clock)) as store:
            for month in range(3):
                clock.moment = NOW + month * 31 * DAY
                for start in range(0, 700, 50):
                    vms = [claims_of(f"vm-{start + index}") for index in range(50)]
                    store.append([record_of(clock.moment, "default", claims=each) for each in vms])
            usage = store.usage(NOW.date(), clock.moment.date(), tenant="default", by=Dimension.PLAN)
            assert usage.counted_since is not None
            assert usage.counted_since.day == 1
            whole = store.usage(usage.counted_since, clock.moment.date(), tenant="default", by=Dimension.PLAN)
            assert whole.total == 700
            assert number(path, "SELECT sum(bytes) FROM months") <= bound + 200 * 80
            check_totals(path)

    def test_a_month_of_many_vms_is_counted_quickly(self, store: SqliteDecisionStore) -> None:
        vms = 20_000
        records = [
            record_of(NOW - index % 20 * DAY, "default", claims=claims_of(f"vm-{index}", plan=None))
            for index in range(vms)
        ]
        for start in range(0, vms, 2000):
            store.append(records[start : start + 2000])
        started = time.perf_counter()
        usage = store.usage((NOW - 20 * DAY).date(), NOW.date(), tenant="default", by=Dimension.SKU)
        assert (usage.total, usage.groups) == (vms, {"gen2": vms})
        assert time.perf_counter() - started < 2

    def test_erasure_leaves_no_id_in_any_table(self, store: SqliteDecisionStore, path: Path) -> None:
        plan = PLAN
        other = claims_of("other-vm", "other-subscription", plan=plan)
        store.append([record_of(NOW, "default"), record_of(NOW - 40 * DAY, "default"), garbage_of(NOW, "default")])
        store.append([record_of(NOW, "default", claims=other)])
        store.erase(tenant="default", vm_id=VM)
        check_totals(path)
        with closing(sqlite3.connect(path)) as connection:
            dump = "\n".join(connection.iterdump())
        assert VM not in dump
        assert SUBSCRIPTION not in dump
        assert "other-subscription" in dump
        store.erase(tenant="default", subscription_id="other-subscription")
        with closing(sqlite3.connect(path)) as connection:
            assert "other-" not in "\n".join(connection.iterdump())
        check_totals(path)


class TestFaults:
    def test_erasure_overwrites_the_rows_and_empties_the_log(self, store: SqliteDecisionStore, path: Path) -> None:
        others = [record_of(NOW, "default", claims=claims_of(OTHER_VM, OTHER_SUBSCRIPTION)) for _ in range(300)]
        store.append([*others, *(record_of(NOW, "default") for _ in range(300))])
        before = bytes_of(path).count(VM.encode())
        assert store.erase(tenant="default", vm_id=VM) == 300
        # SQLite copies rows when it divides a page, and does not overwrite the copies in the unused part of a page.
        assert bytes_of(path).count(VM.encode()) < before / 50
        assert path.with_name(f"{path.name}-wal").stat().st_size == 0
        assert bytes_of(path).count(OTHER_VM.encode()) >= 300

    def test_errors_name_the_setting_of_this_store(self, store: SqliteDecisionStore, path: Path) -> None:
        store.append([garbage_of(NOW, "default")])
        path.unlink()
        for call in (
            lambda: store.append([garbage_of(NOW, "default")]),
            lambda: store.find("x", tenant="default"),
            lambda: store.scan(ALL, tenant="default", before=None, limit=1, most=1),
            store.tenants,
            lambda: store.erase(tenant="default", vm_id="x"),
            lambda: store.usage(NOW.date(), NOW.date(), tenant="default", by=Dimension.PLAN),
        ):
            with pytest.raises(StoreUnavailable, match=r"decisions\.sqlite3, VERIFIER_DECISION_STORE\)\.$"):
                call()

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ('{"version":2}', "has format 2, and this release knows format 1: update imds-verifier"),
            ('{"version":0}', "cannot read"),
            ("{}", "cannot read"),
            ("[1]", "cannot read"),
            ("{", "cannot read"),
        ],
    )
    def test_a_decision_in_another_form_is_unavailable(
        self, store: SqliteDecisionStore, path: Path, line: str, said: str
    ) -> None:
        store.append([record_of(NOW, "t", request_id="r")])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE decisions SET line = ?", (line,))
        for read in (lambda: store.find("r", tenant="t"), lambda: scanned(store, "t")):
            with pytest.raises(StoreUnavailable, match=rf"{said} \(.*decisions\.sqlite3, VERIFIER_DECISION_STORE\)"):
                read()

    def test_a_file_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        nonces = tmp_path / "nonces.sqlite3"
        with closing(SqliteNonceStore(nonces)), pytest.raises(StoreUnavailable, match="is not a decision database"):
            SqliteDecisionStore(nonces, bytes_per_tenant=MEBIBYTE)

    @pytest.mark.parametrize("bound", [0, -1])
    def test_a_store_without_bytes_is_a_mistake(self, path: Path, bound: int) -> None:
        with pytest.raises(ValueError, match="bytes_per_tenant is not positive"):
            SqliteDecisionStore(path, bytes_per_tenant=bound)
        assert not path.exists()

    def test_another_writer_is_waited_for_no_longer_than_the_timeout(self, path: Path) -> None:
        store = SqliteDecisionStore(path, bytes_per_tenant=MEBIBYTE, busy_timeout=timedelta(milliseconds=200))
        with closing(store), closing(sqlite3.connect(path, isolation_level=None)) as other:
            store.append([garbage_of(datetime.now(UTC), "default")])
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="is locked by another writer"):
                store.append([garbage_of(NOW, "default")])
            # Readers do not wait for a writer.
            assert len(scanned(store, "default")) == 1
            other.execute("ROLLBACK")
            store.append([garbage_of(NOW, "default")])

    def test_a_full_disk_keeps_what_it_has(self, store: SqliteDecisionStore) -> None:
        store.append([record_of(NOW, "default")])
        with store._file.connection() as connection:  # noqa: SLF001 - a limit of this connection
            [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
            connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(StoreUnavailable, match="disk of the decision database is full"):
            store.append([record_of(NOW, "default") for _ in range(100)])
        assert len(scanned(store, "default")) == 1
        store.append([record_of(NOW, "default")])
        assert len(scanned(store, "default")) == 2

    def test_appends_go_on_while_a_subscription_is_erased(self, store: SqliteDecisionStore) -> None:
        for start in range(0, 8000, 2000):
            store.append([record_of(NOW - (start + index) * SECOND / 10, "default") for index in range(2000)])
        erased: list[int] = []
        eraser = threading.Thread(
            target=lambda: erased.append(store.erase(tenant="default", subscription_id=SUBSCRIPTION))
        )
        eraser.start()
        waits = []
        while eraser.is_alive():
            started = time.perf_counter()
            store.append([garbage_of(NOW, "default")])
            waits.append(time.perf_counter() - started)
        assert erased == [8000]
        assert len(waits) > 2


def test_a_record_of_the_largest_document_is_kept_whole(store: SqliteDecisionStore) -> None:
    text = "🂡" * 4000
    claims = claims_of("vm", text, plan=PLAN, sku=text)
    store.append([record_of(NOW, "default", request_id="r", claims=claims)])
    [record] = scanned(store, "default", Selection(subscription_id=text))
    assert record["sku"] == text
    assert len(str(record["subscriptionId"])) > ROW_BYTES


def test_a_copied_file_is_complete(store: SqliteDecisionStore, path: Path, tmp_path: Path, clock: ManualClock) -> None:
    """After a restart, the store continues with all totals."""
    store.append([record_of(NOW, "default") for _ in range(10)])
    store.close()
    shutil.copy(path, tmp_path / "copy.sqlite3")
    with closing(SqliteDecisionStore(tmp_path / "copy.sqlite3", bytes_per_tenant=MEBIBYTE, clock=clock)) as copy:
        assert scanned(copy, "default") == scanned(store, "default")
        copy.append([record_of(NOW, "default")])
    check_totals(tmp_path / "copy.sqlite3")

"""Check the promises of the DecisionStore port, on each store and each form of Redis."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clocks import ManualClock
from support.decisions import PLAN, SUBSCRIPTION, VM, append_many, claims_of, garbage_of, open_at, record_of
from support.forking import from_processes
from support.redis_server import redis_server_binaries, running_redis_server

from verifier.core.model import Plan
from verifier.core.trust.clouds import Cloud
from verifier.ports.decisions import (
    KEEP_DECISIONS,
    KEEP_USAGE,
    NO_TENANT,
    SHARES,
    AppraisalRecord,
    Decision,
    DecisionStore,
    Dimension,
    Position,
    Selection,
    Stage,
    Usage,
    Verdict,
)

#: Noon, so that a test does not pass midnight. A store may compare records with the time of its server.
NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
MEBIBYTE = 2**20
ALL = Selection()

#: Texts that could leave their place in a key, a pattern or a statement.
HOSTILE = (
    *("'", '"', "' OR '1'='1", "%", "_", "*", "[a-z]", ":", "{tag}", "a\0b", "\0", "\n", "\\", "ä", "🂡", "\ud800"),
    *("; DROP TABLE decisions", "tenant", "x" * 5000),
)


class Open(Protocol):
    """Open one store, or open it again. A second one has the same content."""

    def __call__(self, *, bytes_per_tenant: int = 64 * MEBIBYTE) -> DecisionStore: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A kind of store, with the clock of its stores."""

    kind: str
    clock: ManualClock
    place: str
    open: Open


#: Every installed server, and each form of Redis.
OTHERS = redis_server_binaries()[1:]
KINDS = ["sqlite", "redis", "sentinel", "cluster", *(f"other-{number}" for number in range(len(OTHERS)))]


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Open stores of one kind. They share their content, and all are closed at the end."""
    clock = ManualClock(NOW)
    with ExitStack() as stack:
        place = ""
        match request.param.partition("-"):
            case ["sqlite", _, _]:
                place = str(tmp_path / "decisions.sqlite3")
            case ["other", _, number]:
                place = stack.enter_context(running_redis_server(binary=OTHERS[int(number)])).url
            case [form, _, _]:
                fixture = {"redis": "redis_server", "sentinel": "sentinel_group", "cluster": "redis_cluster"}[form]
                place = request.getfixturevalue(fixture).url

        def open_store(*, bytes_per_tenant: int = 64 * MEBIBYTE) -> DecisionStore:
            return stack.enter_context(closing(open_at(place, bytes_per_tenant=bytes_per_tenant, clock=clock)))

        yield Opened(kind=request.param, clock=clock, place=place, open=open_store)


def append_from_processes(opened: Opened, arguments: Sequence[Sequence[str]]) -> list[str]:
    return from_processes(append_many, [(opened.place, *each) for each in arguments])


@pytest.fixture
def store(opened: Opened) -> DecisionStore:
    return opened.open()


def scan_all(
    store: DecisionStore, tenant: str, selection: Selection = ALL, *, limit: int = 50, most: int = 10_000
) -> list[Decision]:
    """Go on from scan to scan until the end."""
    found: list[Decision] = []
    before: Position | None = None
    for _ in range(10_000):
        scan = store.scan(selection, tenant=tenant, before=before, limit=limit, most=most)
        assert len(scan.decisions) <= limit
        found += scan.decisions
        if scan.reached is None:
            return found
        assert before is None or scan.reached < before
        assert scan.scanned > 0
        before = scan.reached
    raise AssertionError("the scans do not end")


def ids_of(decisions: Sequence[Decision]) -> list[object]:
    return [decision.fields["requestId"] for decision in decisions]


def ids_in(store: DecisionStore, tenant: str, selection: Selection = ALL) -> list[object]:
    return ids_of(scan_all(store, tenant, selection))


def expected_ids(records: Sequence[AppraisalRecord]) -> list[str]:
    """Return the ids newest first. Of two records at the same time, the later appended is the newer one."""
    return [record.request_id for record in sorted(records, key=lambda record: record.at)[::-1]] if records else []


def usage_of(
    store: DecisionStore, tenant: str, first: date, last: date | None = None, *, by: Dimension = Dimension.PLAN
) -> Usage:
    return store.usage(first, last or first, tenant=tenant, by=by)


class TestFind:
    def test_finds_the_fields_as_json_shows_them(self, store: DecisionStore, tenant: str) -> None:
        record = record_of(NOW - SECOND, tenant, request_id="r-1", detail="A sentence.", client_request_id="mine")
        store.append([record])
        decision = store.find("r-1", tenant=tenant)
        assert decision is not None
        assert decision.position.moment == (NOW - SECOND - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
            microseconds=1
        )
        fields: Any = decision.fields
        assert fields["version"] == 1
        assert fields["time"] == (NOW - SECOND).isoformat(timespec="microseconds").replace("+00:00", "Z")
        assert (fields["requestId"], fields["clientRequestId"]) == ("r-1", "mine")
        assert (fields["tenant"], fields["verdict"], fields["detail"]) == (tenant, "verified", "A sentence.")
        assert fields["vmId"] == VM
        assert fields["plan"] == {"publisher": "Contoso", "product": "Appliance", "name": "Gold"}
        assert scan_all(store, tenant) == [decision]

    def test_other_id_and_other_tenant_find_none(self, store: DecisionStore, tenant: str) -> None:
        store.append([record_of(NOW, tenant, request_id="r-1")])
        assert store.find("r-2", tenant=tenant) is None
        assert store.find("R-1", tenant=tenant) is None
        assert store.find("", tenant=tenant) is None
        assert store.find("r-1", tenant=f"{tenant}2") is None
        assert store.find("r-1", tenant=NO_TENANT) is None

    def test_an_empty_batch_changes_no_record(self, store: DecisionStore, tenant: str) -> None:
        store.append([])
        assert scan_all(store, tenant) == []
        assert tenant not in store.tenants()


class TestScan:
    def test_finds_newest_first_also_what_came_late(self, store: DecisionStore, tenant: str) -> None:
        offsets = [5, 1, 9, 3, 3, 7]
        records = [record_of(NOW - offset * SECOND, tenant) for offset in offsets]
        for record in records:
            store.append([record])
        assert ids_in(store, tenant) == expected_ids(records)

    @pytest.mark.parametrize("names", [*itertools.combinations(range(5), 1), *itertools.combinations(range(5), 2)])
    def test_each_filter_alone_and_in_pairs(self, store: DecisionStore, tenant: str, names: Sequence[int]) -> None:
        """Of 2 values of each field, in all combinations, in all stages."""
        vms, subscriptions = (VM, VM.replace("0", "1")), (SUBSCRIPTION, SUBSCRIPTION.replace("8", "9"))
        plans = (PLAN, replace(PLAN, name="Silver"))
        codes = ("policy-not-satisfied", "nonce-unknown")
        verdicts = (Verdict.REFUSED, Verdict.UNAVAILABLE)
        choices = list(itertools.product(vms, subscriptions, verdicts, codes, plans))
        records = [
            record_of(
                NOW - index % 7 * SECOND,
                tenant,
                claims=claims_of(vm_id.upper(), subscription.upper(), plan=plan),
                verdict=verdict,
                code=code,
                stage=list(Stage)[index % 3],
            )
            for index, (vm_id, subscription, verdict, code, plan) in enumerate(choices)
        ]
        store.append([*records, garbage_of(NOW, tenant, verdict=Verdict.VERIFIED), record_of(NOW, f"{tenant}2")])
        fields = ("vm_id", "subscription_id", "verdict", "code", "plan")
        filters: dict[str, Any] = {
            fields[name]: (vms[0], subscriptions[0], verdicts[0], codes[0], "gold")[name] for name in names
        }
        wanted = [
            record
            for record, choice in zip(records, choices, strict=True)
            if all(choice[name] == (vms, subscriptions, verdicts, codes, plans)[name][0] for name in names)
        ]
        assert len(wanted) == 32 >> len(names)
        assert ids_in(store, tenant, Selection(**filters)) == expected_ids(wanted)
        assert scan_all(store, tenant, Selection(**filters), limit=2, most=3) == scan_all(
            store, tenant, Selection(**filters)
        )

    def test_texts_are_compared_whole_and_in_their_case(self, store: DecisionStore, tenant: str) -> None:
        store.append([record_of(NOW, tenant, code="nonce-unknown")])
        for code in ("nonce", "nonce-unknown2", "Nonce-Unknown", "nonce_unknown", "%", "*", ""):
            assert ids_in(store, tenant, Selection(code=code)) == []
        for vm_id in (VM.upper(), VM[:-1], "", "%", "*"):
            assert ids_in(store, tenant, Selection(vm_id=vm_id)) == []

    def test_a_record_without_claims_has_no_vm_subscription_or_plan(self, store: DecisionStore, tenant: str) -> None:
        store.append(
            [garbage_of(NOW, tenant), record_of(NOW, tenant, claims=claims_of(subscription_id=None, plan=None))]
        )
        assert ids_in(store, tenant, Selection(subscription_id="")) == []
        assert ids_in(store, tenant, Selection(vm_id="")) == []
        assert len(ids_in(store, tenant, Selection(vm_id=VM))) == 1

    def test_since_is_inclusive_and_until_exclusive(self, store: DecisionStore, tenant: str) -> None:
        records = [record_of(NOW - index * SECOND, tenant) for index in range(6)]
        store.append(records)
        ids = expected_ids(records)
        assert ids_in(store, tenant, Selection(since=NOW - 2 * SECOND)) == ids[:3]
        assert ids_in(store, tenant, Selection(until=NOW - 2 * SECOND)) == ids[3:]
        choices: list[dict[str, Any]] = [{}, {"vm_id": VM}, {"subscription_id": SUBSCRIPTION}, {"code": "verified"}]
        for filters in choices:
            between = Selection(since=NOW - 4 * SECOND, until=NOW - SECOND, **filters)
            assert ids_in(store, tenant, between) == ids[2:5]
            assert ids_of(scan_all(store, tenant, between, limit=1, most=1)) == ids[2:5]
        assert ids_in(store, tenant, Selection(since=NOW, until=NOW)) == []
        assert ids_in(store, tenant, Selection(since=NOW, until=NOW - SECOND)) == []
        far = Selection(since=datetime(1, 1, 1, tzinfo=UTC), until=datetime(9999, 12, 31, tzinfo=UTC))
        assert ids_in(store, tenant, far) == ids

    @pytest.mark.parametrize("filters", [{}, {"vm_id": VM}, {"subscription_id": SUBSCRIPTION}, {"code": "verified"}])
    def test_pages_have_each_record_once_also_over_ties(
        self, store: DecisionStore, tenant: str, filters: dict[str, Any]
    ) -> None:
        records = [record_of(NOW - index // 10 * SECOND, tenant, stage=list(Stage)[index % 3]) for index in range(40)]
        store.append(records)
        whole = scan_all(store, tenant)
        assert sorted(map(str, ids_of(whole))) == sorted(record.request_id for record in records)
        assert [decision.position for decision in whole] == sorted((each.position for each in whole), reverse=True)
        for limit, most in itertools.product((1, 2, 3, 7, 40, 41), (1, 2, 10, 1000)):
            found = scan_all(store, tenant, Selection(**filters), limit=limit, most=most)
            assert found == whole

    def test_a_scan_looks_at_about_most_records_and_goes_on(self, store: DecisionStore, tenant: str) -> None:
        records = [record_of(NOW - index * SECOND, tenant, code="c") for index in range(300)]
        store.append([*records, record_of(NOW - 1000 * SECOND, tenant, request_id="oldest", code="rare")])
        rare = Selection(code="rare")
        first = store.scan(rare, tenant=tenant, before=None, limit=5, most=100)
        assert first.decisions == ()
        assert 1 <= first.scanned <= 200
        assert first.reached is not None
        assert ids_of(scan_all(store, tenant, rare, limit=5, most=100)) == ["oldest"]
        end = store.scan(rare, tenant=tenant, before=None, limit=5, most=1000)
        assert (ids_of(end.decisions), end.reached) == (["oldest"], None)
        assert end.scanned == 301

    def test_records_that_come_in_between_change_no_later_page(self, store: DecisionStore, tenant: str) -> None:
        records = [record_of(NOW - 10 * SECOND, tenant) for _ in range(20)]
        store.append(records)
        whole = scan_all(store, tenant)
        first = store.scan(ALL, tenant=tenant, before=None, limit=7, most=100)
        store.append([record_of(NOW, tenant), record_of(NOW - 10 * SECOND, tenant)])
        rest = store.scan(ALL, tenant=tenant, before=first.reached, limit=100, most=100)
        assert [*first.decisions, *rest.decisions] == whole

    def test_a_place_without_a_record_is_a_place(self, store: DecisionStore, tenant: str) -> None:
        store.append([record_of(NOW, tenant)])
        for moment, sequence, number in ((0, 0, 0), (2**61, 2**61, 1), (2**62 - 1, 2**62, 1)):
            before = Position(moment, sequence)
            assert len(store.scan(ALL, tenant=tenant, before=before, limit=5, most=5).decisions) == number


class TestTenants:
    def test_hostile_ids_stay_in_their_tenant(self, store: DecisionStore, tenant: str) -> None:
        """Each text is the tenant, the request id, the code and the ids of one record."""
        texts = (*HOSTILE, *(f"{tenant}{text}" for text in HOSTILE))
        records = {
            f"{tenant}{text}": record_of(
                NOW,
                f"{tenant}{text}",
                request_id=text,
                code=text,
                claims=claims_of(text, text, plan=Plan(publisher=text, product=text, name=text), sku=text),
            )
            for text in texts
        }
        store.append([*records.values(), record_of(NOW, tenant, request_id="mine")])
        for name, record in records.items():
            [decision] = scan_all(store, name)
            assert decision.fields["requestId"] == decision.fields["vmId"] == decision.fields["code"] == record.code
            for text in (*texts, tenant, "mine"):
                is_own = text == record.code
                assert (store.find(text, tenant=name) is not None) == is_own
            for text in (record.code, "mine"):
                for selection in (
                    *(Selection(vm_id=text.lower()), Selection(subscription_id=text.lower()), Selection(code=text)),
                    Selection(plan=text.casefold()),
                ):
                    assert len(scan_all(store, name, selection)) == (text == record.code)
            today = usage_of(store, name, NOW.date())
            assert today.total == 1
            # An estimating store counts long values together, so that names use little memory.
            is_own = today.exact or len(record.code) < 100
            assert today.groups == {"/".join([record.code] * 3).casefold() if is_own else "…": 1}
        assert ids_in(store, tenant) == ["mine"]
        assert set(store.tenants()) >= {*records, tenant}
        # To erase by a pattern erases only what has exactly this id.
        for text in texts:
            assert store.erase(tenant=tenant, vm_id=text.lower()) == 0
        assert store.erase(tenant=f"{tenant}%", vm_id="%") == 1
        assert sum(len(scan_all(store, name)) for name in records) == len(records) - 1

    def test_one_request_id_in_two_tenants_is_two_decisions(self, store: DecisionStore, tenant: str) -> None:
        other = f"{tenant}2"
        store.append(
            [record_of(NOW, tenant, request_id="r", code="a"), record_of(NOW, other, request_id="r", code="b")]
        )
        for name, code in ((tenant, "a"), (other, "b")):
            decision = store.find("r", tenant=name)
            assert decision is not None
            assert decision.fields["code"] == code

    def test_a_cursor_of_another_tenant_reaches_no_record_of_it(self, store: DecisionStore, tenant: str) -> None:
        store.append([record_of(NOW, tenant), record_of(NOW - SECOND, f"{tenant}2", request_id="theirs")])
        [mine] = scan_all(store, tenant)
        scan = store.scan(ALL, tenant=f"{tenant}2", before=mine.position, limit=5, most=5)
        assert ids_of(scan.decisions) == ["theirs"]
        [theirs] = scan.decisions
        assert store.scan(ALL, tenant=tenant, before=theirs.position, limit=5, most=5).decisions == ()

    def test_tenants_are_those_with_records_sorted(self, store: DecisionStore, tenant: str) -> None:
        names = [f"{tenant}-{end}" for end in ("b", "a", "ä")]
        store.append([record_of(NOW, name) for name in (*names, NO_TENANT)])
        assert [name for name in store.tenants() if name.startswith(tenant)] == sorted(names)
        assert store.tenants() == tuple(sorted(store.tenants()))
        assert NO_TENANT in store.tenants()


class TestDuplicates:
    def test_a_batch_may_be_sent_again(self, store: DecisionStore, tenant: str) -> None:
        batch = [record_of(NOW - index * SECOND, tenant) for index in range(5)]
        store.append(batch)
        whole = scan_all(store, tenant)
        store.append([*batch, record_of(NOW - 9 * SECOND, tenant, request_id="last")])
        assert scan_all(store, tenant)[:5] == whole
        assert ids_in(store, tenant) == [*expected_ids(batch), "last"]
        assert usage_of(store, tenant, NOW.date()).total == 1

    def test_the_first_record_of_a_request_stays_as_it_is(self, store: DecisionStore, tenant: str) -> None:
        store.append([record_of(NOW, tenant, request_id="r", code="first")])
        store.append([record_of(NOW - SECOND, tenant, request_id="r", code="second", stage=Stage.UNVERIFIED)])
        twice = [record_of(NOW, tenant, request_id="s", code=code) for code in ("first", "second")]
        store.append(twice)
        assert [decision.fields["code"] for decision in scan_all(store, tenant)] == ["first", "first"]


class TestBounds:
    @pytest.mark.parametrize("batch", [1, 7, 400])
    def test_the_bytes_of_a_tenant_are_bounded_and_the_newest_stay(
        self, opened: Opened, tenant: str, batch: int
    ) -> None:
        bound = MEBIBYTE // 2
        store = opened.open(bytes_per_tenant=bound)
        records = [record_of(NOW - (2000 - index) * SECOND, tenant, detail="x" * 500) for index in range(1200)]
        for start in range(0, len(records), batch):
            store.append(records[start : start + batch])
        kept = ids_in(store, tenant)
        assert kept == expected_ids(records)[: len(kept)]
        # A record is one line of JSON of about 1,100 bytes, and a store needs more than that.
        assert bound // 4000 < len(kept) < bound // 1000

    def test_garbage_pushes_out_no_genuine_record(self, opened: Opened, tenant: str) -> None:
        store = opened.open(bytes_per_tenant=MEBIBYTE)
        fresh = [record_of(NOW - DAY + index * SECOND, tenant) for index in range(100)]
        replays = [
            record_of(
                NOW - DAY + index * SECOND, tenant, stage=Stage.AUTHENTIC, verdict=Verdict.REFUSED, code="replayed"
            )
            for index in range(10)
        ]
        store.append([*fresh, *replays])
        for start in range(0, 10_000, 500):
            store.append([garbage_of(NOW + index * SECOND / 1000, tenant) for index in range(start, start + 500)])
        verified = ids_in(store, tenant, Selection(verdict=Verdict.VERIFIED))
        assert verified == expected_ids(fresh)
        assert ids_in(store, tenant, Selection(code="replayed")) == expected_ids(replays)
        garbage = len(ids_in(store, tenant, Selection(code="untrusted-chain")))
        assert 5 < garbage < MEBIBYTE * SHARES[Stage.UNVERIFIED] / 400

    def test_one_tenant_pushes_out_no_record_of_another(self, opened: Opened, tenant: str) -> None:
        store = opened.open(bytes_per_tenant=MEBIBYTE // 4)
        store.append([record_of(NOW - DAY, f"{tenant}2", request_id="theirs")])
        for index in range(20):
            store.append([record_of(NOW + index * SECOND, tenant) for _ in range(50)])
        assert ids_in(store, f"{tenant}2") == ["theirs"]

    def test_records_of_30_days_ago_are_not_returned(self, opened: Opened, tenant: str) -> None:
        store = opened.open()
        records = [record_of(NOW + index * DAY, tenant) for index in range(3)]
        store.append(records)
        opened.clock.moment = NOW + KEEP_DECISIONS
        assert ids_in(store, tenant) == expected_ids(records)
        for number, record in enumerate(records):
            opened.clock.moment = record.at + KEEP_DECISIONS + SECOND / 1000
            left = expected_ids(records)[: 2 - number]
            for selection in (ALL, Selection(vm_id=VM), Selection(code="verified"), Selection(since=NOW - DAY)):
                assert ids_in(store, tenant, selection) == left
            assert store.find(record.request_id, tenant=tenant) is None

    def test_a_lower_bound_takes_effect_step_by_step(self, opened: Opened, tenant: str) -> None:
        opened.open().append([record_of(NOW + index * SECOND / 100, tenant) for index in range(2000)])
        store = opened.open(bytes_per_tenant=MEBIBYTE // 8)
        for index in range(100):
            store.append([record_of(NOW + (100 + index) * SECOND, tenant)])
        assert len(ids_in(store, tenant)) < MEBIBYTE // 8 // 800


class TestErase:
    @pytest.fixture
    def records(self, store: DecisionStore, tenant: str) -> list[AppraisalRecord]:
        """Two VMs of a subscription and one of another, and each also in another tenant."""
        claims = [claims_of(VM), claims_of("vm-2"), claims_of("vm-3", "subscription-2", plan=replace(PLAN, name="s"))]
        records = [
            record_of(NOW - index * SECOND, name, claims=each, request_id=f"{each.vm_id}-{index}")
            for name in (tenant, f"{tenant}2")
            for each in claims
            for index in range(3)
        ]
        store.append(records)
        return records

    def test_erases_a_vm_with_its_counts(
        self, store: DecisionStore, tenant: str, records: list[AppraisalRecord]
    ) -> None:
        today = NOW.date()
        assert usage_of(store, tenant, today).total == 3
        assert store.erase(tenant=tenant, vm_id=VM) == 3
        assert store.erase(tenant=tenant, vm_id=VM) == 0
        assert ids_in(store, tenant, Selection(vm_id=VM)) == []
        assert store.find(f"{VM}-0", tenant=tenant) is None
        assert len(scan_all(store, tenant)) == 6
        assert len(scan_all(store, tenant, Selection(subscription_id=SUBSCRIPTION))) == 3
        assert len(scan_all(store, f"{tenant}2")) == len(records) // 2
        assert usage_of(store, f"{tenant}2", today).total == 3

    def test_erases_a_subscription_with_its_counts(
        self, store: DecisionStore, tenant: str, records: list[AppraisalRecord]
    ) -> None:
        assert store.erase(tenant=tenant, subscription_id=SUBSCRIPTION) == 6
        assert {decision.fields["vmId"] for decision in scan_all(store, tenant)} == {"vm-3"}
        assert len(scan_all(store, f"{tenant}2")) == len(records) // 2
        assert store.erase(tenant=tenant, subscription_id="subscription-2") == 3
        assert scan_all(store, tenant) == []
        # A store that only estimates keeps the counts.
        assert (tenant in store.tenants()) != usage_of(store, tenant, NOW.date()).exact

    def test_exact_counts_lose_what_is_erased(
        self, store: DecisionStore, tenant: str, records: list[AppraisalRecord]
    ) -> None:
        """A store that only estimates cannot take one VM out of its counts."""
        assert records
        today = NOW.date()
        if not usage_of(store, tenant, today).exact:
            pytest.skip("the store estimates its counts")
        store.erase(tenant=tenant, vm_id=VM)
        assert usage_of(store, tenant, today).groups == {"contoso/appliance/gold": 1, "contoso/appliance/s": 1}
        store.erase(tenant=tenant, subscription_id=SUBSCRIPTION)
        assert usage_of(store, tenant, today).groups == {"contoso/appliance/s": 1}

    def test_erased_bytes_make_room_again(self, opened: Opened, tenant: str) -> None:
        store = opened.open(bytes_per_tenant=MEBIBYTE // 2)
        for turn in range(4):
            records = [record_of(NOW + (turn * 1000 + index) * SECOND, tenant) for index in range(150)]
            store.append(records)
            assert ids_in(store, tenant) == expected_ids(records)
            assert store.erase(tenant=tenant, vm_id=VM) == 150

    def test_erases_more_than_one_step(self, store: DecisionStore, tenant: str) -> None:
        store.append([record_of(NOW - index * SECOND / 100, tenant) for index in range(2500)])
        store.append([record_of(NOW, tenant, claims=claims_of("other"))])
        assert store.erase(tenant=tenant, vm_id=VM) == 2500
        assert len(scan_all(store, tenant)) == 1

    def test_neither_and_both_are_mistakes_of_the_caller(self, store: DecisionStore, tenant: str) -> None:
        store.append([garbage_of(NOW, tenant)])
        with pytest.raises(ValueError, match="exactly one"):
            store.erase(tenant=tenant)
        with pytest.raises(ValueError, match="exactly one"):
            store.erase(tenant=tenant, vm_id=VM, subscription_id=SUBSCRIPTION)
        # A record without a VM is not one of the VM without an id.
        assert store.erase(tenant=tenant, vm_id="") == 0
        assert len(scan_all(store, tenant)) == 1


def about(usage: Usage, number: int) -> object:
    """Return what the number of a usage must equal."""
    return number if usage.exact else pytest.approx(number, rel=4 * usage.error, abs=1)


class TestUsage:
    def test_counts_distinct_vms_of_verified_records_by_each_dimension(self, store: DecisionStore, tenant: str) -> None:
        silver = replace(PLAN, name="SILVER")
        records = [
            *(record_of(NOW, tenant, claims=claims_of(f"gold-{index % 10}")) for index in range(30)),
            *(record_of(NOW, tenant, claims=claims_of(f"silver-{index}", plan=silver, sku="g1")) for index in range(5)),
            # One VM that changed its plan, and one without a plan in another cloud.
            record_of(NOW, tenant, claims=claims_of("GOLD-0", plan=silver)),
            record_of(NOW, tenant, claims=claims_of("none", None, plan=None, sku=None), cloud=Cloud.CHINA),
            record_of(NOW, tenant, verdict=Verdict.REFUSED, code="replayed", claims=claims_of("refused")),
            record_of(NOW, tenant, verdict=Verdict.UNAVAILABLE, code="store", claims=claims_of("unavailable")),
            record_of(NOW, f"{tenant}2", claims=claims_of("of another tenant")),
            garbage_of(NOW, tenant),
        ]
        store.append(records)
        expected = {
            Dimension.PLAN: {"contoso/appliance/gold": 10, "contoso/appliance/silver": 6, "": 1},
            Dimension.PRODUCT: {"contoso/appliance": 15, "": 1},
            Dimension.SKU: {"gen2": 10, "g1": 5, "": 1},
            Dimension.CLOUD: {"AzurePublicCloud": 15, "AzureChinaCloud": 1},
        }
        for by, groups in expected.items():
            usage = usage_of(store, tenant, NOW.date(), by=by)
            assert usage.total == about(usage, 16)
            assert usage.groups == {group: about(usage, number) for group, number in groups.items()}
            assert usage.counted_since == NOW.date()
            assert usage.exact == (usage.error == 0)

    def test_counts_the_days_of_the_span_only(self, opened: Opened, tenant: str) -> None:
        """Over 70 days, one VM is verified on each, and one VM every day."""
        store = opened.open()
        days = [(NOW + index * DAY).date() for index in range(70)]
        for index in range(70):
            opened.clock.moment = NOW + index * DAY
            store.append(
                [record_of(NOW + index * DAY, tenant, claims=claims_of(vm)) for vm in (f"vm-{index}", "vm-daily")]
            )
        for first, last in ((0, 0), (5, 5), (0, 69), (10, 20), (28, 33), (0, 68), (1, 69), (40, 69)):
            usage = usage_of(store, tenant, days[first], days[last])
            assert usage.total == about(usage, last - first + 2)
            assert usage.counted_since == days[0]
        assert usage_of(store, tenant, days[0] - 9 * DAY, days[0] - DAY).total == 0
        assert usage_of(store, tenant, days[-1] + DAY, days[-1] + 9 * DAY).total == 0
        assert usage_of(store, tenant, days[5], days[4]).total == 0

    def test_days_begin_at_midnight_utc(self, store: DecisionStore, tenant: str) -> None:
        midnight = NOW.replace(hour=0)
        for moment, vm in ((midnight - SECOND / 1000, "before"), (midnight, "after")):
            store.append([record_of(moment, tenant, claims=claims_of(vm))])
        assert usage_of(store, tenant, midnight.date()).total == 1
        assert usage_of(store, tenant, (midnight - DAY).date()).total == 1
        assert usage_of(store, tenant, (midnight - DAY).date(), midnight.date()).total == 2

    def test_no_record_is_no_count(self, store: DecisionStore, tenant: str) -> None:
        store.append([garbage_of(NOW, tenant)])
        for name in (tenant, f"{tenant}2"):
            usage = usage_of(store, name, NOW.date())
            assert (usage.total, usage.groups, usage.counted_since) == (0, {}, None)

    def test_counts_outlive_the_decisions_and_end_with_their_time(self, opened: Opened, tenant: str) -> None:
        store = opened.open()
        store.append([record_of(NOW, tenant)])
        opened.clock.moment = NOW + KEEP_DECISIONS + DAY
        store.append([garbage_of(opened.clock.moment, tenant)])
        assert usage_of(store, tenant, NOW.date()).total == 1
        assert tenant in store.tenants()
        opened.clock.moment = NOW + KEEP_USAGE
        assert usage_of(store, tenant, NOW.date()).total == 1
        opened.clock.moment = NOW + KEEP_USAGE + DAY
        late = usage_of(store, tenant, NOW.date())
        assert (late.total, late.counted_since) == (0, (NOW + DAY).date())


def test_processes_append_at_the_same_time(opened: Opened, tenant: str) -> None:
    """Four processes append 40 records each. Half of them are those of the next process too."""
    store = opened.open()
    arguments = [(tenant, NOW.isoformat(), str(20 * number), "40") for number in range(4)]
    assert append_from_processes(opened, arguments) == ["appended"] * 4
    assert ids_in(store, tenant) == [f"request-{index}" for index in reversed(range(100))]


_texts = st.sampled_from(["a", "b", "%", "\0", "\ud800"])
_plans = st.none() | st.builds(Plan, publisher=st.none() | _texts, product=st.none(), name=st.none() | _texts)
_drafts = st.fixed_dictionaries(
    {
        "offset": st.integers(0, 3),
        "request_id": st.integers(0, 30).map(str),
        "tenant": st.sampled_from(["x", "y"]),
        "verdict": st.sampled_from(Verdict),
        "code": _texts,
        "stage": st.sampled_from(Stage),
        "claims": st.none() | st.builds(claims_of, _texts, st.none() | _texts, plan=_plans),
    }
)
_steps = st.lists(
    st.lists(_drafts, max_size=6) | st.tuples(st.sampled_from(["vm_id", "subscription_id"]), _texts), max_size=8
)
_selections = st.builds(
    Selection,
    vm_id=st.none() | _texts,
    subscription_id=st.none() | _texts,
    verdict=st.none() | st.sampled_from(Verdict),
    code=st.none() | _texts,
    plan=st.none() | _texts,
    since=st.none() | st.integers(0, 3).map(lambda offset: NOW - offset * SECOND),
    until=st.none() | st.integers(-1, 3).map(lambda offset: NOW - offset * SECOND),
)


class Model:
    """Keep records in a list."""

    def __init__(self) -> None:
        self.records: list[AppraisalRecord] = []

    def append(self, record: AppraisalRecord) -> None:
        if all((each.tenant, each.request_id) != (record.tenant, record.request_id) for each in self.records):
            self.records.append(record)

    def erase(self, name: str, text: str, tenant: str) -> int:
        erased = [
            each
            for each in self.records
            if each.tenant == tenant and each.claims and getattr(each.claims, name) == text
        ]
        self.records = [each for each in self.records if each not in erased]
        return len(erased)

    def select(self, selection: Selection, tenant: str) -> list[str]:
        return expected_ids(
            [
                record
                for record in self.records
                if record.tenant == tenant
                and (selection.vm_id is None or (record.claims and record.claims.vm_id == selection.vm_id))
                and (
                    selection.subscription_id is None
                    or (record.claims and record.claims.subscription_id == selection.subscription_id)
                )
                and selection.verdict in (None, record.verdict)
                and selection.code in (None, record.code)
                and (
                    selection.plan is None
                    or (record.claims and record.claims.plan and record.claims.plan.name == selection.plan)
                )
                and (selection.since is None or record.at >= selection.since)
                and (selection.until is None or record.at < selection.until)
            ]
        )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps, selections=st.lists(_selections, min_size=1, max_size=4), limit=st.integers(1, 4), data=st.data())
def test_agrees_with_a_list(
    opened: Opened, steps: list[Any], selections: list[Selection], limit: int, data: st.DataObject
) -> None:
    store, model = opened.open(), Model()
    prefix = new_prefix()
    for step in steps:
        match step:
            case (str(name), str(text)):
                for tenant in ("x", "y"):
                    wanted = model.erase(name, text, prefix + tenant)
                    assert store.erase(tenant=prefix + tenant, **{name: text}) == wanted
            case drafts:
                records = [
                    record_of(
                        NOW - draft["offset"] * SECOND,
                        prefix + draft["tenant"],
                        **{name: value for name, value in draft.items() if name not in ("offset", "tenant")},
                    )
                    for draft in drafts
                ]
                store.append(records)
                for record in records:
                    model.append(record)
    most = data.draw(st.integers(1, 10))
    for selection, tenant in itertools.product([ALL, *selections], ("x", "y")):
        found = scan_all(store, prefix + tenant, selection, limit=limit, most=most)
        assert ids_of(found) == model.select(selection, prefix + tenant)


def _counter() -> Callable[[], str]:
    numbers = itertools.count()
    start = datetime.now(UTC).isoformat()
    return lambda: f"model-{start}-{next(numbers)}-"


new_prefix = _counter()

"""Test cursors, and pages over the decisions of several tenants in a real store."""

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clocks import ManualClock
from support.decisions import SUBSCRIPTION, VM, claims_of, record_of

from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.ports.decisions import AppraisalRecord, Decision, Dimension, Position, Scan, Selection, Verdict
from verifier.usecases.decisions import MAX_LIMIT, MAX_SCANNED, Cursor, Decisions

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
NUMBERS = st.integers(min_value=0, max_value=2**62 - 1)


def open_store(directory: Path) -> SqliteDecisionStore:
    return SqliteDecisionStore(directory / "decisions.sqlite3", bytes_per_tenant=2**26, clock=ManualClock(NOON))


def record(
    number: int, *, tenant: str = "north", at: datetime = NOON, verdict: Verdict = Verdict.REFUSED
) -> AppraisalRecord:
    return record_of(at, tenant, request_id=f"{number:032x}", verdict=verdict)


@given(moment=NUMBERS, sequence=NUMBERS, tenant=st.text(max_size=12))
def test_cursor_survives_its_text(moment: int, sequence: int, tenant: str) -> None:
    cursor = Cursor(moment, sequence, tenant)
    text = cursor.text()
    assert Cursor.parse(text) == cursor
    assert text.isascii()


def test_text_of_a_cursor_is_compact_json_in_base64url() -> None:
    text = Cursor(5, 7, "m").text()
    assert text == "WzUsNywibSJd"
    assert base64.urlsafe_b64decode(text) == b'[5,7,"m"]'
    assert not Cursor(5, 7, "mm").text().endswith("=")


def test_text_of_a_cursor_has_at_most_256_characters() -> None:
    """Not even if the rest of a longer text is ignored by every reader of JSON."""
    longest = Cursor(5, 7, "m" * 184)
    assert len(longest.text()) == 256
    assert Cursor.parse(longest.text()) == longest
    for longer in (Cursor(5, 7, "m" * 185).text(), longest.text() + "ICAg", longest.text() + "IA"):
        with pytest.raises(ValueError, match="not one of this service"):
            Cursor.parse(longer)


@pytest.mark.parametrize("number", [0, 2**62 - 1])
def test_numbers_of_a_cursor_are_bounded(number: int) -> None:
    assert Cursor.parse(encoded([number, number, ""])) == Cursor(number, number, "")


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "a",
        "é",
        "null",
        "A" * 10_000,
        encoded([1, 2]),
        encoded([1, 2, 3]),
        encoded([1, 2, "a", 4]),
        encoded([-1, 2, "a"]),
        encoded([1, -1, "a"]),
        encoded([2**62, 2, "a"]),
        encoded([1, 2**62, "a"]),
        encoded([1.5, 2, "a"]),
        encoded(["1", 2, "a"]),
        encoded({"moment": 1}),
        encoded([[[[1]]]]),
        encoded([1, 2, "x" * 1000]),
        encoded([1, 2, "a"]) + "=*",
    ],
)
def test_other_texts_are_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match="not one of this service"):
        Cursor.parse(text)


@given(text=st.text(max_size=300))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except ValueError:
        return
    assert Cursor.parse(cursor.text()) == cursor


def test_next_page_includes_the_tenants_after_the_cursors_own() -> None:
    """At one place, the order of all tenants is that of their names, the last name first."""
    cursor = Cursor(5, 7, "m")
    assert cursor.before("z") == Position(5, 7)
    assert cursor.before("m") == Position(5, 7)
    assert cursor.before("a") == Position(5, 8)


def pages(decisions: Decisions, selection: Selection, *, tenant: str | None, limit: int) -> list[str]:
    """Return the request ids of all pages."""
    found: list[str] = []
    cursor = None
    for _ in range(1000):
        page = decisions.search(selection, tenant=tenant, cursor=cursor, limit=limit)
        assert len(page.decisions) <= limit
        found += [str(decision["requestId"]) for decision in page.decisions]
        cursor = page.cursor
        if cursor is None:
            return found
        cursor = Cursor.parse(cursor.text())
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_pages_over_all_tenants_have_each_decision_once_newest_first(tmp_path: Path, limit: int) -> None:
    store = open_store(tmp_path)
    tenants = ("a", "b", "c", "")
    records = [
        record(number, tenant=tenants[number % 4], at=NOON + timedelta(seconds=number // 6)) for number in range(60)
    ]
    store.append(records)
    decisions = Decisions(store=store)
    found = pages(decisions, Selection(), tenant=None, limit=limit)
    assert sorted(found) == sorted(one.request_id for one in records)
    at = {one.request_id: one.at for one in records}
    assert [at[one] for one in found] == sorted(at.values(), reverse=True)
    own = {one.request_id for one in records if one.tenant == "b"}
    assert pages(decisions, Selection(), tenant="b", limit=limit) == [one for one in found if one in own]


def test_page_that_looks_at_its_maximum_leads_on(tmp_path: Path) -> None:
    """The only match is older than what one page looks at."""
    store = open_store(tmp_path)
    store.append([record(0, verdict=Verdict.VERIFIED, at=NOON)])
    for start in range(1, MAX_SCANNED + 500, 500):
        store.append([record(start + one, at=NOON + timedelta(seconds=1)) for one in range(500)])
    decisions = Decisions(store=store)
    selection = Selection(verdict=Verdict.VERIFIED)
    first = decisions.search(selection, tenant="north", cursor=None, limit=10)
    assert first.decisions == ()
    assert first.cursor is not None
    assert pages(decisions, selection, tenant="north", limit=10) == [record(0).request_id]


@dataclass(slots=True)
class ScriptedStore:
    """Implements what `search` uses of the DecisionStore port: returns the scan of each tenant, and keeps each call."""

    scans: dict[str, Scan]
    calls: list[tuple[str, Position | None, int, int]] = field(default_factory=list)

    def tenants(self) -> tuple[str, ...]:
        return tuple(self.scans)

    def scan(self, selection: Selection, *, tenant: str, before: Position | None, limit: int, most: int) -> Scan:  # noqa: ARG002 - the port's
        self.calls.append((tenant, before, limit, most))
        return self.scans[tenant]


def scan(*moments: int, reached: int | None = None) -> Scan:
    """Return a scan with a decision at each of these moments."""
    return Scan(
        decisions=tuple(Decision(position=Position(one, 0), fields={"at": one}) for one in moments),
        scanned=len(moments),
        reached=None if reached is None else Position(reached, 0),
    )


def search(store: ScriptedStore, *, tenant: str | None = None, limit: int) -> tuple[list[object], Cursor | None]:
    decisions = Decisions(store=store)  # type: ignore[arg-type]  # a search uses no other method
    page = decisions.search(Selection(), tenant=tenant, cursor=None, limit=limit)
    return [decision["at"] for decision in page.decisions], page.cursor


def test_tenants_share_the_number_of_records_that_one_page_looks_at() -> None:
    for tenant, tenants, limit, most in (
        ("a", "a", 10, 10_000),
        (None, "a", 10, 10_000),
        (None, "ab", 10, 5_000),
        (None, "abc", 10, 3_333),
        (None, "abc", 4_000, 4_000),
    ):
        store = ScriptedStore({name: scan() for name in tenants})
        assert search(store, tenant=tenant, limit=limit) == ([], None)
        assert store.calls == [(name, None, limit, most) for name in tenants]


def test_search_without_tenants_finds_no_decision() -> None:
    assert search(ScriptedStore({}), limit=10) == ([], None)


def test_page_ends_where_the_shortest_scan_ended() -> None:
    """Older decisions of the other tenant are on the next page, because newer ones may come before them."""
    store = ScriptedStore({"a": scan(9, 8, reached=5), "b": scan(7, 5, 4, 3, reached=2)})
    assert search(store, limit=10) == ([9, 8, 7, 5], Cursor(5, 0, "a"))
    assert search(store, limit=4) == ([9, 8, 7, 5], Cursor(5, 0, "a"))
    assert search(store, limit=3) == ([9, 8, 7], Cursor(7, 0, "b"))


def test_pages_are_bounded() -> None:
    assert (MAX_LIMIT, MAX_SCANNED) == (200, 10_000)


def test_decisions_of_a_subscription_are_erased(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    other = claims_of(subscription_id="00000000-0000-4000-8000-000000000000")
    store.append([record(1), record_of(NOON, "north", request_id=f"{2:032x}", claims=other)])
    decisions = Decisions(store=store)
    assert decisions.erase(tenant="north", subscription_id=SUBSCRIPTION) == 1
    assert pages(decisions, Selection(), tenant=None, limit=10) == [f"{2:032x}"]


def test_no_cursor_reaches_another_tenant(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([record(1, tenant="north"), record(2, tenant="south")])
    decisions = Decisions(store=store)
    for tenant in ("north", "south", "zzz", ""):
        for moment in (0, 2**61):
            page = decisions.search(Selection(), tenant="south", cursor=Cursor(moment, 0, tenant), limit=10)
            assert all(decision["tenant"] == "south" for decision in page.decisions)


def test_decisions_of_all_tenants_are_found_erased_and_counted(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([record(one, tenant=tenant, verdict=Verdict.VERIFIED) for one, tenant in enumerate("ab")])
    decisions = Decisions(store=store)
    assert decisions.tenants() == ("a", "b")
    assert decisions.find(record(1).request_id, tenant=None) is not None
    assert decisions.find(record(1).request_id, tenant="a") is None
    day = date(2026, 11, 30)
    assert decisions.usage(day, day, tenant="a", by=Dimension.CLOUD).total == 1
    assert decisions.erase(tenant="b", vm_id=VM) == 1
    assert decisions.erase(tenant=None, vm_id=VM) == 1
    assert decisions.find(record(0).request_id, tenant=None) is None

"""Test cursors, and pages over the decisions of several tenants in a real store."""

import base64
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clocks import ManualClock
from support.decisions import VM, record_of

from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.ports.decisions import AppraisalRecord, Dimension, Position, Selection, Verdict
from verifier.usecases.decisions import MAX_SCANNED, Cursor, Decisions

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
NUMBERS = st.integers(min_value=0, max_value=2**62 - 1)


def open_store(directory: Path) -> SqliteDecisionStore:
    return SqliteDecisionStore(directory / "decisions.sqlite3", bytes_per_tenant=2**26, clock=ManualClock(NOON))


def record(
    number: int, *, tenant: str = "north", at: datetime = NOON, verdict: Verdict = Verdict.REFUSED
) -> AppraisalRecord:
    return record_of(at, tenant, request_id=f"{number:032x}", verdict=verdict)


@given(moment=NUMBERS, sequence=NUMBERS, tenant=st.text(max_size=20))
def test_cursor_survives_its_text(moment: int, sequence: int, tenant: str) -> None:
    cursor = Cursor(moment, sequence, tenant)
    text = cursor.text()
    assert Cursor.parse(text) == cursor
    assert text.isascii()


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

"""Faults come one after the other, each as often as was asked."""

import threading

import pytest

from verifier.emulator.faults import Fault, FaultKind, FaultPlan


def taken(plan: FaultPlan, times: int, *, is_for_a_document: bool = True) -> list[FaultKind | None]:
    faults = [plan.take(is_for_a_document=is_for_a_document) for _ in range(times)]
    return [fault.kind if fault else None for fault in faults]


def test_each_is_used_up_before_the_next_ones_turn() -> None:
    plan = FaultPlan()
    plan.put((Fault(kind=FaultKind.GONE, requests=2), Fault(kind=FaultKind.ERROR, requests=1)))
    assert taken(plan, 4) == [FaultKind.GONE, FaultKind.GONE, FaultKind.ERROR, None]
    assert plan.remaining() == ()


def test_one_without_a_number_stays_until_it_is_taken_away() -> None:
    plan = FaultPlan()
    plan.put((Fault(kind=FaultKind.GONE),))
    assert taken(plan, 3) == [FaultKind.GONE] * 3
    plan.put(())
    assert taken(plan, 1) == [None]


def test_tells_what_remains() -> None:
    plan = FaultPlan()
    plan.put((Fault(kind=FaultKind.SLOW, requests=3, seconds=1.5),))
    plan.take(is_for_a_document=False)
    assert plan.remaining() == (Fault(kind=FaultKind.SLOW, requests=2, seconds=1.5),)


def test_a_cached_nonce_waits_for_a_request_for_a_document() -> None:
    plan = FaultPlan()
    plan.put((Fault(kind=FaultKind.CACHED_NONCE, requests=1), Fault(kind=FaultKind.ERROR, requests=1)))
    assert taken(plan, 2, is_for_a_document=False) == [None, None]
    assert taken(plan, 2) == [FaultKind.CACHED_NONCE, FaultKind.ERROR]


def test_as_many_requests_at_once_use_up_no_more_than_there_is() -> None:
    plan = FaultPlan()
    plan.put((Fault(kind=FaultKind.GONE, requests=50),))
    met: list[FaultKind | None] = []
    threads = [threading.Thread(target=lambda: met.extend(taken(plan, 20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met.count(FaultKind.GONE) == 50
    assert met.count(None) == 110


@pytest.mark.parametrize(
    ("requests", "kind", "seconds"),
    [
        (0, FaultKind.GONE, 0),
        (-1, FaultKind.GONE, 0),
        (1_000_001, FaultKind.GONE, 0),
        (1, FaultKind.GONE, 1),
        (1, FaultKind.SLOW, 0),
        (1, FaultKind.SLOW, -1),
        (1, FaultKind.SLOW, 301),
    ],
)
def test_refuses_a_fault_that_is_none(requests: int, kind: FaultKind, seconds: float) -> None:
    with pytest.raises(ValueError, match="fault"):
        Fault(kind=kind, requests=requests, seconds=seconds)


def test_refuses_too_many() -> None:
    plan = FaultPlan()
    with pytest.raises(ValueError, match="at most 32"):
        plan.put((Fault(kind=FaultKind.GONE),) * 33)

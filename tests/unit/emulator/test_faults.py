"""Faults apply in order, each to the planned number of requests."""

import threading

import pytest

from verifier.emulator.faults import Fault, FaultKind, FaultPlan


def take(plan: FaultPlan, times: int, *, is_for_a_document: bool = True) -> list[FaultKind | None]:
    faults = [plan.take(is_for_a_document=is_for_a_document) for _ in range(times)]
    return [fault.kind if fault else None for fault in faults]


def test_fault_is_used_up_before_the_next_one_begins() -> None:
    plan = FaultPlan()
    plan.put((Fault(kind=FaultKind.GONE, requests=2), Fault(kind=FaultKind.ERROR, requests=1)))
    assert take(plan, 4) == [FaultKind.GONE, FaultKind.GONE, FaultKind.ERROR, None]
    assert plan.remaining() == ()


def test_fault_without_a_number_stays_until_it_is_replaced() -> None:
    plan = FaultPlan()
    plan.put((Fault(kind=FaultKind.GONE),))
    assert take(plan, 3) == [FaultKind.GONE] * 3
    plan.put(())
    assert take(plan, 1) == [None]


def test_remaining_faults_have_the_remaining_requests() -> None:
    plan = FaultPlan()
    plan.put((Fault(kind=FaultKind.SLOW, requests=3, seconds=1.5),))
    plan.take(is_for_a_document=False)
    assert plan.remaining() == (Fault(kind=FaultKind.SLOW, requests=2, seconds=1.5),)


def test_cached_nonce_applies_to_a_request_for_a_document() -> None:
    plan = FaultPlan()
    plan.put((Fault(kind=FaultKind.CACHED_NONCE, requests=1), Fault(kind=FaultKind.ERROR, requests=1)))
    assert take(plan, 2, is_for_a_document=False) == [None, None]
    assert take(plan, 2) == [FaultKind.CACHED_NONCE, FaultKind.ERROR]


def test_concurrent_requests_do_not_take_more_faults_than_planned() -> None:
    plan = FaultPlan()
    plan.put((Fault(kind=FaultKind.GONE, requests=50),))
    faults: list[FaultKind | None] = []
    threads = [threading.Thread(target=lambda: faults.extend(take(plan, 20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults.count(FaultKind.GONE) == 50
    assert faults.count(None) == 110


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
def test_invalid_fault_is_refused(requests: int, kind: FaultKind, seconds: float) -> None:
    with pytest.raises(ValueError, match="fault"):
        Fault(kind=kind, requests=requests, seconds=seconds)


def test_too_many_faults_are_refused() -> None:
    plan = FaultPlan()
    with pytest.raises(ValueError, match="at most 32"):
        plan.put((Fault(kind=FaultKind.GONE),) * 33)

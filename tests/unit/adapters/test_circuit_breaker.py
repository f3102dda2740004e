"""When a server that does not answer is called, and when not."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from verifier.adapters.circuit_breaker import LEASE, PAUSE, CircuitBreaker, CircuitOpen

AWAY = ConnectionError("away")


class Breaker:
    """A breaker by a clock that the test sets, and a list of its changes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[bool] = []
        self.breaker = CircuitBreaker(clock=lambda: self.now, changed=self._changed)

    def _changed(self) -> None:
        self.told.append(self.breaker.is_open)

    def fail(self, *, was_slow: bool = False) -> None:
        self.breaker.fail(self.breaker.enter(), AWAY, was_slow=was_slow)

    def pause(self, share: float = 1) -> None:
        self.now += share * PAUSE.total_seconds()


@pytest.fixture
def made() -> Breaker:
    return Breaker()


def test_the_third_quick_failure_in_a_row_opens_it(made: Breaker) -> None:
    made.fail()
    made.fail()
    made.breaker.succeed()
    made.fail()
    made.fail()
    assert not made.breaker.is_open
    made.fail()
    with pytest.raises(CircuitOpen) as caught:
        made.breaker.enter()
    assert caught.value.because is AWAY
    assert made.told == [True]


def test_one_failure_that_held_a_thread_opens_it(made: Breaker) -> None:
    made.fail(was_slow=True)
    with pytest.raises(CircuitOpen):
        made.breaker.enter()


def test_one_caller_probes_after_the_pause_and_calls_are_refused_meanwhile(made: Breaker) -> None:
    assert not made.breaker.claim_probe()
    made.fail(was_slow=True)
    made.pause(0.99)
    assert not made.breaker.claim_probe()
    made.pause(0.02)
    assert made.breaker.claim_probe()
    made.pause()
    assert not made.breaker.claim_probe()
    with pytest.raises(CircuitOpen):
        made.breaker.enter()


def test_a_probe_that_is_answered_closes_it(made: Breaker) -> None:
    made.fail(was_slow=True)
    made.pause()
    assert made.breaker.claim_probe()
    made.breaker.end_probe(None)
    made.breaker.enter()
    assert made.told == [True, False]


def test_a_probe_that_is_not_answered_begins_another_pause(made: Breaker) -> None:
    made.fail(was_slow=True)
    made.pause()
    assert made.breaker.claim_probe()
    made.breaker.end_probe(TimeoutError("still away"))
    assert not made.breaker.claim_probe()
    with pytest.raises(CircuitOpen) as caught:
        made.breaker.enter()
    assert isinstance(caught.value.because, TimeoutError)
    made.pause()
    assert made.breaker.claim_probe()
    assert made.told == [True]


def test_a_probe_that_never_ends_is_replaced(made: Breaker) -> None:
    made.fail(was_slow=True)
    made.pause()
    assert made.breaker.claim_probe()
    made.now += LEASE.total_seconds()
    assert made.breaker.claim_probe()
    made.breaker.end_probe(None)
    # The first one ends after all.
    made.breaker.end_probe(AWAY)
    assert not made.breaker.is_open
    assert made.told == [True, False]


def test_the_outcome_of_a_call_from_an_earlier_epoch_changes_no_state(made: Breaker) -> None:
    early = made.breaker.enter()
    made.fail(was_slow=True)
    made.breaker.succeed()
    assert made.breaker.is_open
    made.pause()
    # It does not put the probe off either.
    made.breaker.fail(early, AWAY, was_slow=True)
    assert made.breaker.claim_probe()
    made.breaker.end_probe(None)
    made.breaker.fail(early, AWAY, was_slow=True)
    assert not made.breaker.is_open


def test_one_of_many_threads_claims_the_probe(made: Breaker) -> None:
    made.fail(was_slow=True)
    made.pause()
    barrier = threading.Barrier(16)

    def claim(_: int) -> bool:
        barrier.wait()
        return made.breaker.claim_probe()

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(claim, range(16))) == 1

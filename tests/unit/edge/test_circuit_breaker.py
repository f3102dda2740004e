"""When a server that is away is asked, and when not."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from verifier.edge.circuit_breaker import CircuitBreaker, CircuitOpen

AWAY = ConnectionError("away")


class Breaker:
    """One whose clock the test sets, with a list of what it told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[bool] = []
        self.breaker = CircuitBreaker(
            clock=lambda: self.now, failures=3, pause=timedelta(seconds=1), changed=self._changed
        )

    def _changed(self) -> None:
        self.told.append(self.breaker.is_open)

    def fail(self, *, was_slow: bool = False) -> None:
        self.breaker.fail(self.breaker.enter(), AWAY, was_slow=was_slow)

    def succeed(self) -> None:
        self.breaker.succeed(self.breaker.enter())


@pytest.fixture
def made() -> Breaker:
    return Breaker()


def test_opens_at_the_third_quick_failure_in_a_row(made: Breaker) -> None:
    made.fail()
    made.fail()
    made.succeed()
    made.fail()
    made.fail()
    assert not made.breaker.is_open
    made.fail()
    with pytest.raises(CircuitOpen) as caught:
        made.breaker.enter()
    assert caught.value.because is AWAY
    assert made.told == [True]


def test_opens_at_once_at_a_failure_that_held_a_thread(made: Breaker) -> None:
    made.fail(was_slow=True)
    with pytest.raises(CircuitOpen):
        made.breaker.enter()


def test_after_the_pause_one_caller_finds_out_and_the_others_are_refused(made: Breaker) -> None:
    made.fail(was_slow=True)
    made.now += 0.99
    with pytest.raises(CircuitOpen):
        made.breaker.enter()
    made.now += 0.01
    assert made.breaker.enter().is_probe
    with pytest.raises(CircuitOpen):
        made.breaker.enter()
    assert made.breaker.is_open


def test_closes_when_he_finds_that_the_server_answers(made: Breaker) -> None:
    made.fail(was_slow=True)
    made.now += 1
    made.breaker.succeed(made.breaker.enter())
    assert not made.breaker.enter().is_probe
    assert made.told == [True, False]


def test_pauses_again_when_he_finds_that_it_does_not(made: Breaker) -> None:
    made.fail(was_slow=True)
    made.now += 1
    made.breaker.fail(made.breaker.enter(), AWAY, was_slow=True)
    with pytest.raises(CircuitOpen):
        made.breaker.enter()
    made.now += 1
    assert made.breaker.enter().is_probe
    assert made.told == [True]


def test_what_a_call_found_out_before_it_opened_or_closed_counts_no_more(made: Breaker) -> None:
    early = made.breaker.enter()
    made.fail(was_slow=True)
    # Neither an answer from before nor a failure from before says how it is now.
    made.breaker.succeed(early)
    assert made.breaker.is_open
    made.now += 1
    made.breaker.succeed(made.breaker.enter())
    made.breaker.fail(early, AWAY, was_slow=True)
    assert not made.breaker.is_open


def test_of_many_threads_one_finds_out(made: Breaker) -> None:
    made.fail(was_slow=True)
    made.now += 1
    barrier = threading.Barrier(16)

    def enter(_: int) -> bool:
        barrier.wait()
        try:
            return made.breaker.enter().is_probe
        except CircuitOpen:
            return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(enter, range(16))) == 1

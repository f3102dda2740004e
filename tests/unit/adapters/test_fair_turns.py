"""Test that turns are given in the order of the calls."""

import threading
from concurrent.futures import ThreadPoolExecutor

from verifier.adapters.fair_turns import FairTurns


def test_no_turn_is_given_beyond_the_limit() -> None:
    turns = FairTurns(2)
    assert [turns.take(seconds=0.01) for _ in range(3)] == [True, True, False]
    turns.give_back()
    assert turns.take(seconds=0.01)


def test_caller_that_timed_out_gets_no_turn() -> None:
    turns = FairTurns(1)
    assert turns.take(seconds=1)
    assert not turns.take(seconds=0.01)
    turns.give_back()
    assert turns.take(seconds=0.01)


def test_waiting_callers_get_turns_in_order_and_before_later_ones() -> None:
    turns = FairTurns(1)
    assert turns.take(seconds=1)
    order: list[int] = []

    def wait(number: int) -> None:
        assert turns.take(seconds=10)
        order.append(number)
        turns.give_back()

    threads = []
    for number in range(20):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        while len(turns._waiting) <= number:  # noqa: SLF001 - no other way to know that it waits
            pass
    turns.give_back()
    for thread in threads:
        thread.join()
    assert order == list(range(20))


def test_turns_stay_within_the_limit_and_every_caller_gets_one() -> None:
    turns = FairTurns(3)
    inside = most = 0
    guard = threading.Lock()

    def use() -> bool:
        nonlocal inside, most
        for _ in range(50):
            if not turns.take(seconds=10):
                return False
            with guard:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.0001)
            with guard:
                inside -= 1
            turns.give_back()
        return True

    with ThreadPoolExecutor(16) as pool:
        assert all(each.result() for each in [pool.submit(use) for _ in range(16)])
    assert most == 3

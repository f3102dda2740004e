"""Check that batches admit no more than the rate, and save calls to the store."""

import contextlib
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.adapters.records.rates import Taken, Window, length_of, take
from verifier.adapters.stores.rate_batches import BatchingRateLimiter
from verifier.core.tenancy import Rate
from verifier.ports.stores import StoreUnavailable

HIGH = Rate.parse("100000/minute")
MINUTE = 60_000_000


@dataclass(slots=True)
class MemoryCounters:
    """Implements RateCounters. `at` is the time in microseconds since 1970."""

    at: int = 0
    is_away: bool = False
    calls: int = 0
    counts: Counter[tuple[str, Rate, int]] = field(default_factory=Counter)
    answering: threading.Event | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)

    def hit(self, key: str, rate: Rate, most: int) -> Taken:
        if self.is_away:
            raise StoreUnavailable("The test took it away.")
        number, gone = divmod(self.at, length_of(rate))
        with self.turn:
            self.calls += 1
            previous, current = self.counts[key, rate, number - 1], self.counts[key, rate, number]
            taken = take(rate, Window(length_of(rate), gone, previous, current), most)
            self.counts[key, rate, number] = taken.window.current
        if self.answering is not None and most > 1:
            self.answering.wait(10)
        return taken


@pytest.fixture
def counters() -> MemoryCounters:
    return MemoryCounters()


def limiter_of(counters: MemoryCounters, *, speed: Fraction = Fraction(1)) -> BatchingRateLimiter:
    """Return a limiter whose clock is that of the store, or faster or slower."""
    return BatchingRateLimiter(counters, clock=lambda: int(counters.at * speed) * 1000)


@pytest.mark.parametrize(
    ("text", "batch"),
    [("1/hour", 1), ("9999/minute", 1), ("10000/minute", 10), ("60000/hour", 60), ("1000000/hour", 64)],
)
def test_a_batch_is_a_thousandth_of_the_rate_or_64(counters: MemoryCounters, text: str, batch: int) -> None:
    limiter = limiter_of(counters)
    rate = Rate.parse(text)
    for calls in (1, 2):
        for _ in range(min(batch, rate.amount)):
            limiter.hit("key", rate)
        assert counters.calls == calls


def test_one_process_tells_what_is_left_request_by_request(counters: MemoryCounters) -> None:
    limiter = limiter_of(counters)
    assert [limiter.hit("key", HIGH).remaining for _ in range(200)] == list(range(99_999, 99_799, -1))


def test_remaining_is_the_rate_without_what_the_store_counted_and_with_the_own_batch(counters: MemoryCounters) -> None:
    one, other = limiter_of(counters), limiter_of(counters)
    assert other.hit("key", HIGH).remaining == 99_999
    assert one.hit("key", HIGH).remaining == 100_000 - 64 - 1
    assert other.hit("key", HIGH).remaining == 99_998


def test_the_last_requests_of_a_rate_come_in_a_smaller_batch(counters: MemoryCounters) -> None:
    limiter = limiter_of(counters)
    counters.counts["key", HIGH, 0] = 99_990
    told = [limiter.hit("key", HIGH) for _ in range(12)]
    assert [allowance.admitted for allowance in told] == [True] * 10 + [False] * 2
    assert [allowance.remaining for allowance in told[:10]] == list(range(9, -1, -1))
    assert counters.calls == 3


def test_a_batch_ends_before_its_window(counters: MemoryCounters) -> None:
    limiter = limiter_of(counters)
    limiter.hit("key", HIGH)
    counters.at = MINUTE * 999 // 1000 - 1
    limiter.hit("key", HIGH)
    assert counters.calls == 1
    # The store gives no batch in the last thousandth of a window.
    for counters.at in (MINUTE * 999 // 1000, MINUTE - 1):
        limiter.hit("key", HIGH)
    assert counters.calls == 3
    assert counters.counts["key", HIGH, 0] == 64 + 2
    counters.at = MINUTE
    assert limiter.hit("key", HIGH).reset.total_seconds() == 61
    assert counters.counts["key", HIGH, 1] == 64


def test_the_reset_comes_nearer_while_a_batch_is_used(counters: MemoryCounters) -> None:
    limiter = limiter_of(counters)
    assert limiter.hit("key", HIGH).reset.total_seconds() == 61
    counters.at = 20_000_000
    assert limiter.hit("key", HIGH).reset.total_seconds() == 41


def test_an_unavailable_store_is_reported_when_the_batch_is_used_up(counters: MemoryCounters) -> None:
    limiter = limiter_of(counters)
    limiter.hit("key", HIGH)
    counters.is_away = True
    assert all(limiter.hit("key", HIGH).admitted for _ in range(63))
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            limiter.hit("key", HIGH)
    counters.is_away = False
    assert limiter.hit("key", HIGH).remaining == 100_000 - 64 - 1


def test_while_one_caller_asks_for_a_batch_the_others_take_one_request_each(counters: MemoryCounters) -> None:
    limiter = limiter_of(counters)
    counters.answering = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(limiter.hit, "key", HIGH)
        while not counters.calls:
            threading.Event().wait(0.001)
        for _ in range(5):
            assert limiter.hit("key", HIGH).admitted
        counters.answering.set()
        assert asking.result().admitted
    assert counters.counts["key", HIGH, 0] == 64 + 5
    for _ in range(63):
        limiter.hit("key", HIGH)
    assert counters.calls == 6


def test_many_threads_use_each_request_of_a_batch_once(counters: MemoryCounters) -> None:
    limiter = limiter_of(counters)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: limiter.hit("key", HIGH), range(5_000)))
    assert all(allowance.admitted for allowance in told)
    assert 0 <= counters.counts["key", HIGH, 0] - 5_000 < 64


def test_memory_is_bounded_and_further_keys_are_counted_one_by_one(counters: MemoryCounters) -> None:
    limiter = limiter_of(counters)
    for number in range(1024):
        limiter.hit(f"key-{number}", HIGH)
    for number in range(1024, 1100):
        limiter.hit(f"key-{number}", HIGH)
        assert counters.counts[f"key-{number}", HIGH, 0] == 1
    calls = counters.calls
    limiter.hit("key-0", HIGH)
    assert counters.calls == calls
    # In the next window, new keys take the place of the oldest batches.
    counters.at = MINUTE
    limiter.hit("key-1024", HIGH)
    assert counters.counts["key-1024", HIGH, 1] == 64


def test_a_forked_process_has_no_batch(counters: MemoryCounters) -> None:
    limiter = limiter_of(counters)
    limiter.hit("key", HIGH)
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            limiter.hit("key", HIGH)
            os._exit(counters.calls)
        os._exit(99)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    limiter.hit("key", HIGH)
    assert counters.calls == 1


def test_no_thread_uses_an_old_batch_while_another_starts_empty_after_a_fork(
    counters: MemoryCounters, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = limiter_of(counters)
    limiter.hit("key", HIGH)
    make_lock, other_threads = threading.Lock, [limiter.hit]

    def make_lock_and_run_another_thread() -> threading.Lock:
        if other_threads:
            other_threads.pop()("key", HIGH)
        return make_lock()

    monkeypatch.setattr(threading, "Lock", make_lock_and_run_another_thread)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    limiter.hit("key", HIGH)
    # The batch before the fork, and one for each thread.
    assert counters.calls == 3


@settings(max_examples=80, deadline=None)
@given(
    amount=st.integers(1, 4_000),
    speeds=st.lists(st.integers(-900, 900), min_size=1, max_size=4),
    acts=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 3_000), st.integers(0, MINUTE // 2)), min_size=1, max_size=20
    ),
    start=st.integers(0, MINUTE),
)
def test_no_window_admits_more_than_the_rate_and_processes_lose_a_batch_each(
    amount: int, speeds: list[int], acts: list[tuple[int, int, int]], start: int
) -> None:
    """Each process has a clock that is up to 900 parts in a million fast or slow."""
    counters = MemoryCounters(at=start + MINUTE)
    rate = Rate.parse(f"{amount}/minute")
    limiters = [limiter_of(counters, speed=Fraction(1_000_000 + speed, 1_000_000)) for speed in speeds]
    admitted: Counter[int] = Counter()
    for who, hits, pause in acts:
        limiter = limiters[who % len(limiters)]
        for _ in range(hits):
            number, gone = divmod(counters.at, MINUTE)
            told = limiter.hit("key", rate)
            admitted[number] += told.admitted
            counted = counters.counts["key", rate, number]
            # The weight of the previous window falls while a batch is used.
            assert admitted[number - 1] * (MINUTE - gone) // MINUTE + admitted[number] <= amount
            assert admitted[number] <= counted <= admitted[number] + len(limiters) * max(0, amount // 1000 - 1)
            assert 0 <= told.remaining < amount
            if not told.admitted:
                break
        counters.at += pause

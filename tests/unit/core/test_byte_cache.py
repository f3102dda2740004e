"""The cache: bounded by the weight of its values, for any number of threads."""

import threading
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.core.byte_cache import ByteCache


def weigh(_: str, value: bytes) -> int:
    return len(value)


@given(
    capacity=st.integers(0, 60),
    uses=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=60),
)
def test_the_weight_never_exceeds_the_capacity(capacity: int, uses: list[tuple[int, int]]) -> None:
    cache: ByteCache[str, bytes] = ByteCache(capacity, weigh)
    for key, size in uses:
        cache.keep(str(key), bytes(size))
        assert cache.weight <= capacity
        assert (cache.find(str(key)) == bytes(size)) or size > capacity


def test_the_least_recently_used_value_is_evicted() -> None:
    cache: ByteCache[str, bytes] = ByteCache(20, weigh)
    cache.keep("1", b"a" * 10)
    cache.keep("2", b"b" * 10)
    assert cache.find("1") == b"a" * 10
    cache.keep("3", b"c" * 10)
    assert (cache.find("1"), cache.find("2"), cache.find("3")) == (b"a" * 10, None, b"c" * 10)


def test_storing_a_value_again_makes_it_the_most_recently_used() -> None:
    cache: ByteCache[str, bytes] = ByteCache(20, weigh)
    for key in ("1", "2", "1"):
        cache.keep(key, b"x" * 10)
    cache.keep("3", b"c" * 10)
    assert cache.find("2") is None
    assert cache.find("1") is not None


def test_a_value_above_the_capacity_evicts_no_other() -> None:
    cache: ByteCache[str, bytes] = ByteCache(20, weigh)
    cache.keep("1", b"a")
    cache.keep("2", b"b" * 21)
    assert (len(cache), cache.find("2")) == (1, None)


def test_a_value_that_was_taken_is_no_longer_in_the_cache() -> None:
    cache: ByteCache[str, bytes] = ByteCache(20, weigh)
    cache.keep("1", b"a" * 10)
    assert (cache.take("1"), cache.take("1"), cache.weight) == (b"a" * 10, None, 0)
    cache.keep("2", b"b" * 10)
    cache.keep("3", b"c" * 10)
    assert (cache.find("2"), cache.find("3")) == (b"b" * 10, b"c" * 10)


def test_a_negative_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        ByteCache(-1, weigh)


def test_threads_find_their_own_values_or_none() -> None:
    cache: ByteCache[str, bytes] = ByteCache(200, weigh)
    together = threading.Barrier(8)
    faults: list[object] = []

    def work(offset: int) -> None:
        together.wait(30)
        try:
            for turn in range(2000):
                key = (turn * 7 + offset) % 40
                found = cache.find(str(key))
                if found not in {None, bytes([key]) * 10}:
                    faults.append(found)
                cache.keep(str(key), bytes([key]) * 10)
        except Exception as error:  # noqa: BLE001 - the test tells any of them
            faults.append(error)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    # Concurrent threads may have changed the total. It is right again after the next recount.
    for number in range(300):
        cache.keep(f"later {number}", b"x" * 10)
    assert cache.weight <= 200


def test_the_cost_of_a_value_does_not_depend_on_the_number_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    recounts: list[int] = []
    add_up = vars(ByteCache)["weight"].fget

    def count(cache: ByteCache[str, bytes]) -> object:
        recounts.append(len(cache))
        return add_up(cache)

    monkeypatch.setattr(ByteCache, "weight", property(count))
    cache: ByteCache[str, bytes] = ByteCache(5000, weigh)
    for number in range(1024):
        cache.keep(str(number), b"x" * 10)
    assert len(cache) == 500
    assert len(recounts) == 4


def test_a_value_that_another_thread_has_just_dropped_is_found() -> None:
    class Dropped(OrderedDict[str, tuple[bytes, int]]):
        def move_to_end(self, key: str, last: bool = True) -> None:  # noqa: FBT001, FBT002 - the signature of the library
            del self[key]
            super().move_to_end(key, last)

    cache: ByteCache[str, bytes] = ByteCache(20, weigh)
    cache._kept = Dropped(a=(b"a", 1))  # noqa: SLF001 - a race that a test cannot cause
    assert cache.find("a") == b"a"
    assert cache.find("a") is None


def test_a_total_that_other_threads_left_wrong_ends_with_the_last_value() -> None:
    cache: ByteCache[str, bytes] = ByteCache(20, weigh)
    cache._total = 1000  # noqa: SLF001 - as above
    cache.keep("a", b"a")
    assert len(cache) == 0
    cache.keep("b", b"b" * 20)
    assert cache.find("b") == b"b" * 20


def test_taking_an_absent_value_frees_no_bytes() -> None:
    cache: ByteCache[str, bytes] = ByteCache(20, weigh)
    for _ in range(10):
        assert cache.take("absent") is None
    cache.keep("a", b"a" * 15)
    cache.keep("b", b"b" * 10)
    assert cache.weight == 10


def test_the_weight_of_a_value_may_depend_on_its_key() -> None:
    cache: ByteCache[str, bytes] = ByteCache(20, lambda key, value: len(key) + len(value))
    cache.keep("k" * 8, b"v")
    assert cache.weight == 9

"""Cache values within a bound in bytes of memory. Threads share the cache without a lock."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

#: The interpreter hashes and compares these without running Python code, so no other thread runs meanwhile.
_K = TypeVar("_K", bound=bytes | str | tuple[str, str, str])
_V = TypeVar("_V")
#: After this number of stored values, the cache adds up all weights.
_RECOUNT: Final = 256


class ByteCache(Generic[_K, _V]):
    """Keep values whose weights add up to at most `capacity` bytes, and evict the least recently used.

    `weigh` returns how many bytes a key and its value take. Each step on the dictionary is one operation of the
    interpreter and does not depend on the previous one. So concurrent threads cause at worst a cache miss, or a wrong
    total until the next recount.
    """

    def __init__(self, capacity: int, weigh: Callable[[_K, _V], int]) -> None:
        if capacity < 0:
            raise ValueError("capacity is negative")
        self._capacity = capacity
        self._weigh = weigh
        self._kept: OrderedDict[_K, tuple[_V, int]] = OrderedDict()
        self._total = 0
        self._stored = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def weight(self) -> int:
        return sum(weight for _, weight in list(self._kept.values()))

    def find(self, key: _K) -> _V | None:
        """Return the value of `key`, and mark it as the most recently used one. Return None if there is none."""
        found = self._kept.get(key)
        if found is None:
            return None
        try:  # noqa: SIM105 - suppress() costs as much as the rest of this method
            self._kept.move_to_end(key)
        except KeyError:  # another thread has just dropped it
            pass
        return found[0]

    def take(self, key: _K) -> _V | None:
        """Remove the value of `key` and return it. Return None if there is none."""
        value, weight = self._kept.pop(key, (None, 0))
        self._total -= weight
        return value

    def keep(self, key: _K, value: _V) -> None:
        """Store the value, unless it alone exceeds the capacity."""
        weight = self._weigh(key, value)
        if weight > self._capacity:
            return
        _, replaced = self._kept.pop(key, (None, 0))
        self._kept[key] = (value, weight)
        self._total += weight - replaced
        self._stored += 1
        if self._stored % _RECOUNT == 0:
            self._total = self.weight
        while self._total > self._capacity:
            try:
                _, (_, dropped) = self._kept.popitem(last=False)
            except KeyError:  # other threads have dropped the last one
                dropped = self._total
            self._total -= dropped

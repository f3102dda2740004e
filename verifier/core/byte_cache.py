"""Cache values within a bound in bytes of memory. Threads share the cache without a lock."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class ByteCache(Generic[_K, _V]):
    """Keep values whose weights add up to at most `capacity` bytes, and evict the least recently used.

    `weigh` returns how many bytes a key and its value take. Each step on the dictionary is one operation of the
    interpreter and does not depend on the previous one. So concurrent threads cause at worst a cache miss.
    """

    def __init__(self, capacity: int, weigh: Callable[[_K, _V], int]) -> None:
        if capacity < 0:
            raise ValueError("capacity is negative")
        self._capacity = capacity
        self._weigh = weigh
        self._kept: OrderedDict[_K, tuple[_V, int]] = OrderedDict()

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
        with suppress(KeyError):  # another thread has just dropped it
            self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: _K, value: _V) -> None:
        """Store the value, unless it alone exceeds the capacity."""
        weight = self._weigh(key, value)
        if weight > self._capacity:
            return
        self._kept[key] = (value, weight)
        with suppress(KeyError):  # another thread has just dropped it
            self._kept.move_to_end(key)
        while self.weight > self._capacity:
            with suppress(KeyError):  # another thread has just dropped the last one
                self._kept.popitem(last=False)

"""Admit the requests of high rates from batches, most of them without a call to the store.

A batch is a number of requests that the store counts at once for one process. So all processes together never admit
more than the rate. What a process does not use before the window ends is lost: less than a thousandth of the rate.
"""

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from verifier.adapters.records.rates import Taken, Window, allowance_of
from verifier.core.tenancy import Allowance, Rate

#: The largest batch. It is small against the requests of one second, so that a burst finds the rate nearly whole.
_MAX_BATCH = 64
#: A batch is at most one part of this many of its rate.
_PARTS = 1000
#: Lower rates are counted request by request, so that their tenants always see exact numbers.
_LEAST_RATE = 10_000
#: For how many keys and rates a process holds batches. Each takes about 1 KiB.
_MAX_BATCHES = 1024

#: Like the clock of the store, it goes on while the host is suspended. Some systems have it by another name.
_read_clock = partial(time.clock_gettime_ns, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

_Name = tuple[str, Rate]


class RateCounters(Protocol):
    """Count requests by key and rate, in a store that all processes share."""

    def hit(self, key: str, rate: Rate, most: int) -> Taken:
        """Count as many of `most` requests as the rate admits (`records.rates.take`).

        Concurrent callers are counted one after the other. Raises StoreUnavailable and ValueError as RateLimiter does.
        """


class _Batch:
    """Requests that the store has counted in `window`, by clocks in microseconds."""

    __slots__ = ("answered", "ends", "unused", "window")

    def __init__(self, window: Window, unused: int, *, asked: int, answered: int) -> None:
        self.window = window
        #: Each pop takes one request and returns how many are left. It is atomic, so this needs no lock.
        self.unused = list(range(unused))
        self.answered = answered
        #: The store looked at its clock after `asked`, so its window lasts longer than the batch.
        self.ends = asked + window.usable


class BatchingRateLimiter:
    """Take batches from `counters`. Implements the RateLimiter port. Thread-safe. After a fork, no batch is left.

    `clock` returns nanoseconds and never goes back. An allowance does not know what other processes took since the
    last call to the store.
    """

    def __init__(self, counters: RateCounters, *, clock: Callable[[], int] = _read_clock) -> None:
        self.counters = counters
        self._clock = clock
        self._start_empty()

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._asking: set[_Name] = set()
        #: The oldest first.
        self._batches: dict[_Name, _Batch] = {}
        # At last: until then, another thread may not use the batches of the process before the fork.
        self._owner = os.getpid()

    def hit(self, key: str, rate: Rate) -> Allowance:
        """Count one request as the port says. With an unused batch, this calls no store."""
        if os.getpid() != self._owner:
            self._start_empty()
        now = self._now()
        name = (key, rate)
        batch = self._batches.get(name)
        if batch is not None and now < batch.ends:
            try:
                left = batch.unused.pop()
            except IndexError:
                pass
            else:
                length, gone, previous, current = batch.window
                window = Window(length, gone + now - batch.answered, previous, current - left)
                return allowance_of(rate, window, admitted=True)
        most = 1 if rate.amount < _LEAST_RATE else min(_MAX_BATCH, rate.amount // _PARTS)
        if most > 1 and self._begin(name, batch, now):
            return self._take(name, most, now)
        admitted, window = self.counters.hit(key, rate, 1)
        return allowance_of(rate, window, admitted=admitted > 0)

    def _now(self) -> int:
        return self._clock() // 1000

    def _begin(self, name: _Name, seen: _Batch | None, now: int) -> bool:
        """Return True if the caller must ask for a batch: no other does, and there is room for it.

        `seen` is the batch that the caller found used up. Other callers count one request each meanwhile.
        """
        with self._lock:
            if name in self._asking or self._batches.get(name) is not seen:
                return False
            self._batches.pop(name, None)
            if len(self._batches) + len(self._asking) >= _MAX_BATCHES and not self._drop_oldest(now):
                return False
            self._asking.add(name)
            return True

    def _drop_oldest(self, now: int) -> bool:
        """Forget the oldest batch if its time is over. A batch in use stays, since the store has counted it."""
        oldest = next(iter(self._batches), None)
        if oldest is None or now < self._batches[oldest].ends:
            return False
        del self._batches[oldest]
        return True

    def _take(self, name: _Name, most: int, asked: int) -> Allowance:
        key, rate = name
        try:
            admitted, window = self.counters.hit(key, rate, most)
            left = max(0, admitted - 1)
            if left:
                self._batches[name] = _Batch(window, left, asked=asked, answered=self._now())
        finally:
            self._asking.discard(name)
        return allowance_of(rate, window._replace(current=window.current - left), admitted=admitted > 0)

"""Compute rate limits with a sliding window counter, the same on every store.

A store keeps two counters for each key and rate: the current window's and the previous window's. Windows start at
multiples of their length since 1970. The weight of the previous counter falls evenly to zero while the current window
passes. A rate is therefore exact for even traffic and an estimate for uneven traffic.
"""

import math
from datetime import timedelta
from typing import NamedTuple

from verifier.adapters.records.nonces import encode_text
from verifier.core.tenancy import Allowance, Rate
from verifier.ports.stores import MAX_RATE_KEY

_SECOND = 1_000_000


#: The clocks of a store and of its callers may differ in speed by one part of this many.
_DRIFT = 1000


class Window(NamedTuple):
    """The two counters at one moment. `length` and `gone`, the age of the current window, are in microseconds.

    A NamedTuple, because each counted request makes one.
    """

    length: int
    gone: int
    previous: int
    current: int

    @property
    def counted(self) -> int:
        """Return how many requests count at this moment."""
        return self.previous * (self.length - self.gone) // self.length + self.current

    @property
    def usable(self) -> int:
        """Return for how many microseconds a batch of this window may be used by another clock than the store's.

        It is not positive at the end of the window, in which the store gives no batch.
        """
        return self.length - self.length // _DRIFT - self.gone


class Taken(NamedTuple):
    """The number of requests that a store admitted, and the window that includes them."""

    admitted: int
    window: Window


def take(rate: Rate, window: Window, most: int) -> Taken:
    """Admit up to `most` requests: as many as the rate has left, and one if no batch of the window is usable."""
    free = max(0, rate.amount - window.counted)
    admitted = min(free, most if window.usable > 0 else 1)
    return Taken(admitted, window._replace(current=window.current + admitted))


def length_of(rate: Rate) -> int:
    """Return the length of the rate's window in microseconds."""
    return rate.unit.window // timedelta(microseconds=1)


def name_of(key: str, rate: Rate) -> str:
    """Return the name of the counters of `key` at `rate`, in ASCII without braces.

    Raises ValueError if `key` is longer than MAX_RATE_KEY.
    """
    if len(key) > MAX_RATE_KEY:
        raise ValueError(f"the key of a rate has more than {MAX_RATE_KEY} characters")
    return f"{encode_text(key)}:{rate}"


def allowance_of(rate: Rate, window: Window, *, admitted: bool) -> Allowance:
    """Return what `rate` leaves after a request, which `window` includes if it was admitted.

    The reset is a whole second later than the moment at which the next request fits, so that a caller who waits for it
    is admitted.
    """
    wait: float = window.length - window.gone
    if not admitted and window.current < rate.amount:
        # One more request fits into the current window as soon as the previous counter has lost enough weight.
        wait -= window.length * (rate.amount - window.current) / window.previous
    reset = timedelta(seconds=math.floor(wait / _SECOND) + 1)
    return Allowance(admitted=admitted, rate=rate, remaining=max(0, rate.amount - window.counted), reset=reset)

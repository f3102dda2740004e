"""How many requests each tenant sent lately: the library `limits`, over the store that holds the nonces.

A sliding window counter: two counters a tenant and path, of this window and the one before, whose weight falls as it
goes by. Never more than the rate in one window that begins anywhere, but for what the even fall estimates.
"""

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Self

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from verifier.core.tenancy import Allowance, LimitedPath, Rate, Unit
from verifier.edge.redis_client import RedisLink
from verifier.edge.sqlite_windows import SqliteWindows

_ITEMS: dict[Unit, type[RateLimitItem]] = {
    Unit.SECOND: RateLimitItemPerSecond,
    Unit.MINUTE: RateLimitItemPerMinute,
    Unit.HOUR: RateLimitItemPerHour,
}
_PREFIX = "imds-verifier:rate"


class _Script:
    """A script of the library's, by our link. Sent whole: after a restart, and on each node of a cluster, it is one
    round trip, as any other."""

    def __init__(self, link: RedisLink, text: bytes) -> None:
        self._link = link
        self._text = text

    def __call__(self, keys: Sequence[str], arguments: Sequence[str | int]) -> object:
        return self._link.once("EVAL", self._text, len(keys), *keys, *arguments)


class _RedisWindows(RedisStorage):
    """The sliding windows of the library, by our link. Of its other strategies there is nothing here."""

    STORAGE_SCHEME = []  # noqa: RUF012 -- as the library has it: no URL leads here

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        super().__init__("redis://", key_prefix=_PREFIX)
        # The library made a client of its own, with redis-py's defaults, which has not connected and never does.
        del self.storage

    def initialize_storage(self, _uri: str) -> None:
        self.lua_sliding_window = _Script(self._link, self.SCRIPT_SLIDING_WINDOW)  # type: ignore[assignment]  # of the one method that is used
        self.lua_acquire_sliding_window = _Script(self._link, self.SCRIPT_ACQUIRE_SLIDING_WINDOW)  # type: ignore[assignment]  # as above


class SlidingRateLimiter:
    """A RateLimiter over one of the storages."""

    def __init__(self, storage: SqliteWindows | RedisStorage, *, close: Callable[[], None]) -> None:
        self._storage = storage
        self._strategy = SlidingWindowCounterRateLimiter(storage)
        self.close = close

    @classmethod
    def on_redis(cls, link: RedisLink) -> Self:
        return cls(_RedisWindows(link), close=link.close)

    @classmethod
    def on_sqlite(cls, path: Path) -> Self:
        """One in the file at `path`. Raises what SqliteFile does."""
        windows = SqliteWindows(path)
        return cls(windows, close=windows.close)

    def hit(self, tenant: str, path: LimitedPath, rate: Rate) -> Allowance:
        """As the port says. What is left is read after the count: of requests at the same time, several may be told
        the lowest number."""
        item = _ITEMS[rate.unit](rate.amount)
        admitted = self._strategy.hit(item, tenant, path.value)
        # RateLimiter.get_window_stats tells a reset by the machine's clock, and none of them when a hit passes.
        window = self._storage.get_sliding_window(item.key_for(tenant, path.value), item.get_expiry())
        previous, previous_left, current, current_left = window
        expiry = item.get_expiry()
        count = math.floor(previous * previous_left / expiry) + current
        # A counter lives for two windows: this one, and the next, in which it is the one before.
        window_left = max(0.0, current_left - expiry)
        if admitted:
            remaining = max(0, rate.amount - count)
            return Allowance(admitted=True, rate=rate, remaining=remaining, reset=_whole_seconds(window_left))
        reset = _until_admitted(rate.amount, previous, previous_left, current, window_left, expiry)
        return Allowance(admitted=False, rate=rate, remaining=0, reset=_whole_seconds(reset))


def _until_admitted(
    amount: int, previous: int, previous_left: float, current: int, window_left: float, expiry: int
) -> float:
    """Seconds until just before one more request fits: floor(weighted previous) + current + 1 <= amount."""
    if current < amount:
        # In this window, as the one before loses weight.
        return max(0.0, previous_left - expiry * (amount - current) / previous) if previous else 0.0
    # In the next one, in which what is counted now is the one before.
    return window_left + expiry * (1 - amount / current)


def _whole_seconds(seconds: float) -> timedelta:
    """The next whole second after it: who comes back then is not told the same again."""
    return timedelta(seconds=math.floor(seconds) + 1)

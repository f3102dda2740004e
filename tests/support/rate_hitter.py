"""Hit a rate limiter in a process that may be one of several (`support.forking`)."""

from collections.abc import Callable
from pathlib import Path

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.rate_windows import RedisRateCounters
from verifier.adapters.sqlite.rate_windows import SqliteRateCounters
from verifier.adapters.stores.rate_batches import BatchingRateLimiter
from verifier.core.tenancy import Rate


def hit(meet: Callable[[], None], kind: str, place: str, key: str, rate: str, hits: str) -> str:
    """Return how many of `hits` are admitted by the limiter of `kind` ("sqlite" or "redis") at `place`."""
    counters = SqliteRateCounters(Path(place)) if kind == "sqlite" else RedisRateCounters(RedisLink.open(place))
    limiter = BatchingRateLimiter(counters)
    limit = Rate.parse(rate)
    meet()
    admitted = sum(limiter.hit(key, limit).admitted for _ in range(int(hits)))
    counters.close()
    return str(admitted)

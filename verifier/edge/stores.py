"""Which stores a URL names: nonces, what all replicas share about trust, and the counters of rates, in one place."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from verifier.edge.rate_limits import SlidingRateLimiter
from verifier.edge.redis_client import RedisLink
from verifier.edge.redis_registry import RedisTrustRegistry
from verifier.edge.redis_store import RedisNonceStore
from verifier.edge.redis_urls import FORMS, SCHEMES, RedisOptions
from verifier.edge.sqlite_registry import SqliteTrustRegistry
from verifier.edge.sqlite_store import SqliteNonceStore
from verifier.ports import NonceStore, RateLimiter, TrustRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    nonces: NonceStore
    registry: TrustRegistry
    limiter: RateLimiter
    #: What all of them go by on Redis.
    link: RedisLink | None = None


def open_stores(url: str, *, connections: int, options: RedisOptions | None = None) -> Stores:
    """Open the stores that the URL names.

    Those on Redis have not connected yet, and share at most `connections` to each server.

    On SQLite, the registry is a file of its own beside the nonces, since the two change at different times; the
    counters of the rates are another one, whose commits wait for no disk.
    Raises ValueError, which does not repeat the URL, where it names none; StoreUnavailable.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    match parts.scheme:
        case "sqlite" if parts.path and not (parts.netloc or parts.query or parts.fragment):
            path = Path(unquote(parts.path))
            return Stores(
                nonces=SqliteNonceStore(path),
                registry=SqliteTrustRegistry(path.with_name(f"{path.stem}-trust{path.suffix}")),
                limiter=SlidingRateLimiter.on_sqlite(path.with_name(f"{path.stem}-rates{path.suffix}")),
            )
        case scheme if scheme in SCHEMES:
            link = RedisLink.open(url, options=options, connections=connections)
            return Stores(
                nonces=RedisNonceStore(link),
                registry=RedisTrustRegistry(link),
                limiter=SlidingRateLimiter.on_redis(link),
                link=link,
            )
        case _:
            raise ValueError(f"expected sqlite:///path, {FORMS}")

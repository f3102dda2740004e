"""Open the stores that a URL names: nonces, trust registry, rate counters and outstanding nonces."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.redis.outstanding_nonces import RedisOutstandingNonces
from verifier.adapters.redis.rate_windows import RedisRateCounters
from verifier.adapters.redis.trust_registry import RedisTrustRegistry
from verifier.adapters.redis.urls import FORMS, RedisOptions, is_redis_url
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.adapters.sqlite.outstanding_nonces import SqliteOutstandingNonces
from verifier.adapters.sqlite.rate_windows import SqliteRateCounters
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.stores.rate_batches import BatchingRateLimiter
from verifier.core.values import dataclass
from verifier.ports.decisions import DecisionStore
from verifier.ports.stores import NonceStore, OutstandingNonces
from verifier.ports.trust import TrustRegistry


class MissingStoreError(Exception):
    """Report a store that does not exist and must not be created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    nonces: NonceStore
    registry: TrustRegistry
    limiter: BatchingRateLimiter
    outstanding: OutstandingNonces
    #: The link that these stores share on Redis.
    link: RedisLink | None = None
    #: None if the service keeps no decisions. `open_stores` does not open this store.
    decisions: DecisionStore | None = None
    #: The link of the decision store on Redis, which may be the same as `link`.
    decision_link: RedisLink | None = None


def open_stores(url: str, *, connections: int, options: RedisOptions | None = None) -> Stores:
    """Open the stores that the URL names.

    Stores on Redis share at most `connections` to each server and connect on first use. On SQLite, each store has its
    own file: the nonces and the registry change at different times, and commits of the counters do not wait for the
    disk.
    Raises ValueError without repeating an invalid URL, and StoreUnavailable.
    """
    path = sqlite_path(url)
    if path is not None:
        return Stores(
            nonces=SqliteNonceStore(path),
            registry=SqliteTrustRegistry(file_beside(path, "trust")),
            limiter=BatchingRateLimiter(SqliteRateCounters(file_beside(path, "rates"))),
            outstanding=SqliteOutstandingNonces(file_beside(path, "outstanding")),
        )
    link = RedisLink.open(url, options=options, connections=connections)
    return Stores(
        nonces=RedisNonceStore(link),
        registry=RedisTrustRegistry(link),
        limiter=BatchingRateLimiter(RedisRateCounters(link)),
        outstanding=RedisOutstandingNonces(link),
        link=link,
    )


def open_registry(url: str, *, create: bool, options: RedisOptions | None = None) -> TrustRegistry:
    """Open the trust registry alone, which must exist unless `create` is set.

    Raises MissingStoreError, and ValueError and StoreUnavailable as `open_stores` does.
    """
    path = sqlite_path(url)
    if path is None:
        link = RedisLink.open(url, options=options, connections=1)
        registry = RedisTrustRegistry(link, create=create)
        if not (create or registry.exists()):
            raise MissingStoreError("no service has used this Redis database")
        return registry
    file = file_beside(path, "trust")
    if not (create or file.exists()):
        raise MissingStoreError(f"there is no file {file}")
    return SqliteTrustRegistry(file, create=create)


def sqlite_path(url: str) -> Path | None:
    """Return the file of the nonces, or None if the URL names a Redis. Raises ValueError."""
    if is_redis_url(url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "sqlite" and parts.path and not (parts.netloc or parts.query or parts.fragment):
        return Path("/", unquote(parts.path).lstrip("/"))
    raise ValueError(f"expected sqlite:///path, {FORMS}")


def file_beside(path: Path, what: str) -> Path:
    """Return the file of another store of the same service."""
    return path.with_name(f"{path.stem}-{what}{path.suffix}")

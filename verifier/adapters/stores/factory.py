"""Which stores a URL names: nonces, what all replicas share about trust, and the counters of rates, in one place."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.redis.rate_windows import RedisRateLimiter
from verifier.adapters.redis.trust_registry import RedisTrustRegistry
from verifier.adapters.redis.urls import FORMS, SCHEMES, RedisOptions
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.adapters.sqlite.rate_windows import SqliteRateLimiter
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.ports.stores import NonceStore, RateLimiter
from verifier.ports.trust import TrustRegistry

# The threads that answer requests hold one connection each at the most; one more reads the registry. The library's pool
# gives a connection to whoever asks first, not to who waits longest: nobody should have to wait.
_SPARE_CONNECTIONS = 2


class MissingStoreError(Exception):
    """The store does not exist, and must not be created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    nonces: NonceStore
    registry: TrustRegistry
    limiter: RateLimiter
    #: What all of them go by on Redis.
    link: RedisLink | None = None


def open_stores(url: str, *, threads: int, options: RedisOptions | None = None) -> Stores:
    """The stores that the URL names, for a process of this many threads. Those on Redis have not connected yet, and
    share their connections.

    On SQLite, the registry is a file of its own beside the nonces, since the two change at different times; the
    counters of the rates are another one, whose commits wait for no disk.
    Raises ValueError, which does not repeat the URL, where it names none; StoreUnavailable.
    """
    path = _sqlite_path(url)
    if path is not None:
        return Stores(
            nonces=SqliteNonceStore(path),
            registry=SqliteTrustRegistry(_beside(path, "trust")),
            limiter=SqliteRateLimiter(_beside(path, "rates")),
        )
    link = RedisLink.open(url, options=options, connections=threads + _SPARE_CONNECTIONS)
    return Stores(
        nonces=RedisNonceStore(link),
        registry=RedisTrustRegistry(link),
        limiter=RedisRateLimiter(link),
        link=link,
    )


def open_registry(url: str, *, create: bool, options: RedisOptions | None = None) -> TrustRegistry:
    """Open the trust registry alone, which must exist unless `create` is set.

    Raises MissingStoreError, and ValueError and StoreUnavailable as `open_stores` does.
    """
    path = _sqlite_path(url)
    if path is None:
        link = RedisLink.open(url, options=options, connections=_SPARE_CONNECTIONS)
        registry = RedisTrustRegistry(link, create=create)
        if not (create or registry.exists()):
            raise MissingStoreError("no service has used this Redis database")
        return registry
    file = _beside(path, "trust")
    if not (create or file.exists()):
        raise MissingStoreError(f"there is no file {file}")
    return SqliteTrustRegistry(file, create=create)


def _sqlite_path(url: str) -> Path | None:
    """The file of the nonces, where the URL names one; None where it names a Redis. Raises ValueError."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "sqlite" and parts.path and not (parts.netloc or parts.query or parts.fragment):
        return Path(unquote(parts.path))
    if parts.scheme in SCHEMES:
        return None
    raise ValueError(f"expected sqlite:///path, {FORMS}")


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}-{what}{path.suffix}")

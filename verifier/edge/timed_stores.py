"""Stores that tell how long each call took. Each implements the port of the one that it stands before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Protocol, TypeVar

from verifier.core.decisions import Decisions
from verifier.core.discovery import DiscoveredIssuer, Sighting
from verifier.core.model import NonceRecord, Redemption
from verifier.core.tenancy import Allowance, LimitedPath, Rate
from verifier.edge.blocking import Runner, make_inline_runner
from verifier.edge.stores import Stores
from verifier.ports import (
    AuditEvent,
    DocumentKey,
    NonceKey,
    NonceStore,
    RateLimiter,
    StoreUnavailable,
    TrustRegistry,
)

_T = TypeVar("_T")


class StoreCounts(Protocol):
    """Where it is told."""

    def used_store(self, store: str, operation: str, seconds: float, *, failed: bool) -> None: ...

    def stores_away(self, servers: int) -> None: ...


@dataclass(frozen=True, slots=True)
class _Timer:
    counts: StoreCounts
    store: str
    run: Runner

    def time(self, operation: str, call: Callable[[], _T]) -> _T:
        started = perf_counter()
        failed = False
        try:
            return self.run(call)
        except StoreUnavailable:
            failed = True
            raise
        finally:
            self.counts.used_store(self.store, operation, perf_counter() - started, failed=failed)


class TimedNonceStore:
    """As the store that it stands before. Implements the NonceStore port."""

    def __init__(self, store: NonceStore, counts: StoreCounts, run: Runner) -> None:
        self._store = store
        self._timer = _Timer(counts, "nonces", run)

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        return self._timer.time("issue", partial(self._store.issue, key, record, keep=keep, now=now))

    def redeem(self, key: NonceKey, *, now: datetime) -> Redemption:
        return self._timer.time("redeem", partial(self._store.redeem, key, now=now))

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        return self._timer.time("remember", partial(self._store.remember, key, keep=keep, now=now))

    def ping(self) -> None:
        self._timer.time("ping", self._store.ping)


class TimedTrustRegistry:
    """As the registry that it stands before. Implements the TrustRegistry port."""

    def __init__(self, registry: TrustRegistry, counts: StoreCounts, run: Runner) -> None:
        self._registry = registry
        self._timer = _Timer(counts, "registry", run)

    def revision(self) -> int:
        return self._timer.time("revision", self._registry.revision)

    def decisions(self) -> tuple[Decisions, int]:
        return self._timer.time("decisions", self._registry.decisions)

    def decide(self, decisions: Decisions, event: AuditEvent, *, expected: int) -> bool:
        return self._timer.time("decide", partial(self._registry.decide, decisions, event, expected=expected))

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        return self._timer.time("discovered", self._registry.discovered)

    def record(self, sighting: Sighting, authorities: Sequence[bytes]) -> bool:
        return self._timer.time("record", partial(self._registry.record, sighting, authorities))

    def claim(self, name: str, *, lasting: timedelta) -> bool:
        return self._timer.time("claim", partial(self._registry.claim, name, lasting=lasting))

    def is_claimed(self, name: str) -> bool:
        return self._timer.time("is_claimed", partial(self._registry.is_claimed, name))

    def audit_trail(self, *, most: int) -> tuple[AuditEvent, ...]:
        return self._timer.time("audit_trail", partial(self._registry.audit_trail, most=most))


class TimedRateLimiter:
    """As the one that it stands before. Implements the RateLimiter port."""

    def __init__(self, limiter: RateLimiter, counts: StoreCounts, run: Runner) -> None:
        self._limiter = limiter
        self._timer = _Timer(counts, "rates", run)

    def hit(self, tenant: str, path: LimitedPath, rate: Rate) -> Allowance:
        return self._timer.time("hit", partial(self._limiter.hit, tenant, path, rate))


def timed_stores(stores: Stores, counts: StoreCounts, make_runner: Callable[[], Runner] = make_inline_runner) -> Stores:
    """Return the same stores, which tell `counts` of each call, and of the servers that are unavailable.

    Each store in a file has a runner of its own. Those on Redis need none: their sockets are the server's to patch.
    """
    if stores.link is not None:
        stores.link.tell(counts.stores_away)
        make_runner = make_inline_runner
    return Stores(
        nonces=TimedNonceStore(stores.nonces, counts, make_runner()),
        registry=TimedTrustRegistry(stores.registry, counts, make_runner()),
        limiter=TimedRateLimiter(stores.limiter, counts, make_runner()),
        link=stores.link,
    )

"""Measure each call of a store. Each class wraps one store and implements the same port."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter

from verifier.adapters.stores.factory import Stores
from verifier.core.discovery import DiscoveredIssuer, IssuerObservation
from verifier.core.nonces import NonceRecord, Redemption
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.tenancy import Allowance, Rate
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.ports.stores import DocumentKey, NonceKey, NonceStore, RateLimiter, StoreUnavailable
from verifier.ports.telemetry import Recorder, StoreCallMeasured, StoreCircuitsChanged
from verifier.ports.trust import NonconformingRecord, TrustAuditEvent, TrustRegistry


@dataclass(frozen=True, slots=True)
class _Timer:
    recorder: Recorder
    store: str

    @contextmanager
    def time(self, operation: str) -> Iterator[None]:
        started = perf_counter()
        failed = False
        try:
            yield
        except StoreUnavailable:
            failed = True
            raise
        finally:
            seconds = perf_counter() - started
            self.recorder.record(
                StoreCallMeasured(store=self.store, operation=operation, seconds=seconds, failed=failed)
            )


class InstrumentedNonceStore:
    """Measure each call of a nonce store. Implements the NonceStore port."""

    def __init__(self, store: NonceStore, recorder: Recorder) -> None:
        self._store = store
        self._timer = _Timer(recorder, "nonces")

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        with self._timer.time("issue"):
            return self._store.issue(key, record, keep=keep, now=now)

    def redeem(self, key: NonceKey, *, now: datetime) -> Redemption:
        with self._timer.time("redeem"):
            return self._store.redeem(key, now=now)

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        with self._timer.time("remember"):
            return self._store.remember(key, keep=keep, now=now)

    def ping(self) -> None:
        with self._timer.time("ping"):
            self._store.ping()


class InstrumentedTrustRegistry:
    """Measure each call of a trust registry. Implements the TrustRegistry port."""

    def __init__(self, registry: TrustRegistry, recorder: Recorder) -> None:
        self._registry = registry
        self._timer = _Timer(recorder, "registry")

    def revision(self) -> int:
        with self._timer.time("revision"):
            return self._registry.revision()

    def decisions(self) -> tuple[OperatorDecisions, int]:
        with self._timer.time("decisions"):
            return self._registry.decisions()

    def decide(self, decisions: OperatorDecisions, event: TrustAuditEvent, *, expected: int) -> bool:
        with self._timer.time("decide"):
            return self._registry.decide(decisions, event, expected=expected)

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        with self._timer.time("discovered"):
            return self._registry.discovered()

    def record(self, observation: IssuerObservation, authorities: Sequence[bytes]) -> bool:
        with self._timer.time("record"):
            return self._registry.record(observation, authorities)

    def record_nonconforming(self, document: NonconformingDocument) -> bool:
        with self._timer.time("record_nonconforming"):
            return self._registry.record_nonconforming(document)

    def nonconforming(self) -> tuple[NonconformingRecord, ...]:
        with self._timer.time("nonconforming"):
            return self._registry.nonconforming()

    def claim(self, name: str, *, lasting: timedelta) -> bool:
        with self._timer.time("claim"):
            return self._registry.claim(name, lasting=lasting)

    def is_claimed(self, name: str) -> bool:
        with self._timer.time("is_claimed"):
            return self._registry.is_claimed(name)

    def audit_trail(self, *, most: int) -> tuple[TrustAuditEvent, ...]:
        with self._timer.time("audit_trail"):
            return self._registry.audit_trail(most=most)


class InstrumentedRateLimiter:
    """Measure each call of a rate limiter. Implements the RateLimiter port."""

    def __init__(self, limiter: RateLimiter, recorder: Recorder) -> None:
        self._limiter = limiter
        self._timer = _Timer(recorder, "rates")

    def hit(self, key: str, rate: Rate) -> Allowance:
        with self._timer.time("hit"):
            return self._limiter.hit(key, rate)


def instrument_stores(stores: Stores, recorder: Recorder) -> Stores:
    """Wrap the stores so that `recorder` receives each call and each change of the circuit breakers."""
    if stores.link is not None:
        stores.link.tell(lambda circuits: recorder.record(StoreCircuitsChanged(open_circuits=circuits)))
    return Stores(
        nonces=InstrumentedNonceStore(stores.nonces, recorder),
        registry=InstrumentedTrustRegistry(stores.registry, recorder),
        limiter=InstrumentedRateLimiter(stores.limiter, recorder),
        link=stores.link,
    )

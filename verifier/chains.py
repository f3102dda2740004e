"""Chains that were built, remembered: the same signer signs for months, and building a chain costs milliseconds."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from verifier.core.chain import build_chain
from verifier.core.clouds import Cloud
from verifier.core.model import AuthenticContent, ChainLink, UnverifiedClaims
from verifier.core.reasons import ChainRefused, Reason
from verifier.core.trust import TrustBundle

_V = TypeVar("_V")

#: Chains and failures together, half of it for each. Each cloud has about 60 regions with a signer each, so that
#: two generations of all clouds fit.
CAPACITY = 1024
FAILURE_LIFETIME = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    signer_sha256: str
    cloud: Cloud
    generation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """Holds from `since`, included, to `until`, excluded."""

    since: datetime
    until: datetime

    def covers(self, moment: datetime) -> bool:
        return self.since <= moment < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    span: _Span
    chain: tuple[ChainLink, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rejected:
    span: _Span
    reason: Reason
    detail: str


class ChainMemory:
    """As `core.chain.build_chain`, once a signer. Thread-safe; what it holds is bounded, and what a sender can make
    up (failures) does not displace what he cannot.

    A chain is remembered until the first certificate in it may change its state, a failure until any certificate
    of the cloud may, or the signer's own becomes valid, and FAILURE_LIFETIME at most; both for one generation of
    the trust bundle, and the least recently used give way.
    """

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        if capacity < 2:  # noqa: PLR2004 - one of each
            raise ValueError("capacity is less than 2")
        self._share = capacity // 2
        self._turn = threading.Lock()
        self._accepted: OrderedDict[_Key, _Accepted] = OrderedDict()
        self._rejected: OrderedDict[_Key, _Rejected] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._accepted) + len(self._rejected)

    def build(self, claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> AuthenticContent:
        """As `build_chain`. Raises ChainRefused."""
        named = claims.decoded.named
        key = _Key(signer_sha256=named.signed.signer.sha256, cloud=named.cloud, generation=bundle.generation)
        with self._turn:
            known = self._recall(key, now)
            if known is None:
                self.misses += 1
            else:
                self.hits += 1
        match known:
            case _Accepted(chain=chain):
                return AuthenticContent(decoded=claims.decoded, chain=chain, trust_generation=bundle.generation)
            case _Rejected(reason=reason, detail=detail):
                raise ChainRefused(reason, detail)
            case None:
                return self._build(key, claims, now=now, bundle=bundle)

    def _recall(self, key: _Key, now: datetime) -> _Accepted | _Rejected | None:
        # Each kind may hold one of another time: a chain that has ended does not hide the failure since, nor the
        # other way about.
        accepted = self._accepted.get(key)
        if accepted is not None and accepted.span.covers(now):
            self._accepted.move_to_end(key)
            return accepted
        rejected = self._rejected.get(key)
        return rejected if rejected is not None and rejected.span.covers(now) else None

    def _build(self, key: _Key, claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> AuthenticContent:
        try:
            content = build_chain(claims, now=now, bundle=bundle)
        except ChainRefused as refused:
            span = _Span(since=now, until=_end_of_failure(claims, bundle, now))
            self._keep(self._rejected, key, _Rejected(span=span, reason=refused.reason, detail=refused.detail))
            raise
        trust = bundle.clouds[key.cloud]
        changes = [trust.entry(link.sha256).next_change(now) for link in content.chain]
        until = min(change for change in (*changes, content.signer.not_after) if change is not None)
        self._keep(self._accepted, key, _Accepted(span=_Span(since=now, until=until), chain=content.chain))
        return content

    def _keep(self, kept: OrderedDict[_Key, _V], key: _Key, value: _V) -> None:
        with self._turn:
            kept[key] = value
            kept.move_to_end(key)
            while len(kept) > self._share:
                kept.popitem(last=False)


def _end_of_failure(claims: UnverifiedClaims, bundle: TrustBundle, now: datetime) -> datetime:
    named = claims.decoded.named
    trust = bundle.clouds.get(named.cloud)
    changes = (
        now + FAILURE_LIFETIME,
        named.signed.signer.not_before,
        None if trust is None else trust.next_change(now),
    )
    return min(change for change in changes if change is not None and change > now)

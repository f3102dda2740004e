"""Cache certificate chains by signer.

Building a chain takes milliseconds, and Azure signs with the same certificate for months.
"""

import threading
from datetime import datetime, timedelta

from verifier.core.bounds import CHAIN_CACHE_BYTES
from verifier.core.byte_cache import ByteCache
from verifier.core.chain import build_chain
from verifier.core.model import AuthenticContent, ChainLink, UnverifiedClaims
from verifier.core.reasons import NO_REMARKS, ChainRefused
from verifier.core.trust.bundle import TrustBundle
from verifier.core.values import dataclass

FAILURE_LIFETIME = timedelta(seconds=30)


#: The signer's SHA-256, the cloud and the generation of the trust bundle. ByteCache needs plain text.
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """Limit an entry to the time from `since` (inclusive) to `until` (exclusive)."""

    since: datetime
    until: datetime

    def covers(self, moment: datetime) -> bool:
        return self.since <= moment < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted(_Span):
    chain: tuple[ChainLink, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rejected(_Span):
    #: It has no traceback, which would keep the frames of a request.
    refused: ChainRefused


def _weigh(_: _Key, value: _Accepted | _Rejected) -> int:
    """Estimate the bytes of an entry. A chain shares its texts with the trust bundle; a failure has its own text."""
    return 768 + len(value.refused.detail) if isinstance(value, _Rejected) else 640 + 128 * len(value.chain)


class ChainCache:
    """Build each chain once and cache it. Thread-safe.

    The cache holds at most `capacity` bytes and evicts the least recently used entries. Chains and failures use one
    half each. Failed lookups, which a sender can make up, therefore never evict chains.

    An entry is valid for one generation of the trust bundle:
    - a chain until a certificate in it changes its state;
    - a failure until a certificate of the cloud changes its state or the signer's certificate becomes valid, and for at
      most FAILURE_LIFETIME.
    """

    def __init__(self, *, capacity: int = CHAIN_CACHE_BYTES) -> None:
        self._turn = threading.Lock()
        self._accepted: ByteCache[_Key, _Accepted] = ByteCache(capacity // 2, _weigh)
        self._rejected: ByteCache[_Key, _Rejected] = ByteCache(capacity // 2, _weigh)
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._accepted) + len(self._rejected)

    @property
    def weight(self) -> int:
        with self._turn:
            return self._accepted.weight + self._rejected.weight

    def build(self, claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> AuthenticContent:
        """Return the cached chain, or build it. Raises ChainRefused."""
        named = claims.decoded.named
        key = (named.signed.signer.sha256, named.cloud.value, bundle.generation)
        with self._turn:
            known = self._recall(key, now)
            if known is None:
                self.misses += 1
            else:
                self.hits += 1
        match known:
            case _Accepted(chain=chain):
                return AuthenticContent(decoded=claims.decoded, chain=chain, trust_generation=bundle.generation)
            case _Rejected(refused=refused):
                raise refused.with_remarks(NO_REMARKS)
            case None:
                return self._build(key, claims, now=now, bundle=bundle)

    def _recall(self, key: _Key, now: datetime) -> _Accepted | _Rejected | None:
        # Both may have an entry for this key: an expired chain must not hide a newer failure, or the reverse.
        accepted = self._accepted.find(key)
        if accepted is not None and accepted.covers(now):
            return accepted
        rejected = self._rejected.find(key)
        return rejected if rejected is not None and rejected.covers(now) else None

    def _build(self, key: _Key, claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> AuthenticContent:
        try:
            content = build_chain(claims, now=now, bundle=bundle)
        except ChainRefused as refused:
            until = _end_of_failure(claims, bundle, now)
            rejected = _Rejected(since=now, until=until, refused=refused.with_remarks(NO_REMARKS))
            with self._turn:
                self._rejected.keep(key, rejected)
            raise
        trust = bundle.clouds[content.cloud]
        changes = [trust.entry(link.sha256).next_change(now) for link in content.chain]
        until = min(change for change in (*changes, content.signer.not_after) if change is not None)
        with self._turn:
            self._accepted.keep(key, _Accepted(since=now, until=until, chain=content.chain))
        return content


def _end_of_failure(claims: UnverifiedClaims, bundle: TrustBundle, now: datetime) -> datetime:
    named = claims.decoded.named
    trust = bundle.clouds.get(named.cloud)
    changes = (
        now + FAILURE_LIFETIME,
        named.signed.signer.not_before,
        None if trust is None else trust.next_change(now),
    )
    return min(change for change in changes if change is not None and change > now)

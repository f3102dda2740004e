"""Attestation results, without a service: valid by default."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from support import documents
from support.clocks import StandingClock

from verifier.core.model import ArchivedResult, LiveResult, RawDocument
from verifier.core.nonces import FirstUse, NonceMode, NonceRecord, Redemption
from verifier.core.trust.bundle import TrustBundle
from verifier.ports.stores import DocumentKey, NonceKey
from verifier.usecases.appraise import Verifier
from verifier.usecases.archive import ArchiveVerifier


class _SharedTrust:
    """Implements the TrustSource port."""

    def bundle(self) -> TrustBundle:
        return documents.shared_bundle()


@dataclass(frozen=True, slots=True)
class _EveryNonce:
    """Implements the NonceStore port: whatever nonce comes was issued with `record`."""

    record: NonceRecord

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        raise AssertionError(key, record, keep, now)

    def redeem(self, key: NonceKey, *, now: datetime) -> Redemption:
        del key, now
        return FirstUse(record=self.record)

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        """No document was seen before."""
        del key, keep, now
        return True

    def ping(self) -> None:
        """Always there."""


def archived_result(document: bytes | None = None, *, at: datetime = documents.NOW) -> ArchivedResult:
    """Return a result that answers no challenge."""
    raw = RawDocument(raw_der=document or documents.document(created_on=at))
    return ArchiveVerifier(trust=_SharedTrust()).appraise(raw, at=at)


def fresh_result(document: bytes | None = None, *, at: datetime = documents.NOW, jkt: str = "") -> LiveResult:
    """One of a document that answers a nonce, issued for `jkt` where it is given."""
    record = NonceRecord(issued_at=at - timedelta(minutes=1), expires_at=at + timedelta(minutes=4), jkt=jkt)
    verifier = Verifier(trust=_SharedTrust(), nonces=_EveryNonce(record), clock=StandingClock(at))
    return verifier.appraise(RawDocument(raw_der=document or documents.document(created_on=at)))


def unchallenged_result(*, at: datetime = documents.NOW) -> LiveResult:
    """One of a document with the nonce that IMDS puts by itself, from a service to which nonces are optional."""
    record = NonceRecord(issued_at=at, expires_at=at)
    verifier = Verifier(
        trust=_SharedTrust(),
        nonces=_EveryNonce(record),
        clock=StandingClock(at),
        nonce_mode=NonceMode.OPTIONAL,
    )
    return verifier.appraise(RawDocument(raw_der=documents.document(nonce=None, created_on=at)))

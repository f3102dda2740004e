"""Create attestation results without a service. They are valid by default."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from support import documents
from support.clocks import ManualClock

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
    """Implements the NonceStore port. It redeems every nonce as unused, with `record`."""

    record: NonceRecord

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        raise AssertionError(key, record, keep, now)

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:
        del key, keep, now
        return FirstUse(record=self.record)

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        """Report that the document is new."""
        del key, keep, now
        return True

    def ping(self) -> None:
        """Report that the store is available."""


def archived_result(document: bytes | None = None, *, at: datetime = documents.NOW) -> ArchivedResult:
    """Create the result of an archived document."""
    raw = RawDocument(raw_der=document or documents.document(created_on=at))
    return ArchiveVerifier(trust=_SharedTrust()).appraise(raw, at=at)


def fresh_result(document: bytes | None = None, *, at: datetime = documents.NOW, jkt: str = "") -> LiveResult:
    """Create the result of a document with a nonce, which is bound to `jkt` if given."""
    record = NonceRecord(issued_at=at - timedelta(minutes=1), expires_at=at + timedelta(minutes=4), jkt=jkt)
    verifier = Verifier(trust=_SharedTrust(), nonces=_EveryNonce(record), clock=ManualClock(at))
    return verifier.appraise(RawDocument(raw_der=document or documents.document(created_on=at)))


def unchallenged_result(*, at: datetime = documents.NOW) -> LiveResult:
    """Create the result of a document without a nonce of ours, with optional nonces."""
    record = NonceRecord(issued_at=at, expires_at=at)
    verifier = Verifier(
        trust=_SharedTrust(),
        nonces=_EveryNonce(record),
        clock=ManualClock(at),
        nonce_mode=NonceMode.OPTIONAL,
    )
    return verifier.appraise(RawDocument(raw_der=documents.document(nonce=None, created_on=at)))

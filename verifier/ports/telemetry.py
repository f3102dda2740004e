"""What the use cases need from the outside, as protocols. The edge implements them; tests run them for real."""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.reasons import Check
from verifier.core.tracing import TraceContext
from verifier.core.trust.clouds import Cloud
from verifier.ports.stores import Unavailable
from verifier.ports.trust import TrustAuditEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, in words that are safe to keep: nothing of a document or a nonce.

    `request_id` is the service's own. `client_request_id` is the caller's, if it sent one of safe form, and the only
    text here that a caller chose. `code` is empty if the answer is not a problem.
    """

    request_id: str
    client_request_id: str = ""
    route: str
    status: int
    code: str
    seconds: float


#: Set in the WSGI environment of a request that came by the listener of the metrics; no header can set it.
METRICS_LISTENER = "verifier.metrics_listener"

#: The trace that the request of this thread is part of, where its caller named one: for the lines of the log.
CURRENT_TRACE: ContextVar[TraceContext | None] = ContextVar("CURRENT_TRACE", default=None)


class Verdict(StrEnum):
    """How one appraisal ended. A refusal is an answer; what is unavailable is an error, and no verdict."""

    VERIFIED = "verified"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppraisalRecord:
    """One appraisal and how it ended, in words that are safe to keep: nothing of the document but its digest and its
    signer's names, and never a nonce. A field is empty if the appraisal did not come so far.

    `code` is "verified", or the code of the problem. `vm_id` and `subscription_id` are those of a verified document
    alone; the signer and `cloud` are what the document says, proved once the chain check passed; the names are escaped
    and bounded (core.certificates). `client_request_id` is what the caller names the request, and is not unique.
    `policies` are those that the document had to satisfy. `seconds` is the whole appraisal, `steps` each check that
    was begun.
    """

    at: datetime
    request_id: str
    client_request_id: str = ""
    tenant: str
    verdict: Verdict
    code: str
    failed_check: Check | None = None
    vm_id: str = ""
    subscription_id: str = ""
    cloud: Cloud | None = None
    signer_serial: str = ""
    issuer: str = ""
    policies: tuple[str, ...] = ()
    document_sha256: str = ""
    seconds: float = 0
    steps: tuple[tuple[Check, float], ...] = ()


class AppraisalLog(Protocol):
    """Where decisions are kept for an auditor: appended, never changed, the oldest given up beyond a bound."""

    def append(self, decision: AppraisalRecord) -> None:
        """The decision is kept, after those that were appended before. Raises StoreUnavailable."""


class ReloadOutcome(StrEnum):
    LOADED = "loaded"
    REFUSED = "refused"


class Recorder(Protocol):
    """Where what happened is told to the operator."""

    def answered(self, exchange: Exchange) -> None:
        """One line of the log for each answer."""

    def failed(self, request_id: str, error: Exception) -> None:
        """The cause of an answer that is no verdict, where the log keeps it."""

    def decided(self, decision: AppraisalRecord) -> None:
        """An appraisal ended: told once for each, before its answer."""

    def trail_failed(self, decision: AppraisalRecord, error: Unavailable) -> None:
        """A decision could not be kept in the audit trail."""

    def issuer_sighted(self, sighting: IssuerObservation, *, authorities: int) -> None:
        """An issuer that nobody pinned was seen for the first time, or its certificates were found just now."""

    def nonconforming_genuine(self, document: NonconformingDocument) -> None:
        """Exactness or a bound refused a document whose signature verifies and whose signer a pin issued."""

    def trust_changed(self, event: TrustAuditEvent) -> None:
        """An operator changed trust."""

    def trust_reloaded(self, outcome: ReloadOutcome, *, generation: str, detail: str) -> None:
        """Another bundle is in force, or was refused and the one before stays."""

    def token_keys_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        """Other keys of result tokens are in force, or were refused and those before stay."""

    def settings_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        """Other settings are in force, or were refused and the ones before stay. `detail` holds no secret."""

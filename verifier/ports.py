"""What the use cases need from the outside, as protocols. The edge implements them; tests run them for real."""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from verifier.core.clouds import Cloud
from verifier.core.decisions import Decisions
from verifier.core.discovery import DiscoveredIssuer, Sighting
from verifier.core.model import NonceRecord, Redemption
from verifier.core.reasons import Check
from verifier.core.tenancy import Allowance, LimitedPath, Rate
from verifier.core.tracing import TraceContext
from verifier.core.trust import TrustBundle


class Unavailable(Exception):
    """Something that the service stands on is away. Never a refusal and never a pass: HTTP says 503.

    `detail` is one sentence without secrets; `retry_after` says when it is worth trying again.
    """

    def __init__(self, detail: str, *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class StoreUnavailable(Unavailable):
    """The nonce store did not answer, or did not take what it was given. Whether it acted is unknown."""


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, aware, in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceKey:
    """One tenant's nonce. Nonces of two tenants never meet, whatever their text."""

    tenant: str
    nonce: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentKey:
    """What one tenant showed: `digest` is in hexadecimal. It never meets a nonce, whatever that one's text."""

    tenant: str
    digest: str


class NonceStore(Protocol):
    """Where the nonces that were issued live, and the documents that answered none, shared by all workers and
    replicas of one service.

    Every method raises StoreUnavailable where the store is away, full, read-only or slow beyond its timeout.
    """

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        """True where `key` is now outstanding; False, and nothing changed, where it is already known.

        It is remembered, used or not, for `keep` from `now`, and not much longer.
        """

    def redeem(self, key: NonceKey, *, now: datetime) -> Redemption:
        """FirstUse to exactly one of any number of callers, however simultaneous; AlreadyUsed to the others;
        UnknownNonce where it was never issued or is forgotten. One atomic operation of the store.

        Not checked: the record's own expiry and bindings, which are the appraisal's to judge.
        """

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        """True to exactly one of any number of callers, however simultaneous; False to the others, for `keep` from
        `now`, and not much longer. One atomic operation of the store."""

    def ping(self) -> None:
        """Returns where the store answers."""


class RateLimiter(Protocol):
    """How many requests each tenant sent lately, shared by all workers and replicas of one service."""

    def hit(self, tenant: str, path: LimitedPath, rate: Rate) -> Allowance:
        """Counts one request where the rate admits it, once and for all callers however simultaneous; none where it
        does not. Raises StoreUnavailable: then nobody knows, and nothing is to be answered."""


class TrustSource(Protocol):
    def bundle(self) -> TrustBundle:
        """The bundle in force: whole, and the same object until another one is in force.

        Raises StoreUnavailable where what operators denied is not known yet.
        """


class LiveTrustSource(TrustSource, Protocol):
    """A bundle that changes while the service runs: with its files, and with what the registry holds."""

    def refresh(self) -> None:
        """The bundle in force is that of the files and the registry as they are now, or, where that cannot be
        made, the one before. Raises StoreUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change of trust: who made it, when, and what was in force before and after, in words for an auditor."""

    at: datetime
    by: str
    what: str
    subject: str
    before: str
    after: str


class TrustRegistry(Protocol):
    """What all replicas share about trust: what operators decided, which issuers were seen, who holds a lease.

    Small (some hundred entries) and read whole. Every method raises StoreUnavailable.
    """

    def revision(self) -> int:
        """A number that is another one after each change of `decisions` or of any discovered authority. Cheap."""

    def decisions(self) -> tuple[Decisions, int]:
        """What is decided, and the revision of it that `decide` takes."""

    def decide(self, decisions: Decisions, event: AuditEvent, *, expected: int) -> bool:
        """True where `decisions` are now in force, the event is in the audit trail, and the revision is another
        one, all at once; False, and nothing changed, where they are not at `expected` any more."""

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        """Every issuer that was seen and is not forgotten, the latest seen first."""

    def record(self, sighting: Sighting, authorities: Sequence[bytes]) -> bool:
        """Counts one more document of this issuer, and keeps the authorities, where there are any, as its
        checked ones. True where the issuer is new here, or its authorities are.

        At most MAX_DISCOVERED issuers are kept; those without checked authorities, the least recently seen
        first, give way, so that nobody floods out what can be approved.
        """

    def claim(self, name: str, *, lasting: timedelta) -> bool:
        """True to exactly one caller, of any number on any replica, until `lasting` has passed."""

    def is_claimed(self, name: str) -> bool:
        """Whether `name` was claimed and that has not passed."""

    def audit_trail(self, *, most: int) -> tuple[AuditEvent, ...]:
        """The latest events, the latest first, `most` at the most. Older ones than some thousand are gone."""


#: How many issuers a registry keeps.
MAX_DISCOVERED = 256
#: How many audit events a registry keeps.
MAX_AUDIT_EVENTS = 10_000


class FetchFailed(Exception):
    """Nothing usable came from a URL; the message is one sentence, and quotes nothing of what came."""


class IssuerFetcher(Protocol):
    """Where a certificate is got from the URL that another one names (RFC 5280 4.2.2.1)."""

    def accepts(self, url: str) -> bool:
        """Whether the URL is on the allow-list: any other one is not even tried."""

    def fetch(self, url: str, *, seconds: float) -> tuple[bytes, ...]:
        """The DER certificates at `url`, within `seconds` in all. Nothing is known of them.

        Connects only where the URL is on the allow-list and every address of its host is public, and to
        nothing else, whatever redirects or name servers say. Raises FetchFailed.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, in words that are safe to keep: nothing that a caller made up but the id,
    and nothing of a document or a nonce. `code` is empty where the answer is not a problem."""

    request_id: str
    route: str
    status: int
    code: str
    seconds: float


class Unserved(StrEnum):
    """Why a request did not reach the application, or its answer did not reach the caller."""

    #: It is not HTTP as the server reads it.
    MALFORMED = "malformed"
    #: Its body ended early, or did not arrive in time.
    INCOMPLETE = "incomplete"
    #: The server failed.
    FAILED = "failed"


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
class Decision:
    """One appraisal and how it ended, in words that are safe to keep: nothing of the document but its digest and its
    signer's names, and never a nonce. Empty where it was not reached.

    `code` is "verified", or the code of the problem. `vm_id` and `subscription_id` are those of a verified document
    alone; the signer and `cloud` are what the document says, proved where the chain was passed; the names are escaped
    and bounded (core.certificates). `seconds` is the whole appraisal, `steps` each check that was begun.
    """

    at: datetime
    request_id: str
    tenant: str
    verdict: Verdict
    code: str
    failed_check: Check | None = None
    vm_id: str = ""
    subscription_id: str = ""
    cloud: Cloud | None = None
    signer_serial: str = ""
    issuer: str = ""
    policy: str = ""
    document_sha256: str = ""
    seconds: float = 0
    steps: tuple[tuple[Check, float], ...] = ()


class DecisionTrail(Protocol):
    """Where decisions are kept for an auditor: appended, never changed, the oldest given up beyond a bound."""

    def append(self, decision: Decision) -> None:
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

    def decided(self, decision: Decision) -> None:
        """An appraisal ended: told once for each, before its answer."""

    def trail_failed(self, decision: Decision, error: Unavailable) -> None:
        """A decision could not be kept in the audit trail."""

    def issuer_sighted(self, sighting: Sighting, *, authorities: int) -> None:
        """An issuer that nobody pinned was seen for the first time, or its certificates were found just now."""

    def trust_changed(self, event: AuditEvent) -> None:
        """An operator changed trust."""

    def trust_reloaded(self, outcome: ReloadOutcome, *, generation: str, detail: str) -> None:
        """Another bundle is in force, or was refused and the one before stays."""

    def token_keys_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        """Other keys of result tokens are in force, or were refused and those before stay."""

    def settings_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        """Other settings are in force, or were refused and the ones before stay. `detail` holds no secret."""

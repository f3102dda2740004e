"""Define the events that the service reports to its operator."""

from collections.abc import Sequence
from contextvars import ContextVar
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.tracing import TraceContext
from verifier.core.values import dataclass
from verifier.ports.decisions import AppraisalRecord, Stage
from verifier.ports.trust import TrustAuditEvent


class UnhandledCause(StrEnum):
    """Why the application did not answer a request."""

    #: The request is not valid HTTP.
    MALFORMED = "malformed"
    #: The body ended early, or did not arrive in time.
    INCOMPLETE = "incomplete"
    #: The server failed.
    FAILED = "failed"


#: A key of the WSGI environment, set if the request arrived at the metrics listener. No header can set it.
METRICS_LISTENER = "verifier.metrics_listener"

#: The caller's trace that the request of this thread belongs to, for the log and the spans. None without a trace.
CURRENT_TRACE: ContextVar[TraceContext | None] = ContextVar("CURRENT_TRACE", default=None)


class ReloadOutcome(StrEnum):
    LOADED = "loaded"
    REFUSED = "refused"


# A NamedTuple: each request makes some of these, and a frozen dataclass takes twice as long.
class ResponseSent(NamedTuple):
    """The service answered a request. No field holds a part of a document or a nonce.

    The service makes `request_id`. `client_request_id` is the only text that the caller chose; it is empty if the
    caller sent none of safe form. `code` is empty if the answer is not a problem document.
    """

    request_id: str
    route: str
    status: int
    code: str
    seconds: float
    client_request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed:
    """An exception ended a request without a verdict."""

    request_id: str
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFailed:
    """An exception ended a periodic refresh of trust, settings or keys. The refresh runs again at its next interval."""

    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentAppraised:
    """An appraisal ended. The service records this event once for each appraisal, before it answers."""

    record: AppraisalRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefused:
    """A request ended in a problem without an appraisal. The service records this event once for each such request."""

    record: AppraisalRecord


class LossReason(StrEnum):
    """Say why a decision was lost."""

    #: It waited too long for the store.
    WAITED = "waited"
    #: Too many decisions waited.
    FULL = "full"
    #: The worker ended before the store took it.
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionsKept:
    """The decision store took a number of decisions of this process, or took none. `waiting` others wait for it."""

    kept: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionsLost:
    """The decision store will never have these decisions of this process."""

    stage: Stage
    reason: LossReason
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionOutageChanged:
    """An outage of the decision store began with `error`, or ended if `error` is None.

    The process records each once for an outage. `lost` is the number of decisions that were lost in the outage. If
    `is_stopping`, the outage ends because the process does: the store may still be unavailable.
    """

    error: Exception | None
    lost: int
    is_stopping: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerObserved:
    """The registry holds an issuer that is not pinned, or its authorities, for the first time."""

    observation: IssuerObservation
    #: How many checked authorities the service found for this issuer.
    authorities: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NonconformingGenuine:
    """A strictness rule or a bound refused a document whose signature verifies under a pinned issuer."""

    document: NonconformingDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustChanged:
    """An operator changed trust."""

    change: TrustAuditEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustReloaded:
    """The process took a new trust bundle, or refused it and kept the current one."""

    outcome: ReloadOutcome
    #: The generation of the bundle that is in force now.
    generation: str
    #: The present files are not a bundle, so the last good ones are in force.
    are_files_refused: bool
    detail: str


class FeedOutcome(StrEnum):
    VERIFIED = "verified"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedChecked:
    """A replica looked at the trust feed. `detail` says why it was refused, or which version it offers.

    `is_news` is set if the look before, of any replica, had another result.
    """

    outcome: FeedOutcome
    detail: str
    is_news: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustOddityFound:
    """A trusted certificate has a formal oddity, which refuses no document."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKeysReloaded:
    """The process took new keys for result tokens, or refused them and kept the current ones."""

    outcome: ReloadOutcome
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyChanged:
    """The HSM of the signing key became unavailable, as `detail` says, or available again if it is empty."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAudienceShared:
    """The result tokens of several tenants have the same audience."""

    audience: str
    tenants: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingMismatched:
    """The forwarding headers of an agent's request do not fit the number of trusted proxies."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsReloaded:
    """The process took new settings, or refused them and kept the current ones. `detail` holds no secret."""

    outcome: ReloadOutcome
    detail: str


# A NamedTuple for the same reason.
class StoreCallMeasured(NamedTuple):
    """A store answered a call, or the call `failed` because the store is unavailable."""

    store: str
    operation: str
    seconds: float
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCircuitsChanged:
    """The number of Redis servers that this process does not call, because they did not answer, changed."""

    open_circuits: int


Event: TypeAlias = (
    ResponseSent
    | RequestFailed
    | RefreshFailed
    | DocumentAppraised
    | RequestRefused
    | DecisionsKept
    | DecisionsLost
    | DecisionOutageChanged
    | IssuerObserved
    | NonconformingGenuine
    | TrustChanged
    | TrustReloaded
    | FeedChecked
    | TrustOddityFound
    | TokenKeysReloaded
    | SigningKeyChanged
    | TokenAudienceShared
    | ForwardingMismatched
    | SettingsReloaded
    | StoreCallMeasured
    | StoreCircuitsChanged
)


class Recorder(Protocol):
    """Report events to the operator. Each recorder ignores the events that it does not need."""

    def record(self, event: Event) -> None: ...

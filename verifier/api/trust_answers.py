"""Define the JSON shape of the trust in force and of the trust feed, as `answers` defines the other shapes."""

from typing import Annotated, Literal

from pydantic import Field

# pydantic requires this TypedDict before Python 3.12.
from typing_extensions import TypedDict

from verifier.api.answers import Moment, SerialNumber, Sha1, Sha256
from verifier.core.issuer_review import ReviewStatus
from verifier.core.trust.bundle import Origin, State
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.published import Effect, FeedMode


class TrustEntryJson(TypedDict):
    """One certificate in the trust of one cloud. `chainable` says whether a chain may contain it now."""

    subject: str
    issuer: str
    sha256: Sha256
    sha1: Sha1
    spkiSha256: Sha256
    serialNumber: SerialNumber
    notBefore: Moment
    notAfter: Moment
    activateAt: Moment | None
    retireAt: Moment | None
    state: State
    origin: Origin
    chainable: bool
    denied: bool
    source: str
    note: str


class TrustedCloudJson(TypedDict):
    """The trust of one cloud. `horizon` is when its last chain ends, or null if no chain exists.

    The service accepts live documents of clouds that are `served` and not `closed`. A cloud is closed when the manifest
    has retired all its anchors.
    """

    name: Cloud
    domain: str
    served: bool
    closed: bool
    horizon: Moment | None
    anchors: list[TrustEntryJson]
    pins: list[TrustEntryJson]


class DiscoveredAuthorityJson(TypedDict):
    """A certificate of a discovered issuer that chains to an anchor."""

    sha256: Sha256
    sha1: Sha1
    subject: str
    notAfter: Moment
    reviewStatus: ReviewStatus


class DiscoveredIssuerJson(TypedDict):
    """An issuer that documents name and no manifest contains."""

    id: str
    cloud: Cloud
    issuer: str
    authorityKeyIdentifier: str
    issuerUrls: list[str]
    firstSeen: Moment
    lastSeen: Moment
    documents: Annotated[int, Field(ge=1)]
    sampleSigner: Sha256
    reviewStatus: ReviewStatus
    authorities: list[DiscoveredAuthorityJson]


class KnownCertificateJson(TypedDict):
    """A known certificate to which a denial or a rejection applies."""

    sha256: Sha256
    subject: str


class DenialJson(TypedDict):
    """One denied key or serial number. Use `value` in the path of DELETE to remove it."""

    kind: Literal["spki", "serial"]
    value: SerialNumber
    certificates: list[KnownCertificateJson]


class RejectionJson(TypedDict):
    """A rejected CA with its known certificates. The service admits none of them."""

    subject: str
    spkiSha256: Sha256
    certificates: list[KnownCertificateJson]


class NonconformingDocumentJson(TypedDict):
    """Genuine documents that the service refuses for their form.

    Their signatures verify, and a pinned CA issued their signers.
    """

    issuer: str
    pinSha256: Sha256
    clouds: list[Cloud]
    detail: str
    firstSeen: Moment
    lastSeen: Moment
    documents: Annotated[int, Field(ge=1)]
    sampleSigner: Sha256
    sampleDocument: Sha256


class TrustAuditEventJson(TypedDict):
    """One change of trust: who changed what, and the state before and after."""

    at: Moment
    by: str
    what: str
    subject: str
    before: str
    after: str


class FeedBundleJson(TypedDict):
    """A bundle of the trust feed. `ignored` describes each part of it that has no effect."""

    version: Annotated[int, Field(ge=1)]
    publishedAt: Moment
    expiresAt: Moment
    ignored: list[str]


class FeedChangeJson(TypedDict):
    """One effect of an offered bundle on a certificate."""

    effect: Effect
    subject: str
    sha256: Sha256
    clouds: list[Cloud]
    activateAt: Moment | None
    retireAt: Moment | None


class FeedOfferJson(FeedBundleJson):
    """A verified bundle that is not in force. `reasons` say why the mode `apply` leaves it to an operator."""

    changes: list[FeedChangeJson]
    reasons: list[str]


class FeedRejectionJson(TypedDict):
    """The version that the feed publishes now, which an operator rejected. It can still be approved."""

    version: Annotated[int, Field(ge=1)]
    by: str
    at: Moment


class TrustFeedJson(TypedDict):
    """The trust feed. `source` is empty if the service looks at none.

    `checkedAt` is the last look that reached the feed and verified its metadata. `problem` says why the last look
    failed or its bundle was refused. `unreadable` says why the bundle that is to be in force is not used.
    """

    source: str
    mode: FeedMode
    inForce: FeedBundleJson | None
    unreadable: str
    offer: FeedOfferJson | None
    rejected: FeedRejectionJson | None
    checkedAt: Moment | None
    problem: str


class TrustSurveyJson(TypedDict):
    """The trust in force, the operators' decisions, and the latest changes."""

    generation: str
    evaluatedAt: Moment
    clouds: list[TrustedCloudJson]
    discovered: list[DiscoveredIssuerJson]
    rejected: list[RejectionJson]
    denied: list[DenialJson]
    nonconforming: list[NonconformingDocumentJson]
    feed: TrustFeedJson
    oddities: Annotated[list[str], Field(description="Formal oddities of trusted certificates. They cause no refusal.")]
    audit: list[TrustAuditEventJson]

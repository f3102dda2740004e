"""The shape of every answer, member by member: what the OpenAPI document shows, and what tests hold answers against.

Nothing beside the members named here is ever in an answer, and all of them are, but those with a default.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from verifier.api.problems import Code
from verifier.core.issuer_review import ReviewStatus
from verifier.core.reasons import Check, Outcome
from verifier.core.trust.bundle import Origin, State
from verifier.core.trust.clouds import Cloud

# As `wire.moment_json` writes them: RFC 3339, in UTC.
Moment = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$",
        json_schema_extra={"format": "date-time"},
    ),
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Sha1 = Annotated[str, Field(pattern=r"^[0-9A-F]{40}$")]
SerialNumber = Annotated[str, Field(pattern=r"^[0-9a-f]+$")]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class Nonce(_Answer):
    """A nonce for one document."""

    nonce: Annotated[str, Field(min_length=1)]
    issued_at: Moment
    expires_at: Moment


class Plan(_Answer):
    """The Marketplace plan; empty texts for a VM without one."""

    publisher: str | None
    product: str | None
    name: str | None


class Claims(_Answer):
    """Every claim that is known of; null where the document does not carry it."""

    vm_id: str
    subscription_id: str | None
    sku: str | None
    license_type: str | None
    nonce: str
    plan: Plan | None
    created_on: Moment | None
    expires_on: Moment | None


class Signer(_Answer):
    """The certificate that signed the document."""

    subject: str
    names: list[str]
    issuer: str
    serial_number: SerialNumber
    sha256: Sha256
    not_after: Moment


class ChainLink(_Answer):
    """One authority of the chain, and how it stands in the trust bundle."""

    subject: str
    sha256: Sha256
    not_after: Moment
    pin: Literal[State.ACTIVE, State.EXPIRING, Origin.ADMITTED]


class CheckResult(_Answer):
    """One check of the appraisal."""

    name: Check
    outcome: Outcome
    detail: str = ""


class AttestationResult(_Answer):
    """The document is authentic, fresh and unused, and satisfies each of `policies`, the tenant's first."""

    verdict: Literal["verified"]
    cloud: Cloud
    claims: Claims
    document: Annotated[dict[str, object], Field(description="The signed JSON, as signed.")]
    signer: Signer
    chain: Annotated[list[ChainLink], Field(min_length=1)]
    checks: list[CheckResult]
    policies: Annotated[list[str], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
    trust_generation: str
    evaluated_at: Moment
    token: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
            description="The result as a signed JWT (RFC 7519), where the service has a key for it.",
        ),
    ] = ""


class Problem(_Answer):
    """RFC 9457, for everything that is not a result. `type` is the path of the code's documentation."""

    type: Annotated[str, Field(pattern=r"^/problems/[a-z-]+$", json_schema_extra={"format": "uri-reference"})]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(min_length=1, description="One sentence that says what to do.")]
    code: Code
    checks: list[CheckResult]
    retryable: Annotated[
        bool,
        Field(
            description="Whether the same caller may try again after retryAfterSeconds; where the nonce is at fault, "
            "with a new nonce and a new document."
        ),
    ]
    request_id: str
    retry_after_seconds: Annotated[int, Field(ge=0, description="There where `retryable` is true.")] = 0


class Alive(_Answer):
    """The process answers."""

    status: Literal["alive"]


class Condition(_Answer):
    """One thing that has to be there before the service can decide anything."""

    name: str
    ready: bool
    detail: str


class Readiness(_Answer):
    """Whether the service can decide at all, and what is missing where it cannot."""

    status: Literal["ready", "not-ready"]
    conditions: list[Condition]


class TrustEntry(_Answer):
    """One certificate as it stands in one cloud."""

    subject: str
    issuer: str
    sha256: Sha256
    sha1: Sha1
    spki_sha256: Annotated[Sha256, Field(alias="spkiSha256")]
    serial_number: SerialNumber
    not_before: Moment
    not_after: Moment
    activate_at: Moment | None
    retire_at: Moment | None
    state: State
    origin: Origin
    chainable: bool
    denied: bool
    source: str
    note: str


class TrustedCloud(_Answer):
    """`horizon` is when the last chain ends; null where none can be built.

    Live documents are accepted of the clouds that are `served` and not `closed`. A cloud is closed when the manifest
    has retired all its anchors.
    """

    name: Cloud
    domain: str
    served: bool
    closed: bool
    horizon: Moment | None
    anchors: list[TrustEntry]
    pins: list[TrustEntry]


class DiscoveredAuthority(_Answer):
    """A certificate of a discovered issuer that chains to an anchor."""

    sha256: Sha256
    sha1: Sha1
    subject: str
    not_after: Moment
    standing: ReviewStatus


class DiscoveredIssuer(_Answer):
    """An issuer that no manifest names, as documents name it."""

    id: str
    cloud: Cloud
    issuer: str
    authority_key_identifier: str
    issuer_urls: list[str]
    first_seen: Moment
    last_seen: Moment
    documents: Annotated[int, Field(ge=1)]
    sample_signer: Sha256
    standing: ReviewStatus
    authorities: list[DiscoveredAuthority]


class KnownCertificate(_Answer):
    """A certificate that a denial or a rejection names."""

    sha256: Sha256
    subject: str


class Denial(_Answer):
    """One denied key or serial number; `value` is what the path of DELETE takes."""

    kind: Literal["spki", "serial"]
    value: SerialNumber
    certificates: list[KnownCertificate]


class Rejection(_Answer):
    """A CA that is admitted in no certificate, with the known certificates of it."""

    subject: str
    spki_sha256: Annotated[Sha256, Field(alias="spkiSha256")]
    certificates: list[KnownCertificate]


class NonconformingDocument(_Answer):
    """Genuine documents that are refused for their form: their signatures verify, and a pin issued their signers."""

    issuer: str
    pin_sha256: Annotated[Sha256, Field(alias="pinSha256")]
    clouds: list[Cloud]
    detail: str
    first_seen: Moment
    last_seen: Moment
    documents: Annotated[int, Field(ge=1)]
    sample_signer: Sha256
    sample_document: Sha256


class AuditEvent(_Answer):
    """One change of trust: who did what, and what stood before and after."""

    at: Moment
    by: str
    what: str
    subject: str
    before: str
    after: str


class TrustSurvey(_Answer):
    """What stands about trust, and the last changes of it."""

    generation: str
    evaluated_at: Moment
    clouds: list[TrustedCloud]
    discovered: list[DiscoveredIssuer]
    rejected: list[Rejection]
    denied: list[Denial]
    nonconforming: list[NonconformingDocument]
    oddities: Annotated[list[str], Field(description="Formal oddities of trusted certificates. They refuse nothing.")]
    audit: list[AuditEvent]


class JsonWebKey(_Answer):
    """One public key (RFC 7517, RFC 8037)."""

    kty: Literal["EC", "OKP"]
    crv: Literal["P-256", "Ed25519"]
    x: str
    y: Annotated[str, Field(description="Of an EC key.")] = ""
    kid: str
    use: Literal["sig"]
    alg: Literal["ES256", "EdDSA"]


class JsonWebKeySet(_Answer):
    """The public keys of the result tokens, the one that signs first."""

    keys: list[JsonWebKey]

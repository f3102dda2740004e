"""Define the JSON shape of each answer.

The builders in `json_codec` and `trust_json_codec` return these types, so mypy compares the code with them. The OpenAPI
document is generated from them. Answers are open: a later version may add members, and clients must accept them.
"""

from typing import Annotated, Literal, NotRequired

from pydantic import Field

# pydantic requires this TypedDict before Python 3.12.
from typing_extensions import TypedDict

from verifier.api.problems import Code
from verifier.core.policy import MAX_ALLOWED_SHOWN
from verifier.core.reasons import Check, Outcome
from verifier.core.trust.bundle import Origin, State
from verifier.core.trust.clouds import Cloud

# The output of `moment_json`: RFC 3339 in UTC.
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
PinStatus = Literal[State.ACTIVE, State.EXPIRING, Origin.ADMITTED]


class NonceJson(TypedDict):
    """A nonce for one document."""

    nonce: Annotated[str, Field(min_length=1)]
    issuedAt: Moment
    expiresAt: Moment


class PlanJson(TypedDict):
    """The Marketplace plan of the VM. The texts are empty if the VM has no plan."""

    publisher: str | None
    product: str | None
    name: str | None


class ClaimsJson(TypedDict):
    """Every claim that this version knows. A claim is null if the document does not carry it."""

    vmId: str
    subscriptionId: str | None
    sku: str | None
    licenseType: str | None
    nonce: str | None
    plan: PlanJson | None
    createdOn: Moment | None
    expiresOn: Moment | None


class SignerJson(TypedDict):
    """The certificate that signed the document."""

    subject: str
    names: list[str]
    issuer: str
    serialNumber: SerialNumber
    sha256: Sha256
    notAfter: Moment


class ChainLinkJson(TypedDict):
    """One certificate authority of the chain. `pin` is its status in the trust bundle."""

    subject: str
    sha256: Sha256
    notAfter: Moment
    pin: PinStatus


class CheckResultJson(TypedDict):
    """The outcome of one check."""

    name: Check
    outcome: Outcome
    detail: NotRequired[str]


class AttestationResultJson(TypedDict):
    """The document is authentic, fresh and unused. It satisfies every policy in `policies`; the tenant's is first."""

    verdict: Literal["verified"]
    cloud: Cloud
    claims: ClaimsJson
    document: Annotated[
        dict[str, object],
        Field(description="The JSON object that Azure signed. A number with a fraction is the nearest double."),
    ]
    signer: SignerJson
    chain: Annotated[list[ChainLinkJson], Field(min_length=1)]
    checks: list[CheckResultJson]
    policies: Annotated[list[str], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
    trustGeneration: str
    evaluatedAt: Moment
    token: NotRequired[
        Annotated[
            str,
            Field(
                pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
                description="The result as a signed JWT (RFC 7519), if the service has a signing key.",
            ),
        ]
    ]


class PolicyDenialJson(TypedDict):
    """Which rule of which policy refused the document. `found` is null if the rule compares no single value, or if the
    document does not carry the claim."""

    policy: str
    rule: str
    found: str | None
    allowed: Annotated[
        list[str],
        Field(
            max_length=MAX_ALLOWED_SHOWN,
            description="The first allowed values in their order. Values that ignore case are in lower case.",
        ),
    ]
    allowedCount: Annotated[int, Field(ge=0, description="The number of all allowed values.")]


class ProblemJson(TypedDict):
    """A problem document (RFC 9457). `type` is the path of the page that explains the code."""

    type: Annotated[str, Field(pattern=r"^/problems/[a-z-]+$", json_schema_extra={"format": "uri-reference"})]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(min_length=1, description="What is wrong with this request, for a person.")]
    code: Code
    checks: list[CheckResultJson]
    retryable: Annotated[
        bool,
        Field(
            description="Whether the same caller may retry after `retryAfterSeconds`. If the code is about the nonce, "
            "retry with a new nonce and a new document."
        ),
    ]
    requestId: str
    retryAfterSeconds: NotRequired[Annotated[int, Field(ge=0, description="Present if `retryable` is true.")]]
    claims: NotRequired[
        Annotated[ClaimsJson, Field(description="Of the document that a policy refused. Not for agent keys.")]
    ]
    denial: NotRequired[
        Annotated[PolicyDenialJson, Field(description="The rule that refused the document. Not for agent keys.")]
    ]


class AliveJson(TypedDict):
    """The process answers requests."""

    status: Literal["alive"]


class ConditionJson(TypedDict):
    """One condition that must be met before the service can appraise documents."""

    name: str
    ready: bool
    detail: str


class ReadinessJson(TypedDict):
    """Whether the service can appraise documents, with each condition for it."""

    status: Literal["ready", "not-ready"]
    conditions: list[ConditionJson]


class JsonWebKeyJson(TypedDict):
    """One public key (RFC 7517, RFC 8037)."""

    kty: Literal["EC", "OKP"]
    crv: Literal["P-256", "Ed25519"]
    x: str
    y: NotRequired[Annotated[str, Field(description="Present if the key is an EC key.")]]
    kid: str
    use: Literal["sig"]
    alg: Literal["ES256", "EdDSA"]


class JsonWebKeySetJson(TypedDict):
    """The public keys of the result tokens (RFC 7517 section 5). The signing key is first."""

    keys: list[JsonWebKeyJson]

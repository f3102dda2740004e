"""The types through which a document moves. Each one is made by one step from the one before it, and says in
its docstring what is known of the document once it exists (docs/trust-progression.md)."""

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from verifier.core.reasons import CheckResult
from verifier.core.trust.bundle import Origin, State
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDocument:
    """Bytes that claim to be a CMS ContentInfo. Nothing is known of them but that they are not too many."""

    raw_der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAttributes:
    """RFC 5652 section 11, as transmitted and as signed."""

    signed_bytes: bytes = field(repr=False)
    content_type_oid: str
    message_digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A well-formed SignedData with one signer, whose certificate is the one that its sid names.

    Known now: form only. `unverified_content` is for core.signature, and for `inspect`, alone.
    """

    sha256: str
    unverified_content: bytes = field(repr=False)
    signer: Certificate
    digest_oid: str
    signature_oid: str
    signature_parameters: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    signed_attributes: SignedAttributes | None
    unverified_candidates: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedContent:
    """Content that was signed by the key of `signer`. Known now: it is bound to a stranger."""

    sha256: str
    content: bytes = field(repr=False)
    signer: Certificate
    #: Certificates that came along: perhaps authorities above the signer, perhaps anything.
    unverified_candidates: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedContent:
    """The signer's names lie in one cloud's domain. Known now: a stranger who claims to be that cloud."""

    signed: SignedContent
    cloud: Cloud
    names: tuple[str, ...]
    #: The dNSName that matched, by which the chain is validated; None where there is a common name alone.
    server_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    publisher: str | None
    product: str | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What the document says of its VM (Azure page, "Attested data"). None is a field that is not there;
    an empty string is one that is there and empty."""

    vm_id: str
    subscription_id: str | None
    sku: str | None
    license_type: str | None
    nonce: str | None = field(repr=False)
    plan: Plan | None
    created_on: datetime | None
    expires_on: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedClaims:
    """The content is one strict JSON object that names its VM. Known now: what the stranger says."""

    named: NamedContent
    claims: Claims
    document: Mapping[str, object] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "document", MappingProxyType(dict(self.document)))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedClaims:
    """Its times hold at the appraisal's moment. Known now: it is worth building a chain."""

    decoded: DecodedClaims


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink:
    """One certificate authority of the accepted path, and the state of its pin or anchor at that moment."""

    subject: str
    sha256: str
    not_after: datetime
    state: State
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticContent:
    """The signer chains to an anchor of the cloud that it names. Known now: it is that cloud's IMDS."""

    decoded: DecodedClaims
    chain: tuple[ChainLink, ...]
    trust_generation: str

    @property
    def claims(self) -> Claims:
        return self.decoded.claims

    @property
    def cloud(self) -> Cloud:
        return self.decoded.named.cloud

    @property
    def signer(self) -> Certificate:
        return self.decoded.named.signed.signer


class NonceForm(StrEnum):
    """What nonces look like: the Azure page asks for 10 digits, IMDS itself takes 32 alphanumerics."""

    DIGITS_10 = "digits-10"
    ALPHANUMERIC_32 = "alphanumeric-32"

    @property
    def alphabet(self) -> str:
        return string.digits if self is NonceForm.DIGITS_10 else string.ascii_letters + string.digits

    @property
    def length(self) -> int:
        return 10 if self is NonceForm.DIGITS_10 else 32


class NonceMode(StrEnum):
    """Whether a document has to answer a nonce that was issued here."""

    REQUIRED = "required"
    #: One that carries none, or the one that IMDS puts by itself, passes once, and is remembered instead.
    OPTIONAL = "optional"


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceRecord:
    """What was said when a nonce was issued. The bindings are empty where the agent named none."""

    issued_at: datetime
    expires_at: datetime
    vm_id: str = ""
    policy: str = ""
    jkt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUse:
    """The nonce was outstanding, and is used from now on."""

    record: NonceRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyUsed:
    """The nonce was issued, and some document was appraised with it before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownNonce:
    """The nonce was never issued to this tenant, or so long ago that it is forgotten."""


Redemption = FirstUse | AlreadyUsed | UnknownNonce


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSight:
    """The document answers no challenge of ours; nobody showed its content before, and it is remembered by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """The document answers a challenge. Known now: it was made for us, and is seen for the first time.

    `record` is FirstSight where no challenge is asked for and none was answered: then it is seen for the first time,
    and not known to be made for us. It is None in the appraisal of an archived document alone.
    """

    content: AuthenticContent
    record: NonceRecord | FirstSight | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Each of `policies` is satisfied, the tenant's first. Known now: it is what the relying party asked for."""

    redeemed: Redeemed
    policies: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.policies:
            raise ValueError("no policy was applied")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationResult:
    """RFC 9334 section 8.4: what the relying party gets back. Exists only where every check was passed or,
    for an archived document, omitted by name in `checks`."""

    verified: Verified
    checks: tuple[CheckResult, ...]
    evaluated_at: datetime

    @property
    def content(self) -> AuthenticContent:
        return self.verified.redeemed.content

    @property
    def claims(self) -> Claims:
        return self.content.claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of an appraisal. The skew may be nothing; the others are positive."""

    clock_skew: timedelta = timedelta(seconds=60)
    maximum_age: timedelta = timedelta(hours=6)
    nonce_lifetime: timedelta = timedelta(seconds=300)

    def __post_init__(self) -> None:
        if self.clock_skew < timedelta(0):
            raise ValueError("clock_skew is negative")
        for name in ("maximum_age", "nonce_lifetime"):
            if getattr(self, name) <= timedelta(0):
                raise ValueError(f"{name} is not positive")

    @property
    def nonce_memory(self) -> timedelta:
        """How long a nonce is remembered from its issue on: until no document that was made before it expired
        can still be inside its window, so that a replay is told as one."""
        return self.nonce_lifetime + self.maximum_age + 2 * self.clock_skew

"""The types through which a document moves (docs/understand/how-a-document-is-judged.md).

Each step makes one type from the previous one. The docstring of a type says what is known of the document.
"""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from verifier.core.nonces import NonceRecord
from verifier.core.reasons import CheckResult
from verifier.core.trust.bundle import Origin, State
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDocument:
    """Bytes that claim to be a CMS ContentInfo. Known now: only that they are within the size limit."""

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

    Known now: form only. Only core.signature and usecases.inspection may use `unverified_content`.
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
    """Content that the key of `signer` signed. Known now: it belongs to an unknown signer."""

    sha256: str
    content: bytes = field(repr=False)
    signer: Certificate
    #: Embedded certificates besides the signer's: perhaps its issuers, perhaps anything.
    unverified_candidates: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedContent:
    """The signer's names are in one cloud's domain. Known now: an unverified signer claims to be that cloud."""

    signed: SignedContent
    cloud: Cloud
    names: tuple[str, ...]
    #: The dNSName that matched. The chain is validated for it. None if the signer has a common name only.
    server_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    publisher: str | None
    product: str | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The document's claims about its VM (Azure page, "Attested data").

    None is a field that the document does not carry. An empty string is a field that is present and empty.
    """

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
    """The content is one strict JSON object that names its VM. Known now: what an unverified signer claims."""

    named: NamedContent
    claims: Claims
    #: Read-only.
    document: Mapping[str, object] = field(repr=False)

    @property
    def signer(self) -> Certificate:
        return self.named.signed.signer


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedClaims:
    """The document's times are valid at the moment of the appraisal. Known now: building a chain is worth its cost."""

    decoded: DecodedClaims

    @property
    def signer(self) -> Certificate:
        return self.decoded.signer

    @property
    def cloud(self) -> Cloud:
        """The cloud that the signer's names claim."""
        return self.decoded.named.cloud

    @property
    def unverified_candidates(self) -> tuple[bytes, ...]:
        """Embedded certificates besides the signer's: perhaps its issuers, perhaps anything."""
        return self.decoded.named.signed.unverified_candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink:
    """One certificate authority of the accepted path, and the state of its pin or anchor at that moment."""

    subject: str
    sha256: str
    not_before: datetime
    not_after: datetime
    state: State
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticContent:
    """The signer chains to an anchor of the cloud that it names. Known now: that cloud's IMDS signed it."""

    decoded: DecodedClaims
    chain: tuple[ChainLink, ...]
    trust_generation: str

    @property
    def claims(self) -> Claims:
        return self.decoded.claims

    @property
    def document(self) -> Mapping[str, object]:
        """The signed JSON object, as signed."""
        return self.decoded.document

    @property
    def cloud(self) -> Cloud:
        return self.decoded.named.cloud

    @property
    def signer(self) -> Certificate:
        return self.decoded.signer

    @property
    def signer_names(self) -> tuple[str, ...]:
        return self.decoded.named.names

    @property
    def signed_bytes(self) -> bytes:
        return self.decoded.named.signed.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """The document answers a challenge of this service for the first time. Known now: it was made for us."""

    content: AuthenticContent
    record: NonceRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSight:
    """The document answers no challenge, and its content is seen for the first time and remembered.

    Not known: that it was made for us, or recently.
    """

    content: AuthenticContent


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """The document is appraised as of a past moment. Not known: that its nonce was issued here, or unused.

    `has_expected_nonce` is True if the document carries the nonce that the caller named.
    """

    content: AuthenticContent
    has_expected_nonce: bool


#: What check 7 may return for a document that is appraised when it arrives.
Live = Redeemed | FirstSight
_Fresh_co = TypeVar("_Fresh_co", bound=Redeemed | FirstSight | Archived, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Generic[_Fresh_co]):
    """Each of `policies` is satisfied, the tenant's first. Known now: it is what the relying party asked for."""

    fresh: _Fresh_co
    policies: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.policies:
            raise ValueError("no policy was applied")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationResult:
    """What the relying party gets back (RFC 9334 section 8.4).

    It exists only if every check passed or, for an archived document, is named in `checks` as skipped.
    """

    verified: Verified[Redeemed | FirstSight | Archived]
    checks: tuple[CheckResult, ...]
    evaluated_at: datetime

    @property
    def policies(self) -> tuple[str, ...]:
        return self.verified.policies

    @property
    def content(self) -> AuthenticContent:
        return self.verified.fresh.content

    @property
    def claims(self) -> Claims:
        return self.content.claims


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveResult(AttestationResult):
    """The result for a document that was appraised when it arrived. Only such a result gets a token."""

    verified: Verified[Live]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedResult(AttestationResult):
    """The result for a document as of a past moment. It does not hold for the present, and gets no token."""

    verified: Verified[Archived]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The time bounds of an appraisal. The skew is not negative; the others are positive."""

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
    def unused_nonce_memory(self) -> timedelta:
        """How long the store keeps an unused nonce after its issue.

        That is its lifetime, by the clock of any replica: the one that issued it may be ahead by the skew, and the one
        that redeems it behind by the skew.
        """
        return self.nonce_lifetime + 2 * self.clock_skew

    @property
    def used_nonce_memory(self) -> timedelta:
        """How long the store remembers a used nonce after its redemption.

        After that, no document that was made before the nonce expired is still valid. Until then, the store recognizes
        every replay.
        """
        return self.nonce_lifetime + self.maximum_age + 2 * self.clock_skew

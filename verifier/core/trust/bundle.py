"""Describe which certificate authorities are trusted for which cloud, and when (anchors and pins, RFC 5280 6.1.1)."""

import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import rsa

from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.values import dataclass

#: How long before its end a certificate is reported as expiring. A setting can change it.
EXPIRY_WARNING = timedelta(days=60)


class TrustError(ValueError):
    """Report entries that do not make a valid bundle. The message names the entry and the fault."""


class Role(StrEnum):
    """Say whether a certificate ends a path or is part of it."""

    ROOT = "root"
    INTERMEDIATE = "intermediate"


class Origin(StrEnum):
    """Say who decided to trust a certificate."""

    #: A manifest lists it.
    LISTED = "listed"
    #: A trust feed publishes it.
    PUBLISHED = "published"
    #: An operator approved or added it on the running service.
    APPROVED = "approved"
    #: The service admitted it without a decision, because it chains to an anchor and the settings allow that.
    ADMITTED = "admitted"


class State(StrEnum):
    """Say what a certificate is at one moment. Only ACTIVE and EXPIRING certificates build chains."""

    STAGED = "staged"
    ACTIVE = "active"
    EXPIRING = "expiring"
    RETIRED = "retired"
    EXPIRED = "expired"

    @property
    def is_usable(self) -> bool:
        return self is State.ACTIVE or self is State.EXPIRING


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityIdentity:
    """Identify a CA by its name and key, which its direct, cross-signed and renewed certificates share."""

    subject_der: bytes = field(repr=False)
    spki_sha256: str
    #: The name for people to read.
    subject: str = field(compare=False)

    @classmethod
    def of(cls, certificate: Certificate) -> "AuthorityIdentity":
        return cls(
            subject_der=certificate.subject_der, spki_sha256=certificate.spki_sha256, subject=certificate.subject
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedCertificate:
    """Describe a trusted certificate authority: its certificate, source, origin and planned times."""

    certificate: Certificate
    role: Role
    clouds: frozenset[Cloud]
    source: str
    note: str = ""
    origin: Origin = Origin.LISTED
    activate_at: datetime | None = None
    retire_at: datetime | None = None

    def __post_init__(self) -> None:
        subject = self.certificate.subject
        if not self.certificate.is_ca:
            raise TrustError(f"{subject}: not a certificate authority")
        if self.role is Role.ROOT and self.origin not in {Origin.LISTED, Origin.PUBLISHED}:
            raise TrustError(f"{subject}: only a manifest or a trust feed can trust a root")
        if self.role is Role.ROOT and not self.certificate.is_self_issued:
            raise TrustError(f"{subject}: a root that another authority issued")
        if not self.clouds:
            raise TrustError(f"{subject}: serves no cloud")
        if not self.source:
            raise TrustError(f"{subject}: its source is missing")
        for moment in (self.activate_at, self.retire_at):
            if moment is not None and moment.utcoffset() is None:
                raise TrustError(f"{subject}: activate_at and retire_at need a time zone")
        if self.activate_at and self.retire_at and self.activate_at >= self.retire_at:
            raise TrustError(f"{subject}: retire_at is not after activate_at")

    def state_at(self, moment: datetime, *, warning: timedelta = EXPIRY_WARNING) -> State:
        """Return the state at `moment`. The certificate is EXPIRING for the time `warning` before its end.

        Its end is the earlier of retire_at (exclusive) and notAfter (inclusive, RFC 5280 4.1.2.5).
        """
        certificate = self.certificate
        if self.retire_at is not None and moment >= self.retire_at:
            return State.RETIRED
        if moment > certificate.not_after:
            return State.EXPIRED
        if moment < certificate.not_before or (self.activate_at is not None and moment < self.activate_at):
            return State.STAGED
        return State.EXPIRING if moment > self.usable_until - warning else State.ACTIVE

    @property
    def usable_from(self) -> datetime:
        return max(self.certificate.not_before, self.activate_at or self.certificate.not_before)

    @property
    def usable_until(self) -> datetime:
        return min(self.certificate.not_after, self.retire_at or self.certificate.not_after)

    def next_change(self, moment: datetime, *, warning: timedelta = EXPIRY_WARNING) -> datetime | None:
        """Return the first moment after `moment` at which the state may change, or None if it does not change."""
        # The state changes just after notAfter, which is still usable, and just after the warning starts.
        after = timedelta.resolution
        changes = [self.usable_from, self.usable_until - warning + after, self.certificate.not_after + after]
        if self.retire_at is not None:
            changes.append(self.retire_at)
        return min((change for change in changes if change > moment), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denials:
    """List denied certificates of any issuer, by serial number and by the SHA-256 of their subjectPublicKeyInfo.

    A denied certificate builds no chain as signer, pin or anchor.
    """

    serial_numbers: frozenset[int] = frozenset()
    spki_sha256: frozenset[str] = frozenset()

    def names(self, certificate: Certificate) -> bool:
        return certificate.serial_number in self.serial_numbers or certificate.spki_sha256 in self.spki_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudTrust:
    """Hold the anchors and pinned intermediates of one cloud. A chain to an anchor of another cloud is refused."""

    anchors: tuple[TrustedCertificate, ...]
    pins: tuple[TrustedCertificate, ...]
    denials: Denials = Denials()
    #: The places of the pins of each subject, so that a chain does not cost more with more pins of other authorities.
    _places: Mapping[bytes, list[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.anchors:
            raise TrustError("a cloud without an anchor")
        if any(anchor.role is not Role.ROOT for anchor in self.anchors):
            raise TrustError("an anchor that is not a root")
        places: dict[bytes, list[int]] = {}
        for place, pin in enumerate(self.pins):
            places.setdefault(pin.certificate.subject_der, []).append(place)
        object.__setattr__(self, "_places", MappingProxyType(places))

    def is_closed(self, moment: datetime) -> bool:
        """Return whether the manifest has retired every anchor: only earlier documents can be appraised."""
        return all(anchor.state_at(moment) is State.RETIRED for anchor in self.anchors)

    def usable_anchors(self, moment: datetime) -> tuple[TrustedCertificate, ...]:
        return self._usable(self.anchors, moment)

    def pins_above(self, certificate: Certificate) -> tuple[TrustedCertificate, ...]:
        """Return the pins with the name of its issuer, and of their issuers in turn, in the order of `pins`."""
        names = [certificate.issuer_der]
        found: set[int] = set()
        for name in names:  # it grows
            new = [place for place in self._places.get(name, ()) if place not in found]
            found.update(new)
            names += [self.pins[place].certificate.issuer_der for place in new]
        return tuple(self.pins[place] for place in sorted(found))

    def usable_pins_above(self, certificate: Certificate, moment: datetime) -> tuple[TrustedCertificate, ...]:
        return self._usable(self.pins_above(certificate), moment)

    def usable_pins(self, moment: datetime) -> tuple[TrustedCertificate, ...]:
        return self._usable(self.pins, moment)

    def _usable(self, entries: tuple[TrustedCertificate, ...], moment: datetime) -> tuple[TrustedCertificate, ...]:
        return tuple(
            entry for entry in entries if entry.state_at(moment).is_usable and not self.denials.names(entry.certificate)
        )

    def next_change(self, moment: datetime) -> datetime | None:
        """Return the first moment after `moment` at which one of its certificates may change its state, or None."""
        changes = (entry.next_change(moment) for entry in (*self.anchors, *self.pins))
        return min((change for change in changes if change is not None), default=None)

    def entry(self, sha256: str) -> TrustedCertificate:
        """Return the anchor or pin with this fingerprint. Raises KeyError."""
        for entry in (*self.anchors, *self.pins):
            if entry.certificate.sha256 == sha256:
                return entry
        raise KeyError(sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustBundle:
    """Hold everything that is trusted at one time. `generation` changes if and only if the content changes."""

    entries: tuple[TrustedCertificate, ...]
    clouds: Mapping[Cloud, CloudTrust]
    denials: Denials
    generation: str

    def __post_init__(self) -> None:
        if not self.clouds:
            raise TrustError("an empty trust bundle")
        object.__setattr__(self, "clouds", MappingProxyType(dict(self.clouds)))

    @classmethod
    def of(cls, entries: tuple[TrustedCertificate, ...], *, denials: Denials = Denials()) -> "TrustBundle":  # noqa: B008 - a value
        """Build the bundle of these entries for the clouds that they name.

        Raises TrustError if there is no entry, if a cloud has no anchor, or if a certificate occurs twice.
        """
        fingerprints = [entry.certificate.sha256 for entry in entries]
        for entry in entries:
            if fingerprints.count(entry.certificate.sha256) > 1:
                raise TrustError(f"{entry.certificate.subject}: listed twice")
        clouds: dict[Cloud, CloudTrust] = {}
        for cloud in Cloud:
            serving = [entry for entry in entries if cloud in entry.clouds]
            if serving:
                try:
                    clouds[cloud] = CloudTrust(
                        anchors=tuple(entry for entry in serving if entry.role is Role.ROOT),
                        pins=tuple(entry for entry in serving if entry.role is Role.INTERMEDIATE),
                        denials=denials,
                    )
                except TrustError as error:
                    raise TrustError(f"{cloud}: {error}") from error
        return cls(entries=entries, clouds=clouds, denials=denials, generation=_generation(entries, denials))

    def open_clouds(self, served: AbstractSet[Cloud], *, at: datetime) -> dict[Cloud, CloudTrust]:
        """Return the clouds of `served` that the bundle configures and that are not closed at that moment."""
        return {cloud: trust for cloud, trust in self.clouds.items() if cloud in served and not trust.is_closed(at)}

    def planned_times(self, authority: AuthorityIdentity) -> tuple[datetime | None, datetime | None]:
        """Return the latest activate_at and the earliest retire_at of any certificate of this CA."""
        entries = [entry for entry in self.entries if AuthorityIdentity.of(entry.certificate) == authority]
        return (
            max((entry.activate_at for entry in entries if entry.activate_at), default=None),
            min((entry.retire_at for entry in entries if entry.retire_at), default=None),
        )

    def oddities(self) -> tuple[str, ...]:
        """Describe each formal oddity of each certificate, with its subject. No document is refused for one."""
        return tuple(
            f"{entry.certificate.subject}: {oddity}"
            for entry in self.entries
            for oddity in oddities_of(entry.certificate)
        )


def oddities_of(certificate: Certificate) -> tuple[str, ...]:
    """Describe what this CA certificate lacks of what RFC 5280 or the CA/Browser Forum requires."""
    key = certificate.public_key
    bits = key.key_size if isinstance(key, rsa.RSAPublicKey) else _RSA_BITS
    return tuple(
        oddity
        for oddity, applies in (
            ("no subject key identifier", certificate.subject_key_identifier is None),
            (
                "no authority key identifier",
                certificate.authority_key_identifier is None and not certificate.is_self_issued,
            ),
            (f"an RSA key of {bits} bits", bits < _RSA_BITS or bits % 8 != 0),
            ("a root with an extended key usage", certificate.is_self_issued and bool(certificate.extended_key_usage)),
        )
        if applies
    )


#: The minimum of the CA/Browser Forum (Baseline Requirements 6.1.5), which also requires a multiple of 8.
_RSA_BITS = 2048


def _generation(entries: tuple[TrustedCertificate, ...], denials: Denials) -> str:
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry.certificate.sha256):
        fields = (
            entry.certificate.sha256,
            entry.role,
            entry.origin,
            ",".join(sorted(entry.clouds)),
            _stamp(entry.activate_at),
            _stamp(entry.retire_at),
        )
        digest.update("|".join(fields).encode() + b"\n")
    for denied in (*sorted(denials.spki_sha256), *(f"{serial:x}" for serial in sorted(denials.serial_numbers))):
        digest.update(f"denied|{denied}\n".encode())
    return digest.hexdigest()[:16]


def _stamp(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat()

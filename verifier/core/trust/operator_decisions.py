"""Apply what operators decide about trust on a running service, in addition to the manifests."""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from datetime import datetime
from types import MappingProxyType

from verifier.core.trust.bundle import AuthorityIdentity, Denials
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud
from verifier.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PinDecision:
    """Record that an operator pinned a certificate authority at `decided_at`. `der` is its certificate."""

    der: bytes = field(repr=False)
    clouds: frozenset[Cloud]
    decided_by: str
    decided_at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedBundle:
    """Record which bundle of the trust feed is in force. `raw` is the bundle as it was published.

    `raw` is None after an operator took this version out of force. `decided_by` names the operator, or the feed if the
    mode is `apply`.
    """

    raw: bytes | None = field(repr=False)
    version: int
    decided_by: str
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedBundle:
    """Record that an operator rejected a bundle of the trust feed. `sha256` is that of its bytes as published."""

    version: int
    sha256: str
    decided_by: str
    decided_at: datetime

    def is_of(self, raw: bytes) -> bool:
        """Return whether `raw` is the rejected bundle."""
        return hashlib.sha256(raw).hexdigest() == self.sha256


#: The CAs that were known under a denied serial number when it was denied.
DeniedAuthorities = Mapping[int, frozenset[AuthorityIdentity]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorDecisions:
    """Hold all decisions of operators. Fingerprints are the lower-case hex SHA-256 of the DER.

    The mode `admit` admits no certificate of a CA in `rejected` or `denied_authorities`. Neither changes a pin: a
    pinned certificate of such a CA stays trusted, unless `denials` names it.
    """

    pins: Mapping[str, PinDecision] = field(default_factory=dict)
    rejected: frozenset[AuthorityIdentity] = frozenset()
    denials: Denials = field(default_factory=Denials)
    denied_authorities: DeniedAuthorities = field(default_factory=dict)
    followed: FollowedBundle | None = None
    rejected_bundle: RejectedBundle | None = None

    def __post_init__(self) -> None:
        known = {serial: authorities for serial, authorities in self.denied_authorities.items() if authorities}
        if not known.keys() <= self.denials.serial_numbers:
            raise ValueError("denied_authorities names a serial number that is not denied")
        object.__setattr__(self, "pins", MappingProxyType(dict(self.pins)))
        object.__setattr__(self, "denied_authorities", MappingProxyType(known))

    def denied_among(self, known: Iterable[Certificate]) -> frozenset[AuthorityIdentity]:
        """Return the CAs of all denied certificates: those on record, and those among `known` and the pins."""
        certificates = (*known, *certificates_of(pin.der for pin in self.pins.values()))
        found = frozenset(AuthorityIdentity.of(one) for one in certificates if self.denials.names(one))
        return found.union(*self.denied_authorities.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Trust these authorities. To approve a discovered one, pin it with the authorities between it and an anchor.

    A pinned CA is no longer rejected. A certificate that is already pinned keeps its clouds.
    """

    pins: Mapping[str, PinDecision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpin:
    """Remove an operator's pin of this authority."""

    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """Never admit a certificate of this CA. Its pins do not change."""

    authority: AuthorityIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """Refuse every chain with a certificate that has one of these serial numbers or keys."""

    denials: Denials
    denied_authorities: DeniedAuthorities = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """Revoke these denials."""

    denials: Denials


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Put a bundle of the trust feed in force in place of the one before, or none if it has no `raw`.

    An earlier version replaces no later one: another replica may have put that in force meanwhile. If `bundle` is None,
    the version is forgotten, and any version may follow. A bundle in force ends the rejection of its version and of
    earlier ones.
    """

    bundle: FollowedBundle | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectBundle:
    """Never offer this bundle of the trust feed. An earlier version replaces no later one."""

    bundle: RejectedBundle


Change = Pin | Unpin | Reject | Deny | Allow | Follow | RejectBundle


def decide(decisions: OperatorDecisions, change: Change) -> OperatorDecisions:
    """Return the decisions after the change. They may be the same as before."""
    match change:
        case Pin(pins=pins):
            joined = {
                sha256: replace(pin, clouds=pin.clouds | decisions.pins.get(sha256, pin).clouds)
                for sha256, pin in pins.items()
            }
            pinned = {AuthorityIdentity.of(one) for one in certificates_of(pin.der for pin in pins.values())}
            return replace(decisions, pins={**decisions.pins, **joined}, rejected=decisions.rejected - pinned)
        case Unpin(sha256=sha256):
            return replace(decisions, pins={key: pin for key, pin in decisions.pins.items() if key != sha256})
        case Reject() | RejectBundle():
            return _reject(decisions, change)
        case Deny(denials=more, denied_authorities=authorities):
            return replace(
                decisions,
                denials=Denials(
                    serial_numbers=decisions.denials.serial_numbers | more.serial_numbers,
                    spki_sha256=decisions.denials.spki_sha256 | more.spki_sha256,
                ),
                denied_authorities={
                    serial: decisions.denied_authorities.get(serial, frozenset()) | authorities.get(serial, frozenset())
                    for serial in decisions.denied_authorities.keys() | authorities.keys()
                },
            )
        case Follow(bundle=bundle):
            return _follow(decisions, bundle)
        case Allow(denials=fewer):  # pragma: no branch - mypy proves that the cases are all
            return replace(
                decisions,
                denials=Denials(
                    serial_numbers=decisions.denials.serial_numbers - fewer.serial_numbers,
                    spki_sha256=decisions.denials.spki_sha256 - fewer.spki_sha256,
                ),
                denied_authorities={
                    serial: authorities
                    for serial, authorities in decisions.denied_authorities.items()
                    if serial not in fewer.serial_numbers
                },
            )


def _reject(decisions: OperatorDecisions, change: Reject | RejectBundle) -> OperatorDecisions:
    if isinstance(change, Reject):
        return replace(decisions, rejected=decisions.rejected | {change.authority})
    known, rejected = decisions.rejected_bundle, change.bundle
    is_later = known is not None and known.version > rejected.version
    return replace(decisions, rejected_bundle=known if is_later else rejected)


def _follow(decisions: OperatorDecisions, bundle: FollowedBundle | None) -> OperatorDecisions:
    """Return the decisions with this bundle in place of an earlier one, and without a rejection that it ends."""
    present, rejected = decisions.followed, decisions.rejected_bundle
    if bundle is not None and present is not None and bundle.version < present.version:
        return decisions
    ends = rejected and bundle and bundle.raw is not None and bundle.version >= rejected.version
    return replace(decisions, followed=bundle, rejected_bundle=None if ends else rejected)


def certificates_of(ders: Iterable[bytes]) -> tuple[Certificate, ...]:
    """Return each certificate among these once, and skip bytes that are not a certificate."""
    found: dict[str, Certificate] = {}
    for der in ders:
        with suppress(CertificateError):
            certificate = Certificate.from_der(der)
            found[certificate.sha256] = certificate
    return tuple(found.values())

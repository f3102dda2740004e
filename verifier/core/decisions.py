"""What operators decide about trust on a running service, beside what the manifests list. Pure: values to values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from verifier.core.clouds import Cloud
from verifier.core.trust import Denials


@dataclass(frozen=True, slots=True, kw_only=True)
class PinDecision:
    """A certificate authority that an operator pinned, from `decided_at` on. `der` is its certificate."""

    der: bytes = field(repr=False)
    clouds: frozenset[Cloud]
    decided_by: str
    decided_at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """All that is decided and not in a manifest. Fingerprints are lower-case hex SHA-256 of the DER.

    A rejected authority is never admitted; a manifest or a pin that names it still counts.
    """

    pins: Mapping[str, PinDecision] = field(default_factory=dict)
    rejected: frozenset[str] = frozenset()
    denials: Denials = field(default_factory=Denials)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pins", MappingProxyType(dict(self.pins)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Trust these authorities. Approving a discovered one pins it with what it needs to reach an anchor.

    One that is pinned already goes on serving its clouds: two authorities may stand under one, in two clouds.
    """

    pins: Mapping[str, PinDecision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpin:
    """Trust this authority no longer on an operator's word."""

    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """Never admit this authority, and take back an operator's pin of it."""

    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """Build no chain with certificates of this serial number, or of this key."""

    denials: Denials


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """Take these denials back."""

    denials: Denials


Change = Pin | Unpin | Reject | Deny | Allow


def decide(decisions: Decisions, change: Change) -> Decisions:
    """The decisions after the change; the same where it changes nothing."""
    match change:
        case Pin(pins=pins):
            joined = {sha256: _joined(decisions.pins.get(sha256), pin) for sha256, pin in pins.items()}
            return replace(decisions, pins={**decisions.pins, **joined}, rejected=decisions.rejected - frozenset(pins))
        case Unpin(sha256=sha256):
            return replace(decisions, pins=_without(decisions.pins, sha256))
        case Reject(sha256=sha256):
            return replace(decisions, pins=_without(decisions.pins, sha256), rejected=decisions.rejected | {sha256})
        case Deny(denials=more):
            return replace(
                decisions,
                denials=Denials(
                    serial_numbers=decisions.denials.serial_numbers | more.serial_numbers,
                    spki_sha256=decisions.denials.spki_sha256 | more.spki_sha256,
                ),
            )
        case Allow(denials=fewer):
            return replace(
                decisions,
                denials=Denials(
                    serial_numbers=decisions.denials.serial_numbers - fewer.serial_numbers,
                    spki_sha256=decisions.denials.spki_sha256 - fewer.spki_sha256,
                ),
            )


def _joined(before: PinDecision | None, pin: PinDecision) -> PinDecision:
    return pin if before is None else replace(pin, clouds=pin.clouds | before.clouds)


def _without(pins: Mapping[str, PinDecision], sha256: str) -> dict[str, PinDecision]:
    return {fingerprint: pin for fingerprint, pin in pins.items() if fingerprint != sha256}

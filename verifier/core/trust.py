"""Which certificate authorities are trusted for which cloud, and when. Anchors and pins per RFC 5280 6.1.1."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from verifier.core.certificates import Certificate
from verifier.core.clouds import Cloud

#: How long before its end a certificate is told as expiring, where the settings say nothing else.
EXPIRY_WARNING = timedelta(days=60)


class TrustError(ValueError):
    """The trust that was described cannot be constructed; the message names the entry and what is wrong."""


class Role(StrEnum):
    ROOT = "root"
    INTERMEDIATE = "intermediate"


class State(StrEnum):
    """What a certificate is at one moment. Only ACTIVE and EXPIRING ones build chains."""

    STAGED = "staged"
    ACTIVE = "active"
    EXPIRING = "expiring"
    RETIRED = "retired"
    EXPIRED = "expired"

    @property
    def is_usable(self) -> bool:
        return self in {State.ACTIVE, State.EXPIRING}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedCertificate:
    """A certificate authority that somebody decided to trust, with where it came from and its planned times."""

    certificate: Certificate
    role: Role
    clouds: frozenset[Cloud]
    source: str
    note: str = ""
    activate_at: datetime | None = None
    retire_at: datetime | None = None

    def __post_init__(self) -> None:
        subject = self.certificate.subject
        if not self.certificate.is_ca:
            raise TrustError(f"{subject}: not a certificate authority")
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
        """The state at `moment`; `warning` is how long before its end it is EXPIRING.

        Its end is the earlier of retire_at (exclusive) and notAfter (inclusive, RFC 5280 4.1.2.5).
        """
        certificate = self.certificate
        if self.retire_at is not None and moment >= self.retire_at:
            return State.RETIRED
        if moment > certificate.not_after:
            return State.EXPIRED
        if moment < certificate.not_before or (self.activate_at is not None and moment < self.activate_at):
            return State.STAGED
        end = min(certificate.not_after, self.retire_at or certificate.not_after)
        return State.EXPIRING if moment > end - warning else State.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudTrust:
    """The anchors and pinned intermediates of one cloud. A chain to another cloud's anchor is not a chain."""

    anchors: tuple[TrustedCertificate, ...]
    pins: tuple[TrustedCertificate, ...]

    def __post_init__(self) -> None:
        if not self.anchors:
            raise TrustError("a cloud without an anchor")
        if any(anchor.role is not Role.ROOT for anchor in self.anchors):
            raise TrustError("an anchor that is not a root")

    def usable_anchors(self, moment: datetime) -> tuple[TrustedCertificate, ...]:
        return tuple(anchor for anchor in self.anchors if anchor.state_at(moment).is_usable)

    def usable_pins(self, moment: datetime) -> tuple[TrustedCertificate, ...]:
        return tuple(pin for pin in self.pins if pin.state_at(moment).is_usable)

    def entry(self, sha256: str) -> TrustedCertificate:
        """The anchor or pin with this fingerprint. Raises KeyError."""
        for entry in (*self.anchors, *self.pins):
            if entry.certificate.sha256 == sha256:
                return entry
        raise KeyError(sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustBundle:
    """All that is trusted at one time. `generation` changes exactly when the content does."""

    clouds: Mapping[Cloud, CloudTrust]
    generation: str

    def __post_init__(self) -> None:
        if not self.clouds:
            raise TrustError("an empty trust bundle")
        object.__setattr__(self, "clouds", MappingProxyType(dict(self.clouds)))

    @classmethod
    def of(cls, entries: tuple[TrustedCertificate, ...]) -> "TrustBundle":
        """The bundle of these entries; it serves the clouds that they name.

        Raises TrustError where there is no entry, a cloud has no anchor, or a certificate is there twice.
        """
        fingerprints = [entry.certificate.sha256 for entry in entries]
        for entry in entries:
            if fingerprints.count(entry.certificate.sha256) > 1:
                raise TrustError(f"{entry.certificate.subject}: there twice")
        clouds: dict[Cloud, CloudTrust] = {}
        for cloud in Cloud:
            serving = [entry for entry in entries if cloud in entry.clouds]
            if serving:
                try:
                    clouds[cloud] = CloudTrust(
                        anchors=tuple(entry for entry in serving if entry.role is Role.ROOT),
                        pins=tuple(entry for entry in serving if entry.role is Role.INTERMEDIATE),
                    )
                except TrustError as error:
                    raise TrustError(f"{cloud}: {error}") from error
        return cls(clouds=clouds, generation=_generation(entries))


def _generation(entries: tuple[TrustedCertificate, ...]) -> str:
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry.certificate.sha256):
        fields = (
            entry.certificate.sha256,
            entry.role,
            ",".join(sorted(entry.clouds)),
            _stamp(entry.activate_at),
            _stamp(entry.retire_at),
        )
        digest.update("|".join(fields).encode() + b"\n")
    return digest.hexdigest()[:16]


def _stamp(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat()

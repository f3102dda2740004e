"""Add the bundle that a trust feed publishes to the bundle of the manifests, and say what it changes.

A feed can add pins and anchors, and stage and retire certificates, of the clouds that the operator allows. It cannot
remove a certificate, and it cannot trust what an operator rejected.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from verifier.core.encoding.moments import moment_json
from verifier.core.trust.bundle import (
    EXPIRY_WARNING,
    AuthorityIdentity,
    Origin,
    Role,
    TrustBundle,
    TrustedCertificate,
    TrustError,
)
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.horizon import horizon
from verifier.core.trust.issuing import has_issued
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.core.values import dataclass

#: The limit of the steps from a certificate to a possible issuer, over all paths. Each step may cost a signature check
#: of a millisecond, in a worker. The shipped certificates have 67 steps.
MAX_STEPS = 256
#: The limit of the difference from version to version. A thief of keys could otherwise use up all versions at once.
MAX_VERSION_STEP = 1_000_000


class FeedMode(StrEnum):
    """Say what the service does with a newer bundle of its trust feed."""

    #: An operator approves it with one command.
    PROPOSE = "propose"
    #: The service puts it in force at once, unless it changes anchors or shortens the chains of a cloud.
    APPLY = "apply"


class Effect(StrEnum):
    """Say what a bundle does to one certificate."""

    ADD_PIN = "adds the pin"
    ADD_ANCHOR = "adds the anchor"
    RESCHEDULE_PIN = "changes the times of the pin"
    RESCHEDULE_ANCHOR = "changes the times of the anchor"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedBundle:
    """What a feed publishes. The origin of each entry is PUBLISHED.

    `version` grows with each publication. After `expires_at`, the bundle is not put in force. If it is in force then,
    it stays, because an expired feed must change no verdict.
    """

    version: int
    published_at: datetime
    expires_at: datetime
    entries: tuple[TrustedCertificate, ...]

    def __post_init__(self) -> None:
        if self.version < 1:
            raise TrustError("the version of a bundle is at least 1")
        if self.expires_at <= self.published_at:
            raise TrustError("the bundle expires before it is published")
        fingerprints = [entry.certificate.sha256 for entry in self.entries]
        if len(set(fingerprints)) != len(fingerprints):
            raise TrustError("the bundle lists a certificate twice")
        if any(entry.origin is not Origin.PUBLISHED for entry in self.entries):
            raise TrustError("an entry of a bundle has another origin")

    def check_successor(self, newer: "PublishedBundle") -> None:
        """Check that `newer` may replace this bundle. Raises TrustError.

        A certificate that is no longer trusted must be listed with `retireAt`: documents of earlier times need it.
        """
        if newer.version < self.version:
            raise TrustError(f"version {newer.version} is older than version {self.version}, which is in force")
        if newer.version == self.version and newer != self:
            raise TrustError(f"version {newer.version} differs from the version {self.version} that is in force")
        check_version_step(self.version, newer.version)
        kept = {entry.certificate.sha256: entry for entry in newer.entries}
        for entry in self.entries:
            present = kept.get(entry.certificate.sha256)
            if present is None or present.role is not entry.role or not entry.clouds <= present.clouds:
                raise TrustError(
                    f"version {newer.version} removes {entry.certificate.subject} as {entry.role} of "
                    f"{', '.join(sorted(entry.clouds))}: list it with a retireAt instead"
                )


def check_version_step(known: int, newer: int) -> None:
    """Raise TrustError if the newer version is too far from the known one."""
    if newer - known > MAX_VERSION_STEP:
        raise TrustError(f"version {newer} is more than {MAX_VERSION_STEP} after version {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedChange:
    """One effect of a bundle, compared with what is in force."""

    effect: Effect
    entry: TrustedCertificate
    clouds: frozenset[Cloud]

    def __str__(self) -> str:
        times = [
            f"{name} {moment_json(moment)}"
            for name, moment in (("from", self.entry.activate_at), ("until", self.entry.retire_at))
            if moment is not None
        ]
        clouds = ", ".join(sorted(self.clouds))
        return " ".join((f"{self.effect} {self.entry.certificate.subject} ({clouds})", *times))


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The entries of the manifests and of a feed, and a sentence for each part of the feed that has no effect."""

    entries: tuple[TrustedCertificate, ...]
    ignored: tuple[str, ...]


def merge(
    files: TrustBundle,
    published: PublishedBundle,
    *,
    allowed: AbstractSet[Cloud],
    decisions: OperatorDecisions,
) -> Merged:
    """Add a published bundle to the bundle of the manifests.

    An entry that a manifest lists keeps its clouds, and is usable only while both allow it. A trusted authority of the
    same cloud must be the issuer of a pin that is new to the cloud. Not checked: that the chain above it is usable now.

    Raises TrustError if the certificates allow more paths than MAX_STEPS: few certificates can have very many paths.
    """
    entries = {entry.certificate.sha256: entry for entry in files.entries}
    ignored: list[str] = []
    pins: list[TrustedCertificate] = []
    for entry in published.entries:
        subject = entry.certificate.subject
        others = entry.clouds - allowed
        if others:
            ignored.append(f"{subject}: {', '.join(sorted(others))} is not allowed to follow the feed")
        clouds = entry.clouds & allowed
        listed = entries.get(entry.certificate.sha256)
        if not clouds:
            continue
        if AuthorityIdentity.of(entry.certificate) in decisions.rejected:
            ignored.append(f"{subject}: an operator rejected this authority")
            continue
        try:
            wanted = replace(entry, clouds=clouds) if listed is None else _joined(listed, entry, clouds)
        except TrustError as error:
            ignored.append(str(error))
            continue
        if entry.role is Role.ROOT:
            entries[entry.certificate.sha256] = wanted
        else:
            pins.append(wanted)
            if listed is not None:
                entries[entry.certificate.sha256] = replace(wanted, clouds=listed.clouds)
    check_steps([*files.entries, *entries.values(), *pins])
    ignored += _add_pins(entries, pins)
    return Merged(entries=tuple(entries.values()), ignored=tuple(ignored))


def check_steps(entries: Iterable[TrustedCertificate]) -> None:
    """Raise TrustError if the certificates allow more than MAX_STEPS steps.

    The steps are counted by the names of issuers, because a check of a signature is what the limit is for.
    """
    named: dict[bytes, dict[str, TrustedCertificate]] = {}
    pins: dict[str, TrustedCertificate] = {}
    for entry in entries:
        named.setdefault(entry.certificate.subject_der, {})[entry.certificate.sha256] = entry
        if entry.role is not Role.ROOT:
            pins[entry.certificate.sha256] = entry
    waiting = [(pin, frozenset({pin.certificate.spki_sha256})) for pin in pins.values()]
    steps = 0
    while waiting:
        entry, keys = waiting.pop()
        # As core.trust.horizon does: each key once in a path, and an anchor ends it.
        for issuer in named.get(entry.certificate.issuer_der, {}).values():
            if issuer.certificate.spki_sha256 in keys:
                continue
            steps += 1
            if steps > MAX_STEPS:
                raise TrustError(f"its certificates allow more than {MAX_STEPS} steps from a certificate to an issuer")
            if issuer.role is not Role.ROOT:
                waiting.append((issuer, keys | {issuer.certificate.spki_sha256}))


def changes_between(
    before: TrustBundle | PublishedBundle, after: TrustBundle | PublishedBundle
) -> tuple[FeedChange, ...]:
    """Return what differs, compared by certificate."""
    known = {entry.certificate.sha256: entry for entry in before.entries}
    changes: list[FeedChange] = []
    for entry in after.entries:
        is_anchor = entry.role is Role.ROOT
        earlier = known.get(entry.certificate.sha256)
        added = entry.clouds - (earlier.clouds if earlier else frozenset())
        if added:
            effect = Effect.ADD_ANCHOR if is_anchor else Effect.ADD_PIN
            changes.append(FeedChange(effect=effect, entry=entry, clouds=added))
        if earlier and (earlier.activate_at, earlier.retire_at) != (entry.activate_at, entry.retire_at):
            effect = Effect.RESCHEDULE_ANCHOR if is_anchor else Effect.RESCHEDULE_PIN
            changes.append(FeedChange(effect=effect, entry=entry, clouds=entry.clouds))
    return tuple(changes)


def reasons_to_ask(before: TrustBundle, after: TrustBundle, *, now: datetime) -> tuple[str, ...]:
    """Return why an operator must approve the change, also in the mode `apply`. Empty if the change may be applied."""
    anchors = {Effect.ADD_ANCHOR, Effect.RESCHEDULE_ANCHOR}
    reasons = [f"it {change}" for change in changes_between(before, after) if change.effect in anchors]
    for cloud, trust in before.clouds.items():
        earlier, later = horizon(trust, now=now), horizon(after.clouds[cloud], now=now)
        if earlier is None:
            continue
        if later is None:
            reasons.append(f"it leaves {cloud} without a usable chain")
        elif later < earlier and later - now <= EXPIRY_WARNING:
            reasons.append(f"it ends the chains of {cloud} at {moment_json(later)} instead of {moment_json(earlier)}")
    return tuple(reasons)


def _joined(listed: TrustedCertificate, entry: TrustedCertificate, clouds: frozenset[Cloud]) -> TrustedCertificate:
    """Return the listed entry for the clouds of both, in the times that both allow. Raises TrustError."""
    subject = entry.certificate.subject
    if listed.role is not entry.role:
        raise TrustError(f"{subject}: a manifest lists it as {listed.role}")
    changes_times = (entry.activate_at, entry.retire_at) != (None, None)
    if changes_times and not listed.clouds <= clouds:
        raise TrustError(f"{subject}: its times also hold for {', '.join(sorted(listed.clouds - clouds))}")
    return replace(
        listed,
        clouds=listed.clouds | clouds,
        activate_at=max((one for one in (listed.activate_at, entry.activate_at) if one), default=None),
        retire_at=min((one for one in (listed.retire_at, entry.retire_at) if one), default=None),
    )


def _add_pins(entries: dict[str, TrustedCertificate], pins: Iterable[TrustedCertificate]) -> list[str]:
    """Add the pins to the entries, each for the clouds in which an entry issued it. Return why others are omitted."""
    waiting: dict[bytes, list[TrustedCertificate]] = {}
    for pin in pins:
        waiting.setdefault(pin.certificate.issuer_der, []).append(pin)
    # A pin may be the issuer of another one, in any order. Each new cloud of an entry is followed once.
    followed = [*entries.values()]
    while followed:
        issuer = followed.pop()
        for pin in waiting.get(issuer.certificate.subject_der, ()):
            present = entries.get(pin.certificate.sha256)
            had = present.clouds if present else frozenset()
            new = (pin.clouds & issuer.clouds) - had
            if new and has_issued(issuer.certificate, pin.certificate):
                entries[pin.certificate.sha256] = replace(pin, clouds=had | new)
                followed.append(entries[pin.certificate.sha256])
    omitted: list[str] = []
    for pin in (pin for same_issuer in waiting.values() for pin in same_issuer):
        present = entries.get(pin.certificate.sha256)
        missing = pin.clouds - (present.clouds if present else frozenset())
        if missing:
            clouds = ", ".join(sorted(missing))
            omitted.append(f"{pin.certificate.subject}: no trusted authority of {clouds} issued it")
    return omitted

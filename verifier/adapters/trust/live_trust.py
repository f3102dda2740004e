"""Combine the trust files, operators' decisions and admitted authorities on a running service."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from pathlib import Path

from verifier.adapters.polling import FileFollower
from verifier.adapters.trust.files import load_bundle, shipped_directory
from verifier.adapters.trust.published import read_bundle
from verifier.core.discovery import DiscoveredIssuer, admissible, admit, extend
from verifier.core.encoding.moments import moment_json
from verifier.core.trust.bundle import Origin, Role, TrustBundle, TrustedCertificate, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions, PinDecision, certificates_of
from verifier.core.trust.published import Merged, PublishedBundle, merge
from verifier.core.values import dataclass
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Recorder, ReloadOutcome, TrustReloaded
from verifier.ports.trust import TrustRegistry

#: File systems have coarse times: a second change within this time may not be visible.
SETTLING_SECONDS = 2.0

#: The folders of each directory that `load_bundle` reads.
_FOLDERS = ("", "roots", "intermediates")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """Hold an authority that the registry asks to trust, before it is checked. Without a pin, it was discovered."""

    sha256: str
    der: bytes
    clouds: frozenset[Cloud]
    source: str
    pin: PinDecision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Composed:
    """A bundle, a sentence for each authority that cannot be in it, and one for each part of the feed that is not."""

    bundle: TrustBundle
    omissions: tuple[str, ...]
    ignored: tuple[str, ...]


class LiveTrust:
    """Combine the bundle of the files and the registry. Implements the LiveTrustSource port.

    Thread-safe; a request never waits for a reload. In the mode `admit`, the bundle includes the discovered
    authorities that are admissible (core.discovery). The bundle of the trust feed that is in force counts for the
    clouds in `feed_clouds`. If this release cannot use it, the one before stays in force. A process that starts then
    trusts the files and the operators' pins only, and records the reason.

    Construction raises TrustError if the files are not a valid bundle and there is no `last_good` one. If the registry
    is unavailable, there is no bundle until a `refresh` reaches it.
    """

    def __init__(
        self,
        overlay: Path | None,
        registry: TrustRegistry,
        *,
        admit: bool,
        recorder: Recorder,
        feed_clouds: AbstractSet[Cloud] = SERVED_BY_DEFAULT,
        last_good: TrustBundle | None = None,
    ) -> None:
        directories = (shipped_directory(),) if overlay is None else (shipped_directory(), overlay)
        self._registry = registry
        self._admit = admit
        self._recorder = recorder
        self._feed_clouds = feed_clouds
        self._published: PublishedBundle | None = None
        self._turn = threading.Lock()
        self._omissions: tuple[str, ...] = ()
        self._revision: int | None = None
        self._is_known = False
        self._decisions = OperatorDecisions()
        self._discovered: tuple[DiscoveredIssuer, ...] = ()
        self._follower = FileFollower(partial(_look_at, directories), lambda _: load_bundle(overlay))
        files = self._follower.read() or last_good
        if files is None:
            raise TrustError(self._follower.refusal)
        self._files = self._bundle = files
        if self._follower.refusal:
            self._tell(ReloadOutcome.REFUSED, self._follower.refusal)
        with suppress(StoreUnavailable):
            self._read_registry()
        self._bundle = self._compose().bundle
        self._is_known = self._revision is not None

    def bundle(self) -> TrustBundle:
        """Return the bundle. Raises StoreUnavailable until the registry was read once.

        Without the registry, a denied certificate would be trusted. Until then, each call tries to read it, so that
        requests do not wait for the next interval.
        """
        if not self._is_known:
            self.refresh()
        return self._bundle

    def preview(self, published: PublishedBundle) -> tuple[TrustBundle, tuple[str, ...]]:
        """Merge this bundle of the feed with the latest files and decisions, without putting the result in force."""
        self.refresh()
        with self._turn:
            composed = self._compose_with(published)
        return composed.bundle, composed.ignored

    def refresh(self) -> None:
        """Reload the files and the registry if they have changed.

        If the files are not a valid bundle, the last good ones stay in force, and the reason is recorded once. If the
        registry is unavailable, its last content stays in force.

        Raises StoreUnavailable after the changes of the files have taken effect.
        """
        with self._turn:
            refusal = self._follower.refusal
            files = self._follower.read()
            if files is not None:
                self._files = files
            elif self._follower.refusal != refusal:
                self._tell(ReloadOutcome.REFUSED, self._follower.refusal)
            is_changed = files is not None
            try:
                is_changed |= self._read_registry()
            finally:
                if is_changed:
                    self._put_in_force(is_news=bool(refusal and not self._follower.refusal))

    def _read_registry(self) -> bool:
        """Read the registry if its revision has changed. Return whether it was read. Raises StoreUnavailable."""
        # Read the revision before the content: a change in between is then read twice instead of missed.
        revision = self._registry.revision()
        if revision == self._revision:
            return False
        decisions, _ = self._registry.decisions()
        discovered = self._registry.discovered() if self._admit else ()
        self._decisions, self._discovered, self._revision = decisions, discovered, revision
        return True

    def _put_in_force(self, *, is_news: bool) -> None:
        composed = self._compose()
        bundle = composed.bundle
        if bundle.generation != self._bundle.generation:
            self._bundle = bundle
            is_news = True
        # Only now: requests must not use the bundle before it includes the denials.
        self._is_known = self._revision is not None
        if is_news:
            origins = Counter(entry.origin for entry in bundle.entries)
            numbers = ", ".join(f"{origins[origin]} {origin}" for origin in Origin)
            parts = [f"{len(bundle.entries)} certificates: {numbers}", *bundle.oddities()]
            parts += [f"without effect in the trust feed: {one}" for one in composed.ignored]
            self._tell(ReloadOutcome.LOADED, "; ".join(parts))

    def _compose(self) -> _Composed:
        """Build the bundle from the latest files and registry content.

        An authority that cannot be in the bundle is omitted, and the reason is recorded. The other authorities and all
        denials stay effective.
        """
        composed, refusal = self._compose_followed()
        omissions = (*([refusal] if refusal else []), *composed.omissions)
        if omissions and omissions != self._omissions:
            self._tell(ReloadOutcome.REFUSED, "; ".join(omissions))
        self._omissions = omissions
        return composed

    def _compose_followed(self) -> tuple[_Composed, str]:
        """Return the bundle with the one of the feed that is in force, and why that one cannot be used, if so."""
        followed = self._decisions.followed
        if followed is None or followed.raw is None:
            self._published = None
            return self._compose_with(None), ""
        try:
            published = read_bundle(followed.raw)
            composed = self._compose_with(published)
        except TrustError as error:
            refusal = f"version {followed.version} of the trust feed is not used: {error}"
        else:
            self._published = published
            return composed, ""
        try:
            return self._compose_with(self._published), refusal
        except TrustError:  # the files have changed since
            self._published = None
            return self._compose_with(None), refusal

    def _compose_with(self, published: PublishedBundle | None) -> _Composed:
        """Build the bundle with this one of the feed. Raises TrustError if it does not fit the files."""
        merged = Merged(entries=self._files.entries, ignored=())
        if published is not None:
            merged = merge(self._files, published, allowed=self._feed_clouds, decisions=self._decisions)
        bundle = TrustBundle.of(merged.entries, denials=self._decisions.denials)
        entries: list[TrustedCertificate] = []
        omissions: list[str] = []
        for wish in _wishes(self._decisions, self._discovered, bundle):
            absent = wish.clouds - bundle.clouds.keys()
            if absent:
                omissions.append(f"{wish.sha256}, {wish.source}: {', '.join(sorted(absent))} is not configured")
            if wish.clouds - absent:
                try:
                    entries.extend(_grant(wish, wish.clouds - absent, bundle))
                except (CertificateError, TrustError) as error:
                    omissions.append(f"{wish.sha256}, {wish.source}: {error}")
        return _Composed(bundle=extend(bundle, entries), omissions=tuple(omissions), ignored=merged.ignored)

    def _tell(self, outcome: ReloadOutcome, detail: str) -> None:
        self._recorder.record(
            TrustReloaded(
                outcome=outcome,
                generation=self._bundle.generation,
                are_files_refused=bool(self._follower.refusal),
                detail=detail,
            )
        )


def _wishes(
    decisions: OperatorDecisions, discovered: Sequence[DiscoveredIssuer], bundle: TrustBundle
) -> Iterable[_Wish]:
    for sha256, pin in decisions.pins.items():
        source = f"pinned by {pin.decided_by} at {moment_json(pin.decided_at, 'seconds')}"
        yield _Wish(sha256=sha256, der=pin.der, clouds=pin.clouds, source=source, pin=pin)
    # Discovered certificates that cannot be read are among neither, and `_grant` refuses them.
    found = certificates_of(der for issuer in discovered for der in issuer.authorities)
    allowed = admissible(found, decisions=decisions, known=[entry.certificate for entry in bundle.entries])
    barred = {one.sha256 for one in found} - {one.sha256 for one in allowed}
    for issuer in discovered:
        for der in issuer.authorities:
            sha256 = hashlib.sha256(der).hexdigest()
            if sha256 not in barred:
                clouds = frozenset({issuer.observation.cloud})
                yield _Wish(sha256=sha256, der=der, clouds=clouds, source="discovered")


def _grant(wish: _Wish, clouds: frozenset[Cloud], bundle: TrustBundle) -> Iterable[TrustedCertificate]:
    """Return the entries that grant the wish. Raises CertificateError and TrustError."""
    certificate = Certificate.from_der(wish.der)
    if certificate.sha256 != wish.sha256:
        raise TrustError("the stored certificate does not have this SHA-256")
    # A root that is listed for other clouds would become an anchor of these clouds.
    if certificate.is_self_issued:
        raise TrustError("only a manifest can add a root")
    if wish.pin is None:
        return [admit(certificate, cloud, bundle=bundle) for cloud in clouds]
    return [
        TrustedCertificate(
            certificate=certificate,
            role=Role.INTERMEDIATE,
            clouds=clouds,
            source=wish.source,
            note=wish.pin.note,
            origin=Origin.APPROVED,
        )
    ]


def _look_at(directories: Iterable[Path]) -> tuple[tuple[object, ...], ...]:
    """Collect the name, link target, identity, size, mode and times of each file, without reading the files.

    The result differs from every other one if a later change may not be visible in it.

    The link target matters because a Kubernetes mount switches a symbolic link. The mode matters because a change of
    permissions may repair a broken directory.
    """
    entries: list[tuple[object, ...]] = []
    changes: list[int] = []
    for directory in directories:
        for folder in _FOLDERS:
            path = directory / folder
            try:
                files = sorted(path.iterdir())
            except OSError as error:
                entries.append((str(path), error.errno))
                continue
            for file in files:
                try:
                    status = file.stat()
                    target = str(file.resolve()) if file.is_symlink() else ""
                except (OSError, RuntimeError) as error:  # a loop is a RuntimeError before Python 3.13
                    entries.append((str(file), str(error)))
                    continue
                changes.append(status.st_ctime_ns)
                identity = (status.st_dev, status.st_ino, status.st_mode, status.st_size)
                entries.append((str(file), target, *identity, status.st_mtime_ns, status.st_ctime_ns))
    now, settling = time.time_ns(), SETTLING_SECONDS * 1e9
    if any(abs(now - change) <= settling for change in changes):
        entries.append((object(),))
    return tuple(entries)

"""Combine the trust files, operators' decisions and admitted authorities on a running service."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from verifier.adapters.trust.files import load_bundle, shipped_directory
from verifier.core.discovery import DiscoveredIssuer, admissible, admit, extend
from verifier.core.trust.bundle import Origin, Role, TrustBundle, TrustedCertificate, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions, certificates_of
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Recorder, ReloadOutcome, TrustReloaded
from verifier.ports.trust import TrustRegistry

#: File systems have coarse times: a second change within this time may not be visible.
SETTLING_SECONDS = 2.0

#: The folders of each directory that `load_bundle` reads.
_FOLDERS = ("", "roots", "intermediates")
#: How often a directory is read again if it changes during the read. After that, it is refused.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """Hold the metadata of the directories. `is_settled` is true if every later change will be visible in it."""

    entries: tuple[tuple[object, ...], ...]
    is_settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Hold a state of the directories that is not a valid trust bundle, and the reason."""

    entries: tuple[tuple[object, ...], ...]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """Hold an authority that the registry asks to trust, before it is checked."""

    sha256: str
    der: bytes
    clouds: frozenset[Cloud]
    origin: Origin
    source: str
    note: str = ""


class LiveTrust:
    """Combine the bundle of the files and the registry. Implements the LiveTrustSource port.

    Thread-safe; a request never waits for a reload. In the mode `admit`, the bundle includes the discovered
    authorities that are admissible (core.discovery). Construction raises TrustError if the files are not a valid bundle
    and there is no `last_good` one. If the registry is unavailable, there is no bundle until a `refresh` reaches it.
    """

    def __init__(
        self,
        overlay: Path | None,
        registry: TrustRegistry,
        *,
        admit: bool,
        recorder: Recorder,
        last_good: TrustBundle | None = None,
    ) -> None:
        self._overlay = overlay
        self._directories = (shipped_directory(),) if overlay is None else (shipped_directory(), overlay)
        self._registry = registry
        self._admit = admit
        self._recorder = recorder
        self._turn = threading.Lock()
        self._refusal: _Refusal | None = None
        self._omissions: tuple[str, ...] = ()
        self._revision: int | None = None
        self._is_known = False
        self._decisions = OperatorDecisions()
        self._discovered: tuple[DiscoveredIssuer, ...] = ()
        # Read the metadata first: the next refresh then detects a change during the load.
        self._look = _look_at(self._directories)
        try:
            self._files = self._bundle = load_bundle(overlay)
        except TrustError as error:
            if last_good is None:
                raise
            self._files = self._bundle = last_good
            self._refusal = _Refusal(entries=self._look.entries, detail=str(error))
            self._tell(ReloadOutcome.REFUSED, str(error))
        with suppress(StoreUnavailable):
            self._read_registry()
        self._bundle = self._compose()
        self._is_known = self._revision is not None

    def bundle(self) -> TrustBundle:
        """Return the bundle. Raises StoreUnavailable until the registry was read once.

        Without the registry, a denied certificate would be trusted. Until then, each call tries to read it, so that
        requests do not wait for the next interval.
        """
        if not self._is_known:
            self.refresh()
        return self._bundle

    def refresh(self) -> None:
        """Reload the files and the registry if they have changed.

        If the files are not a valid bundle, the last good ones stay in force, and the reason is recorded once for each
        state of the files. If the registry is unavailable, its last content stays in force.

        Raises StoreUnavailable after the changes of the files have taken effect.
        """
        with self._turn:
            was_refused = self._refusal is not None
            changed = self._read_files()
            try:
                changed |= self._read_registry()
            finally:
                if changed:
                    self._put_in_force(is_news=was_refused and self._refusal is None)

    def _read_files(self) -> bool:
        """Load the files if they have changed. Return whether there is a new valid bundle."""
        look = _look_at(self._directories)
        if look.entries == self._look.entries and self._look.is_settled:
            return False
        detail = ""
        for _ in range(_ATTEMPTS):
            self._look = look
            try:
                self._files = load_bundle(self._overlay)
            except TrustError as error:
                detail = str(error)
            else:
                self._refusal = None
                return True
            look = _look_at(self._directories)
            if look.entries == self._look.entries:
                break
        refusal = _Refusal(entries=self._look.entries, detail=detail)
        if refusal != self._refusal:
            self._tell(ReloadOutcome.REFUSED, detail)
        self._refusal = refusal
        return False

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
        bundle = self._compose()
        if bundle.generation != self._bundle.generation:
            self._bundle = bundle
            is_news = True
        # Only now: requests must not use the bundle before it includes the denials.
        self._is_known = self._revision is not None
        if is_news:
            origins = Counter(entry.origin for entry in bundle.entries)
            numbers = ", ".join(f"{origins[origin]} {origin}" for origin in Origin)
            parts = [f"{len(bundle.entries)} certificates: {numbers}", *bundle.oddities()]
            self._tell(ReloadOutcome.LOADED, "; ".join(parts))

    def _compose(self) -> TrustBundle:
        """Build the bundle from the latest files and registry content.

        An authority that cannot be in the bundle is omitted, and the reason is recorded. The other authorities and all
        denials stay effective.
        """
        bundle = TrustBundle.of(self._files.entries, denials=self._decisions.denials)
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
        if omissions and tuple(omissions) != self._omissions:
            self._tell(ReloadOutcome.REFUSED, "; ".join(omissions))
        self._omissions = tuple(omissions)
        return extend(bundle, entries)

    def _tell(self, outcome: ReloadOutcome, detail: str) -> None:
        self._recorder.record(TrustReloaded(outcome=outcome, generation=self._bundle.generation, detail=detail))


def _wishes(
    decisions: OperatorDecisions, discovered: Sequence[DiscoveredIssuer], bundle: TrustBundle
) -> Iterable[_Wish]:
    for sha256, pin in decisions.pins.items():
        yield _Wish(
            sha256=sha256,
            der=pin.der,
            clouds=pin.clouds,
            origin=Origin.APPROVED,
            source=f"pinned by {pin.decided_by} at {pin.decided_at:%Y-%m-%dT%H:%M:%SZ}",
            note=pin.note,
        )
    barred = _barred(decisions, discovered, bundle)
    for issuer in discovered:
        for der in issuer.authorities:
            sha256 = hashlib.sha256(der).hexdigest()
            if sha256 not in barred:
                clouds = frozenset({issuer.observation.cloud})
                yield _Wish(sha256=sha256, der=der, clouds=clouds, origin=Origin.ADMITTED, source="discovered")


def _barred(
    decisions: OperatorDecisions, discovered: Sequence[DiscoveredIssuer], bundle: TrustBundle
) -> frozenset[str]:
    """Return the discovered certificates that are not admissible; those that cannot be read are refused later."""
    found = certificates_of(der for issuer in discovered for der in issuer.authorities)
    allowed = admissible(found, decisions=decisions, known=[entry.certificate for entry in bundle.entries])
    return frozenset(one.sha256 for one in found).difference(one.sha256 for one in allowed)


def _grant(wish: _Wish, clouds: frozenset[Cloud], bundle: TrustBundle) -> Iterable[TrustedCertificate]:
    """Return the entries that grant the wish. Raises CertificateError and TrustError."""
    certificate = Certificate.from_der(wish.der)
    if certificate.sha256 != wish.sha256:
        raise TrustError("the stored certificate does not have this SHA-256")
    # A root that is listed for other clouds would become an anchor of these clouds.
    if certificate.is_self_issued:
        raise TrustError("only a manifest can add a root")
    if wish.origin is Origin.ADMITTED:
        return [admit(certificate, cloud, bundle=bundle) for cloud in clouds]
    return [
        TrustedCertificate(
            certificate=certificate,
            role=Role.INTERMEDIATE,
            clouds=clouds,
            source=wish.source,
            note=wish.note,
            origin=wish.origin,
        )
    ]


def _look_at(directories: Iterable[Path]) -> _Look:
    """Collect the name, link target, identity, size, mode and times of each file, without reading the files.

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
    return _Look(entries=tuple(entries), is_settled=all(abs(now - change) > settling for change in changes))

"""Trust on a running service: the files as they are now, with what operators decided and what was admitted."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from verifier.adapters.polling import poll, start_polling
from verifier.adapters.trust.files import load_bundle, shipped_directory
from verifier.core.discovery import DiscoveredIssuer, admissible, admit, extend
from verifier.core.trust.bundle import Origin, Role, TrustBundle, TrustedCertificate, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions, certificates_of
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Recorder, ReloadOutcome, TrustReloaded
from verifier.ports.trust import TrustRegistry

#: After a change this young, another one may look the same: file systems keep times as coarsely.
SETTLING_SECONDS = 2.0

#: Where `load_bundle` looks for files, in each directory.
_FOLDERS = ("", "roots", "intermediates")
#: A directory that changes while it is read is read again, as often at most before it is called broken.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What the directories look like, no file read. `is_settled` where no later change can look the same."""

    entries: tuple[tuple[object, ...], ...]
    is_settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """A state of the directories that is no trust bundle, and why."""

    entries: tuple[tuple[object, ...], ...]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """An authority that the registry says to trust, which may or may not be possible here."""

    sha256: str
    der: bytes
    clouds: frozenset[Cloud]
    origin: Origin
    source: str
    note: str = ""


class LiveTrust:
    """The bundle of the files and the registry: a LiveTrustSource. Thread-safe; a request never waits for a reload.

    In the mode `admit`, the discovered authorities that are admissible (core.discovery) are in it. The files must be
    a bundle at construction (raises TrustError), unless there is a `last_good` one of them to go on with. The
    registry may be unavailable then: there is no bundle until the first `refresh` that reaches it.
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
        # Looked at before it is read: what changes in between is seen by the next look.
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
        """As the port says: there is none before the registry was read once, since a denied certificate must not
        count for want of it. Until then whoever asks tries, so that nobody waits for the next look."""
        if not self._is_known:
            self.refresh()
        return self._bundle

    def refresh(self) -> None:
        """The bundle in force is that of the files and the registry as they are now. Files that are no bundle are
        refused, once for each state of them, and the last good ones stay; where the registry is away, what it said
        last stays.

        Raises StoreUnavailable, with the files' changes in force.
        """
        with self._turn:
            was_refused = self._refusal is not None
            changed = self._read_files()
            try:
                changed |= self._read_registry()
            finally:
                if changed:
                    self._put_in_force(is_news=was_refused and self._refusal is None)

    def watch(self, stop: threading.Event, *, interval_seconds: float) -> None:
        """Refreshes at each interval until `stop` is set, whatever goes wrong."""
        poll(self.refresh, self._recorder, stop, interval_seconds=interval_seconds)

    def start(self, *, interval_seconds: float) -> threading.Event:
        """A thread of this process watches until the event that is returned is set."""
        return start_polling(self.refresh, self._recorder, name="trust", interval_seconds=interval_seconds)

    def _read_files(self) -> bool:
        """True where the files were read, and are a bundle."""
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
        """True where the registry was read. Raises StoreUnavailable."""
        # Asked before what it numbers: what changes in between is read twice, and not missed.
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
        # Not before: nobody sees the bundle without the denials that were read just now.
        self._is_known = self._revision is not None
        if is_news:
            origins = Counter(entry.origin for entry in bundle.entries)
            numbers = ", ".join(f"{origins[origin]} {origin}" for origin in Origin)
            told = [f"{len(bundle.entries)} certificates: {numbers}", *bundle.oddities()]
            self._tell(ReloadOutcome.LOADED, "; ".join(told))

    def _compose(self) -> TrustBundle:
        """The bundle of what was read last. What the registry holds and cannot stand in it is left out, and told;
        it keeps neither the rest nor a denial from counting."""
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
                clouds = frozenset({issuer.sighting.cloud})
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
        raise TrustError("its certificate is another one")
    # As an entry it would be a pin; but a listed root of other clouds would become an anchor of these.
    if certificate.is_self_issued:
        raise TrustError("a root is trusted by a manifest alone")
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
    """Names, and of each what it resolves to, its identity, size and times (a Kubernetes mount swaps a symbolic link;
    a change of nothing but permissions may be what a broken directory needed)."""
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

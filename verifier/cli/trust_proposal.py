"""Add the certificates that Azure publishes and no manifest pins to a trust directory, as entries to review.

The page and its locations are not trusted. An entry is made only if an authority that the directory already trusts
issued the certificate, and never for a root. A person compares the entry with Azure's page before it is released.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from verifier.api.json_codec import Json
from verifier.cli.azure_ca_page import PublishedAuthority
from verifier.cli.commands import UsageError
from verifier.cli.trust_export import ManifestEntry, entries_text, make_entry
from verifier.core.encoding.printable import printable
from verifier.core.trust.bundle import AuthorityIdentity, TrustBundle, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.horizon import is_chainable
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.core.values import dataclass
from verifier.ports.trust import FetchFailed, IssuerFetcher

#: One run fetches at most this number of certificates, so that a changed page cannot keep the command busy.
MAX_FETCHES = 20
FETCH_SECONDS = 10.0

LoadDirectory = Callable[[Path], TrustBundle]


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedEntry:
    """Say why an authority has no entry. `is_unavailable` is true if a later run may succeed."""

    authority: PublishedAuthority
    reason: str
    is_unavailable: bool = False

    def json(self) -> Json:
        return {"name": self.authority.name, "thumbprint": self.authority.thumbprint, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Hold the entries that were made, and the authorities without one."""

    made: tuple[ManifestEntry, ...] = ()
    missed: tuple[MissedEntry, ...] = ()

    def json(self) -> Json:
        return {
            "made": [{**one.entry, "thumbprint": one.sha1} for one in self.made],
            "missed": [one.json() for one in self.missed],
        }


class _UnfitError(ValueError):
    """Report why a published authority gets no entry."""


def load_target(directory: Path, load: LoadDirectory) -> TrustBundle:
    """Load the directory that gets the entries. Raises UsageError."""
    try:
        return load(directory)
    except TrustError as error:
        raise UsageError(f"--write-entries: {error}") from error


def propose(
    missing: Sequence[PublishedAuthority],
    *,
    bundle: TrustBundle,
    decisions: OperatorDecisions,
    fetcher: IssuerFetcher,
    now: datetime,
) -> Proposal:
    """Fetch the certificates of the missing authorities, and make an entry for each one that passes every check.

    Not checked: that the authority signs documents, and which of the clouds of its issuer it serves.
    """
    bundle = TrustBundle.of(bundle.entries, denials=decisions.denials)
    made: dict[str, ManifestEntry] = {}
    missed: list[MissedEntry] = []
    for authority in missing[:MAX_FETCHES]:
        try:
            certificate = _find(authority, fetcher)
            entry = make_entry(
                certificate,
                clouds=_clouds_of(certificate, bundle=bundle, decisions=decisions, now=now),
                source=authority.url,
                note=f"On Azure's page with the SHA-1 {certificate.sha1}. Ends {certificate.not_after:%Y-%m-%d}.",
            )
        except FetchFailed as error:
            missed.append(MissedEntry(authority=authority, reason=f"not fetched: {error}", is_unavailable=True))
        except _UnfitError as error:
            missed.append(MissedEntry(authority=authority, reason=str(error)))
        else:
            made[certificate.sha256] = entry
    too_many = f"one run fetches at most {MAX_FETCHES} certificates"
    missed += [MissedEntry(authority=authority, reason=too_many) for authority in missing[MAX_FETCHES:]]
    return Proposal(made=tuple(made.values()), missed=tuple(missed))


def write_entries(directory: Path, made: Sequence[ManifestEntry], *, bundle: TrustBundle, load: LoadDirectory) -> None:
    """Add the entries to the directory. `bundle` is its content before.

    Undo every change and raise UsageError if a file exists, if the directory cannot be written, or if it does not load
    afterwards with exactly these entries more.
    """
    if not made:
        return
    manifest = (directory / "manifest.toml").resolve()
    written: list[Path] = []
    before = b""
    try:
        before = manifest.read_bytes()
        for entry in made:
            path = directory / entry.file
            path.parent.mkdir(exist_ok=True)
            with path.open("x", encoding="ascii") as file:
                written.append(path)
                file.write(entry.pem)
        # Write the manifest last: a service that watches the directory must not read an entry before its file.
        _replace(manifest, before.rstrip(b"\n") + b"\n\n" + entries_text(made).encode("utf-8"))
        _check_change(bundle, load(directory), made)
    except BaseException as error:
        if before:
            _replace(manifest, before)
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, TrustError):
            raise UsageError(f"--write-entries: no entry is added: {error}") from error
        if isinstance(error, OSError):
            raise UsageError(f"--write-entries: no entry is added: {error.filename}: {error.strerror}") from error
        raise


def _find(authority: PublishedAuthority, fetcher: IssuerFetcher) -> Certificate:
    """Return the certificate with the thumbprint and serial number of the page. Raises FetchFailed and _UnfitError."""
    if not fetcher.accepts(authority.url):
        raise _UnfitError("its location is not on the allow-list")
    try:
        fetched = [Certificate.from_der(der) for der in fetcher.fetch(authority.url, seconds=FETCH_SECONDS)]
    except CertificateError as error:
        raise _UnfitError(f"its location has bytes that are {error}") from error
    found = next((one for one in fetched if one.sha1 == authority.thumbprint), None)
    if found is None:
        raise _UnfitError("its location has no certificate with this thumbprint")
    if authority.serial_number not in {None, found.serial_number}:
        raise _UnfitError(f"its serial number is {found.serial_hex}, and the page has {authority.serial_number:x}")
    return found


def _clouds_of(
    certificate: Certificate, *, bundle: TrustBundle, decisions: OperatorDecisions, now: datetime
) -> frozenset[Cloud]:
    """Return the clouds in which a trusted authority with a chain to an anchor issued it. Raises _UnfitError."""
    if not certificate.is_ca:
        raise _UnfitError("its certificate is not that of a certificate authority")
    if certificate.is_self_issued:
        raise _UnfitError("its certificate is a root, and only a person adds a root")
    if now > certificate.not_after:
        raise _UnfitError("its certificate has expired")
    identity = AuthorityIdentity.of(certificate)
    if bundle.denials.names(certificate) or identity in decisions.rejected:
        raise _UnfitError("an operator denied or rejected it")
    if bundle.planned_times(identity) != (None, None):
        raise _UnfitError("the manifest stages or retires another certificate of this CA")
    clouds = frozenset(
        cloud
        for cloud, trust in bundle.clouds.items()
        if any(
            certificate.is_issued_by(issuer.certificate) and is_chainable(issuer, trust, at=now)
            for issuer in (*trust.anchors, *trust.pins)
        )
    )
    if not clouds:
        raise _UnfitError(f"no trusted authority issued it: its issuer is {printable(certificate.issuer)}")
    return clouds


def _check_change(before: TrustBundle, after: TrustBundle, made: Sequence[ManifestEntry]) -> None:
    kept = [entry for entry in after.entries if entry in before.entries]
    added = {entry.certificate.sha256 for entry in after.entries if entry not in before.entries}
    if len(kept) != len(before.entries) or added != {one.entry["sha256"] for one in made}:
        raise TrustError("the directory changed at the same time; run the command again")


def _replace(path: Path, content: bytes) -> None:
    """Replace the file at once, so that a reader finds the old content or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_bytes(content)
        shutil.copymode(path, fresh)
        os.replace(fresh, path)  # noqa: PTH105 - the same call
    finally:
        fresh.unlink(missing_ok=True)

"""Read trust bundles from disk: a manifest, one file per certificate, and the overlay of an operator.

`trust_roots/README.md` describes the format.
"""

import re
import stat
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from verifier.adapters.trust.table import Table
from verifier.core.trust.bundle import Role, TrustBundle, TrustedCertificate, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud

MANIFEST = "manifest.toml"
FORMAT = 1

#: Limits of a bundle. The shipped bundle uses at most a tenth of each.
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_CERTIFICATE_BYTES = 64 * 1024
MAX_ENTRIES = 512

_DIRECTORIES = {Role.ROOT: "roots", Role.INTERMEDIATE: "intermediates"}
#: The name begins with a letter or digit and has no separator, so it cannot leave its directory.
_FILE = re.compile(r"((?P<folder>roots|intermediates)/)?[A-Za-z0-9][A-Za-z0-9._-]*\.pem")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
#: A person who lists the directory takes files with these suffixes for pins.
_CERTIFICATE_SUFFIXES = frozenset({".pem", ".crt", ".cer", ".der"})


class _Mode(StrEnum):
    """Name the effect of an overlay on the shipped bundle."""

    ADD = "add"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """Hold the entries of one manifest by the fingerprint of the certificate. The shipped manifest has no mode."""

    mode: _Mode | None
    entries: dict[str, TrustedCertificate]


class TrustDirectory:
    """Load the trust bundle of the shipped directory and an overlay once. Implements the TrustSource port.

    Raises TrustError. Not checked: whether any certificate is valid at present.
    """

    def __init__(self, overlay: Path | None = None) -> None:
        self._bundle = load_bundle(overlay)

    def bundle(self) -> TrustBundle:
        return self._bundle


def shipped_directory() -> Path:
    """Return the directory of the shipped bundle: in the installed package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "trust_roots"
    return installed if installed.is_dir() else package.parent / "trust_roots"


def load_bundle(overlay: Path | None = None) -> TrustBundle:
    """Load the shipped bundle and apply the overlay by its `mode`.

    `add` merges the entries; an overlay entry replaces the shipped entry for the same certificate. `replace` uses only
    the overlay. Each file is read once, and each certificate has the SHA-256 that its entry names.
    Not checked: signatures, and that a pin chains to an anchor.

    Raises TrustError, which names the file and the entry, also if a file cannot be read.
    """
    if overlay is None:
        return _bundle(_read_directory(shipped_directory(), is_overlay=False).entries, shipped_directory())
    listing = _read_directory(overlay, is_overlay=True)
    if listing.mode is _Mode.REPLACE:
        return _bundle(listing.entries, overlay)
    shipped = _read_directory(shipped_directory(), is_overlay=False)
    return _bundle(shipped.entries | listing.entries, overlay)


def _bundle(entries: dict[str, TrustedCertificate], directory: Path) -> TrustBundle:
    try:
        return TrustBundle.of(tuple(entries.values()))
    except TrustError as error:
        raise TrustError(f"{directory}: {error}") from error


def _read_directory(directory: Path, *, is_overlay: bool) -> _Listing:
    try:
        return _read_manifest(directory, is_overlay=is_overlay)
    except OSError as error:
        raise TrustError(f"{error.filename or directory}: cannot be read: {error.strerror or error}") from error


def _read_manifest(directory: Path, *, is_overlay: bool) -> _Listing:
    manifest = directory / MANIFEST
    table = Table(str(manifest), _parse(manifest))
    if table.take("format", int) != FORMAT:
        raise table.error(f"format must be {FORMAT}")
    mode = _mode(table, is_overlay=is_overlay)
    anchors = _read_clouds(table)
    tables = table.take_optional("certificates", list) or []
    table.finish()
    if len(tables) > MAX_ENTRIES:
        raise table.error(f"{len(tables)} certificates; at most {MAX_ENTRIES} are allowed")
    files: dict[str, TrustedCertificate] = {}
    entries: dict[str, TrustedCertificate] = {}
    for position, values in enumerate(tables, start=1):
        entry_table = Table(f"{manifest}: certificate {position}", values)
        file, entry = _read_entry(entry_table, directory, is_overlay=is_overlay)
        if file in files:
            raise entry_table.error("its file is listed twice")
        if entry.certificate.sha256 in entries:
            raise entry_table.error("its certificate is listed twice")
        files[file] = entries[entry.certificate.sha256] = entry
    _check_anchors(anchors, files, manifest)
    _refuse_unlisted(directory, files)
    return _Listing(mode=mode, entries=entries)


def _parse(manifest: Path) -> dict[str, object]:
    raw = _read(manifest, MAX_MANIFEST_BYTES)
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except RecursionError as error:  # tomllib reads nested arrays by recursion
        raise TrustError(f"{manifest}: nested too deep") from error
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, and an integer of too many digits
        raise TrustError(f"{manifest}: not TOML: {error}") from error


def _mode(table: Table, *, is_overlay: bool) -> _Mode | None:
    if not is_overlay:
        if table.take_optional("mode", str) is not None:
            raise table.error("mode belongs to an overlay, not to the shipped bundle")
        return None
    return table.take_member("mode", _Mode)


def _read_clouds(table: Table) -> dict[Cloud, tuple[str, ...]]:
    """Return the files that each cloud lists as its anchors."""
    anchors: dict[Cloud, tuple[str, ...]] = {}
    for name, values in (table.take_optional("clouds", dict) or {}).items():
        cloud = table.member(name, Cloud)
        cloud_table = Table(f"{table.place}: clouds.{cloud}", values)
        if cloud_table.take("domain", str) != cloud.domain:
            raise cloud_table.error(f"domain must be {cloud.domain}")
        anchors[cloud] = cloud_table.take_texts("anchors")
        cloud_table.finish()
    return anchors


def _read_entry(table: Table, directory: Path, *, is_overlay: bool) -> tuple[str, TrustedCertificate]:
    """Read one entry. Return its file name from the manifest, and the entry."""
    file = table.take("file", str)
    form = _FILE.fullmatch(file)
    # The keys of a ConfigMap have no folders, so the certificates of an overlay may be beside its manifest.
    if form is None or not (is_overlay or form["folder"]):
        forms = "roots/NAME.pem, intermediates/NAME.pem or NAME.pem" if is_overlay else "in roots/ or intermediates/"
        raise table.error(f"file must be {forms}, not {file!r}")
    table.place += f" ({file})"
    expected = table.take("sha256", str)
    role = table.take_member("role", Role)
    clouds = frozenset(table.member(name, Cloud) for name in table.take_texts("clouds"))
    source = table.take("source", str)
    note = table.take_optional("note", str) or ""
    activate_at = _utc(table, "activate_at")
    retire_at = _utc(table, "retire_at")
    table.finish()
    if not _FINGERPRINT.fullmatch(expected):
        raise table.error("sha256 must be 64 lower-case hexadecimal digits")
    certificate = _read_certificate(table, _locate(table, directory, file, role))
    if certificate.sha256 != expected:
        raise table.error(f"sha256 must be that of the certificate: expected {expected}, found {certificate.sha256}")
    try:
        return file, TrustedCertificate(
            certificate=certificate,
            role=role,
            clouds=clouds,
            source=source,
            note=note,
            activate_at=activate_at,
            retire_at=retire_at,
        )
    except TrustError as error:
        raise table.error(str(error)) from error


def _locate(table: Table, directory: Path, file: str, role: Role) -> Path:
    """Resolve `file` to a path inside the directory. Raises TrustError if it is outside.

    Symbolic links inside the directory are followed, because Kubernetes mounts a ConfigMap with such links.
    """
    if "/" in file and not file.startswith(f"{_DIRECTORIES[role]}/"):
        raise table.error(f"file must be in {_DIRECTORIES[role]}/, as its role is {role}")
    try:
        path = (directory / file).resolve()
    except RuntimeError as error:  # before Python 3.13; later versions fail when they read the file
        raise table.error("file is a loop of symbolic links") from error
    if not path.is_relative_to(directory.resolve()):
        raise table.error("file leads out of the directory")
    return path


def _read_certificate(table: Table, path: Path) -> Certificate:
    try:
        raw = _read(path, MAX_CERTIFICATE_BYTES)
    except OSError as error:
        raise table.error(f"cannot be read: {error.strerror or error}") from error
    except TrustError as error:
        raise table.error(str(error)) from error
    # The PEM parser skips other kinds of blocks, but a trust directory must not contain a private key.
    if raw.count(b"-----BEGIN ") != 1:
        raise table.error("file must hold exactly one PEM block")
    try:
        return Certificate.from_pem(raw)
    except CertificateError as error:
        raise table.error(str(error)) from error


def _read(path: Path, limit: int) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # open() on a named pipe would block
        raise TrustError(f"{path}: not a file")
    with path.open("rb") as file:
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise TrustError(f"{path}: larger than {limit} bytes")
    return raw


def _utc(table: Table, key: str) -> datetime | None:
    """Read a time and convert it to UTC, so that the offset does not change the generation of the bundle."""
    moment = table.take_optional(key, datetime)
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise table.error(f"{key} needs an offset, such as 2027-01-31T00:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise table.error(f"{key} is out of range") from error


def _check_anchors(anchors: dict[Cloud, tuple[str, ...]], files: dict[str, TrustedCertificate], manifest: Path) -> None:
    """Check that the anchors that clouds list are exactly the roots that name those clouds.

    The manifest states both, so that a single mistake cannot create an anchor.
    """
    for cloud, names in anchors.items():
        for name in names:
            entry = files.get(name)
            if entry is None or entry.role is not Role.ROOT or cloud not in entry.clouds:
                raise TrustError(f"{manifest}: clouds.{cloud}: anchor {name!r} is not listed as a root of {cloud}")
    for name, entry in files.items():
        for cloud in sorted(entry.clouds):
            if entry.role is Role.ROOT and name not in anchors.get(cloud, ()):
                raise TrustError(f"{manifest}: {name} is a root that clouds.{cloud} does not list as an anchor")


def _refuse_unlisted(directory: Path, files: dict[str, TrustedCertificate]) -> None:
    """Refuse a certificate file that the manifest does not list."""
    for folder in ("", *_DIRECTORIES.values()):
        path = directory / folder
        if not path.is_dir():
            continue  # the manifest may have no roots or no intermediates
        for found in sorted(path.iterdir()):
            name = found.relative_to(directory).as_posix()
            if found.suffix.lower() in _CERTIFICATE_SUFFIXES and name not in files:
                raise TrustError(f"{found}: no entry of {MANIFEST} lists this file")

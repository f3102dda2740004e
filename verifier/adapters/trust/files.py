"""Read trust bundles from disk: a manifest, one file per certificate, and the overlay of an operator.

`trust_roots/README.md` describes the format.
"""

import re
import stat
import tomllib
from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from verifier.core.encoding.formats import explain_newer_format
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
_FILE = re.compile(r"((roots|intermediates)/)?[A-Za-z0-9][A-Za-z0-9._-]*\.pem")
#: A person who lists the directory takes files with these suffixes for pins.
_CERTIFICATE_SUFFIXES = frozenset({".pem", ".crt", ".cer", ".der"})

#: Sentences that are clearer than pydantic's, by its type of error.
_DETAILS = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "dict_type": "must be a table",
    "model_type": "must be a table",
}

_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=BaseModel)


class _Mode(StrEnum):
    """Name the effect of an overlay on the shipped bundle."""

    ADD = "add"
    REPLACE = "replace"


def _check_file_name(name: str) -> str:
    if not _FILE.fullmatch(name):
        raise ValueError(f"must be roots/NAME.pem, intermediates/NAME.pem or NAME.pem, not {name!r}")
    return name


def _check_unique(values: list[_T]) -> list[_T]:
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"names '{value}' twice")
    return values


def _to_utc(moment: datetime) -> datetime:
    """Convert a time to UTC, so that its offset does not change the generation of the bundle."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error


# TOML has no enumerations. Without `strict`, their strings are accepted, and no others.
_Cloud = Annotated[Cloud, Field(strict=False)]
_OneOrMore = Annotated[list[_T], Field(min_length=1), AfterValidator(_check_unique)]
_Moment = Annotated[AwareDatetime, AfterValidator(_to_utc)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _CloudTable(_Table):
    domain: str
    anchors: _OneOrMore[str]


class _Entry(_Table):
    file: Annotated[str, AfterValidator(_check_file_name)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    role: Annotated[Role, Field(strict=False)]
    clouds: _OneOrMore[_Cloud]
    source: str
    note: str = ""
    activate_at: _Moment | None = None
    retire_at: _Moment | None = None


class _Manifest(_Table):
    format: int
    mode: Annotated[_Mode | None, Field(strict=False)] = None
    clouds: dict[_Cloud, _CloudTable] = Field(default_factory=dict)
    certificates: Annotated[list[dict[str, object]], Field(max_length=MAX_ENTRIES)] = Field(default_factory=list)

    @field_validator("clouds")
    @classmethod
    def _check_domains(cls, clouds: dict[Cloud, _CloudTable]) -> dict[Cloud, _CloudTable]:
        for cloud, table in clouds.items():
            if table.domain != cloud.domain:
                raise ValueError(f"the domain of {cloud} must be {cloud.domain}")
        return clouds


#: The mode of a manifest, which the shipped one does not have, and its entries by the fingerprint of the certificate.
_Listing = tuple[_Mode | None, dict[str, TrustedCertificate]]


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
    return _load(overlay or shipped_directory(), is_overlay=overlay is not None)


def load_directory(directory: Path) -> TrustBundle:
    """Load a directory in the form of the shipped one, or an overlay like `load_bundle`. Raises TrustError."""
    return _load(directory, is_overlay=_is_overlay(directory))


def _load(directory: Path, *, is_overlay: bool) -> TrustBundle:
    mode, entries = _read_directory(directory, is_overlay=is_overlay)
    if mode is _Mode.ADD:
        _, shipped = _read_directory(shipped_directory(), is_overlay=False)
        entries = shipped | entries
    try:
        return TrustBundle.of(tuple(entries.values()))
    except TrustError as error:
        raise TrustError(f"{directory}: {error}") from error


def read_entries(directory: Path) -> tuple[TrustedCertificate, ...]:
    """Return the entries of one directory, which is an overlay or has the form of the shipped one. Raises TrustError.

    The entries of an overlay are not added to the shipped ones.
    """
    _, entries = _read_directory(directory, is_overlay=_is_overlay(directory))
    return tuple(entries.values())


def _is_overlay(directory: Path) -> bool:
    return "mode" in _parse(directory / MANIFEST)


def _read_directory(directory: Path, *, is_overlay: bool) -> _Listing:
    try:
        return _read_manifest(directory, is_overlay=is_overlay)
    except OSError as error:
        raise TrustError(f"{error.filename or directory}: cannot be read: {error.strerror or error}") from error


def _read_manifest(directory: Path, *, is_overlay: bool) -> _Listing:
    path = directory / MANIFEST
    parsed = _parse(path)
    # Before the other keys: a later format may have others.
    explained = explain_newer_format(str(path), parsed.get("format"), FORMAT)
    if explained:
        raise TrustError(explained)
    manifest = _validate(_Manifest, parsed, str(path))
    if manifest.format != FORMAT:
        raise TrustError(f"{path}: format must be {FORMAT}")
    if is_overlay and manifest.mode is None:
        raise TrustError(f"{path}: mode: is missing")
    if manifest.mode is not None and not is_overlay:
        raise TrustError(f"{path}: mode belongs to an overlay, not to the shipped bundle")
    files: dict[str, TrustedCertificate] = {}
    entries: dict[str, TrustedCertificate] = {}
    for position, values in enumerate(manifest.certificates, start=1):
        place = f"{path}: certificate {position}"
        file = values.get("file")
        if isinstance(file, str) and _FILE.fullmatch(file):
            place += f" ({file})"
        entry = _validate(_Entry, values, place)
        try:
            trusted = _read_entry(entry, directory, is_overlay=is_overlay)
        except (TrustError, CertificateError) as error:
            raise TrustError(f"{place}: {error}") from error
        if entry.file in files:
            raise TrustError(f"{place}: its file is listed twice")
        if trusted.certificate.sha256 in entries:
            raise TrustError(f"{place}: its certificate is listed twice")
        files[entry.file] = entries[trusted.certificate.sha256] = trusted
    _check_anchors(manifest, files, path)
    _refuse_unlisted(directory, files)
    return manifest.mode, entries


def _parse(manifest: Path) -> dict[str, object]:
    raw = _read(manifest, MAX_MANIFEST_BYTES)
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except RecursionError as error:  # tomllib reads nested arrays by recursion
        raise TrustError(f"{manifest}: nested too deep") from error
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, and an integer of too many digits
        raise TrustError(f"{manifest}: not TOML in UTF-8 without a byte order mark: {error}") from error


def _validate(model: type[_Model], values: dict[str, object], place: str) -> _Model:
    """Raise TrustError for the first fault, with the place and the name of the field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        detail = _DETAILS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        raise TrustError(f"{place}: {field}: {detail}") from error


def _read_entry(entry: _Entry, directory: Path, *, is_overlay: bool) -> TrustedCertificate:
    """Read the certificate of an entry. Raises TrustError and CertificateError."""
    # The keys of a ConfigMap have no folders, so the certificates of an overlay may be beside its manifest.
    if not is_overlay and "/" not in entry.file:
        raise TrustError(f"file must be in roots/ or intermediates/, not {entry.file!r}")
    raw = _read(_locate(directory, entry.file, entry.role), MAX_CERTIFICATE_BYTES)
    # The PEM parser skips other kinds of blocks, but a trust directory must not contain a private key.
    if raw.count(b"-----BEGIN ") != 1:
        raise TrustError("file must hold exactly one PEM block")
    certificate = Certificate.from_pem(raw)
    if certificate.sha256 != entry.sha256:
        raise TrustError(f"sha256 must be that of the certificate: expected {entry.sha256}, found {certificate.sha256}")
    return TrustedCertificate(
        certificate=certificate,
        role=entry.role,
        clouds=frozenset(entry.clouds),
        source=entry.source,
        note=entry.note,
        activate_at=entry.activate_at,
        retire_at=entry.retire_at,
    )


def _locate(directory: Path, file: str, role: Role) -> Path:
    """Resolve `file` to a path inside the directory. Raises TrustError if it is outside.

    Symbolic links inside the directory are followed, because Kubernetes mounts a ConfigMap with such links.
    """
    if "/" in file and not file.startswith(f"{_DIRECTORIES[role]}/"):
        raise TrustError(f"file must be in {_DIRECTORIES[role]}/, as its role is {role}")
    try:
        path = (directory / file).resolve()
    except RuntimeError as error:  # before Python 3.13; later versions fail when they read the file
        raise TrustError("file is a loop of symbolic links") from error
    if not path.is_relative_to(directory.resolve()):
        raise TrustError("file leads out of the directory")
    return path


def _read(path: Path, limit: int) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # open() on a named pipe would block
            raise TrustError(f"{path}: not a file")
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise TrustError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) > limit:
        raise TrustError(f"{path}: larger than {limit} bytes")
    return raw


def _check_anchors(manifest: _Manifest, files: dict[str, TrustedCertificate], path: Path) -> None:
    """Check that the anchors that clouds list are exactly the roots that name those clouds.

    The manifest states both, so that a single mistake cannot create an anchor.
    """
    for cloud, table in manifest.clouds.items():
        for name in table.anchors:
            entry = files.get(name)
            if entry is None or entry.role is not Role.ROOT or cloud not in entry.clouds:
                raise TrustError(f"{path}: clouds.{cloud}: anchor {name!r} is not listed as a root of {cloud}")
    for name, entry in files.items():
        for cloud in sorted(entry.clouds):
            if entry.role is Role.ROOT and (cloud not in manifest.clouds or name not in manifest.clouds[cloud].anchors):
                raise TrustError(f"{path}: {name} is a root that clouds.{cloud} does not list as an anchor")


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

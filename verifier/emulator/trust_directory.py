"""The CA certificates of an emulator, as a trust directory for the service. Keys are never written."""

import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

SOURCE: Final = "urn:imds-verifier:emulator"

_MANIFEST: Final = "manifest.toml"
_FOLDERS: Final = {"root": "roots", "intermediate": "intermediates"}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)


class ForeignDirectoryError(Exception):
    """The directory holds something that no emulator wrote; it was left as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedCloud:
    """A cloud that the directory speaks for: its azEnvironment name, and the domain of its signers' names."""

    name: str
    domain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedCertificate:
    """A CA certificate, and the name of its file without folder and suffix."""

    name: str
    role: Literal["root", "intermediate"]
    certificate: x509.Certificate
    note: str = "Throw-away, of an emulator: trust it in tests only."

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a file name of lower-case letters, digits and hyphens")

    @property
    def file(self) -> str:
        return f"{_FOLDERS[self.role]}/{self.name}.pem"


def write_trust_directory(
    directory: Path,
    *,
    cloud: TrustedCloud,
    certificates: tuple[TrustedCertificate, ...],
) -> None:
    """`directory` holds exactly this trust, and was never to be seen half written.

    What an earlier emulator wrote there is replaced (for an instant the directory is then absent); anything else is
    `ForeignDirectoryError`. Missing parents are made. Raises OSError as the file system does.
    """
    if not any(certificate.role == "root" for certificate in certificates):
        raise ValueError("a trust directory needs a root")
    target = directory.absolute()
    _refuse_foreign_directory(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh = staging / "fresh"
        _write(fresh, cloud, certificates)
        if target.exists():
            target.rename(staging / "stale")
        fresh.rename(target)
    finally:
        shutil.rmtree(staging)


def _write(directory: Path, cloud: TrustedCloud, certificates: tuple[TrustedCertificate, ...]) -> None:
    for folder in ("", *_FOLDERS.values()):
        (directory / folder).mkdir()
    for certificate in certificates:
        pem = certificate.certificate.public_bytes(serialization.Encoding.PEM)
        (directory / certificate.file).write_bytes(pem)
    (directory / _MANIFEST).write_text("\n".join(_manifest_lines(cloud, certificates)), encoding="utf-8")


def _manifest_lines(cloud: TrustedCloud, certificates: tuple[TrustedCertificate, ...]) -> Iterable[str]:
    yield "format = 1"
    # The emulator's certificates instead of the shipped ones, not beside them.
    yield 'mode = "replace"'
    yield ""
    yield f"[clouds.{_quote(cloud.name)}]"
    yield f"domain = {_quote(cloud.domain)}"
    anchors = ", ".join(_quote(certificate.file) for certificate in certificates if certificate.role == "root")
    yield f"anchors = [{anchors}]"
    for certificate in certificates:
        yield ""
        yield "[[certificates]]"
        yield f"file = {_quote(certificate.file)}"
        yield f"sha256 = {_quote(certificate.certificate.fingerprint(hashes.SHA256()).hex())}"
        yield f"role = {_quote(certificate.role)}"
        yield f"clouds = [{_quote(cloud.name)}]"
        yield f"source = {_quote(SOURCE)}"
        yield f"note = {_quote(certificate.note)}"
    yield ""


def _quote(text: str) -> str:
    """A TOML basic string; JSON's strings of ASCII are a subset of those."""
    return json.dumps(text)


def _refuse_foreign_directory(directory: Path) -> None:
    """Nothing, an empty directory, or one whose every certificate comes from an emulator: so a slip deletes nothing."""
    if not directory.exists():
        return
    if not directory.is_dir() or directory.is_symlink():
        raise ForeignDirectoryError(f"{directory} is not a directory")
    names = {entry.name for entry in directory.iterdir()}
    if not names:
        return
    if names != {_MANIFEST, *_FOLDERS.values()} or not _is_an_emulators(directory / _MANIFEST):
        raise ForeignDirectoryError(f"{directory} holds something that no emulator wrote")


def _is_an_emulators(manifest: Path) -> bool:
    try:
        entries = tomllib.loads(manifest.read_text(encoding="utf-8"))["certificates"]
        return all(entry["source"] == SOURCE for entry in entries)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError):
        return False

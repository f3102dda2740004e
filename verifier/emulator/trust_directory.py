"""Write the CA certificates of an emulator as a trust directory for the service, without their keys."""

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

from verifier.emulator.clouds import AzureCloud

#: Whether the emulator's certificates replace the shipped ones of a verifier, or are added to them.
TrustMode = Literal["replace", "add"]

_SOURCE: Final = "urn:imds-verifier:emulator"

_MANIFEST: Final = "manifest.toml"
_FOLDERS: Final = {"root": "roots", "intermediate": "intermediates"}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)


class ForeignDirectoryError(Exception):
    """The directory contains files that no emulator wrote. It was not changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedCertificate:
    """A CA certificate, and the name of its file without directory and suffix."""

    name: str
    role: Literal["root", "intermediate"]
    certificate: x509.Certificate
    note: str = "Emulator certificate, for tests only."

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a file name of lower-case letters, digits and hyphens")

    @property
    def file(self) -> str:
        return f"{_FOLDERS[self.role]}/{self.name}.pem"


def write_trust_directory(
    directory: Path, *, cloud: AzureCloud, certificates: tuple[TrustedCertificate, ...], mode: TrustMode = "replace"
) -> None:
    """Write the trust directory. Readers never see it half written.

    With the mode `add`, a verifier trusts the certificates that it ships too.

    Replaces a directory that an emulator wrote; for an instant it is absent then. Raises ForeignDirectoryError for any
    other content, and OSError. Creates missing parents.
    """
    if not any(certificate.role == "root" for certificate in certificates):
        raise ValueError("a trust directory needs a root")
    target = directory.absolute()
    _refuse_foreign_directory(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        new = staging / "new"
        _write(new, mode, cloud, certificates)
        if target.exists():
            target.rename(staging / "old")
        new.rename(target)
    finally:
        shutil.rmtree(staging)


def _write(directory: Path, mode: TrustMode, cloud: AzureCloud, certificates: tuple[TrustedCertificate, ...]) -> None:
    for folder in ("", *_FOLDERS.values()):
        (directory / folder).mkdir()
    for certificate in certificates:
        pem = certificate.certificate.public_bytes(serialization.Encoding.PEM)
        (directory / certificate.file).write_bytes(pem)
    (directory / _MANIFEST).write_text("\n".join(_manifest_lines(mode, cloud, certificates)), encoding="utf-8")


def _manifest_lines(mode: TrustMode, cloud: AzureCloud, certificates: tuple[TrustedCertificate, ...]) -> Iterable[str]:
    yield "format = 1"
    yield f"mode = {_quote(mode)}"
    yield ""
    yield f"[clouds.{_quote(cloud)}]"
    yield f"domain = {_quote(cloud.domain)}"
    anchors = ", ".join(_quote(certificate.file) for certificate in certificates if certificate.role == "root")
    yield f"anchors = [{anchors}]"
    for certificate in certificates:
        yield ""
        yield "[[certificates]]"
        yield f"file = {_quote(certificate.file)}"
        yield f"sha256 = {_quote(certificate.certificate.fingerprint(hashes.SHA256()).hex())}"
        yield f"role = {_quote(certificate.role)}"
        yield f"clouds = [{_quote(cloud)}]"
        yield f"source = {_quote(_SOURCE)}"
        yield f"note = {_quote(certificate.note)}"
    yield ""


def _quote(text: str) -> str:
    """Return a TOML basic string. Every JSON string in ASCII is one."""
    return json.dumps(text)


def _refuse_foreign_directory(directory: Path) -> None:
    """Refuse a directory with anything but emulator certificates, so that a wrong path deletes no other files."""
    if not directory.exists():
        return
    if not directory.is_dir() or directory.is_symlink():
        raise ForeignDirectoryError(f"{directory} is not a directory")
    names = {entry.name for entry in directory.iterdir()}
    if not names:
        return
    if names != {_MANIFEST, *_FOLDERS.values()} or not _is_from_an_emulator(directory / _MANIFEST):
        raise ForeignDirectoryError(f"{directory} contains files that no emulator wrote; choose an empty directory")


def _is_from_an_emulator(manifest: Path) -> bool:
    try:
        entries = tomllib.loads(manifest.read_text(encoding="utf-8"))["certificates"]
        return all(entry["source"] == _SOURCE for entry in entries)
    except (ValueError, RecursionError, KeyError, TypeError):  # tomllib raises also the first two
        return False

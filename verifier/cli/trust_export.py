"""Export the pins of operators as manifest entries and PEM files to commit."""

import json
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from ssl import DER_cert_to_PEM_cert

from verifier.api.json_codec import Json
from verifier.cli.commands import UsageError
from verifier.core.encoding.moments import moment_json
from verifier.core.trust.bundle import Role
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import PinDecision
from verifier.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """Hold one entry of a manifest, and the PEM of its `file`. No two certificates have the same file."""

    file: str
    entry: Mapping[str, str | list[str]]
    pem: str
    #: The thumbprint of Azure's page.
    sha1: str


def export_pins(pins: Sequence[PinDecision]) -> tuple[ManifestEntry, ...]:
    """Export every pin, sorted by file name.

    `source` names the operator who pinned it. A person replaces it with the official location of the certificate,
    because locations in documents and certificates are not verified.
    """
    return tuple(sorted((_export(pin) for pin in pins), key=lambda one: one.file))


def make_entry(certificate: Certificate, *, clouds: Collection[Cloud], source: str, note: str) -> ManifestEntry:
    """Make the entry of an intermediate authority, with a file name that contains a part of its fingerprint."""
    file = f"intermediates/{_file_stem(certificate)}.pem"
    return ManifestEntry(
        file=file,
        entry={
            "file": file,
            "sha256": certificate.sha256,
            "role": Role.INTERMEDIATE.value,
            "clouds": sorted(clouds),
            "source": source,
            "note": note,
        },
        pem=DER_cert_to_PEM_cert(certificate.der),
        sha1=certificate.sha1,
    )


def _export(pin: PinDecision) -> ManifestEntry:
    return make_entry(
        Certificate.from_der(pin.der),
        clouds=pin.clouds,
        source=f"pinned by {pin.decided_by} at {moment_json(pin.decided_at)}",
        note=pin.note,
    )


def export_json(pins: Sequence[ManifestEntry]) -> Json:
    return {"certificates": [{**pin.entry, "pem": pin.pem} for pin in pins]}


def export_text(pins: Sequence[ManifestEntry]) -> str:
    """Format the pins as TOML: the content of each file as a comment, then the manifest entries."""
    files = "".join(f"# --- {pin.file}\n" + textwrap.indent(pin.pem, "# ") + "\n" for pin in pins)
    return files + entries_text(pins)


def write_overlay(directory: Path, pins: Sequence[ManifestEntry]) -> None:
    """Write a trust directory that adds these pins to the shipped ones.

    Raises UsageError if the directory already has a bundle or cannot be written.
    """
    try:
        (directory / "intermediates").mkdir(parents=True)
        for pin in pins:
            (directory / pin.file).write_text(pin.pem, encoding="ascii")
        # Write the manifest last: without it, the directory is not a trust directory.
        manifest = 'format = 1\nmode = "add"\n\n' + entries_text(pins)
        with (directory / "manifest.toml").open("x", encoding="utf-8") as file:
            file.write(manifest)
    except FileExistsError as error:
        raise UsageError(f"--into: {directory} has a trust bundle already; name a new directory") from error
    except OSError as error:
        raise UsageError(f"--into: {directory}: {error.strerror}") from error


def entries_text(entries: Sequence[ManifestEntry]) -> str:
    """Format the entries as TOML."""
    return "\n".join(
        "[[certificates]]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in one.entry.items() if value)
        for one in entries
    )


def _toml(value: str | list[str]) -> str:
    """Format strings for TOML 1.0. JSON and TOML have the same escapes, but only TOML escapes DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _file_stem(certificate: Certificate) -> str:
    """Return the common name in characters that a manifest allows, and a part of the fingerprint."""
    name = certificate.common_names[0].decode("utf-8", "replace") if certificate.common_names else ""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "authority"
    return f"{readable}-{certificate.sha256[:8]}"

"""Export the pins of operators as manifest entries and PEM files to commit."""

import base64
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from verifier.api.json_codec import Json
from verifier.cli.commands import UsageError
from verifier.core.encoding.moments import moment_json
from verifier.core.trust.bundle import Role
from verifier.core.trust.certificates import Certificate
from verifier.usecases.trust_survey import OperatorPin

_PEM_COLUMNS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedPin:
    """Hold one manifest entry and the content of its file. No two certificates have the same `file`."""

    file: str
    sha256: str
    clouds: tuple[str, ...]
    source: str
    note: str
    pem: str


def export_pins(pins: Sequence[OperatorPin]) -> tuple[ExportedPin, ...]:
    """Export every pin, sorted by file name.

    `source` names the operator who pinned it. A person replaces it with the official location of the certificate,
    because locations in documents and certificates are not verified.
    """
    exported = [
        ExportedPin(
            file=f"intermediates/{_file_stem(pin.certificate)}.pem",
            sha256=pin.certificate.sha256,
            clouds=tuple(sorted(pin.decision.clouds)),
            source=f"pinned by {pin.decision.decided_by} at {moment_json(pin.decision.decided_at)}",
            note=pin.decision.note,
            pem=_pem(pin.certificate.der),
        )
        for pin in pins
    ]
    return tuple(sorted(exported, key=lambda one: one.file))


def export_json(pins: Sequence[ExportedPin]) -> Json:
    return {
        "certificates": [
            {
                "file": pin.file,
                "sha256": pin.sha256,
                "role": Role.INTERMEDIATE.value,
                "clouds": list(pin.clouds),
                "source": pin.source,
                "note": pin.note,
                "pem": pin.pem,
            }
            for pin in pins
        ]
    }


def export_text(pins: Sequence[ExportedPin]) -> str:
    """Format the pins as TOML: the content of each file as a comment, then the manifest entries."""
    files = "".join(f"# --- {pin.file}\n" + textwrap.indent(pin.pem, "# ") + "\n" for pin in pins)
    return files + _entries(pins)


def write_overlay(directory: Path, pins: Sequence[ExportedPin]) -> None:
    """Write a trust directory that adds these pins to the shipped ones.

    Raises UsageError if the directory already has a bundle or cannot be written.
    """
    try:
        (directory / "intermediates").mkdir(parents=True)
        for pin in pins:
            (directory / pin.file).write_text(pin.pem, encoding="ascii")
        # Write the manifest last: without it, the directory is not a trust directory.
        manifest = 'format = 1\nmode = "add"\n\n' + _entries(pins)
        with (directory / "manifest.toml").open("x", encoding="utf-8") as file:
            file.write(manifest)
    except FileExistsError as error:
        raise UsageError(f"--into: {directory} has a trust bundle already; name a new directory") from error
    except OSError as error:
        raise UsageError(f"--into: {directory}: {error.strerror}") from error


def _entries(pins: Sequence[ExportedPin]) -> str:
    return "\n".join(
        "[[certificates]]\n"
        f"file = {_toml(pin.file)}\n"
        f"sha256 = {_toml(pin.sha256)}\n"
        f"role = {_toml(Role.INTERMEDIATE.value)}\n"
        f"clouds = [{', '.join(_toml(cloud) for cloud in pin.clouds)}]\n"
        f"source = {_toml(pin.source)}\n" + (f"note = {_toml(pin.note)}\n" if pin.note else "")
        for pin in pins
    )


def _toml(text: str) -> str:
    """Format a basic string (TOML 1.0). JSON and TOML have the same escapes, but only TOML escapes DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _file_stem(certificate: Certificate) -> str:
    """Return the common name in characters that a manifest allows, and a part of the fingerprint."""
    name = certificate.common_names[0].decode("utf-8", "replace") if certificate.common_names else ""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "authority"
    return f"{readable}-{certificate.sha256[:8]}"


def _pem(der: bytes) -> str:
    """Format a certificate as PEM (RFC 7468 section 5)."""
    encoded = base64.b64encode(der).decode("ascii")
    lines = [encoded[start : start + _PEM_COLUMNS] for start in range(0, len(encoded), _PEM_COLUMNS)]
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))

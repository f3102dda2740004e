"""Read and write the bundle that a trust feed publishes: one JSON object with the certificates in PEM."""

import json
from datetime import datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from verifier.core.encoding import strict_json
from verifier.core.encoding.moments import moment_json
from verifier.core.encoding.strict_json import JsonError
from verifier.core.trust.bundle import Origin, Role, TrustedCertificate, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.published import PublishedBundle

FORMAT: Final = 1
#: The name of the target in the TUF repository.
TARGET: Final = "trust-bundle.json"
MAX_BUNDLE_BYTES: Final = 1024 * 1024
MAX_ENTRIES: Final = 512
_MAX_PEM = 16 * 1024
_MAX_TEXT = 500


class _Table(BaseModel):
    # The times and names come from JSON, so they are strings.
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Entry(_Table):
    pem: Annotated[str, Field(max_length=_MAX_PEM, strict=True)]
    role: Role
    clouds: Annotated[list[Cloud], Field(min_length=1, max_length=len(Cloud))]
    source: Annotated[str, Field(min_length=1, max_length=_MAX_TEXT, strict=True)]
    note: Annotated[str, Field(max_length=_MAX_TEXT, strict=True)] = ""
    activateAt: AwareDatetime | None = None  # noqa: N815 - JSON names are camelCase
    retireAt: AwareDatetime | None = None  # noqa: N815 - as above


class _Bundle(_Table):
    format: Annotated[int, Field(strict=True)]
    version: Annotated[int, Field(ge=1, le=2**53, strict=True)]
    publishedAt: AwareDatetime  # noqa: N815 - as above
    expiresAt: AwareDatetime  # noqa: N815 - as above
    certificates: Annotated[list[_Entry], Field(max_length=MAX_ENTRIES)]


def read_bundle(raw: bytes) -> PublishedBundle:
    """Read a bundle. Raises TrustError with a sentence, also for the format of a later release.

    Not checked: its signature, and that it may replace another one.
    """
    if len(raw) > MAX_BUNDLE_BYTES:
        raise TrustError(f"the bundle has more than {MAX_BUNDLE_BYTES} bytes")
    try:
        fields = strict_json.decode_text(raw.decode("utf-8"))
    except (UnicodeDecodeError, JsonError) as error:
        raise TrustError("the bundle is not strict JSON in UTF-8") from error
    # Before the other fields: a later format may have others.
    if type(fields.get("format")) is int and fields["format"] != FORMAT:
        raise TrustError(
            f"the bundle has format {fields['format']}, and this release knows format {FORMAT}: update imds-verifier"
        )
    try:
        read = _Bundle.model_validate(fields)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise TrustError(f"the bundle is malformed: {place}: {fault['msg']}") from error
    return PublishedBundle(
        version=read.version,
        published_at=read.publishedAt,
        expires_at=read.expiresAt,
        entries=tuple(_trusted(entry) for entry in read.certificates),
    )


def write_bundle(bundle: PublishedBundle) -> bytes:
    """Write a bundle so that `read_bundle` reads it. Entries are sorted by fingerprint: equal bundles, equal bytes."""
    entries = sorted(bundle.entries, key=lambda entry: entry.certificate.sha256)
    fields = {
        "format": FORMAT,
        "version": bundle.version,
        "publishedAt": moment_json(bundle.published_at),
        "expiresAt": moment_json(bundle.expires_at),
        "certificates": [_fields(entry) for entry in entries],
    }
    return json.dumps(fields, indent=1).encode() + b"\n"


def _trusted(entry: _Entry) -> TrustedCertificate:
    try:
        certificate = Certificate.from_pem(entry.pem.encode())
    except CertificateError as error:
        raise TrustError(f"the bundle has a certificate that cannot be read: {error}") from error
    return TrustedCertificate(
        certificate=certificate,
        role=entry.role,
        clouds=frozenset(entry.clouds),
        source=entry.source,
        note=entry.note,
        origin=Origin.PUBLISHED,
        activate_at=entry.activateAt,
        retire_at=entry.retireAt,
    )


def _fields(entry: TrustedCertificate) -> dict[str, object]:
    times = {"activateAt": entry.activate_at, "retireAt": entry.retire_at}
    return {
        "pem": entry.certificate.pem,
        "role": entry.role.value,
        "clouds": sorted(entry.clouds),
        "source": entry.source,
        **({"note": entry.note} if entry.note else {}),
        **{name: _moment(moment) for name, moment in times.items() if moment is not None},
    }


def _moment(moment: datetime) -> str:
    return moment_json(moment)

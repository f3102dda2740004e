"""Read and write the bundle that a trust feed publishes: one JSON object with the certificates in PEM."""

import json
import re
from datetime import datetime
from functools import lru_cache
from ssl import DER_cert_to_PEM_cert
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from verifier.core.encoding import strict_json
from verifier.core.encoding.formats import explain_newer_format
from verifier.core.encoding.moments import moment_json
from verifier.core.encoding.printable import printable
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
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
#: In characters. A message names the field, and the name of an unknown one has no bound.
_MAX_FAULT = 300
#: More than the members and elements of MAX_ENTRIES entries with all fields and clouds.
_MAX_VALUES = MAX_ENTRIES * 32


def _read_moment(value: object) -> datetime:
    if not isinstance(value, str) or _MOMENT.fullmatch(value) is None:
        raise ValueError("expected a time in UTC, such as 2026-11-30T00:00:00Z")
    return datetime.fromisoformat(value)


def _check_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected one line of printable characters")
    return text


_Moment = Annotated[datetime, BeforeValidator(_read_moment)]
_Line = Annotated[str, Field(max_length=_MAX_TEXT, strict=True), AfterValidator(_check_line)]


class _Table(BaseModel):
    # JSON has no enumerations, so pydantic must convert the names of roles and clouds.
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Entry(_Table):
    pem: Annotated[str, Field(max_length=_MAX_PEM, strict=True)]
    role: Role
    clouds: Annotated[list[Cloud], Field(min_length=1, max_length=len(Cloud))]
    source: Annotated[_Line, Field(min_length=1)]
    note: _Line = ""
    activateAt: _Moment | None = None  # noqa: N815 - JSON names are camelCase
    retireAt: _Moment | None = None  # noqa: N815 - as above


class _Bundle(_Table):
    format: Annotated[int, Field(strict=True)]
    version: Annotated[int, Field(ge=1, le=2**53, strict=True)]
    publishedAt: _Moment  # noqa: N815 - as above
    expiresAt: _Moment  # noqa: N815 - as above
    certificates: Annotated[list[_Entry], Field(max_length=MAX_ENTRIES)]


# Each look at a feed reads the bundle in force and the offered one several times.
@lru_cache(maxsize=4)
def read_bundle(raw: bytes) -> PublishedBundle:
    """Read a bundle. Raises TrustError with a sentence, also for the format of another release.

    Not checked: its signature, and that it may replace another one.
    """
    if len(raw) > MAX_BUNDLE_BYTES:
        raise TrustError(f"the bundle has more than {MAX_BUNDLE_BYTES} bytes")
    try:
        fields = strict_json.decode_text(raw.decode("utf-8"), most_values=_MAX_VALUES)
    except UnicodeDecodeError as error:
        raise TrustError("the bundle is not UTF-8") from error
    except JsonError as error:
        raise TrustError(f"the bundle is not strict JSON: {error}") from error
    # Before the other fields: a later format may have others.
    written = fields.get("format")
    explained = explain_newer_format("the bundle", written, FORMAT)
    if explained:
        raise TrustError(explained)
    if type(written) is int and written != FORMAT:  # a Boolean is malformed
        hint = "publish it again with a later release"
        raise TrustError(f"the bundle has format {written}, and this release knows format {FORMAT}: {hint}")
    try:
        read = _Bundle.model_validate(fields)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = printable(".".join(str(part) for part in fault["loc"]))
        raise TrustError(f"the bundle is malformed: {place[:_MAX_FAULT]}: {fault['msg']}") from error
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
    if entry.pem.count("-----BEGIN ") != 1:
        raise TrustError("the bundle has an entry whose pem is not exactly one PEM block")
    try:
        certificate = Certificate.from_pem(entry.pem.encode())
    except CertificateError as error:
        raise TrustError(f"the bundle has a certificate that {error.fault}") from error
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
        "pem": DER_cert_to_PEM_cert(entry.certificate.der),
        "role": entry.role.value,
        "clouds": sorted(entry.clouds),
        "source": entry.source,
        **({"note": entry.note} if entry.note else {}),
        **{name: moment_json(moment) for name, moment in times.items() if moment is not None},
    }

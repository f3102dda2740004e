"""Trust to JSON and back: the same for HTTP and for the command line's `--json`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from verifier.api.json_codec import Json, RequestError, moment_json
from verifier.api.problems import RequestFault
from verifier.core.encoding import strict_json
from verifier.core.encoding.strict_json import JsonError
from verifier.core.issuer_review import SurveyedIssuer
from verifier.core.trust.bundle import Denials
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.ports.trust import NonconformingRecord, TrustAuditEvent
from verifier.usecases.trust_administration import UnfitAuthorityError, read_authority, read_denial
from verifier.usecases.trust_survey import SurveyedCloud, SurveyedDenial, SurveyedEntry, SurveyedRejection, TrustSurvey

MAX_NOTE_CHARACTERS = 500

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class PinRequest(BaseModel):
    """The body of POST /v1/trust/pins."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    certificate: Annotated[str, Field(min_length=1)]
    # JSON has no enumerations: the names are compared with those of the clouds, and nothing else is converted.
    clouds: Annotated[list[Annotated[Cloud, Field(strict=False)]], Field(min_length=1)]
    note: Annotated[str, Field(max_length=MAX_NOTE_CHARACTERS)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPin:
    """What an operator wants to pin. Nothing is known of the certificate but that it is one."""

    certificate: Certificate
    clouds: frozenset[Cloud]
    note: str


def read_pin_request(media_type: str, body: bytes) -> NewPin:
    """Raises RequestError."""
    if media_type != "application/json":
        raise RequestError(RequestFault.UNSUPPORTED_MEDIA_TYPE, "The body of this request is application/json.")
    try:
        request = PinRequest.model_validate(strict_json.decode(body))
    except JsonError as error:
        raise _malformed(f"The body is not understood: {error}.") from error
    except ValidationError as error:
        raise _malformed(_explain(error)) from error
    try:
        return NewPin(
            certificate=read_pem(request.certificate.encode("utf-8")),
            clouds=frozenset(request.clouds),
            note=read_note(request.note),
        )
    except ValueError as error:
        raise _malformed(f"{error}.") from error


def read_pem(raw: bytes) -> Certificate:
    """The certificate that is the only PEM block of `raw`: a key beside it has no business here.

    Raises UnfitAuthorityError.
    """
    if raw.count(b"-----BEGIN ") != 1:
        raise UnfitAuthorityError("Expected exactly one PEM block, which is a certificate")
    return read_authority(raw)


def read_note(text: str) -> str:
    """One line that a terminal and a manifest can show. Raises ValueError."""
    if len(text) > MAX_NOTE_CHARACTERS or not text.isprintable():
        raise ValueError(f"A note is one line of at most {MAX_NOTE_CHARACTERS} printable characters")
    return text


def read_fingerprint(text: str) -> str:
    """The SHA-256 of a certificate as everything here writes it; openssl's colons and upper case are read too.

    Raises ValueError.
    """
    fingerprint = text.replace(":", "").lower()
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ValueError("Expected the SHA-256 of a certificate: 64 hex digits")
    return fingerprint


def read_denial_of(text: str, known: Sequence[Certificate]) -> Denials:
    """As `read_denial`, and it is not one of the known certificates' own SHA-256: to deny that would deny nothing,
    and look done. Raises ValueError."""
    denials = read_denial(text)
    for certificate in known:
        if certificate.sha256 in denials.spki_sha256:
            raise ValueError(
                "This is the SHA-256 of a certificate; a denial names its public key: "
                f"{certificate.spki_sha256}, or its serial number: {certificate.serial_hex}"
            )
    return denials


def are_denied(denials: Denials, among: Denials) -> bool:
    """All of `denials` are in `among`."""
    return denials.serial_numbers <= among.serial_numbers and denials.spki_sha256 <= among.spki_sha256


def sha1_of(certificate: Certificate) -> str:
    """Its SHA-1 as Azure's page of certificate authorities prints it, to compare by eye: it secures nothing."""
    return certificate.sha1.upper()


def survey_json(survey: TrustSurvey) -> Json:
    """What GET /v1/trust answers."""
    return {
        "generation": survey.generation,
        "evaluatedAt": moment_json(survey.at),
        "clouds": [_cloud_json(cloud) for cloud in survey.clouds],
        "discovered": [_issuer_json(issuer) for issuer in survey.discovered],
        "rejected": [_rejection_json(rejection) for rejection in survey.rejected],
        "denied": [_denial_json(denial) for denial in survey.denied],
        "nonconforming": [_nonconforming_json(record) for record in survey.nonconforming],
        "oddities": list(survey.oddities),
        "audit": [_event_json(event) for event in survey.audit],
    }


def _cloud_json(cloud: SurveyedCloud) -> Json:
    return {
        "name": cloud.cloud.value,
        "domain": cloud.cloud.domain,
        "served": cloud.served,
        "closed": cloud.closed,
        "horizon": None if cloud.horizon is None else moment_json(cloud.horizon),
        "anchors": [_entry_json(entry) for entry in cloud.anchors],
        "pins": [_entry_json(entry) for entry in cloud.pins],
    }


def _entry_json(surveyed: SurveyedEntry) -> Json:
    entry, certificate = surveyed.entry, surveyed.entry.certificate
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "sha256": certificate.sha256,
        "sha1": sha1_of(certificate),
        "spkiSha256": certificate.spki_sha256,
        "serialNumber": certificate.serial_hex,
        "notBefore": moment_json(certificate.not_before),
        "notAfter": moment_json(certificate.not_after),
        "activateAt": None if entry.activate_at is None else moment_json(entry.activate_at),
        "retireAt": None if entry.retire_at is None else moment_json(entry.retire_at),
        "state": surveyed.state.value,
        "origin": entry.origin.value,
        "chainable": surveyed.chainable,
        "denied": surveyed.denied,
        "source": entry.source,
        "note": entry.note,
    }


def _issuer_json(surveyed: SurveyedIssuer) -> Json:
    issuer, sighting = surveyed.issuer, surveyed.issuer.sighting
    return {
        "id": sighting.id,
        "cloud": sighting.cloud.value,
        "issuer": sighting.issuer,
        "authorityKeyIdentifier": sighting.authority_key_identifier,
        "issuerUrls": list(sighting.issuer_urls),
        "firstSeen": moment_json(issuer.first_seen),
        "lastSeen": moment_json(issuer.last_seen),
        "documents": issuer.documents,
        "sampleSigner": sighting.signer_sha256,
        "standing": surveyed.standing.value,
        "authorities": [
            {
                "sha256": authority.certificate.sha256,
                "sha1": sha1_of(authority.certificate),
                "subject": authority.certificate.subject,
                "notAfter": moment_json(authority.certificate.not_after),
                "standing": authority.standing.value,
            }
            for authority in surveyed.authorities
        ],
    }


def _rejection_json(rejection: SurveyedRejection) -> Json:
    return {
        "subject": rejection.authority.subject,
        "spkiSha256": rejection.authority.spki_sha256,
        "certificates": _certificates_json(rejection.certificates),
    }


def _nonconforming_json(record: NonconformingRecord) -> Json:
    document = record.document
    return {
        "issuer": document.issuer,
        "pinSha256": document.pin_sha256,
        "clouds": sorted(document.clouds),
        "detail": document.detail,
        "firstSeen": moment_json(record.first_seen),
        "lastSeen": moment_json(record.last_seen),
        "documents": record.documents,
        "sampleSigner": document.signer_sha256,
        "sampleDocument": document.document_sha256,
    }


def _certificates_json(certificates: Sequence[Certificate]) -> list[Json]:
    return [{"sha256": certificate.sha256, "subject": certificate.subject} for certificate in certificates]


def _denial_json(denial: SurveyedDenial) -> Json:
    kind, value = denial_parts(denial.denials)
    return {
        "kind": kind,
        "value": value,
        "certificates": _certificates_json(denial.certificates),
    }


def denial_parts(denials: Denials) -> tuple[str, str]:
    """Which kind the one denial is, and its value in hex, as the path of DELETE takes it."""
    for spki in denials.spki_sha256:
        return "spki", spki
    (serial,) = denials.serial_numbers
    return "serial", f"{serial:x}"


def _event_json(event: TrustAuditEvent) -> Json:
    return {
        "at": moment_json(event.at),
        "by": event.by,
        "what": event.what,
        "subject": event.subject,
        "before": event.before,
        "after": event.after,
    }


def _malformed(detail: str) -> RequestError:
    return RequestError(RequestFault.MALFORMED_REQUEST, detail)


def _explain(error: ValidationError) -> str:
    """As in `wire`: which field is wrong, without what it holds."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "extra_forbidden":
        return "The body has a field that is not known."
    return f"The field '{'.'.join(str(part) for part in first['loc'])}' is wrong: {first['msg']}."

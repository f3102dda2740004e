"""Convert trust to JSON and read what operators send. HTTP and the command line's `--json` share this module."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from verifier.api import trust_answers as answers
from verifier.api.request_bodies import RequestBody
from verifier.core.encoding.moments import moment_json
from verifier.core.issuer_review import SurveyedAuthority, SurveyedIssuer
from verifier.core.trust.bundle import Denials
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import RejectedBundle
from verifier.core.trust.published import FeedChange, PublishedBundle
from verifier.ports.trust import NonconformingRecord, TrustAuditEvent
from verifier.usecases.trust_administration import UnfitAuthorityError, read_authority
from verifier.usecases.trust_feed import FeedStatus, Offer
from verifier.usecases.trust_survey import SurveyedCloud, SurveyedDenial, SurveyedEntry, SurveyedRejection, TrustSurvey

MAX_NOTE_CHARACTERS = 500

#: A later version than 2**53 is refused (adapters.trust.published).
_MAX_VERSION_DIGITS = 16
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class PinRequest(RequestBody):
    """The body of POST /v1/trust/pins."""

    certificate: Annotated[str, Field(min_length=1)]
    # JSON has no enumerations, so pydantic must convert the names of clouds.
    clouds: Annotated[list[Annotated[Cloud, Field(strict=False)]], Field(min_length=1)]
    note: Annotated[str, Field(max_length=MAX_NOTE_CHARACTERS)] = ""


def read_pem(raw: bytes) -> Certificate:
    """Read the only PEM block of `raw`. A second block may be a private key. Raises UnfitAuthorityError."""
    if raw.count(b"-----BEGIN ") != 1:
        raise UnfitAuthorityError("Send exactly one PEM block, and in it a certificate")
    return read_authority(raw)


def read_note(text: str) -> str:
    """Check that the note is one line that terminals and manifests can show. Raises ValueError."""
    if len(text) > MAX_NOTE_CHARACTERS or not text.isprintable():
        raise ValueError(f"A note must be one line of at most {MAX_NOTE_CHARACTERS} printable characters")
    return text


def read_fingerprint(text: str) -> str:
    """Return the SHA-256 of a certificate in lower-case hex. The colons and upper case of openssl are accepted.

    Raises ValueError.
    """
    fingerprint = text.replace(":", "").lower()
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ValueError("Expected the SHA-256 of a certificate: 64 hex digits")
    return fingerprint


def read_version(text: str) -> int:
    """Read the version of a bundle of the trust feed. Raises ValueError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_VERSION_DIGITS and int(text)):
        raise ValueError("Expected the version of a bundle: a number from 1")
    return int(text)


def sha1_of(certificate: Certificate) -> str:
    """Return the SHA-1 in the form of Azure's page of CAs, for operators to compare. No check depends on it."""
    return certificate.sha1.upper()


def survey_json(survey: TrustSurvey) -> answers.TrustSurveyJson:
    """Build the answer of GET /v1/trust."""
    return {
        "generation": survey.generation,
        "evaluatedAt": moment_json(survey.at),
        "clouds": [_cloud_json(cloud) for cloud in survey.clouds],
        "discovered": [_issuer_json(issuer) for issuer in survey.discovered],
        "rejected": [_rejection_json(rejection) for rejection in survey.rejected],
        "denied": [_denial_json(denial) for denial in survey.denied],
        "nonconforming": [_nonconforming_json(record) for record in survey.nonconforming],
        "feed": _feed_json(survey.feed),
        "oddities": list(survey.oddities),
        "audit": [_event_json(event) for event in survey.audit],
    }


def _cloud_json(cloud: SurveyedCloud) -> answers.TrustedCloudJson:
    return {
        "name": cloud.cloud,
        "domain": cloud.cloud.domain,
        "served": cloud.served,
        "closed": cloud.closed,
        "horizon": None if cloud.horizon is None else moment_json(cloud.horizon),
        "anchors": [_entry_json(entry) for entry in cloud.anchors],
        "pins": [_entry_json(entry) for entry in cloud.pins],
    }


def _entry_json(surveyed: SurveyedEntry) -> answers.TrustEntryJson:
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
        "state": surveyed.state,
        "origin": entry.origin,
        "chainable": surveyed.chainable,
        "denied": surveyed.denied,
        "source": entry.source,
        "note": entry.note,
    }


def _issuer_json(surveyed: SurveyedIssuer) -> answers.DiscoveredIssuerJson:
    issuer, observation = surveyed.issuer, surveyed.issuer.observation
    return {
        "id": observation.id,
        "cloud": observation.cloud,
        "issuer": observation.issuer,
        "authorityKeyIdentifier": observation.authority_key_identifier,
        "issuerUrls": list(observation.issuer_urls),
        "firstSeen": moment_json(issuer.first_seen),
        "lastSeen": moment_json(issuer.last_seen),
        "documents": issuer.documents,
        "sampleSigner": observation.signer_sha256,
        "reviewStatus": surveyed.review_status,
        "authorities": [_authority_json(authority) for authority in surveyed.authorities],
    }


def _authority_json(surveyed: SurveyedAuthority) -> answers.DiscoveredAuthorityJson:
    certificate = surveyed.certificate
    return {
        "sha256": certificate.sha256,
        "sha1": sha1_of(certificate),
        "subject": certificate.subject,
        "notAfter": moment_json(certificate.not_after),
        "reviewStatus": surveyed.review_status,
    }


def _rejection_json(rejection: SurveyedRejection) -> answers.RejectionJson:
    return {
        "subject": rejection.authority.subject,
        "spkiSha256": rejection.authority.spki_sha256,
        "certificates": _certificates_json(rejection.certificates),
    }


def _nonconforming_json(record: NonconformingRecord) -> answers.NonconformingDocumentJson:
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


def _feed_json(feed: FeedStatus) -> answers.TrustFeedJson:
    return {
        "source": feed.source,
        "mode": feed.mode,
        "inForce": None if feed.in_force is None else _bundle_json(feed.in_force, feed.ignored),
        "unreadable": feed.unreadable,
        "offer": None if feed.offer is None else _offer_json(feed.offer),
        "rejected": None if feed.rejected is None else _feed_rejection_json(feed.rejected),
        "checkedAt": None if feed.checked_at is None else moment_json(feed.checked_at),
        "problem": feed.problem,
    }


def _bundle_json(bundle: PublishedBundle, ignored: Sequence[str]) -> answers.FeedBundleJson:
    return {
        "version": bundle.version,
        "publishedAt": moment_json(bundle.published_at),
        "expiresAt": moment_json(bundle.expires_at),
        "ignored": list(ignored),
    }


def _offer_json(offer: Offer) -> answers.FeedOfferJson:
    return {
        **_bundle_json(offer.bundle, offer.ignored),
        "changes": [_change_json(change) for change in offer.changes],
        "reasons": list(offer.reasons),
    }


def _feed_rejection_json(rejected: RejectedBundle) -> answers.FeedRejectionJson:
    return {"version": rejected.version, "by": rejected.decided_by, "at": moment_json(rejected.decided_at)}


def _change_json(change: FeedChange) -> answers.FeedChangeJson:
    entry = change.entry
    return {
        "effect": change.effect,
        "subject": entry.certificate.subject,
        "sha256": entry.certificate.sha256,
        "clouds": sorted(change.clouds),
        "activateAt": None if entry.activate_at is None else moment_json(entry.activate_at),
        "retireAt": None if entry.retire_at is None else moment_json(entry.retire_at),
    }


def _certificates_json(certificates: Sequence[Certificate]) -> list[answers.KnownCertificateJson]:
    return [{"sha256": certificate.sha256, "subject": certificate.subject} for certificate in certificates]


def _denial_json(denial: SurveyedDenial) -> answers.DenialJson:
    kind, value = denial_parts(denial.denials)
    return {"kind": kind, "value": value, "certificates": _certificates_json(denial.certificates)}


def denial_parts(denials: Denials) -> tuple[Literal["spki", "serial"], str]:
    """Return the kind of the single denial, and its value in hex as the path of DELETE takes it."""
    for spki in denials.spki_sha256:
        return "spki", spki
    (serial,) = denials.serial_numbers
    return "serial", f"{serial:x}"


def _event_json(event: TrustAuditEvent) -> answers.TrustAuditEventJson:
    return {
        "at": moment_json(event.at),
        "by": event.by,
        "what": event.what,
        "subject": event.subject,
        "before": event.before,
        "after": event.after,
    }

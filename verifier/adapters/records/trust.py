"""Encode and decode the records of the trust registries: versioned lines of ASCII, the same in each registry.

Each `decode_` function accepts only a text that its `encode_` function could have written. It raises StoreUnavailable
for any other text, without repeating it: a record that this release did not write must not count as a decision.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from pydantic import PlainValidator, TypeAdapter

from verifier.adapters.records.lines import FORMAT, UNREADABLE, Der, decode, dump, to_base64, writable
from verifier.adapters.records.nonces import Moment, microseconds, moment
from verifier.core.discovery import DiscoveredIssuer, IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import AuthorityIdentity, Denials
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import FollowedBundle, OperatorDecisions, PinDecision, RejectedBundle
from verifier.ports.stores import StoreUnavailable
from verifier.ports.trust import NonconformingRecord, TrustAuditEvent

#: The format of decisions that follow a bundle, and of those that reject one. Others keep FORMAT, so that a release
#: without feeds can read them.
_FOLLOWING_FORMAT = 2
_REJECTING_FORMAT = 3

#: The limits of one observation, in characters. An untrusted sender chooses its texts.
MAX_ISSUER_CHARACTERS = 1024
MAX_KEY_IDENTIFIER_CHARACTERS = 128
MAX_URLS = 4
MAX_URL_CHARACTERS = 512
#: The limit of the reason for refusing a genuine document. The service writes it, but it contains untrusted names.
MAX_DETAIL_CHARACTERS = 512
#: The limit for one issuer: more than a path has between its signer and its anchor.
MAX_AUTHORITIES = 4

_Serial = Annotated[int, PlainValidator(lambda text: int(text, 16))]
_Clouds = frozenset[Cloud]
_Identities = list[tuple[str, Der, str]]
# The layouts of the records. `decode` refuses values that pydantic converts, and an unknown format.
_OBSERVATION = TypeAdapter(tuple[int, Cloud, str, str, tuple[str, ...], str, Moment])
_AUTHORITIES = TypeAdapter(tuple[int, tuple[Der, ...]])
_DECISIONS = TypeAdapter(
    tuple[
        int,
        list[tuple[str, Der, _Clouds, str, Moment, str]],
        _Identities,
        list[tuple[_Serial, _Identities]],
        frozenset[str],
        tuple[Der | None, int, str, Moment] | None,
        tuple[int, str, str, Moment] | None,
    ]
)
_NONCONFORMING = TypeAdapter(tuple[int, str, str, _Clouds, str, str, str, Moment])
_EVENT = TypeAdapter(tuple[int, Moment, str, str, str, str, str])


def bound_observation(observation: IssuerObservation) -> IssuerObservation:
    """Truncate the texts of an observation. All observations of one issuer keep the same `id`.

    URLs that are too long are omitted, because a truncated URL is a different URL. Unpaired surrogates become `?`.
    Not checked: that two issuers whose names differ only after the limit stay distinct. Genuine names are shorter.
    """
    return replace(
        observation,
        issuer=writable(observation.issuer)[:MAX_ISSUER_CHARACTERS],
        authority_key_identifier=writable(observation.authority_key_identifier)[:MAX_KEY_IDENTIFIER_CHARACTERS],
        issuer_urls=tuple(
            writable(url) for url in observation.issuer_urls[:MAX_URLS] if len(url) <= MAX_URL_CHARACTERS
        ),
    )


def encode_observation(observation: IssuerObservation) -> str:
    """Write a JSON array: format, cloud, issuer, key identifier, URLs, signer, seen at."""
    return dump(
        observation.cloud,
        observation.issuer,
        observation.authority_key_identifier,
        observation.issuer_urls,
        observation.signer_sha256,
        microseconds(observation.seen_at),
    )


def decode_observation(encoded: str) -> IssuerObservation:
    return decode(encoded, _observation, encode_observation)


def encode_authorities(authorities: Sequence[bytes]) -> str:
    """Write a JSON array: format, and the certificates in Base64 (RFC 4648 section 4)."""
    return dump([to_base64(der) for der in authorities])


def decode_authorities(encoded: str) -> tuple[bytes, ...]:
    return decode(encoded, _authorities, encode_authorities)


def encode_decisions(decisions: OperatorDecisions) -> str:
    """Write a JSON array: format, pins, rejected CAs, denied serial numbers in hex with their CAs, denied keys.

    Each of them is sorted. The bundle that is followed and the one that is rejected are the last members. They are
    absent if there are none.
    """
    followed, rejected = decisions.followed, decisions.rejected_bundle
    members: tuple[object, ...] = (
        [
            [sha256, to_base64(pin.der), sorted(pin.clouds), pin.decided_by, microseconds(pin.decided_at), pin.note]
            for sha256, pin in sorted(decisions.pins.items())
        ],
        _identities(decisions.rejected),
        [
            [f"{serial:x}", _identities(decisions.denied_authorities.get(serial, frozenset()))]
            for serial in sorted(decisions.denials.serial_numbers)
        ],
        sorted(decisions.denials.spki_sha256),
    )
    if followed is None and rejected is None:
        return dump(*members)
    bundle = followed and [
        None if followed.raw is None else to_base64(followed.raw),
        followed.version,
        followed.decided_by,
        microseconds(followed.decided_at),
    ]
    if rejected is None:
        return dump(*members, bundle, format_=_FOLLOWING_FORMAT)
    refused = [rejected.version, rejected.sha256, rejected.decided_by, microseconds(rejected.decided_at)]
    return dump(*members, bundle, refused, format_=_REJECTING_FORMAT)


def decode_decisions(encoded: str) -> OperatorDecisions:
    return decode(encoded, _decisions, encode_decisions, known=_REJECTING_FORMAT)


def encode_event(event: TrustAuditEvent) -> str:
    """Write a JSON array: format, at, by, what, subject, before, after."""
    return dump(microseconds(event.at), event.by, event.what, event.subject, event.before, event.after)


def decode_event(encoded: str) -> TrustAuditEvent:
    return decode(encoded, _event, encode_event)


def decode_number(encoded: str) -> int:
    """Read the decimal digits of `str`, which Redis can increment."""
    return decode(encoded, int, str)


def discovered_issuer(latest: str, *, first_seen: int, documents: int, authorities: str | None) -> DiscoveredIssuer:
    """Build an issuer from a registry: latest observation, first time in microseconds, count and authorities.

    `authorities` is None if none were checked. Raises StoreUnavailable if the values are inconsistent.
    """
    observation = decode_observation(latest)
    first = _first_seen(first_seen, latest=observation.seen_at, documents=documents)
    return DiscoveredIssuer(
        observation=observation,
        first_seen=first,
        last_seen=observation.seen_at,
        documents=documents,
        authorities=() if authorities is None else decode_authorities(authorities),
    )


def nonconforming_id(document: NonconformingDocument) -> str:
    """Identify the pin and the detail of a bounded document."""
    return hashlib.sha256(dump(document.pin_sha256, document.detail).encode("ascii")).hexdigest()


def bound_nonconforming(document: NonconformingDocument) -> NonconformingDocument:
    """Truncate the texts of a document to their limits."""
    return replace(
        document,
        issuer=writable(document.issuer)[:MAX_ISSUER_CHARACTERS],
        detail=writable(document.detail)[:MAX_DETAIL_CHARACTERS],
    )


def encode_nonconforming(document: NonconformingDocument) -> str:
    """Write a JSON array: format, issuer, pin, clouds, signer, document, detail, seen at."""
    return dump(
        document.issuer,
        document.pin_sha256,
        sorted(document.clouds),
        document.signer_sha256,
        document.document_sha256,
        document.detail,
        microseconds(document.seen_at),
    )


def decode_nonconforming(encoded: str) -> NonconformingDocument:
    return decode(encoded, _nonconforming, encode_nonconforming)


def nonconforming_record(latest: str, *, first_seen: int, documents: int) -> NonconformingRecord:
    """Build a record from the values of a registry: latest document, first time in microseconds, count.

    Raises StoreUnavailable if the values are inconsistent.
    """
    document = decode_nonconforming(latest)
    first = _first_seen(first_seen, latest=document.seen_at, documents=documents)
    return NonconformingRecord(document=document, first_seen=first, documents=documents)


def _first_seen(microseconds_: int, *, latest: datetime, documents: int) -> datetime:
    try:
        first = moment(microseconds_)
    except OverflowError:
        raise StoreUnavailable(UNREADABLE) from None
    if first > latest or documents < 1:
        raise StoreUnavailable(UNREADABLE)
    return first


def _identities(authorities: Iterable[AuthorityIdentity]) -> list[list[str]]:
    return sorted([one.spki_sha256, to_base64(one.subject_der), one.subject] for one in authorities)


def _observation(encoded: str) -> IssuerObservation:
    _, cloud, issuer, key_identifier, urls, signer, seen_at = _OBSERVATION.validate_python(json.loads(encoded))
    return IssuerObservation(
        cloud=cloud,
        issuer=issuer,
        authority_key_identifier=key_identifier,
        issuer_urls=urls,
        signer_sha256=signer,
        seen_at=seen_at,
    )


def _authorities(encoded: str) -> tuple[bytes, ...]:
    _, authorities = _AUTHORITIES.validate_python(json.loads(encoded))
    return authorities


def _decisions(encoded: str) -> OperatorDecisions:
    members = json.loads(encoded)
    members += [None] * {FORMAT: 2, _FOLLOWING_FORMAT: 1}.get(members[0], 0)
    _, pins, rejected, denied, spki_sha256, followed, rejected_bundle = _DECISIONS.validate_python(members)
    return OperatorDecisions(
        pins={
            sha256: PinDecision(der=der, clouds=clouds, decided_by=decided_by, decided_at=decided_at, note=note)
            for sha256, der, clouds, decided_by, decided_at, note in pins
        },
        rejected=_authority_identities(rejected),
        denials=Denials(serial_numbers=frozenset(serial for serial, _ in denied), spki_sha256=spki_sha256),
        denied_authorities={serial: _authority_identities(authorities) for serial, authorities in denied},
        followed=followed and _followed(*followed),
        rejected_bundle=rejected_bundle and _rejected_bundle(*rejected_bundle),
    )


def _followed(raw: bytes | None, version: int, decided_by: str, decided_at: datetime) -> FollowedBundle:
    return FollowedBundle(raw=raw, version=version, decided_by=decided_by, decided_at=decided_at)


def _rejected_bundle(version: int, sha256: str, decided_by: str, decided_at: datetime) -> RejectedBundle:
    return RejectedBundle(version=version, sha256=sha256, decided_by=decided_by, decided_at=decided_at)


def _authority_identities(identities: Iterable[tuple[str, bytes, str]]) -> frozenset[AuthorityIdentity]:
    return frozenset(
        AuthorityIdentity(subject_der=subject_der, spki_sha256=spki_sha256, subject=subject)
        for spki_sha256, subject_der, subject in identities
    )


def _nonconforming(encoded: str) -> NonconformingDocument:
    _, issuer, pin, clouds, signer, document, detail, seen_at = _NONCONFORMING.validate_python(json.loads(encoded))
    return NonconformingDocument(
        issuer=issuer,
        pin_sha256=pin,
        clouds=clouds,
        signer_sha256=signer,
        document_sha256=document,
        detail=detail,
        seen_at=seen_at,
    )


def _event(encoded: str) -> TrustAuditEvent:
    _, at, by, what, subject, before, after = _EVENT.validate_python(json.loads(encoded))
    return TrustAuditEvent(at=at, by=by, what=what, subject=subject, before=before, after=after)

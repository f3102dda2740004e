"""Find documents that Azure signed but a check of form refuses, because Azure may have changed their form.

The document stays refused. Every sender who has a genuine document can change its form and cause such a report. So a
report asks an operator to look, and does not prove that Azure made the document.
"""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from verifier.core.bounds import MAX_EMBEDDED_CERTIFICATES, MAX_TOLERATED_EXPONENT_BITS, MAX_TOLERATED_RSA_BITS
from verifier.core.encoding import der
from verifier.core.encoding.ber import BerError, BerReader, Element
from verifier.core.model import RawDocument
from verifier.core.reasons import ProfileRefused, Reason, Refused
from verifier.core.signature import HASHES, hash_named_by
from verifier.core.trust.bundle import TrustBundle, TrustedCertificate
from verifier.core.trust.clouds import Cloud
from verifier.core.values import dataclass

#: The reasons for form and bounds. ProfileRefused is the same for the signer's certificate.
_REASONS: Final = frozenset({Reason.MALFORMED_EVIDENCE, Reason.ALGORITHM_REFUSED})
#: Signatures on leaves that are verified with the keys of pins that have the name of the issuer.
_MAX_ISSUER_VERIFICATIONS: Final = 8

_MESSAGE_DIGEST: Final = bytes.fromhex("2a864886f70d010904")
#: What a parser or a key raises on bytes that it does not accept.
_UNREADABLE: Final = (ValueError, TypeError, LookupError, OverflowError, UnsupportedAlgorithm, Warning)

_Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class NonconformingDocument:
    """Describe a refused document whose signature verifies with the key of a leaf that a pin issued."""

    issuer: str
    pin_sha256: str
    #: The clouds that the pin serves.
    clouds: frozenset[Cloud]
    signer_sha256: str
    document_sha256: str
    #: The detail of the refusal.
    detail: str
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signer:
    """Pair the key of a leaf with the pin that issued the leaf."""

    sha256: str
    key: _Key
    pin: TrustedCertificate
    clouds: frozenset[Cloud]


def find_nonconforming(
    document: RawDocument, refused: Refused, *, bundle: TrustBundle, now: datetime
) -> NonconformingDocument | None:
    """Report a document that was refused for its form, for a bound or for its signer's profile, but that is genuine.

    Otherwise return None. The document is read tolerantly. It is genuine if the key of an embedded certificate signed
    the content, and a pin usable at `now` issued that certificate: its issuer name is the pin's, and the pin's key
    verifies its signature. The cost is bounded: at most 8 verifications with the keys of pins, and 6 with the key of
    each leaf that they issued. It raises no exception and changes no verdict.

    Not checked: names, dates, usages and the chain above the pin.
    """
    if refused.reason not in _REASONS and not isinstance(refused, ProfileRefused):
        return None
    try:
        signer = _signer_of(document.raw_der, bundle, now)
    except _UNREADABLE:
        return None
    if signer is None:
        return None
    return NonconformingDocument(
        issuer=signer.pin.certificate.subject,
        pin_sha256=signer.pin.certificate.sha256,
        clouds=signer.clouds,
        signer_sha256=signer.sha256,
        document_sha256=hashlib.sha256(document.raw_der).hexdigest(),
        detail=refused.detail,
        seen_at=now,
    )


def _signer_of(raw: bytes, bundle: TrustBundle, now: datetime) -> _Signer | None:
    """Return the signer of the first SignerInfo, if a pin issued it and it signed the content."""
    reader = BerReader(raw)
    explicit = reader.children(reader.whole())[1]
    fields = reader.children(reader.children(explicit)[0])
    sets = [one for one in fields if one.tag == der.SET]
    encapsulated = reader.children(_first(fields, der.SEQUENCE))[1]
    content = reader.string(reader.children(encapsulated)[0])
    embedded = next((one for one in fields if one.tag == der.CONTEXT_0), None)
    signer_info = reader.children(reader.children(sets[-1])[0])
    candidates = reader.children(embedded)[:MAX_EMBEDDED_CERTIFICATES] if embedded else []
    for signer in _issued(reader, candidates, bundle, now):
        if _signed(reader, signer_info, content, signer.key):
            return signer
    return None


def _first(elements: list[Element], tag: int) -> Element:
    """Return the first element of this tag, primitive or constructed."""
    for element in elements:
        if element.tag in {tag, tag | der.CONSTRUCTED}:
            return element
    raise BerError("no such element")


def _issued(reader: BerReader, candidates: list[Element], bundle: TrustBundle, now: datetime) -> Iterator[_Signer]:
    """Yield those of these certificates that usable pins issued. Skip unreadable ones."""
    left = _MAX_ISSUER_VERIFICATIONS
    pins = _usable(bundle, now)
    for candidate in candidates:
        with suppress(*_UNREADABLE):
            tbs, algorithm, signature = reader.children(candidate)[:3]
            fields = reader.children(tbs)
            # The version is [0] and may be absent: serial number, signature, issuer, validity, subject, key.
            _, _, issuer, _, _, spki = fields[1:7] if fields[0].tag == der.CONTEXT_0 else fields[:6]
            digest = hash_named_by(_oid(reader, algorithm))
            for pin, clouds in pins:
                if digest is None or pin.certificate.subject_der != reader.encoding(issuer):
                    continue
                left -= 1
                if left < 0:
                    return
                key = pin.certificate.public_key
                if _verifies(key, reader.contents(signature)[1:], reader.encoding(tbs), digest):
                    leaf = _bounded(load_der_public_key(reader.encoding(spki)))
                    sha256 = hashlib.sha256(reader.encoding(candidate)).hexdigest()
                    yield _Signer(sha256=sha256, key=leaf, pin=pin, clouds=clouds)
                    break


def _usable(bundle: TrustBundle, now: datetime) -> list[tuple[TrustedCertificate, frozenset[Cloud]]]:
    """Return each pin that is usable at `now`, with the clouds that may use it."""
    clouds: dict[str, set[Cloud]] = {}
    pins: dict[str, TrustedCertificate] = {}
    for cloud, trust in bundle.clouds.items():
        for pin in trust.usable_pins(now):
            pins[pin.certificate.sha256] = pin
            clouds.setdefault(pin.certificate.sha256, set()).add(cloud)
    return [(pin, frozenset(clouds[sha256])) for sha256, pin in pins.items()]


def _bounded(key: object) -> _Key:
    """Return the key, unless it makes verification expensive. The issuer of a leaf does not bound that cost.

    Raises TypeError and ValueError.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size > MAX_TOLERATED_RSA_BITS:
        raise TypeError("not a key that signs documents")
    if key.public_numbers().e.bit_length() > MAX_TOLERATED_EXPONENT_BITS:
        raise ValueError("an exponent that is too long")
    return key


def _signed(reader: BerReader, signer_info: list[Element], content: bytes, key: _Key) -> bool:
    """Return whether the key signed the content (RFC 5652 5.4), with any padding.

    The digest is the one that the SignerInfo names. If that one is unknown, each known digest is tried.
    """
    _, _, digest_algorithm, attributes = signer_info[:4]
    signature = reader.string(_first(signer_info, der.OCTET_STRING))
    named = hash_named_by(_oid(reader, digest_algorithm))
    for digest in (named,) if named else HASHES.values():
        signed = content
        if attributes.tag == der.CONTEXT_0:
            if not _binds(reader, attributes, hashlib.new(digest.name, content).digest()):
                continue
            signed = bytes([der.SET]) + reader.encoding(attributes)[1:]
        if _verifies(key, signature, signed, digest, any_padding=True):
            return True
    return False


def _binds(reader: BerReader, attributes: Element, content_digest: bytes) -> bool:
    """Return whether the signed attributes have this message-digest (RFC 5652 11.2)."""
    for attribute in reader.children(attributes):
        oid, values = reader.children(attribute)[:2]
        if reader.contents(oid) == _MESSAGE_DIGEST:
            return hmac.compare_digest(reader.string(reader.children(values)[0]), content_digest)
    return False


def _verifies(
    key: object, signature: bytes, signed: bytes, digest: hashes.HashAlgorithm, *, any_padding: bool = False
) -> bool:
    """Return whether the signature verifies with ECDSA or PKCS#1 v1.5, or with PSS if `any_padding` is set."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        with suppress(InvalidSignature):
            key.verify(signature, signed, ec.ECDSA(digest))
            return True
    elif isinstance(key, rsa.RSAPublicKey):
        pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=padding.PSS.AUTO)
        for one in (padding.PKCS1v15(), pss) if any_padding else (padding.PKCS1v15(),):
            with suppress(InvalidSignature):
                key.verify(signature, signed, one, digest)
                return True
    return False


def _oid(reader: BerReader, algorithm: Element) -> str:
    return der.dotted(reader.contents(reader.children(algorithm)[0]))

"""Read certificates strictly, with the fields that the appraisal needs. Reading a certificate does not trust it."""

import hashlib
import sys
from dataclasses import field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from verifier.core.bounds import (
    CERTIFICATE_CACHE_BYTES,
    MAX_CERTIFICATE_BYTES,
    MAX_RSA_EXPONENT_BITS,
    MAX_SERIAL_NUMBER_BYTES,
    SIGNER_CACHE_BYTES,
)
from verifier.core.byte_cache import ByteCache
from verifier.core.encoding import der
from verifier.core.encoding.der import BoundError, DerError, Reader
from verifier.core.trust.distinguished_names import read_name
from verifier.core.trust.extensions import Extensions, read_extensions
from verifier.core.values import dataclass

#: What cryptography raises on a field that it cannot read. A process may turn warnings into errors, so they are here.
_UNREADABLE = (
    *(ValueError, TypeError, OverflowError, Warning),
    *(x509.InvalidVersion, x509.DuplicateExtension, UnsupportedAlgorithm),
)
#: [0] version with the INTEGER 2, which means v3 (RFC 5280 4.1.2.1). v1 is the default and therefore absent.
_V3 = b"\xa0\x03\x02\x01\x02"
_RSA_ENCRYPTION = bytes.fromhex("2a864886f70d010101")
_EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")
#: Ed25519, Ed448 and DSA. They are cheap to load, and refused by name in the signature step.
_OTHER_LOADABLE = frozenset({bytes.fromhex("2b6570"), bytes.fromhex("2b6571"), bytes.fromhex("2a8648ce380401")})
#: A BIT STRING of whole bytes that starts with an uncompressed point (SEC 1, 2.3.3).
_UNCOMPRESSED = b"\x00\x04"
#: issuerUniqueID and subjectUniqueID (RFC 5280 4.1.2.8).
_UNIQUE_IDENTIFIERS = (0x81, 0x82)


class CertificateError(ValueError):
    """Report bytes that are not one X.509 certificate within the bounds. `fault` follows on "the certificate"."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"not a certificate that can be read: it {fault}")
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Hold one certificate. `common_names` and `dns_names` are raw bytes, which are not decoded or normalised."""

    der: bytes = field(repr=False)
    sha256: str
    spki_sha256: str
    parsed: x509.Certificate = field(repr=False)
    #: None if the key is of a form that is not loaded: it can sign neither documents nor certificates here.
    public_key: CertificatePublicKeyTypes | None = field(repr=False)
    subject: str
    subject_der: bytes = field(repr=False)
    issuer: str
    issuer_der: bytes = field(repr=False)
    serial_number: int
    #: The contents of its INTEGER.
    serial_bytes: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    signature_oid: str
    common_names: tuple[bytes, ...]
    dns_names: tuple[bytes, ...]
    is_ca: bool
    key_usage: frozenset[str] | None
    extended_key_usage: frozenset[str] | None
    subject_key_identifier: bytes | None = field(repr=False)
    authority_key_identifier: bytes | None = field(repr=False)
    #: The claimed URLs of the issuer's certificate (RFC 5280 4.2.2.1). An untrusted sender may have written them.
    unverified_issuer_urls: tuple[str, ...] = field(repr=False)

    @property
    def is_self_issued(self) -> bool:
        return self.subject_der == self.issuer_der

    def is_issued_by(self, authority: "Certificate") -> bool:
        """Return whether `authority` has the name of the issuer and its key made the signature.

        Not checked: trust, dates and usages of either certificate.
        """
        if authority.subject_der != self.issuer_der or authority.public_key is None:
            return False
        try:
            self.parsed.verify_directly_issued_by(authority.parsed)
        except (InvalidSignature, *_UNREADABLE):
            return False
        return True

    @property
    def sha1(self) -> str:
        """The SHA-1 by which Azure's page of certificate authorities names it. It identifies; no check relies on it."""
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest()

    @property
    def serial_hex(self) -> str:
        return f"{self.serial_number:x}"

    @classmethod
    def from_der(cls, raw: bytes) -> "Certificate":
        """Read the one DER certificate in `raw` (RFC 5280 4.1), or take it from the cache. Raises CertificateError.

        Not checked: its signature, dates, names and usages.
        """
        known = cls.find_read(raw)
        if known is None:
            known = cls.read(raw)
            _OTHERS.keep(raw, known)
        return known

    @classmethod
    def find_read(cls, raw: bytes) -> "Certificate | None":
        """Return the certificate from the cache, or None if the cache does not have it."""
        return _SIGNERS.find(raw) or _OTHERS.find(raw)

    def remember_signer(self) -> None:
        """Keep this certificate of a signer whose chain was accepted. Those that senders make up do not evict it."""
        if _SIGNERS.find(self.der) is None:
            _OTHERS.take(self.der)
            _SIGNERS.keep(self.der, self)

    @classmethod
    def from_pem(cls, raw: bytes) -> "Certificate":
        """Read the one certificate in the PEM text `raw`. Raises CertificateError."""
        try:
            loaded = x509.load_pem_x509_certificates(raw)
        except ValueError as error:
            raise CertificateError("is not in PEM") from error
        if len(loaded) != 1:
            raise CertificateError(f"is one of {len(loaded)} in one file")
        return cls.from_der(der.from_certificate(loaded[0]))

    @classmethod
    def read(cls, raw: bytes) -> "Certificate":
        """Read a certificate like `from_der`, but without the cache."""
        if len(raw) > MAX_CERTIFICATE_BYTES:
            raise CertificateError(f"is larger than {MAX_CERTIFICATE_BYTES} bytes")
        try:
            return _read(raw)
        except BoundError as error:
            raise CertificateError(f"has {error.excess}") from error
        except DerError as error:
            raise CertificateError(f"is not exact DER: {error}") from error
        except _UNREADABLE as error:
            # The message of cryptography is for programmers, so name only its type.
            kind = type(error).__name__
            raise CertificateError(f"has a field of an unknown form ({kind})") from error


def read_issuer_and_number(raw: bytes) -> tuple[bytes, bytes]:
    """Return the issuer, as DER, and the contents of the serial number's INTEGER. Raises DerError.

    Of a certificate that the cache does not have, nothing else is read.
    """
    known = Certificate.find_read(raw)
    if known is not None:
        return known.issuer_der, known.serial_bytes
    tbs = Reader(raw).inside(der.SEQUENCE).inside(der.SEQUENCE)
    if tbs.has_next(der.CONTEXT_0):
        tbs.element(der.CONTEXT_0)
    number = tbs.contents(der.INTEGER)
    tbs.element(der.SEQUENCE)
    return tbs.element(der.SEQUENCE), number


def _read(raw: bytes) -> Certificate:
    outer = Reader(raw)
    certificate = outer.inside(der.SEQUENCE)
    outer.end()
    tbs = certificate.inside(der.SEQUENCE)
    algorithm = certificate.element(der.SEQUENCE)
    der.whole_bytes(certificate.contents(der.BIT_STRING))
    certificate.end()

    is_v3 = tbs.has_next(der.CONTEXT_0)
    if is_v3 and tbs.element(der.CONTEXT_0) != _V3:
        raise DerError("it has a version other than 1 and 3")
    serial_bytes = tbs.contents(der.INTEGER)
    serial_number = _serial_number(serial_bytes)
    if tbs.element(der.SEQUENCE) != algorithm:
        raise DerError("it has two signature algorithms")  # RFC 5280 4.1.1.2
    issuer_der = tbs.element(der.SEQUENCE)
    tbs.element(der.SEQUENCE)  # cryptography reads the validity
    subject_der = tbs.element(der.SEQUENCE)
    spki = tbs.element(der.SEQUENCE)
    for tag in _UNIQUE_IDENTIFIERS if is_v3 else ():
        if tbs.has_next(tag):
            der.whole_bytes(tbs.contents(tag))
    extensions = Extensions()
    if is_v3 and tbs.has_next(der.CONTEXT_3):
        explicit = tbs.inside(der.CONTEXT_3)
        extensions = read_extensions(explicit.inside(der.SEQUENCE))
        explicit.end()
    tbs.end()

    is_loadable = _has_loadable_key(spki)
    issuer, subject = read_name(issuer_der), read_name(subject_der)
    parsed = x509.load_der_x509_certificate(raw)
    return Certificate(
        der=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        spki_sha256=hashlib.sha256(spki).hexdigest(),
        parsed=parsed,
        public_key=parsed.public_key() if is_loadable else None,
        subject=subject.text,
        subject_der=subject_der,
        issuer=issuer.text,
        issuer_der=issuer_der,
        serial_number=serial_number,
        serial_bytes=serial_bytes,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        signature_oid=_signature_oid(algorithm),
        common_names=subject.common_names,
        dns_names=extensions.dns_names,
        is_ca=extensions.is_ca,
        key_usage=extensions.key_usage,
        extended_key_usage=extensions.extended_key_usage,
        subject_key_identifier=extensions.subject_key_identifier,
        authority_key_identifier=extensions.authority_key_identifier,
        unverified_issuer_urls=extensions.issuer_urls,
    )


def _serial_number(contents: bytes) -> int:
    if len(contents) > MAX_SERIAL_NUMBER_BYTES:
        raise BoundError(MAX_SERIAL_NUMBER_BYTES, "bytes in its serial number")
    number = der.integer(contents)
    if number <= 0:
        raise DerError("it has a serial number that is not positive")  # RFC 5280 4.1.2.2
    return number


def _has_loadable_key(spki: bytes) -> bool:
    """Return whether the key may be loaded: its cost is bounded, and it has one encoding.

    To load a Diffie-Hellman key, OpenSSL tests its parameters for seconds. A point of an EC key that is compressed, or
    curve parameters that are explicit, give one key a second encoding, which the deny list does not name. Refuses a
    long RSA exponent (RFC 3279 2.3.1), which makes verification up to 100 times as expensive.
    """
    fields = Reader(spki).inside(der.SEQUENCE)
    algorithm = fields.inside(der.SEQUENCE)
    kind = algorithm.contents(der.OBJECT_IDENTIFIER)
    if kind == _EC_PUBLIC_KEY:
        return algorithm.has_next(der.OBJECT_IDENTIFIER) and fields.contents(der.BIT_STRING)[:2] == _UNCOMPRESSED
    if kind != _RSA_ENCRYPTION:
        return kind in _OTHER_LOADABLE
    outer = Reader(der.whole_bytes(fields.contents(der.BIT_STRING)))
    key = outer.inside(der.SEQUENCE)
    outer.end()
    key.contents(der.INTEGER)
    exponent = key.contents(der.INTEGER)
    key.end()
    if der.integer(exponent).bit_length() > MAX_RSA_EXPONENT_BITS:
        raise BoundError(MAX_RSA_EXPONENT_BITS, "bits in its RSA exponent")
    return True


def _signature_oid(algorithm: bytes) -> str:
    fields = Reader(algorithm).inside(der.SEQUENCE)
    oid = der.dotted(fields.contents(der.OBJECT_IDENTIFIER))
    if fields.has_more():
        fields.any_element()
    fields.end()
    return oid


def _weigh(raw: bytes, certificate: Certificate) -> int:
    """Estimate the memory of a cached certificate in bytes, with the objects of cryptography and OpenSSL.

    Real ones have 5.8 KB, of which 2.2 KB are their DER, and the estimate is 7.2 KB.
    """
    parts = (
        *(certificate.subject, certificate.subject_der, certificate.issuer, certificate.issuer_der),
        *(*certificate.common_names, *certificate.dns_names, *certificate.unverified_issuer_urls),
        *(certificate.extended_key_usage or ()),
    )
    return 4 * 1024 + len(raw) + sum(sys.getsizeof(part) + 8 for part in parts)


# Every region signs with one certificate for months, and reading it would be most of the cost of an appraisal.
_SIGNERS: ByteCache[bytes, Certificate] = ByteCache(SIGNER_CACHE_BYTES, _weigh)
#: Among them are those that senders make up.
_OTHERS: ByteCache[bytes, Certificate] = ByteCache(CERTIFICATE_CACHE_BYTES, _weigh)

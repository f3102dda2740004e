"""Read the CMS SignedData of a document (RFC 5652 section 5) as IMDS writes it, and account for every byte.

Every other field is refused by name. No signature covers such a field, so a sender could add it and present the same
document again. `docs/adr/0028-exact-reader.md` gives the reason for each field.
"""

from dataclasses import field
from functools import lru_cache

from verifier.core.bounds import MAX_ALGORITHM_BYTES, MAX_EMBEDDED_CERTIFICATES, MAX_SIGNED_ATTRIBUTES
from verifier.core.encoding import der
from verifier.core.encoding.der import Reader
from verifier.core.values import dataclass

_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_DATA = bytes.fromhex("2a864886f70d010701")
_PKCS_1 = "1.2.840.113549.1.1."
_PSS = "1.2.840.113549.1.1.10"
#: RFC 5652 5.1 and 5.3: the version that goes with id-data and issuerAndSerialNumber.
_VERSION = b"\x01"


class CmsError(ValueError):
    """Report bytes that are not a document in the form of IMDS. The message is a sentence that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """Hold an AlgorithmIdentifier (RFC 5280 4.1.1.2): its dotted OID, and its parameters as DER or empty."""

    oid: str
    parameters: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedData:
    """Hold every variable part of a document, in the order of its fields. The other parts are constant."""

    #: The one member of digestAlgorithms. It has the OID of `digest_algorithm`.
    announced_digest: Algorithm
    content: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    #: The sid: the issuer as DER, and the contents of the serial number's INTEGER.
    issuer: bytes = field(repr=False)
    serial_number: bytes
    digest_algorithm: Algorithm
    #: The Attributes as DER, in ascending order; None when the field is absent.
    signed_attributes: tuple[bytes, ...] | None = field(repr=False)
    #: What is signed if there are attributes (RFC 5652 5.4): their DER as an explicit SET OF, not as [0].
    signed_set: bytes = field(repr=False)
    signature_algorithm: Algorithm
    signature: bytes = field(repr=False)


def read_signed_data(raw: bytes) -> SignedData:
    """Read the ContentInfo in `raw`: one SignedData of version 1 over id-data. Raises CmsError and DerError.

    It names one signer by issuer and serial number. It has at most MAX_EMBEDDED_CERTIFICATES certificates and at most
    MAX_SIGNED_ATTRIBUTES signed attributes. Every byte of `raw` is a constant or in one field of the result.

    Not checked: the contents of certificates, and the values of algorithms and attributes.
    """
    signed_data = Reader(raw)
    signed_data.enter(der.SEQUENCE)
    if signed_data.contents(der.OBJECT_IDENTIFIER) != _SIGNED_DATA:
        raise CmsError("The document is not a CMS SignedData.")
    signed_data.enter(der.CONTEXT_0)
    signed_data.enter(der.SEQUENCE)

    version = signed_data.contents(der.INTEGER)
    announced = _announced(signed_data.inside(der.SET))
    content = _content(signed_data.inside(der.SEQUENCE), version)
    certificates = _certificates(signed_data)
    if signed_data.has_next(der.CONTEXT_1):
        raise CmsError("The document carries revocation lists (crls). No signature covers them, so they are refused.")
    signer_infos = signed_data.inside(der.SET)
    signed_data.end()
    if not signer_infos.has_more():
        raise CmsError("The document has no signer.")
    signer_info = signer_infos.inside(der.SEQUENCE)
    if signer_infos.has_more():
        raise CmsError("The document has more than one signer.")

    issuer, serial_number = _sid(signer_info)
    digest = _digest(signer_info)
    if digest.oid != announced.oid:
        raise CmsError("The document announces another digest algorithm than its signer uses.")
    attributes, signed_set = _signed_attributes(signer_info)
    signature_algorithm = _signature_algorithm(signer_info)
    signature = signer_info.contents(der.OCTET_STRING)
    if signer_info.has_next(der.CONTEXT_1):
        raise CmsError("The document has unsigned attributes. No signature covers them, so they are refused.")
    signer_info.end()
    return SignedData(
        announced_digest=announced,
        content=content,
        certificates=certificates,
        issuer=issuer,
        serial_number=serial_number,
        digest_algorithm=digest,
        signed_attributes=attributes,
        signed_set=signed_set,
        signature_algorithm=signature_algorithm,
        signature=signature,
    )


def _announced(digests: Reader) -> Algorithm:
    """Read the announced digest algorithms (RFC 5652 5.1). One signer needs exactly one."""
    if not digests.has_more():
        raise CmsError("The document announces no digest algorithm.")
    digest = _digest(digests)
    if digests.has_more():
        raise CmsError("The document announces more than one digest algorithm.")
    return digest


def _content(encapsulated: Reader, version: bytes) -> bytes:
    """Read the encapsulated content (RFC 5652 5.2)."""
    content_type = encapsulated.contents(der.OBJECT_IDENTIFIER)
    if version != _VERSION or content_type != _DATA:
        raise CmsError("The document is not a SignedData of version 1 over data.")
    if not encapsulated.has_more():
        raise CmsError("The document carries no content.")
    encapsulated.enter(der.CONTEXT_0)
    content = encapsulated.contents(der.OCTET_STRING)
    encapsulated.end()
    return content


def _certificates(signed_data: Reader) -> tuple[bytes, ...]:
    """Read the embedded certificates (RFC 5652 10.2.3) in any order, because signers use different orders."""
    if not signed_data.has_next(der.CONTEXT_0):
        raise CmsError("The document embeds no certificate.")
    embedded = signed_data.inside(der.CONTEXT_0)
    certificates: list[bytes] = []
    while embedded.has_more():
        if len(certificates) == MAX_EMBEDDED_CERTIFICATES:
            raise CmsError(f"The document embeds more than {MAX_EMBEDDED_CERTIFICATES} certificates.")
        if not embedded.has_next(der.SEQUENCE):
            raise CmsError("The document embeds elements that are not X.509 certificates.")
        certificates.append(embedded.element(der.SEQUENCE))
    return tuple(certificates)


def _sid(signer_info: Reader) -> tuple[bytes, bytes]:
    """Read the issuer and the serial number of the signer's certificate (RFC 5652 5.3)."""
    version = signer_info.contents(der.INTEGER)
    if version != _VERSION or not signer_info.has_next(der.SEQUENCE):
        raise CmsError("The signer is not named by issuer and serial number.")
    sid = signer_info.inside(der.SEQUENCE)
    issuer = sid.element(der.SEQUENCE)
    serial_number = sid.contents(der.INTEGER)
    sid.end()
    return issuer, serial_number


def _signed_attributes(signer_info: Reader) -> tuple[tuple[bytes, ...] | None, bytes]:
    """Read the signed attributes and the SET that is signed (RFC 5652 5.3).

    They are DER, so they are in ascending order. Each occurs once.
    """
    if not signer_info.has_next(der.CONTEXT_0):
        return None, b""
    encoded = signer_info.element(der.CONTEXT_0)
    members = Reader(encoded).inside(der.CONTEXT_0)
    attributes: list[bytes] = []
    while members.has_more():
        if len(attributes) == MAX_SIGNED_ATTRIBUTES:
            raise CmsError(f"The document has more than {MAX_SIGNED_ATTRIBUTES} signed attributes.")
        attribute = members.element(der.SEQUENCE)
        if attributes and attribute <= attributes[-1]:
            raise CmsError("The signed attributes are not in DER order, or one occurs twice.")
        attributes.append(attribute)
    return tuple(attributes), bytes([der.SET]) + encoded[1:]


def _digest(parent: Reader) -> Algorithm:
    """Read a digest algorithm, whose parameters are NULL or absent with the same meaning (RFC 5754 section 2)."""
    digest = _algorithm(parent)
    if digest.parameters not in {b"", der.NULL}:
        raise CmsError("The digest algorithm has parameters.")
    return digest


def _signature_algorithm(parent: Reader) -> Algorithm:
    """Read the signature algorithm.

    The parameters of RSA algorithms other than PSS must be NULL (RFC 3279 2.2.1). Some signers omit them.
    """
    algorithm = _algorithm(parent)
    is_pkcs1 = algorithm.oid.startswith(_PKCS_1) and algorithm.oid != _PSS
    if is_pkcs1 and algorithm.parameters[:1] not in {b"", der.NULL[:1]}:
        raise CmsError("The RSA signature algorithm has parameters.")
    return algorithm


def _algorithm(parent: Reader) -> Algorithm:
    encoded = parent.element(der.SEQUENCE)
    if len(encoded) > MAX_ALGORITHM_BYTES:
        raise CmsError(f"The document has an algorithm of more than {MAX_ALGORITHM_BYTES} bytes.")
    return _read_algorithm(encoded)


@lru_cache(maxsize=128)
def _read_algorithm(encoded: bytes) -> Algorithm:
    """Read an algorithm, and cache the result. The caller bounds the size of each."""
    fields = Reader(encoded).inside(der.SEQUENCE)
    oid = der.dotted(fields.contents(der.OBJECT_IDENTIFIER))
    parameters = fields.any_element() if fields.has_more() else b""
    fields.end()
    return Algorithm(oid=oid, parameters=parameters)

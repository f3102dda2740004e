"""CMS SignedData (RFC 5652 section 5), made of explicit parts, byte for byte as IMDS writes it.

`signed_data` gives the parts of a document like the real ones. Everything is a field of a frozen dataclass, so a
document that differs in one respect is `dataclasses.replace` and `encode` away. Nothing here checks that the parts fit
each other: encoding what does not fit is what the test suite needs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from asn1crypto import core, parser
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from verifier.emulator.pki import PrivateKey, SigningHash

ID_DATA: Final = "1.2.840.113549.1.7.1"
ID_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
ID_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
ID_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"

_UNIVERSAL, _CONTEXT = 0, 2
_CONSTRUCTED = 1
_SEQUENCE, _SET = 16, 17
_NULL: Final = b"\x05\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """AlgorithmIdentifier (RFC 5280 4.1.1.2): a dotted OID, and its parameters as DER or absent."""

    oid: str
    parameters: bytes | None = _NULL

    def encode(self) -> bytes:
        return _sequence(_oid(self.oid), self.parameters or b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """Attribute (RFC 5652 5.3): a dotted OID, and its values as DER."""

    oid: str
    values: tuple[bytes, ...]

    def encode(self) -> bytes:
        return _sequence(_oid(self.oid), _set_of(self.values))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerInfo:
    """SignerInfo (RFC 5652 5.3) whose sid is issuerAndSerialNumber; `issuer` is a Name as DER.

    `signed_attributes` None leaves the field out, as IMDS does; an empty tuple encodes it empty.
    """

    version: int = 1
    issuer: bytes
    serial_number: int
    digest_algorithm: Algorithm
    signed_attributes: tuple[Attribute, ...] | None = None
    signature_algorithm: Algorithm
    signature: bytes

    def encode(self) -> bytes:
        attributes = b""
        if self.signed_attributes is not None:
            attributes = _tagged(0, *sorted(attribute.encode() for attribute in self.signed_attributes))
        return _sequence(
            _integer(self.version),
            _sequence(self.issuer, _integer(self.serial_number)),
            self.digest_algorithm.encode(),
            attributes,
            self.signature_algorithm.encode(),
            _octets(self.signature),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedData:
    """A ContentInfo that holds a SignedData (RFC 5652 3 and 5.1); certificates are DER, none leaves the field out."""

    version: int = 1
    digest_algorithms: tuple[Algorithm, ...]
    content_type: str = ID_DATA
    content: bytes
    certificates: tuple[bytes, ...]
    signer_infos: tuple[SignerInfo, ...]

    def encode(self) -> bytes:
        """DER (X.690 11.6: the members of each SET OF are sorted by their encoding)."""
        signed_data = _sequence(
            _integer(self.version),
            _set_of(algorithm.encode() for algorithm in self.digest_algorithms),
            _sequence(_oid(self.content_type), _tagged(0, _octets(self.content))),
            _tagged(0, *sorted(self.certificates)) if self.certificates else b"",
            _set_of(signer_info.encode() for signer_info in self.signer_infos),
        )
        return _sequence(_oid(ID_SIGNED_DATA), _tagged(0, signed_data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a signature is made, and what the SignerInfo says about it; `rsa_padding` is ignored for an EC key."""

    digest: SigningHash
    digest_algorithm: Algorithm
    signature_algorithm: Algorithm
    rsa_padding: padding.PKCS1v15 | padding.PSS


SHA256: Final = hashes.SHA256()
SHA384: Final = hashes.SHA384()
SHA512: Final = hashes.SHA512()

# RFC 5754 section 2, RFC 8017 A.2.4, RFC 5758 3.2.
_DIGEST_OIDS: Final = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_RSA_WITH_DIGEST_OIDS: Final = {
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
}
_ECDSA_WITH_DIGEST_OIDS: Final = {
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}
_MGF1_OID: Final = "1.2.840.113549.1.1.8"
_RSA_ENCRYPTION: Final = Algorithm(oid="1.2.840.113549.1.1.1")
_RSASSA_PSS_OID: Final = "1.2.840.113549.1.1.10"

AZURE: Final = Scheme(
    digest=SHA256,
    # A signature OID where a digest OID belongs: sha256WithRSAEncryption, in every real document.
    digest_algorithm=Algorithm(oid=_RSA_WITH_DIGEST_OIDS["sha256"]),
    signature_algorithm=_RSA_ENCRYPTION,
    rsa_padding=padding.PKCS1v15(),
)


def digest_algorithm(digest: SigningHash) -> Algorithm:
    """A plain SHA-2 digest, its parameters absent (RFC 5754 section 2)."""
    return Algorithm(oid=_DIGEST_OIDS[digest.name], parameters=None)


def rsa_encryption(digest: SigningHash) -> Scheme:
    """PKCS#1 v1.5 under the name rsaEncryption, with a proper digest OID (RFC 3370 3.2)."""
    return Scheme(
        digest=digest,
        digest_algorithm=digest_algorithm(digest),
        signature_algorithm=_RSA_ENCRYPTION,
        rsa_padding=padding.PKCS1v15(),
    )


def rsa_with_digest(digest: SigningHash) -> Scheme:
    """PKCS#1 v1.5 under the name shaNNNWithRSAEncryption (RFC 5754 3.2)."""
    return Scheme(
        digest=digest,
        digest_algorithm=digest_algorithm(digest),
        signature_algorithm=Algorithm(oid=_RSA_WITH_DIGEST_OIDS[digest.name]),
        rsa_padding=padding.PKCS1v15(),
    )


def rsassa_pss(digest: SigningHash) -> Scheme:
    """RSASSA-PSS (RFC 4056): MGF1 with the same digest, and a salt as long as it."""
    inner = Algorithm(oid=_DIGEST_OIDS[digest.name])
    mask = Algorithm(oid=_MGF1_OID, parameters=inner.encode())
    parameters = _sequence(
        _tagged(0, inner.encode()),
        _tagged(1, mask.encode()),
        _tagged(2, _integer(digest.digest_size)),
    )
    return Scheme(
        digest=digest,
        digest_algorithm=digest_algorithm(digest),
        signature_algorithm=Algorithm(oid=_RSASSA_PSS_OID, parameters=parameters),
        rsa_padding=padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size),
    )


def ecdsa(digest: SigningHash) -> Scheme:
    """ECDSA under the name ecdsa-with-SHANNN (RFC 5753 2.1.1, RFC 5758 3.2: no parameters)."""
    return Scheme(
        digest=digest,
        digest_algorithm=digest_algorithm(digest),
        signature_algorithm=Algorithm(oid=_ECDSA_WITH_DIGEST_OIDS[digest.name], parameters=None),
        rsa_padding=padding.PKCS1v15(),
    )


def signed_data(content: bytes, *, certificate: x509.Certificate, key: PrivateKey) -> SignedData:
    """A document as IMDS makes it: no signed attributes, the odd digest OID, the signer's certificate alone."""
    signer_info = sign_content(content, certificate=certificate, key=key)
    return SignedData(
        digest_algorithms=(signer_info.digest_algorithm,),
        content=content,
        certificates=(certificate.public_bytes(serialization.Encoding.DER),),
        signer_infos=(signer_info,),
    )


def sign_content(
    content: bytes,
    *,
    certificate: x509.Certificate,
    key: PrivateKey,
    scheme: Scheme = AZURE,
) -> SignerInfo:
    """RFC 5652 5.4 without signed attributes: the signature is over the content octets themselves."""
    return SignerInfo(
        issuer=certificate.issuer.public_bytes(),
        serial_number=certificate.serial_number,
        digest_algorithm=scheme.digest_algorithm,
        signature_algorithm=scheme.signature_algorithm,
        signature=_sign(content, key, scheme),
    )


def sign_attributes(
    attributes: tuple[Attribute, ...],
    *,
    certificate: x509.Certificate,
    key: PrivateKey,
    scheme: Scheme,
) -> SignerInfo:
    """RFC 5652 5.4 with signed attributes: the signature is over their DER as an explicit SET OF, not as [0]."""
    return SignerInfo(
        issuer=certificate.issuer.public_bytes(),
        serial_number=certificate.serial_number,
        digest_algorithm=scheme.digest_algorithm,
        signed_attributes=attributes,
        signature_algorithm=scheme.signature_algorithm,
        signature=_sign(_set_of(attribute.encode() for attribute in attributes), key, scheme),
    )


def content_attributes(
    content: bytes,
    *,
    digest: SigningHash,
    content_type: str = ID_DATA,
) -> tuple[Attribute, ...]:
    """The two attributes that RFC 5652 5.3 demands: content-type (11.1) and message-digest (11.2)."""
    context = hashes.Hash(digest)
    context.update(content)
    return (
        Attribute(oid=ID_CONTENT_TYPE, values=(_oid(content_type),)),
        Attribute(oid=ID_MESSAGE_DIGEST, values=(_octets(context.finalize()),)),
    )


def _sign(octets: bytes, key: PrivateKey, scheme: Scheme) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(octets, scheme.rsa_padding, scheme.digest)
    return key.sign(octets, ec.ECDSA(scheme.digest))


def _sequence(*members: bytes) -> bytes:
    return _emit(_UNIVERSAL, _SEQUENCE, members)


def _set_of(members: Iterable[bytes]) -> bytes:
    return _emit(_UNIVERSAL, _SET, sorted(members))


def _tagged(number: int, *members: bytes) -> bytes:
    """[number]: an explicit tag around one member, or an implicit one in place of the SET OF of several."""
    return _emit(_CONTEXT, number, members)


def _emit(tag_class: int, tag: int, members: Iterable[bytes]) -> bytes:
    return bytes(parser.emit(tag_class, _CONSTRUCTED, tag, b"".join(members)))


def _oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


def _integer(value: int) -> bytes:
    return bytes(core.Integer(value).dump())


def _octets(value: bytes) -> bytes:
    return bytes(core.OctetString(value).dump())

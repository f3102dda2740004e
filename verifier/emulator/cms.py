"""Build CMS SignedData (RFC 5652 section 5) from explicit parts, with the same bytes as IMDS.

`signed_data` returns the parts of a document like the real ones. Each part is a frozen dataclass, so a test makes a
deviating document with `dataclasses.replace` and `encode`. Not checked: whether the parts are consistent, because tests
need inconsistent documents too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from asn1crypto import core, parser
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from verifier.emulator.pki import PrivateKey, SigningHash

ID_DATA: Final = "1.2.840.113549.1.7.1"
ID_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"

_UNIVERSAL, _CONTEXT = 0, 2
_CONSTRUCTED = 1
_SEQUENCE, _SET = 16, 17
_NULL: Final = b"\x05\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """AlgorithmIdentifier (RFC 5280 4.1.1.2): a dotted OID, and parameters as DER, or None to omit them."""

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
    """SignerInfo (RFC 5652 5.3) with issuerAndSerialNumber as sid. `issuer` is a Name as DER.

    `signed_attributes` None omits the field, as IMDS does. An empty tuple encodes an empty field.
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
            _octet_string(self.signature),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedData:
    """A SignedData in its ContentInfo (RFC 5652 3 and 5.1). `certificates` are DER; an empty tuple omits the field."""

    version: int = 1
    digest_algorithms: tuple[Algorithm, ...]
    content_type: str = ID_DATA
    content: bytes
    certificates: tuple[bytes, ...]
    signer_infos: tuple[SignerInfo, ...]

    def encode(self) -> bytes:
        """Encode as DER. Members of each SET OF are sorted by their encoding (X.690 11.6)."""
        signed_data = _sequence(
            _integer(self.version),
            _set_of(algorithm.encode() for algorithm in self.digest_algorithms),
            _sequence(_oid(self.content_type), _tagged(0, _octet_string(self.content))),
            _tagged(0, *sorted(self.certificates)) if self.certificates else b"",
            _set_of(signer_info.encode() for signer_info in self.signer_infos),
        )
        return _sequence(_oid(ID_SIGNED_DATA), _tagged(0, signed_data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How to sign, and which algorithms the SignerInfo names. `rsa_padding` is ignored for an EC key."""

    digest: SigningHash
    digest_algorithm: Algorithm
    signature_algorithm: Algorithm
    rsa_padding: padding.PKCS1v15 | padding.PSS = field(default_factory=padding.PKCS1v15)

    def sign(self, message: bytes, key: PrivateKey) -> bytes:
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(message, self.rsa_padding, self.digest)
        return key.sign(message, ec.ECDSA(self.digest))


SHA256: Final = hashes.SHA256()
AZURE: Final = Scheme(
    digest=SHA256,
    # Every real document has a signature OID in place of the digest OID: sha256WithRSAEncryption.
    digest_algorithm=Algorithm(oid="1.2.840.113549.1.1.11"),
    signature_algorithm=Algorithm(oid="1.2.840.113549.1.1.1"),
)


def signed_data(content: bytes, *, certificate: x509.Certificate, key: PrivateKey) -> SignedData:
    """Sign as IMDS does: no signed attributes, its wrong digest OID, and only the signer's certificate."""
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
    """Sign the content itself: RFC 5652 5.4 without signed attributes."""
    return SignerInfo(
        issuer=certificate.issuer.public_bytes(),
        serial_number=certificate.serial_number,
        digest_algorithm=scheme.digest_algorithm,
        signature_algorithm=scheme.signature_algorithm,
        signature=scheme.sign(content, key),
    )


def _sequence(*members: bytes) -> bytes:
    return _emit(_UNIVERSAL, _SEQUENCE, members)


def _set_of(members: Iterable[bytes]) -> bytes:
    return _emit(_UNIVERSAL, _SET, sorted(members))


def _tagged(number: int, *members: bytes) -> bytes:
    """Encode [number]: an explicit tag for one member, or an implicit tag that replaces SET OF for several."""
    return _emit(_CONTEXT, number, members)


def _emit(tag_class: int, tag: int, members: Iterable[bytes]) -> bytes:
    return bytes(parser.emit(tag_class, _CONSTRUCTED, tag, b"".join(members)))


def _oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


def _integer(value: int) -> bytes:
    return bytes(core.Integer(value).dump())


def _octet_string(value: bytes) -> bytes:
    return bytes(core.OctetString(value).dump())

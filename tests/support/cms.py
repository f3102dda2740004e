"""Build CMS documents from the parts of the emulator, also with schemes and attributes that IMDS does not use."""

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from support.der_parts import integer, oid, sequence, tlv

from verifier.emulator.cms import (
    AZURE,
    ID_DATA,
    ID_SIGNED_DATA,
    SHA256,
    Algorithm,
    Attribute,
    Scheme,
    SignedData,
    SignerInfo,
    sign_content,
    signed_data,
)
from verifier.emulator.pki import PrivateKey, SigningHash

__all__ = [
    "AZURE",
    "ID_DATA",
    "ID_SIGNED_DATA",
    "SHA256",
    "Algorithm",
    "Attribute",
    "Scheme",
    "SignedData",
    "SignerInfo",
    "sign_content",
    "signed_data",
]

SHA384: Final = hashes.SHA384()
SHA512: Final = hashes.SHA512()

ID_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
ID_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"

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
_RSASSA_PSS_OID: Final = "1.2.840.113549.1.1.10"


def digest_algorithm(digest: SigningHash) -> Algorithm:
    """Return the AlgorithmIdentifier of a SHA-2 digest, without parameters (RFC 5754 section 2)."""
    return Algorithm(oid=_DIGEST_OIDS[digest.name], parameters=None)


def rsa_encryption(digest: SigningHash) -> Scheme:
    """Return PKCS#1 v1.5 named rsaEncryption, with a correct digest OID (RFC 3370 3.2)."""
    return Scheme(
        digest=digest,
        digest_algorithm=digest_algorithm(digest),
        signature_algorithm=AZURE.signature_algorithm,
    )


def rsa_with_digest(digest: SigningHash) -> Scheme:
    """Return PKCS#1 v1.5 named shaNNNWithRSAEncryption (RFC 5754 3.2)."""
    return Scheme(
        digest=digest,
        digest_algorithm=digest_algorithm(digest),
        signature_algorithm=Algorithm(oid=_RSA_WITH_DIGEST_OIDS[digest.name]),
    )


def rsassa_pss(digest: SigningHash) -> Scheme:
    """Return RSASSA-PSS (RFC 4056): MGF1 with the same digest, and a salt of the same length."""
    inner = Algorithm(oid=_DIGEST_OIDS[digest.name])
    mask = Algorithm(oid=_MGF1_OID, parameters=inner.encode())
    parameters = sequence(
        tlv(0xA0, inner.encode()),
        tlv(0xA1, mask.encode()),
        tlv(0xA2, integer(digest.digest_size)),
    )
    return Scheme(
        digest=digest,
        digest_algorithm=digest_algorithm(digest),
        signature_algorithm=Algorithm(oid=_RSASSA_PSS_OID, parameters=parameters),
        rsa_padding=padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size),
    )


def ecdsa(digest: SigningHash) -> Scheme:
    """Return ECDSA named ecdsa-with-SHANNN, without parameters (RFC 5753 2.1.1, RFC 5758 3.2)."""
    return Scheme(
        digest=digest,
        digest_algorithm=digest_algorithm(digest),
        signature_algorithm=Algorithm(oid=_ECDSA_WITH_DIGEST_OIDS[digest.name], parameters=None),
    )


def sign_attributes(
    attributes: tuple[Attribute, ...],
    *,
    certificate: x509.Certificate,
    key: PrivateKey,
    scheme: Scheme,
) -> SignerInfo:
    """Sign the DER of the attributes as SET OF, not as [0]: RFC 5652 5.4 with signed attributes."""
    return SignerInfo(
        issuer=certificate.issuer.public_bytes(),
        serial_number=certificate.serial_number,
        digest_algorithm=scheme.digest_algorithm,
        signed_attributes=attributes,
        signature_algorithm=scheme.signature_algorithm,
        signature=scheme.sign(tlv(0x31, *sorted(attribute.encode() for attribute in attributes)), key),
    )


def content_attributes(
    content: bytes,
    *,
    digest: SigningHash,
    content_type: str = ID_DATA,
) -> tuple[Attribute, ...]:
    """Return the two required attributes (RFC 5652 5.3): content-type (11.1) and message-digest (11.2)."""
    context = hashes.Hash(digest)
    context.update(content)
    return (
        Attribute(oid=ID_CONTENT_TYPE, values=(oid(content_type),)),
        Attribute(oid=ID_MESSAGE_DIGEST, values=(tlv(0x04, context.finalize()),)),
    )

"""Verify the signature over the content: check 2 (RFC 5652 5.4 to 5.6).

No other check turns an Envelope into content.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from verifier.core.bounds import MAX_RSA_BITS, MIN_RSA_BITS
from verifier.core.encoding.der import NULL
from verifier.core.model import Envelope, SignedContent
from verifier.core.reasons import Reason, SignatureRefused

_DATA = "1.2.840.113549.1.7.1"
_RSA = "rsa"
_PSS = "rsa-pss"
_ECDSA = "ecdsa"

HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
# RFC 5754 section 2.
_DIGEST_OF = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
#: Key algorithms. Many signers write one of them as the signature algorithm and name the digest separately.
_RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
_EC_PUBLIC_KEY = "1.2.840.10045.2.1"
# RFC 5754 section 3: the family, and the digest that the algorithm fixes, or "" if it fixes none.
_SIGNATURE_OF = {
    _RSA_ENCRYPTION: (_RSA, ""),
    "1.2.840.113549.1.1.11": (_RSA, "sha256"),
    "1.2.840.113549.1.1.12": (_RSA, "sha384"),
    "1.2.840.113549.1.1.13": (_RSA, "sha512"),
    "1.2.840.113549.1.1.10": (_PSS, ""),
    _EC_PUBLIC_KEY: (_ECDSA, ""),
    "1.2.840.10045.4.3.2": (_ECDSA, "sha256"),
    "1.2.840.10045.4.3.3": (_ECDSA, "sha384"),
    "1.2.840.10045.4.3.4": (_ECDSA, "sha512"),
}
# Broken digests (RFC 6151, RFC 9155), alone or in a signature algorithm. Refusals quote the names.
_BROKEN = {
    "1.2.840.113549.2.2": "MD2",
    "1.2.840.113549.2.5": "MD5",
    "1.3.14.3.2.26": "SHA-1",
    "1.2.840.113549.1.1.2": "MD2",
    "1.2.840.113549.1.1.4": "MD5",
    "1.2.840.113549.1.1.5": "SHA-1",
    "1.3.14.3.2.29": "SHA-1",
    "1.2.840.10045.4.1": "SHA-1",
    "1.2.840.10040.4.3": "SHA-1",
}
_OF_CERTIFICATES = _SIGNATURE_OF.keys() - {_RSA_ENCRYPTION, _EC_PUBLIC_KEY}
_PKCS1V15 = padding.PKCS1v15()
_NO_PARAMETERS = frozenset({b"", NULL})
# The accepted curves, with their parameters of id-ecPublicKey (RFC 5480 2.1.1.1): the object identifier as DER.
_CURVE_PARAMETERS = {
    "secp256r1": bytes.fromhex("06082a8648ce3d030107"),
    "secp384r1": bytes.fromhex("06052b81040022"),
    "secp521r1": bytes.fromhex("06052b81040023"),
}


def hash_named_by(oid: str) -> hashes.HashAlgorithm | None:
    """Return the hash that this digest or signature algorithm names, or None if it names none that is accepted."""
    _, digest = _SIGNATURE_OF.get(oid, ("", ""))
    return HASHES.get(_DIGEST_OF.get(oid, digest))


def _element(tag: int, *contents: bytes) -> bytes:
    inside = b"".join(contents)
    return bytes([tag, len(inside)]) + inside


def _pss_parameters(digest_oid: str, salt_length: int) -> frozenset[bytes]:
    """Return the encodings of the PSS parameters that are accepted with one digest (RFC 4055 3.1).

    The same digest hashes the content and masks it with MGF1, because the defaults are SHA-1. The salt is as long as
    the digest. The trailer is the default, which DER omits. The parameters of each digest are NULL or absent.
    """
    mgf1 = bytes.fromhex("06092a864886f70d010108")
    named = [_element(0x30, bytes.fromhex(digest_oid), parameters) for parameters in (b"", NULL)]
    salt = _element(0xA2, _element(0x02, bytes([salt_length])))
    return frozenset(
        _element(0x30, _element(0xA0, digest), _element(0xA1, _element(0x30, mgf1, mask)), salt)
        for digest in named
        for mask in named
    )


_PSS_PARAMETERS = {
    "sha256": _pss_parameters("0609608648016503040201", 32),
    "sha384": _pss_parameters("0609608648016503040202", 48),
    "sha512": _pss_parameters("0609608648016503040203", 64),
}


def verify_signature(envelope: Envelope) -> SignedContent:
    """Verify that the key in the signer's certificate signed the content, and return the content.

    The key is RSA of MIN_RSA_BITS to MAX_RSA_BITS (PKCS#1 v1.5 or PSS), or ECDSA on P-256, P-384 or P-521. The digest
    is SHA-256, SHA-384 or SHA-512. If the document has signed attributes, they must name this content. A signer's
    certificate that is itself signed with a broken digest is refused.

    Not checked: who owns the certificate. Raises SignatureRefused.
    """
    digest = _digest(envelope)
    attributes = envelope.signed_attributes
    if attributes is None:
        signed_bytes = envelope.unverified_content
    else:
        # RFC 5652 11.1 and 11.2: these two attributes bind the signature to the content.
        content_digest = hashlib.new(digest, envelope.unverified_content).digest()
        if attributes.content_type_oid != _DATA or not hmac.compare_digest(attributes.message_digest, content_digest):
            raise SignatureRefused(Reason.SIGNATURE_INVALID, "The signed attributes describe other content.")
        signed_bytes = attributes.signed_bytes
    try:
        _verify(envelope, digest, signed_bytes)
    except InvalidSignature as error:
        raise SignatureRefused(
            Reason.SIGNATURE_INVALID, "The signature does not match the content: one of them was changed."
        ) from error
    return SignedContent(
        sha256=envelope.sha256,
        content=envelope.unverified_content,
        signer=envelope.signer,
        unverified_candidates=envelope.unverified_candidates,
    )


def _digest(envelope: Envelope) -> str:
    for oid in (envelope.digest_oid, envelope.signature_oid, envelope.signer.signature_oid):
        if oid in _BROKEN:
            raise _refused(f"{_BROKEN[oid]} is broken. It is refused in the document and in the signer's certificate.")
    if envelope.signer.signature_oid not in _OF_CERTIFICATES:
        raise _refused(
            f"The signer's certificate is signed with {envelope.signer.signature_oid}, which is not accepted."
        )
    # Azure writes sha256WithRSAEncryption as the digest algorithm. No signer writes that of another key.
    family, digest = _SIGNATURE_OF.get(envelope.digest_oid, ("", ""))
    if family != _RSA or isinstance(envelope.signer.public_key, ec.EllipticCurvePublicKey):
        digest = ""
    digest = _DIGEST_OF.get(envelope.digest_oid, digest)
    if not digest:
        raise _refused(f"The digest algorithm {envelope.digest_oid} is not accepted.")
    return digest


def _verify(envelope: Envelope, digest: str, signed_bytes: bytes) -> None:
    """Verify the signature over these bytes. Raises InvalidSignature and SignatureRefused."""
    if envelope.signature_oid not in _SIGNATURE_OF:
        raise _refused(f"The signature algorithm {envelope.signature_oid} is not accepted.")
    family, fixed_digest = _SIGNATURE_OF[envelope.signature_oid]
    if fixed_digest not in {"", digest}:
        raise _refused(f"The document names the digest {digest}, but its signature algorithm names {fixed_digest}.")
    key = envelope.signer.public_key
    algorithm = HASHES[digest]
    if isinstance(key, rsa.RSAPublicKey) and family in {_RSA, _PSS}:
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise _refused(
                f"The signer's RSA key has {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted."
            )
        if family == _PSS:
            key.verify(envelope.signature, signed_bytes, _pss(envelope, digest), algorithm)
        else:
            _check_parameters(envelope, _NO_PARAMETERS)
            key.verify(envelope.signature, signed_bytes, _PKCS1V15, algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey) and family == _ECDSA:
        if key.curve.name not in _CURVE_PARAMETERS:
            raise _refused(f"The signer's curve {key.curve.name} is not accepted.")
        curve = {_CURVE_PARAMETERS[key.curve.name]} if envelope.signature_oid == _EC_PUBLIC_KEY else set()
        _check_parameters(envelope, _NO_PARAMETERS | curve)
        key.verify(envelope.signature, signed_bytes, ec.ECDSA(algorithm))
    elif key is None:
        raise _refused(
            "The signer's key has a form that is not accepted. Accepted are RSA keys, and uncompressed points of named "
            "curves."
        )
    else:
        raise _refused("The signer's key does not belong to the signature algorithm of the document.")


def _check_parameters(envelope: Envelope, accepted: frozenset[bytes]) -> None:
    """Refuse other parameters of the signature algorithm than these.

    RFC 3279 2.2.1 requires NULL for RSA, and RFC 5758 3.2 requires none for ECDSA. Signers mix the two up, and both
    have the same meaning.
    """
    if envelope.signature_parameters not in accepted:
        raise _refused("The signature algorithm has parameters that are not accepted.")


def _pss(envelope: Envelope, digest: str) -> padding.PSS:
    if envelope.signature_parameters not in _PSS_PARAMETERS[digest]:
        raise _refused(f"The PSS parameters must use {digest} throughout, with a salt as long as the digest.")
    algorithm = HASHES[digest]
    return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)


def _refused(detail: str) -> SignatureRefused:
    return SignatureRefused(Reason.ALGORITHM_REFUSED, detail)

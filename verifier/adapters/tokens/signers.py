"""Sign the bytes of a result token with a key in a file or in an HSM."""

from dataclasses import field
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from verifier.adapters.tokens.pkcs11_uri import Pkcs11Uri
from verifier.core.values import dataclass

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey
PublicKey = EllipticCurvePublicKey | Ed25519PublicKey

_ES256 = ECAlgorithm(ECAlgorithm.SHA256)
_EDDSA = OKPAlgorithm()
# PyJWT makes this object for each signature, which takes a fifth of its time.
_ECDSA = ECDSA(SHA256())
_P256_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Key:
    """Name a private key in a PKCS#11 token, with its public key."""

    uri: Pkcs11Uri
    public_key: PublicKey

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return True if the private key made this signature, in the form of JWS, of the data."""
        if isinstance(self.public_key, Ed25519PublicKey):
            return _EDDSA.verify(data, self.public_key, signature)
        return _ES256.verify(data, self.public_key, signature)


class Signer(Protocol):
    """Sign with one private key. Both methods raise Unavailable if the key cannot sign now."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature of the data in the form of JWS (RFC 7518 section 3.4, RFC 8037 section 3.1)."""

    def check(self) -> None:
        """Check that the key can sign, as far as that is known or soon found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PemSigner:
    """Sign with a private key in memory. Implements Signer."""

    private_key: PrivateKey = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.private_key, Ed25519PrivateKey):
            return self.private_key.sign(data)
        r, s = decode_dss_signature(self.private_key.sign(data, _ECDSA))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")

    def check(self) -> None:
        """Return: a key in memory can sign."""

"""Make keys that are the same in every run, and sign with them, also as no library signs any more.

The RSA keys have known primes and any number of them, so that a key of 16384 bits costs no time. They protect nothing.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from math import lcm, prod
from typing import Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.der_parts import integer, oid, sequence, tlv

NULL: Final = b"\x05\x00"

_DIGEST_OIDS: Final = {
    "md5": "1.2.840.113549.2.5",
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_HASHES: Final = {
    "sha1": hashes.SHA1(),  # noqa: S303 - a case has a broken digest
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_PSS_OID: Final = "1.2.840.113549.1.1.10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """A signature algorithm: its AlgorithmIdentifier, its digest and, for PSS, the mask's digest and the salt."""

    encoded: bytes
    digest: str
    is_pss: bool = False
    mask: str = ""
    salt: int = 0


def _named(dotted: str, digest: str, parameters: bytes = b"") -> Algorithm:
    return Algorithm(encoded=sequence(oid(dotted), parameters), digest=digest)


def digest_identifier(digest: str) -> bytes:
    """Encode the AlgorithmIdentifier of a digest with NULL (RFC 4055 2.1)."""
    return sequence(oid(_DIGEST_OIDS[digest]), NULL)


def pss(digest: str, *, mask: str = "", salt: int | None = None, trailer: int | None = None) -> Algorithm:
    """Return RSASSA-PSS with these parameters (RFC 4055 3.1). The salt is as long as the digest by default."""
    size = hashlib.new(digest, usedforsecurity=False).digest_size if salt is None else salt
    mask_identifier = sequence(oid("1.2.840.113549.1.1.8"), digest_identifier(mask or digest))
    # DER does not encode defaults, which are SHA-1, MGF1 with SHA-1, and a salt of 20 bytes.
    parameters = sequence(
        b"" if digest == "sha1" else tlv(0xA0, digest_identifier(digest)),
        b"" if (mask or digest) == "sha1" else tlv(0xA1, mask_identifier),
        b"" if size == 20 else tlv(0xA2, integer(size)),
        b"" if trailer is None else tlv(0xA3, integer(trailer)),
    )
    return Algorithm(
        encoded=sequence(oid(_PSS_OID), parameters), digest=digest, is_pss=True, mask=mask or digest, salt=size
    )


#: PSS without parameters (RFC 4055 3.1).
PSS_WITHOUT_PARAMETERS: Final = Algorithm(
    encoded=sequence(oid(_PSS_OID)), digest="sha256", is_pss=True, mask="sha256", salt=32
)
ALGORITHMS: Final = {
    "ecdsa-sha1": _named("1.2.840.10045.4.1", "sha1"),
    "ecdsa-sha256": _named("1.2.840.10045.4.3.2", "sha256"),
    "ecdsa-sha384": _named("1.2.840.10045.4.3.3", "sha384"),
    "ecdsa-sha512": _named("1.2.840.10045.4.3.4", "sha512"),
    "ecdsa-sha256-null": _named("1.2.840.10045.4.3.2", "sha256", NULL),
    "rsa-md5": _named("1.2.840.113549.1.1.4", "md5", NULL),
    "rsa-sha1": _named("1.2.840.113549.1.1.5", "sha1", NULL),
    "rsa-sha224": _named("1.2.840.113549.1.1.14", "sha224", NULL),
    "rsa-sha256": _named("1.2.840.113549.1.1.11", "sha256", NULL),
    "rsa-sha384": _named("1.2.840.113549.1.1.12", "sha384", NULL),
    "rsa-sha512": _named("1.2.840.113549.1.1.13", "sha512", NULL),
    "rsa-sha256-without-null": _named("1.2.840.113549.1.1.11", "sha256"),
    "ed25519": _named("1.3.101.112", ""),
}


class Key(Protocol):
    """A key pair. Two keys of one kind and name are the same key."""

    def algorithm(self) -> Algorithm:
        """Return the usual algorithm of this kind of key."""

    def public(self) -> bytes:
        """Encode the SubjectPublicKeyInfo."""

    def sign(self, data: bytes, algorithm: Algorithm) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Elliptic:
    """An ECDSA key on a named curve."""

    name: str
    curve: str = "secp256r1"

    def algorithm(self) -> Algorithm:
        digests = {"secp384r1": "sha384", "secp521r1": "sha512"}
        return ALGORITHMS[f"ecdsa-{digests.get(self.curve, 'sha256')}"]

    def public(self) -> bytes:
        return (
            _elliptic(self.name, self.curve).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )

    def compressed(self) -> bytes:
        """Encode the SubjectPublicKeyInfo with a compressed point (RFC 5480 2.2)."""
        point = _elliptic(self.name, self.curve).public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        curve = oid("1.2.840.10045.3.1.7")
        return sequence(sequence(oid("1.2.840.10045.2.1"), curve), tlv(0x03, b"\x00", point))

    def sign(self, data: bytes, algorithm: Algorithm) -> bytes:
        scheme = ec.ECDSA(_HASHES[algorithm.digest], deterministic_signing=True)
        return _elliptic(self.name, self.curve).sign(data, scheme)


@cache
def _elliptic(name: str, curve: str) -> ec.EllipticCurvePrivateKey:
    kinds: dict[str, type[ec.EllipticCurve]] = {
        kind.name: kind for kind in (ec.SECP192R1, ec.SECP224R1, ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    }
    kinds |= {kind.name: kind for kind in (ec.SECP256K1, ec.BrainpoolP256R1)}
    # 160 bits are below the order of each of these curves.
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(name.encode()).digest()[:20]), kinds[curve]())


@dataclass(frozen=True, slots=True)
class Ed25519:
    """A key of RFC 8410."""

    name: str

    def algorithm(self) -> Algorithm:
        return ALGORITHMS["ed25519"]

    def _private(self) -> ed25519.Ed25519PrivateKey:
        return ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(self.name.encode()).digest())

    def public(self) -> bytes:
        return self._private().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes, algorithm: Algorithm) -> bytes:  # noqa: ARG002 - there is one
        return self._private().sign(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rsa:
    """An RSA key (RFC 8017). Its primes are `2**prime_bits - offset` for each of `offsets`."""

    offsets: tuple[int, ...]
    prime_bits: int = 1024
    exponent: int = 65537
    #: The object identifier of the key: rsaEncryption, or id-RSASSA-PSS (RFC 4055 1.2).
    kind: str = "1.2.840.113549.1.1.1"
    parameters: bytes = NULL

    @property
    def primes(self) -> tuple[int, ...]:
        return tuple(2**self.prime_bits - offset for offset in self.offsets)

    @property
    def modulus(self) -> int:
        return prod(self.primes)

    @property
    def size(self) -> int:
        return (self.modulus.bit_length() + 7) // 8

    def algorithm(self) -> Algorithm:
        return ALGORITHMS["rsa-sha256"]

    def public(self) -> bytes:
        key = sequence(integer(self.modulus), integer(self.exponent))
        return sequence(sequence(oid(self.kind), self.parameters), tlv(0x03, b"\x00", key))

    def sign(self, data: bytes, algorithm: Algorithm) -> bytes:
        encoded = self._pss(data, algorithm) if algorithm.is_pss else self._pkcs1(data, algorithm.digest)
        return self._power(int.from_bytes(encoded)).to_bytes(self.size)

    def _pkcs1(self, data: bytes, digest: str) -> bytes:
        """Encode by RFC 8017 9.2."""
        info = digest_info(data, digest)
        return b"\x00\x01" + b"\xff" * (self.size - len(info) - 3) + b"\x00" + info

    def _pss(self, data: bytes, algorithm: Algorithm) -> bytes:
        """Encode by RFC 8017 9.1.1 with a salt that the data determine. The modulus has whole bytes."""
        message = _hash(data, algorithm.digest)
        salt = hashlib.shake_256(data).digest(algorithm.salt)
        seed = _hash(bytes(8) + message + salt, algorithm.digest)
        block = b"\x00" * (self.size - len(seed) - len(salt) - 2) + b"\x01" + salt
        mask = b"".join(_hash(seed + number.to_bytes(4), algorithm.mask) for number in range(len(block)))[: len(block)]
        masked = bytes(one ^ other for one, other in zip(block, mask, strict=True))
        return bytes([masked[0] & 0x7F]) + masked[1:] + seed + b"\xbc"

    def _power(self, message: int) -> int:
        """Return `message` to the power of the private exponent, by the Chinese remainder theorem."""
        found, modulus = 0, 1
        for prime in self.primes:
            part = pow(message, pow(self.exponent, -1, prime - 1), prime)
            found += modulus * ((part - found) * pow(modulus, -1, prime) % prime)
            modulus *= prime
        return found

    def __post_init__(self) -> None:
        # The inverse exists only for such an exponent.
        if lcm(*(prime - 1 for prime in self.primes)) % self.exponent == 0 and self.exponent != 1:
            raise ValueError("the exponent divides the order")


def forged_for_exponent_3(key: Rsa, data: bytes, digest: str) -> bytes:
    """Forge a signature of a key with exponent 3 for verifiers that ignore what follows the digest (CVE-2006-4339)."""
    start = b"\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\x00" + digest_info(data, digest)
    target = int.from_bytes(start) << 8 * (key.size - len(start))
    root = _cube_root(target) + 1
    if (root**3).to_bytes(key.size)[: len(start)] != start:
        raise ValueError("the key is too small")
    return root.to_bytes(key.size)


def _cube_root(number: int) -> int:
    low, high = 0, 1 << number.bit_length() // 3 + 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


def digest_info(data: bytes, digest: str) -> bytes:
    """Encode the DigestInfo of these data (RFC 8017 9.2)."""
    return sequence(digest_identifier(digest), tlv(0x04, _hash(data, digest)))


def _hash(data: bytes, digest: str) -> bytes:
    return hashlib.new(digest, data, usedforsecurity=False).digest()


#: The 16 greatest primes below 2**1024, and two of those below 2**512, as differences.
_BELOW_1024: Final = (105, 179, 1397, 3177, 5025, 5409, 6083, 6369, 6615, 7137, 7953, 8049, 9497, 9603, 9749, 10139)
_BELOW_512: Final = (569, 629)
#: Those that exponent 3 permits.
_FOR_EXPONENT_3: Final = (179, 1397, 6083, 9497, 9749, 10139)


def rsa(bits: int = 2048, *, number: int = 0, exponent: int = 65537) -> Rsa:
    """Return a key of 1024 bits, or of a multiple of 1024 from 2048 to 16384. `number` makes other keys of 2048."""
    if bits == 1024:
        return Rsa(offsets=_BELOW_512, prime_bits=512, exponent=exponent)
    primes = _FOR_EXPONENT_3 if exponent == 3 else _BELOW_1024
    start = 2 * number
    return Rsa(offsets=primes[start : start + bits // 1024], exponent=exponent)

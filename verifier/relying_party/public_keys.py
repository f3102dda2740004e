"""Read public keys from JWKs (RFC 7517), and verify signatures with the algorithm that belongs to each key."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import jwt

from verifier.relying_party.compact_jws import encode_segment

MAX_KEYS = 32
_KID = re.compile(r"[\x21-\x7e]{1,128}")
_COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}")
#: Members of private and symmetric keys (RFC 7518 section 6).
_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
#: The required members of each kind of key, in the order of RFC 7638 section 3.3, and its algorithm.
_KINDS = {
    ("EC", "P-256"): (("crv", "kty", "x", "y"), "ES256"),
    ("OKP", "Ed25519"): (("crv", "kty", "x"), "EdDSA"),
}
#: The y of the Ed25519 points of order 1, 2, 4 and 8. With such a point as a key, anyone can sign.
_FIELD = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_LOW_ORDER = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})
ALGORITHMS = frozenset(algorithm for _, algorithm in _KINDS.values())


class KeyRefused(ValueError):
    """Report a JWK that is not a supported public key. The message quotes no part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """Hold a P-256 or Ed25519 key with its only algorithm and its thumbprint (RFC 7638)."""

    algorithm: str
    thumbprint: str
    _key: jwt.PyJWK = field(repr=False)

    def verifies(self, signature: bytes, signing_input: bytes) -> bool:
        return bool(self._key.Algorithm.verify(signing_input, self._key.key, signature))


def read_key(jwk: object) -> PublicKey:
    """Return the public key of a JWK. Raises KeyRefused."""
    if not isinstance(jwk, Mapping):
        raise KeyRefused("it is not a JWK")
    if not _SECRET_MEMBERS.isdisjoint(jwk):
        raise KeyRefused("it has a private or symmetric member")
    kind = _KINDS.get((str(jwk.get("kty")), str(jwk.get("crv"))))
    if kind is None:
        raise KeyRefused("it is neither a P-256 nor an Ed25519 key")
    names, algorithm = kind
    if jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        raise KeyRefused("it is for another algorithm or use")
    members = {name: jwk.get(name) for name in names}
    for name in names[2:]:
        value = members[name]
        if not isinstance(value, str) or not _COORDINATE.fullmatch(value):
            raise KeyRefused("it has no valid coordinates")
    if algorithm == "EdDSA" and _is_weak(str(members["x"])):
        raise KeyRefused("it is not a valid public key")
    try:
        key = jwt.PyJWK(members, algorithm=algorithm)
    except (jwt.PyJWTError, ValueError) as error:
        raise KeyRefused("it is not a valid public key") from error
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    return PublicKey(algorithm=algorithm, thumbprint=encode_segment(hashlib.sha256(canonical).digest()), _key=key)


def _is_weak(coordinate: str) -> bool:
    """Tell whether an Ed25519 point has a low order or a second spelling. Cryptographic libraries differ on both."""
    y = int.from_bytes(base64.urlsafe_b64decode(f"{coordinate}="), "little") % 2**255  # without the sign of x
    return y >= _FIELD or y in _LOW_ORDER


def read_key_set(document: object) -> dict[str, PublicKey]:
    """Return the usable keys of a JWK Set by their `kid`. Raises KeyRefused.

    A key of another kind is ignored, as RFC 7517 section 5 asks. A set with two keys of one name, with too many keys or
    without a usable one is refused.
    """
    described = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(described, list) or len(described) > MAX_KEYS:
        raise KeyRefused(f"it is not a JWK Set of at most {MAX_KEYS} keys")
    named = [(jwk["kid"], jwk) for jwk in described if isinstance(jwk, Mapping) and isinstance(jwk.get("kid"), str)]
    if len({kid for kid, _ in named}) != len(named):
        raise KeyRefused("it has two keys of one name")
    keys: dict[str, PublicKey] = {}
    for kid, jwk in named:
        if _KID.fullmatch(kid):
            with suppress(KeyRefused):
                keys[kid] = read_key(jwk)
    if not keys:
        raise KeyRefused("it has no usable key")
    return keys

"""The keys of result tokens, in a directory: `<kid>.pem` (PKCS 8, PEM) each, and `current`, which names the one that
signs. All are published."""

import base64
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from verifier.ports.tokens import PublishedKey, TokenAlgorithm, TokenKeyError

SUFFIX = ".pem"
#: Names the signing key. Without it, the only key signs; several are refused, since none of them is the obvious one.
CURRENT = "current"
_KID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
#: More than an overlap ever needs, and few enough to read each second.
MAX_KEYS = 32
_MAX_BYTES = 16 * 1024

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """A private key that tokens can be signed with, and the algorithm that goes with its kind."""

    kid: str
    algorithm: TokenAlgorithm
    private_key: PrivateKey = field(repr=False)

    @property
    def published(self) -> PublishedKey:
        """RFC 7517: public members alone, since they are built from the public key."""
        use = {"kid": self.kid, "use": "sig", "alg": self.algorithm.value}
        return PublishedKey(kid=self.kid, jwk={**_public_members(self.private_key), **use})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """At least one key; `signing` is one of them."""

    keys: tuple[TokenKey, ...]
    signing: TokenKey

    def __post_init__(self) -> None:
        if self.signing not in self.keys:
            raise ValueError("the signing key is not among the keys")

    @property
    def published(self) -> tuple[PublishedKey, ...]:
        """The one that signs first, the others by name."""
        others = (key for key in self.keys if key is not self.signing)
        return tuple(key.published for key in (self.signing, *others))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """One file as it was read: whose it is, who else may use it, and what is in it."""

    name: str
    owner: int
    mode: int
    data: bytes = field(repr=False)


def read_files(directory: Path) -> tuple[KeyFile, ...]:
    """The files of a key directory, by name: keys and `current` alone. Nothing is known of what they hold.

    Names that begin with a dot are another's business: half-written files, and what Kubernetes mounts with.
    Raises TokenKeyError.
    """
    try:
        names = sorted(
            name
            for name in os.listdir(directory)  # noqa: PTH208 - names are what is asked for
            if not name.startswith(".") and (name == CURRENT or name.endswith(SUFFIX))
        )
    except OSError as error:
        raise TokenKeyError(f"{directory}: {error.strerror}") from error
    if len(names) > MAX_KEYS + 1:
        raise TokenKeyError(f"{directory}: more than {MAX_KEYS} keys")
    return tuple(_read_file(directory, name) for name in names)


def make_ring(directory: Path, files: tuple[KeyFile, ...]) -> KeyRing:
    """The keys that these files are. Every one is usable, and nobody but this user, or root, can have read it from
    there. Raises TokenKeyError, which names the file and never quotes it."""
    keys = tuple(_read_key(directory, file) for file in files if file.name != CURRENT)
    if not keys:
        raise TokenKeyError(f"{directory}: no key; `imds-verifier keys generate` makes one")
    named = [file.data for file in files if file.name == CURRENT]
    if not named:
        if len(keys) > 1:
            raise TokenKeyError(f"{directory}: several keys, and no file '{CURRENT}' that names the one that signs")
        return KeyRing(keys=keys, signing=keys[0])
    kid = named[0].strip()
    for key in keys:
        if key.kid.encode() == kid:
            return KeyRing(keys=keys, signing=key)
    raise TokenKeyError(f"{directory / CURRENT}: names no key that is there")


def load_ring(directory: Path) -> KeyRing:
    """The keys in the directory as it is now. Raises TokenKeyError."""
    return make_ring(directory, read_files(directory))


def is_kid(text: str) -> bool:
    return _KID.fullmatch(text) is not None


def thumbprint(key: PrivateKey) -> bytes:
    """RFC 7638 section 3: the SHA-256 of the public key's required members, in their one spelling."""
    canonical = json.dumps(_public_members(key), separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).digest()


def _read_file(directory: Path, name: str) -> KeyFile:
    path = directory / name
    try:
        # Not blocking: a pipe of that name must not hold up the service.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            # Of what is open, not of the name: that may be another file by now.
            status = os.fstat(descriptor)
            data = file.read(_MAX_BYTES + 1) or b""
    except OSError as error:
        raise TokenKeyError(f"{path}: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise TokenKeyError(f"{path}: larger than a key")
    return KeyFile(name=name, owner=status.st_uid, mode=status.st_mode, data=data)


def _read_key(directory: Path, file: KeyFile) -> TokenKey:
    path = directory / file.name
    kid = file.name.removesuffix(SUFFIX)
    if not is_kid(kid):
        raise TokenKeyError(f"{path}: a key's name is of letters, digits, '-' and '_', at most 64")
    _check_access(path, file)
    try:
        key = load_pem_private_key(file.data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: what the parser says may quote the key.
        raise TokenKeyError(f"{path}: not one unencrypted private key in PEM (PKCS 8)") from None
    match key:
        case EllipticCurvePrivateKey(curve=SECP256R1()):
            return TokenKey(kid=kid, algorithm=TokenAlgorithm.ES256, private_key=key)
        case Ed25519PrivateKey():
            return TokenKey(kid=kid, algorithm=TokenAlgorithm.EDDSA, private_key=key)
        case _:
            raise TokenKeyError(f"{path}: neither a P-256 key (ES256) nor an Ed25519 key (EdDSA)")


def _check_access(path: Path, file: KeyFile) -> None:
    """A key of this user is its alone. One of root's may be read by its group too: so a Kubernetes Secret reaches a
    service that is not root (fsGroup), and there is no other way to it."""
    user = os.geteuid()
    if file.owner not in {user, 0}:
        raise TokenKeyError(f"{path}: belongs to another user")
    others = 0o077 if file.owner == user else 0o037
    if file.mode & others:
        raise TokenKeyError(f"{path}: others can use it (mode {file.mode & 0o777:04o}); set 0600")


def _public_members(key: PrivateKey) -> dict[str, str]:
    """RFC 7518 section 6.2.1, RFC 8037 section 2: the members that make up the public key, and no other."""
    public = key.public_key()
    if isinstance(key, Ed25519PrivateKey):
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(raw)}
    # X9.62: 04, x, y, each of the coordinates in full length.
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return {"kty": "EC", "crv": "P-256", "x": _base64url(point[1:33]), "y": _base64url(point[33:])}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")

"""Read the keys of result tokens from a directory.

Each key is a file: `<kid>.pem` with a private key (PKCS 8, PEM), or `<kid>.pkcs11` with the PKCS#11 URI of a key in a
token and, after it, the public key (PEM). The file `current` names the signing key. All keys are published.
"""

import hashlib
import json
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from verifier.adapters.tokens.pkcs11_uri import parse_uri
from verifier.adapters.tokens.signers import Pkcs11Key, PrivateKey, PublicKey, Signer
from verifier.core.encoding.json_text import encode_json
from verifier.core.values import dataclass
from verifier.ports.tokens import PublishedKey, TokenAlgorithm, TokenKeyError

PEM_SUFFIX = ".pem"
PKCS11_SUFFIX = ".pkcs11"
#: The file that names the signing key. It is optional only if there is a single key.
CURRENT = "current"
_KID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
#: More than key rotation needs, and few enough to read each second.
MAX_KEYS = 32
_MAX_BYTES = 16 * 1024
_OTHER_KEY = "neither a P-256 key (ES256) nor an Ed25519 key (EdDSA)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """Hold a private key, or the name of one in a token, and its signature algorithm."""

    kid: str
    algorithm: TokenAlgorithm
    private_key: PrivateKey | Pkcs11Key = field(repr=False)

    @property
    def file_name(self) -> str:
        return f"{self.kid}{PKCS11_SUFFIX if isinstance(self.private_key, Pkcs11Key) else PEM_SUFFIX}"

    @property
    def published(self) -> PublishedKey:
        """Return the JWK (RFC 7517). It is built from the public key, so it has only public members."""
        jwk = {**_public_members(public_key_of(self.private_key)), "kid": self.kid, "use": "sig"}
        return PublishedKey(kid=self.kid, jwk={**jwk, "alg": self.algorithm.value})

    def sign(self, payload: bytes, media_type: str, signer: Signer) -> str:
        """Return the payload as a JWS (RFC 7515 section 7.1), signed by `signer`. Raises Unavailable.

        `jwt.PyJWS.encode` returns the same, but spends a fifth of the time of a token on its header and on checks of
        the key, which `make_ring` made.
        """
        signed = b".".join((_header(self.algorithm, self.kid, media_type), _base64url(payload)))
        return b".".join((signed, _base64url(signer.sign(signed)))).decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """Hold at least one key. `signing` is one of them."""

    keys: tuple[TokenKey, ...]
    signing: TokenKey

    def __post_init__(self) -> None:
        if self.signing not in self.keys:
            raise ValueError("the signing key is not among the keys")

    @property
    def published(self) -> tuple[PublishedKey, ...]:
        """Return the public keys: the signing key first, then the others by name."""
        others = (key for key in self.keys if key is not self.signing)
        return tuple(key.published for key in (self.signing, *others))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """Hold one file with its owner, mode and content."""

    name: str
    owner: int
    mode: int
    data: bytes = field(repr=False)


def read_files(directory: Path) -> tuple[KeyFile, ...]:
    """Read the key files and `current` of a directory, sorted by name. Not checked: their content.

    Names that begin with a dot are ignored: temporary files, and the links of a Kubernetes mount.
    Raises TokenKeyError.
    """
    with naming(directory):
        names = sorted(
            name
            for name in os.listdir(directory)  # noqa: PTH208 - only the names are needed
            if not name.startswith(".") and (name == CURRENT or name.endswith((PEM_SUFFIX, PKCS11_SUFFIX)))
        )
    if len(names) > MAX_KEYS + 1:
        raise TokenKeyError(f"{directory}: more than {MAX_KEYS} keys")
    return tuple(_read_file(directory, name) for name in names)


def make_ring(directory: Path, files: tuple[KeyFile, ...]) -> KeyRing:
    """Parse the files into a key ring, and check that only this user or root can read them.

    Raises TokenKeyError, which names the file and never quotes its content.
    """
    keys = tuple(_read_key(directory, file) for file in files if file.name != CURRENT)
    if not keys:
        raise TokenKeyError(f"{directory}: no key; create one with `imds-verifier keys generate`")
    if len({key.kid for key in keys}) < len(keys):
        raise TokenKeyError(f"{directory}: two files of one kid, {PEM_SUFFIX} and {PKCS11_SUFFIX}; remove one")
    named = [file.data for file in files if file.name == CURRENT]
    if not named:
        if len(keys) > 1:
            raise TokenKeyError(f"{directory}: several keys, but no file '{CURRENT}' that names the signing key")
        return KeyRing(keys=keys, signing=keys[0])
    kid = named[0].strip()
    for key in keys:
        if key.kid.encode() == kid:
            return KeyRing(keys=keys, signing=key)
    raise TokenKeyError(f"{directory / CURRENT}: names a key that does not exist")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an OSError into a TokenKeyError that names the path."""
    try:
        yield
    except OSError as error:
        raise TokenKeyError(f"{path}: {error.strerror}") from error


def load_ring(directory: Path) -> KeyRing:
    """Read and parse the keys of the directory. Raises TokenKeyError."""
    return make_ring(directory, read_files(directory))


def thumbprint(key: PublicKey) -> bytes:
    """Return the SHA-256 of the required members in canonical form (RFC 7638 section 3)."""
    canonical = json.dumps(_public_members(key), separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).digest()


@lru_cache(maxsize=MAX_KEYS)
def _header(algorithm: TokenAlgorithm, kid: str, media_type: str) -> bytes:
    return _base64url(encode_json({"alg": algorithm, "kid": kid, "typ": media_type}))


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _read_file(directory: Path, name: str) -> KeyFile:
    path = directory / name
    with naming(path):
        # Non-blocking: a named pipe must not block the service.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            # Use the descriptor: the name may refer to another file by now.
            status = os.fstat(descriptor)
            data = file.read(_MAX_BYTES + 1) or b""
    if len(data) > _MAX_BYTES:
        raise TokenKeyError(f"{path}: larger than {_MAX_BYTES} bytes")
    return KeyFile(name=name, owner=status.st_uid, mode=status.st_mode, data=data)


def public_key_of(key: PrivateKey | Pkcs11Key) -> PublicKey:
    return key.public_key if isinstance(key, Pkcs11Key) else key.public_key()


def write_pkcs11_key(key: Pkcs11Key) -> bytes:
    """Return the content of a file `<kid>.pkcs11`."""
    return f"{key.uri}\n".encode() + key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read_key(directory: Path, file: KeyFile) -> TokenKey:
    path = directory / file.name
    kid = file.name.removesuffix(PEM_SUFFIX).removesuffix(PKCS11_SUFFIX)
    if not _KID.fullmatch(kid):
        raise TokenKeyError(f"{path}: a key's name has at most 64 letters, digits, '-' and '_'")
    _check_access(path, file)
    if file.name.endswith(PKCS11_SUFFIX):
        key: PrivateKey | Pkcs11Key = _read_pkcs11_key(path, file.data)
    else:
        key = _read_private_key(path, file.data)
    is_ed25519 = isinstance(public_key_of(key), Ed25519PublicKey)
    return TokenKey(kid=kid, algorithm=TokenAlgorithm.EDDSA if is_ed25519 else TokenAlgorithm.ES256, private_key=key)


def _read_private_key(path: Path, data: bytes) -> PrivateKey:
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: the parser's message may quote the key.
        raise TokenKeyError(f"{path}: not one unencrypted private key in PEM (PKCS 8)") from None
    match key:
        case EllipticCurvePrivateKey(curve=SECP256R1()) | Ed25519PrivateKey():
            return key
        case _:
            raise TokenKeyError(f"{path}: {_OTHER_KEY}")


def _read_pkcs11_key(path: Path, data: bytes) -> Pkcs11Key:
    uri, _, pem = data.partition(b"\n")
    try:
        parsed = parse_uri(uri.decode("ascii").strip())
        key = load_pem_public_key(pem)
    except TokenKeyError as error:
        raise TokenKeyError(f"{path}: {error}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TokenKeyError(f"{path}: not a PKCS#11 URI in the first line and a public key in PEM below it") from error
    match key:
        case EllipticCurvePublicKey(curve=SECP256R1()) | Ed25519PublicKey():
            return Pkcs11Key(uri=parsed, public_key=key)
        case _:
            raise TokenKeyError(f"{path}: {_OTHER_KEY}")


def _check_access(path: Path, file: KeyFile) -> None:
    """Check the owner and the mode of a key file.

    Only its owner may access a key of this user. The group may read a key of root, because a Kubernetes Secret reaches
    a service without root privileges only through its group (fsGroup).
    """
    user = os.geteuid()
    if file.owner not in {user, 0}:
        raise TokenKeyError(f"{path}: belongs to another user")
    others = 0o077 if file.owner == user else 0o037
    if file.mode & others:
        raise TokenKeyError(f"{path}: others can use it (mode {file.mode & 0o777:04o}); set 0600")


def _public_members(key: PublicKey) -> dict[str, str]:
    """Return the members of the public key (RFC 7518 section 6.2.1, RFC 8037 section 2)."""
    if isinstance(key, Ed25519PublicKey):
        return OKPAlgorithm.to_jwk(key, as_dict=True)
    return ECAlgorithm.to_jwk(key, as_dict=True)

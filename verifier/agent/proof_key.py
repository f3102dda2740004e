"""The key of this VM, and DPoP proofs that the VM holds it (RFC 9449)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from verifier.agent import files
from verifier.agent.compatibility import dataclass
from verifier.agent.key_tools import KeyTool

# SubjectPublicKeyInfo of an uncompressed point on P-256, up to the point's coordinates (RFC 5480 2).
_P256_PREFIX: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_COORDINATE_BYTES: Final = 32
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_SEQUENCE, _INTEGER = 0x30, 0x02


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofKey:
    """An ES256 key in a file that only its owner can read. `jwk` is the public key (RFC 7517)."""

    file: Path
    tool: KeyTool
    jwk: dict[str, str]

    @classmethod
    def open(cls, file: Path, tool: KeyTool) -> ProofKey:
        """Read the key, or make it if there is no file. Raises OSError, and ValueError with a sentence.

        A file that another account owns or can read is refused.
        """
        if not file.exists():
            files.create(file, tool.generate())
        _check_owner(file)
        return cls(file=file, tool=tool, jwk=_jwk(tool.public_key(file), file))

    def thumbprint(self) -> str:
        """Return the RFC 7638 thumbprint, which a token is bound to."""
        return _b64(hashlib.sha256(_json(dict(sorted(self.jwk.items())))).digest())

    def make_proof(self, *, token: str, method: str, url: str, now: int) -> str:
        """Return a proof for one request with this token. `url` has no query and no fragment."""
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk}
        claims = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": now,
            "ath": _b64(hashlib.sha256(token.encode("ascii")).digest()),
        }
        signed = f"{_b64(_json(header))}.{_b64(_json(claims))}"
        return f"{signed}.{_b64(_raw_signature(self.tool.sign(self.file, signed.encode('ascii'))))}"


def _check_owner(file: Path) -> None:
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"the key file {file} is not a regular file")
    # Windows has no such modes: there the directory protects the file.
    if os.name == "posix" and (status.st_mode & _OTHERS or status.st_uid not in {0, os.geteuid()}):
        raise ValueError(f"the key file {file} must belong to this account, with mode 0600")


def _jwk(public_key: bytes, file: Path) -> dict[str, str]:
    x_and_y = public_key[len(_P256_PREFIX) :]
    if not public_key.startswith(_P256_PREFIX) or len(x_and_y) != 2 * _COORDINATE_BYTES:
        raise ValueError(f"{file} is not an EC P-256 key in PEM")
    return {"kty": "EC", "crv": "P-256", "x": _b64(x_and_y[:_COORDINATE_BYTES]), "y": _b64(x_and_y[_COORDINATE_BYTES:])}


def _raw_signature(der: bytes) -> bytes:
    """Return r and s of an ECDSA signature in 32 bytes each (RFC 7518 3.4)."""
    # Each number has at most 33 bytes, so every length has one byte.
    if der[:2] != bytes((_SEQUENCE, len(der) - 2)):
        raise ValueError("the signature is not in DER")
    r, rest = _integer(der[2:])
    s, rest = _integer(rest)
    if rest:
        raise ValueError("the signature is not in DER")
    return r + s


def _integer(der: bytes) -> tuple[bytes, bytes]:
    """Return the first number in 32 bytes, and the rest."""
    if len(der) < 2 or der[0] != _INTEGER or len(der) < 2 + der[1]:  # noqa: PLR2004 - tag and length
        raise ValueError("the signature is not in DER")
    number = int.from_bytes(der[2 : 2 + der[1]], "big")
    return number.to_bytes(_COORDINATE_BYTES, "big"), der[2 + der[1] :]


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")

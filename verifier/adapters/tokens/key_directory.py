"""Manage the keys of result tokens in a directory. Each change replaces one file atomically."""

import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from verifier.adapters.tokens.keys import (
    CURRENT,
    PEM_SUFFIX,
    PKCS11_SUFFIX,
    TokenKey,
    load_ring,
    naming,
    public_key_of,
    read_files,
    thumbprint,
    write_pkcs11_key,
)
from verifier.adapters.tokens.pkcs11_uri import Pkcs11Uri, parse_uri
from verifier.adapters.tokens.signers import Pkcs11Key, PrivateKey, PublicKey
from verifier.core.encoding.moments import moment_json
from verifier.ports.clock import Clock
from verifier.ports.tokens import JWKS_LIFETIME, PublishedKey, TokenAlgorithm, TokenKeyError


class TokenKeyDirectory:
    """Implement the TokenKeyAdministration port over a directory, with or without a running service.

    `token_lifetime` is the lifetime of the service's tokens. `refresh` is its reload interval. `read_token` reads the
    public key of a key in a PKCS#11 token and proves the pair, or raises TokenKeyError.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        token_lifetime: timedelta,
        refresh: timedelta,
        read_token: Callable[[Pkcs11Uri], Pkcs11Key] | None = None,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._token_lifetime = token_lifetime
        self._refresh = refresh
        self._read_token = read_token

    def generate(self, algorithm: TokenAlgorithm) -> str:
        key: PrivateKey
        match algorithm:
            case TokenAlgorithm.ES256:
                key = generate_private_key(SECP256R1())
            case TokenAlgorithm.EDDSA:
                key = Ed25519PrivateKey.generate()
        content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._publish(key.public_key(), PEM_SUFFIX, content)

    def add(self, uri: str) -> str:
        if self._read_token is None:
            raise TokenKeyError("set VERIFIER_PKCS11_MODULE to the library of the token")
        key = self._read_token(parse_uri(uri))
        return self._publish(key.public_key, PKCS11_SUFFIX, write_pkcs11_key(key))

    def _publish(self, public_key: PublicKey, suffix: str, content: bytes) -> str:
        """Write the file of a new key, and return its kid."""
        with naming(self._directory):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {file.name for file in read_files(self._directory)}
        # Raise if the existing keys are invalid: the service would refuse the new key too.
        ring = load_ring(self._directory) if names else None
        for key in ring.keys if ring else ():
            if thumbprint(public_key_of(key.private_key)) == thumbprint(public_key):
                raise TokenKeyError(f"{self._directory / key.file_name}: this key is published already")
        kid = f"{self._clock.now():%Y%m%d}-{thumbprint(public_key).hex()[:12]}"
        if ring is not None and CURRENT not in names:
            # The service refuses several keys without `current`, so name the signing key before adding the second one.
            self._write(CURRENT, f"{ring.signing.kid}\n".encode())
        self._write(f"{kid}{suffix}", content)
        if ring is None:
            self._write(CURRENT, f"{kid}\n".encode())
        return kid

    def published(self) -> tuple[PublishedKey, ...]:
        return load_ring(self._directory).published

    def sign_with(self, kid: str, *, at_once: bool = False) -> None:
        key, is_signing = self._find(kid)
        if is_signing:
            return
        if not at_once:
            known = self._changed(key.file_name) + JWKS_LIFETIME + self._refresh
            self._wait_for(known, f"relying parties with a cached key set do not know {kid} yet")
        self._write(CURRENT, f"{kid}\n".encode())

    def retire(self, kid: str, *, at_once: bool = False) -> None:
        key, is_signing = self._find(kid)
        if is_signing:
            raise TokenKeyError(f"{kid} is the signing key; rotate to another key first")
        if not at_once:
            unused = self._changed(CURRENT) + self._refresh + self._token_lifetime
            self._wait_for(unused, f"tokens that {kid} signed may still be valid")
        path = self._directory / key.file_name
        with naming(path):
            path.unlink()
            _sync(self._directory)

    def _find(self, kid: str) -> tuple[TokenKey, bool]:
        """Return the key, and True if it is the signing key. Raises TokenKeyError if there is no such key."""
        ring = load_ring(self._directory)
        for key in ring.keys:
            if key.kid == kid:
                return key, key is ring.signing
        raise TokenKeyError(f"{self._directory}: there is no key of that name")

    def _wait_for(self, moment: datetime, why: str) -> None:
        """Raise TokenKeyError before `moment`."""
        if self._clock.now() < moment:
            raise TokenKeyError(f"{why}: wait until {moment_json(moment, 'seconds')}, or use --now")

    def _changed(self, name: str) -> datetime:
        path = self._directory / name
        with naming(path):
            return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)

    def _write(self, name: str, data: bytes) -> None:
        """Write the file atomically and durably, with mode 0600."""
        with naming(self._directory / name):
            descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=self._directory)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(descriptor)
                Path(temporary).replace(self._directory / name)
                _sync(self._directory)
            finally:
                Path(temporary).unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

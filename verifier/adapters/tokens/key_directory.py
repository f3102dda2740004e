"""Manage the keys of result tokens in a directory. Each change replaces one file atomically."""

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from verifier.adapters.tokens.keys import CURRENT, SUFFIX, PrivateKey, load_ring, read_files, thumbprint
from verifier.ports.clock import Clock
from verifier.ports.tokens import JWKS_LIFETIME, PublishedKey, TokenAlgorithm, TokenKeyError


class TokenKeyDirectory:
    """Implement the TokenKeyAdministration port over a directory, with or without a running service.

    `token_lifetime` is the lifetime of the service's tokens. `refresh` is its reload interval.
    """

    def __init__(self, directory: Path, *, clock: Clock, token_lifetime: timedelta, refresh: timedelta) -> None:
        self._directory = directory
        self._clock = clock
        self._token_lifetime = token_lifetime
        self._refresh = refresh

    def generate(self, algorithm: TokenAlgorithm) -> str:
        self._make_directory()
        names = {file.name for file in read_files(self._directory)}
        # Raise if the existing keys are invalid: the service would refuse the new key too.
        signing = load_ring(self._directory).signing.kid if names else None
        key: PrivateKey
        match algorithm:
            case TokenAlgorithm.ES256:
                key = generate_private_key(SECP256R1())
            case TokenAlgorithm.EDDSA:
                key = Ed25519PrivateKey.generate()
        kid = f"{self._clock.now():%Y%m%d}-{thumbprint(key).hex()[:12]}"
        if signing is not None and CURRENT not in names:
            # The service refuses several keys without `current`, so name the signing key before adding the second one.
            self._write(CURRENT, f"{signing}\n".encode())
        self._write(f"{kid}{SUFFIX}", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        if signing is None:
            self._write(CURRENT, f"{kid}\n".encode())
        return kid

    def published(self) -> tuple[PublishedKey, ...]:
        return load_ring(self._directory).published

    def sign_with(self, kid: str, *, at_once: bool = False) -> None:
        ring = load_ring(self._directory)
        if kid not in {key.kid for key in ring.keys}:
            raise TokenKeyError(f"{self._directory}: there is no key of that name")
        if kid == ring.signing.kid:
            return
        if not at_once:
            known = self._changed(f"{kid}{SUFFIX}") + JWKS_LIFETIME + self._refresh
            self._wait_for(known, f"relying parties with a cached key set do not know {kid} yet")
        self._write(CURRENT, f"{kid}\n".encode())

    def retire(self, kid: str, *, at_once: bool = False) -> None:
        ring = load_ring(self._directory)
        if kid not in {key.kid for key in ring.keys}:
            raise TokenKeyError(f"{self._directory}: there is no key of that name")
        if kid == ring.signing.kid:
            raise TokenKeyError(f"{kid} is the signing key; rotate to another key first")
        if not at_once:
            unused = self._changed(CURRENT) + self._refresh + self._token_lifetime
            self._wait_for(unused, f"tokens that {kid} signed may still be valid")
        path = self._directory / f"{kid}{SUFFIX}"
        try:
            path.unlink()
            _sync(self._directory)
        except OSError as error:
            raise TokenKeyError(f"{path}: {error.strerror}") from error

    def _wait_for(self, moment: datetime, why: str) -> None:
        """Raise TokenKeyError before `moment`."""
        if self._clock.now() < moment:
            raise TokenKeyError(f"{why}: wait until {moment:%Y-%m-%dT%H:%M:%SZ}, or use --now")

    def _changed(self, name: str) -> datetime:
        try:
            return datetime.fromtimestamp((self._directory / name).stat().st_mtime, tz=UTC)
        except OSError as error:
            raise TokenKeyError(f"{self._directory / name}: {error.strerror}") from error

    def _make_directory(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise TokenKeyError(f"{self._directory}: {error.strerror}") from error

    def _write(self, name: str, data: bytes) -> None:
        """Write the file atomically and durably, with mode 0600."""
        temporary: str | None = None
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=self._directory)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            Path(temporary).replace(self._directory / name)
            _sync(self._directory)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise TokenKeyError(f"{self._directory / name}: {error.strerror}") from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Sign result tokens with keys that may change while the service runs."""

import secrets
import threading
from datetime import timedelta
from pathlib import Path

import jwt

from verifier.adapters.tokens.keys import KeyFile, KeyRing, make_ring, read_files
from verifier.core import result_claims
from verifier.core.model import LiveResult
from verifier.ports.telemetry import Recorder, ReloadOutcome, TokenKeysReloaded
from verifier.ports.tokens import PublishedKey, TokenKeyError

#: How often a directory is read again if it changes during the read. After that, it is refused.
_ATTEMPTS = 3


class SignedResults:
    """Implement the TokenIssuer port. Thread-safe; a token never waits for a reload.

    Construction raises TokenKeyError if the directory has no valid keys and there is no `last_good` ring. The audience
    of a token is `audience`, or else the name of the tenant.
    """

    def __init__(
        self,
        directory: Path,
        *,
        issuer: str,
        audience: str | None,
        lifetime: timedelta,
        build: str,
        recorder: Recorder,
        last_good: KeyRing | None = None,
    ) -> None:
        self._directory = directory
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime
        self._build = build
        self._recorder = recorder
        self._turn = threading.Lock()
        self._files: tuple[KeyFile, ...] | None = None
        self._trouble = ""
        ring = self._read()
        if ring is None:
            if last_good is None:
                raise TokenKeyError(self._trouble)
            ring = last_good
            self._tell(ReloadOutcome.REFUSED, self._trouble)
        self._ring = ring

    def issue(self, result: LiveResult, *, tenant: str) -> str:
        """Sign a token with the present key. The header names the key, and contains neither a key nor a URL of one."""
        signing = self._ring.signing
        claims = result_claims.build_claims(
            result,
            tenant=tenant,
            issuer=self._issuer,
            audience=self._audience or tenant,
            lifetime=self._lifetime,
            # RFC 7519 section 4.1.7: 128 random bits do not collide.
            token_id=secrets.token_urlsafe(16),
            build=self._build,
        )
        headers = {"kid": signing.kid, "typ": result_claims.TOKEN_TYPE}
        return jwt.encode(claims, signing.private_key, algorithm=signing.algorithm.value, headers=headers)

    def published(self) -> tuple[PublishedKey, ...]:
        """Reload the directory and return its public keys.

        The reload ensures that every worker of this host publishes the key of a token that any other worker signed.
        """
        self.refresh()
        return self._ring.published

    def trouble(self) -> str:
        return self._trouble

    def refresh(self) -> None:
        """Reload the keys of the directory if they have changed.

        If they are invalid, the previous keys stay in force, and the reason is recorded once.
        """
        with self._turn:
            before = self._trouble
            ring = self._read()
            if ring is not None:
                self._ring = ring
                self._tell(ReloadOutcome.LOADED, f"{ring.signing.kid} signs, {len(ring.keys)} published")
            elif self._trouble != before:
                self._tell(ReloadOutcome.REFUSED, self._trouble)

    def _read(self) -> KeyRing | None:
        """Return the keys of the directory if they have changed. `trouble` is the reason if they are invalid."""
        trouble = ""
        for _ in range(_ATTEMPTS):
            try:
                files = read_files(self._directory)
                # Compare bytes and modes. File times are too coarse.
                if files == self._files:
                    return None
                ring = make_ring(self._directory, files)
            except TokenKeyError as error:
                trouble = str(error)
                continue
            self._files, self._trouble = files, ""
            return ring
        self._files, self._trouble = None, trouble
        return None

    def _tell(self, outcome: ReloadOutcome, detail: str) -> None:
        self._recorder.record(TokenKeysReloaded(outcome=outcome, detail=detail))

"""Sign result tokens with keys that may change while the service runs."""

import secrets
import threading
from datetime import timedelta
from functools import partial
from pathlib import Path

from verifier.adapters.polling import FileFollower
from verifier.adapters.tokens.keys import KeyRing, make_ring, read_files
from verifier.core import result_claims
from verifier.core.encoding.json_text import encode_json
from verifier.core.model import LiveResult
from verifier.ports.telemetry import Recorder, ReloadOutcome, TokenKeysReloaded
from verifier.ports.tokens import PublishedKey, TokenKeyError


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
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime
        self._build = build
        self._recorder = recorder
        self._turn = threading.Lock()
        # The state is the bytes and modes of the files. File times are too coarse.
        self._files = FileFollower(partial(read_files, directory), partial(make_ring, directory))
        ring = self._files.read() or last_good
        if ring is None:
            raise TokenKeyError(self._files.refusal)
        self._ring = ring
        if self._files.refusal:
            self._tell(ReloadOutcome.REFUSED, self._files.refusal)

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
        return signing.sign(encode_json(claims), result_claims.TOKEN_TYPE)

    def published(self) -> tuple[PublishedKey, ...]:
        """Reload the directory and return its public keys.

        The reload ensures that every worker of this host publishes the key of a token that any other worker signed.
        """
        self.refresh()
        return self._ring.published

    def trouble(self) -> str:
        return self._files.refusal

    def refresh(self) -> None:
        """Reload the keys of the directory if they have changed.

        If they are invalid, the previous keys stay in force, and the reason is recorded once.
        """
        with self._turn:
            before = self._files.refusal
            ring = self._files.read()
            if ring is not None:
                self._ring = ring
                self._tell(ReloadOutcome.LOADED, f"{ring.signing.kid} signs, {len(ring.keys)} published")
            elif self._files.refusal != before:
                self._tell(ReloadOutcome.REFUSED, self._files.refusal)

    def _tell(self, outcome: ReloadOutcome, detail: str) -> None:
        self._recorder.record(TokenKeysReloaded(outcome=outcome, detail=detail))

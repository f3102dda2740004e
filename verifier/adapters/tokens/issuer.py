"""Result tokens: signs them, with keys that change while the service runs."""

import secrets
import threading
from datetime import timedelta
from pathlib import Path

import jwt

from verifier.adapters.polling import start_polling
from verifier.adapters.tokens.keys import KeyFile, KeyRing, make_ring, read_files
from verifier.core import result_claims
from verifier.core.model import LiveResult
from verifier.ports.telemetry import Recorder, ReloadOutcome, TokenKeysReloaded
from verifier.ports.tokens import PublishedKey, TokenKeyError

#: A directory that changes while it is read is read again, as often at most before it is called broken.
_ATTEMPTS = 3


class SignedResults:
    """Implements the TokenIssuer port. Thread-safe; no token waits for a reload.

    The directory must hold keys at construction (raises TokenKeyError), unless there is a `last_good` ring of it.
    The audience of a token is `audience`, or the tenant that asked, by its name, if there is none.
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
        """Signed by the key in force, which its header names; it carries no key, and no address of one."""
        signing = self._ring.signing
        claims = result_claims.build_claims(
            result,
            tenant=tenant,
            issuer=self._issuer,
            audience=self._audience or tenant,
            lifetime=self._lifetime,
            # RFC 7519 section 4.1.7: 128 random bits meet no others.
            token_id=secrets.token_urlsafe(16),
            build=self._build,
        )
        headers = {"kid": signing.kid, "typ": result_claims.TOKEN_TYPE}
        return jwt.encode(claims, signing.private_key, algorithm=signing.algorithm.value, headers=headers)

    def published(self) -> tuple[PublishedKey, ...]:
        """The directory is looked at first: whatever worker signed a token, its key was there before, and so is in
        what any worker of this host publishes after."""
        self.refresh()
        return self._ring.published

    def trouble(self) -> str:
        return self._trouble

    def refresh(self) -> None:
        """The keys in force are those of the directory as it is now, or, where they are refused, those before: told
        once for each fault."""
        with self._turn:
            before = self._trouble
            ring = self._read()
            if ring is not None:
                self._ring = ring
                self._tell(ReloadOutcome.LOADED, f"{ring.signing.kid} signs, {len(ring.keys)} published")
            elif self._trouble != before:
                self._tell(ReloadOutcome.REFUSED, self._trouble)

    def start(self, *, interval_seconds: float) -> threading.Event:
        """A thread of this process refreshes at each interval until the event that is returned is set."""
        return start_polling(self.refresh, self._recorder, name="token keys", interval_seconds=interval_seconds)

    def _read(self) -> KeyRing | None:
        """The keys of the directory, where they are others than before; `trouble` says why there are none."""
        trouble = ""
        for _ in range(_ATTEMPTS):
            try:
                files = read_files(self._directory)
                # The bytes are compared, and the modes: no times, which file systems keep coarsely.
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

"""Sign result tokens with keys that may change while the service runs."""

import threading
from datetime import timedelta
from functools import partial
from pathlib import Path

from verifier.adapters.polling import FileFollower
from verifier.adapters.tokens.keys import KeyFile, KeyRing, TokenKey, make_ring, read_files
from verifier.adapters.tokens.pkcs11_signer import Pkcs11Signer, Pkcs11Signing
from verifier.adapters.tokens.signers import PemSigner, Pkcs11Key, Signer
from verifier.core import result_claims
from verifier.core.encoding.json_text import encode_json
from verifier.core.model import LiveResult
from verifier.core.values import dataclass
from verifier.ports.telemetry import Recorder, ReloadOutcome, TokenKeysReloaded
from verifier.ports.tokens import PublishedKey, TokenKeyError


@dataclass(frozen=True, slots=True, kw_only=True)
class _InForce:
    ring: KeyRing
    #: The signer of the ring's signing key.
    signer: Signer


def find_signer(key: TokenKey, signing: Pkcs11Signing | None) -> Signer:
    """Return the signer of the key. Raises TokenKeyError for a key in a token if no library is configured."""
    if not isinstance(key.private_key, Pkcs11Key):
        return PemSigner(private_key=key.private_key)
    if signing is None:
        raise TokenKeyError(f"{key.file_name}: set VERIFIER_PKCS11_MODULE to the library of the token, and restart")
    return Pkcs11Signer(signing=signing, key=key.private_key)


class SignedResults:
    """Implement the TokenIssuer port. Thread-safe; a token never waits for a reload.

    Construction raises TokenKeyError if the directory has no valid keys and there is no `last_good` ring. The audience
    of a token is `audience`, or else the name of the tenant. Without `signing`, a key in a token cannot sign.
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
        signing: Pkcs11Signing | None = None,
        last_good: KeyRing | None = None,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime
        self._build = build
        self._recorder = recorder
        self._signing = signing
        self._turn = threading.Lock()

        def load(files: tuple[KeyFile, ...]) -> _InForce:
            return self._bind(make_ring(directory, files))

        # The state is the bytes and modes of the files. File times are too coarse.
        self._files = FileFollower(partial(read_files, directory), load)
        keys = self._files.read()
        if keys is None:
            if last_good is None:
                raise TokenKeyError(self._files.refusal)
            keys = self._bind(last_good)
        self._keys = keys
        if self._files.refusal:
            self._tell(ReloadOutcome.REFUSED, self._files.refusal)

    def issue(self, result: LiveResult, *, tenant: str, jti: str) -> str:
        """Sign a token with the present key. The header names the key, and contains neither a key nor a URL of one."""
        keys = self._keys
        claims = result_claims.build_claims(
            result,
            tenant=tenant,
            issuer=self._issuer,
            audience=self._audience or tenant,
            lifetime=self._lifetime,
            token_id=jti,
            build=self._build,
        )
        return keys.ring.signing.sign(encode_json(claims), result_claims.TOKEN_TYPE, keys.signer)

    def published(self) -> tuple[PublishedKey, ...]:
        """Reload the directory and return its public keys.

        The reload ensures that every worker of this host publishes the key of a token that any other worker signed.
        """
        self.refresh()
        return self._keys.ring.published

    def check(self) -> None:
        self._keys.signer.check()

    def trouble(self) -> str:
        return self._files.refusal

    def refresh(self) -> None:
        """Reload the keys of the directory if they have changed.

        If they are invalid, the previous keys stay in force, and the reason is recorded once.
        """
        with self._turn:
            before = self._files.refusal
            keys = self._files.read()
            if keys is not None:
                self._keys, ring = keys, keys.ring
                self._tell(ReloadOutcome.LOADED, f"{ring.signing.kid} signs, {len(ring.keys)} published")
            elif self._files.refusal != before:
                self._tell(ReloadOutcome.REFUSED, self._files.refusal)

    def _bind(self, ring: KeyRing) -> _InForce:
        return _InForce(ring=ring, signer=find_signer(ring.signing, self._signing))

    def _tell(self, outcome: ReloadOutcome, detail: str) -> None:
        self._recorder.record(TokenKeysReloaded(outcome=outcome, detail=detail))

"""Keep sessions with PKCS#11 tokens, and sign over them. Its methods block, and run in native threads.

A session signs for one key, and one thread at a time uses it. Before it signs a token, it signs random bytes, and the
public key of the key file verifies that signature.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from verifier.adapters.native_lock import native_lock
from verifier.adapters.tokens import pkcs11_library as pkcs11
from verifier.adapters.tokens.pkcs11_library import PinRefusedError, Pkcs11Error, Pkcs11Library, Token
from verifier.adapters.tokens.pkcs11_uri import Pkcs11Uri
from verifier.adapters.tokens.signers import Pkcs11Key, PublicKey
from verifier.core.values import dataclass

#: CKA_EC_PARAMS: the object identifier of the curve in DER, or its name (PKCS#11 v3.0, section 2.3.10).
_P256 = frozenset({bytes.fromhex("06082a8648ce3d030107")})
_ED25519 = frozenset({bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Options:
    """Say how to reach the tokens. Without a PIN, sessions do not log in."""

    module: Path
    pin: str | None = field(default=None, repr=False)
    #: How many signatures one process asks for at once.
    sessions: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """Hold an open session, the handle of its key, and the initialization of the library that both belong to."""

    key: Pkcs11Key
    session: int
    handle: int
    epoch: int


class Pkcs11Sessions:
    """Sign over a pool of sessions, which has at most as many sessions as callers at once.

    The library is loaded at the first call. After a refused PIN, no call tries it again: attempts lock tokens.
    """

    def __init__(self, options: Pkcs11Options) -> None:
        self._options = options
        self._lock = native_lock()
        self._login_lock = native_lock()
        self._library: Pkcs11Library | None = None
        self._is_initialized = False
        self._epoch = 0
        self._calls = 0
        self._idle: list[_Session] = []
        self._pin_refusal = ""

    def sign(self, key: Pkcs11Key, data: bytes) -> bytes:
        """Return a JWS signature. If an idle session fails, one fresh session tries once more. Raises Pkcs11Error."""
        with self._calling() as library:
            session = self._take(library, key)
            if session is not None:
                try:
                    return self._sign(library, session, data)
                except Pkcs11Error:
                    # The failure that ended this session has probably ended the others.
                    self._close_idle(library)
            return self._sign(library, self._open(library, key), data)

    def reconnect(self, key: Pkcs11Key) -> None:
        """Open a fresh session and prove the key pair. Initialize the library again if no other call is under way.

        Some libraries find a token that came back only then. Raises Pkcs11Error.
        """
        with self._lock:
            if not self._calls:
                self._finalize()
        with self._calling() as library:
            self._keep(library, self._open(library, key))

    def read_key(self, uri: Pkcs11Uri) -> Pkcs11Key:
        """Read the public key object beside the private key, and prove the key pair. Raises Pkcs11Error."""
        with self._calling() as library:
            session = self._open_session(library, uri)
            try:
                handle = library.find(session, pkcs11.PUBLIC_KEY, label=uri.object, key_id=uri.id)
                parameters, point = (
                    library.read(session, handle, each) for each in (pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT)
                )
                key = Pkcs11Key(uri=uri, public_key=_decode_public_key(parameters, point))
                self._find_proved(library, session, key)
            finally:
                library.close_session(session)
        return key

    def close(self) -> None:
        """End all sessions, unless a call is under way."""
        with self._lock:
            if not self._calls:
                self._finalize()

    @contextmanager
    def _calling(self) -> Iterator[Pkcs11Library]:
        """Initialize the library if necessary, and keep it initialized meanwhile."""
        with self._lock:
            if self._library is None:
                self._library = Pkcs11Library(self._options.module)
            if not self._is_initialized:
                self._library.initialize()
                self._is_initialized = True
            self._calls += 1
            library = self._library
        try:
            yield library
        finally:
            with self._lock:
                self._calls -= 1

    def _finalize(self) -> None:
        """Forget all sessions. The caller holds the lock, and no call is under way."""
        self._idle.clear()
        self._epoch += 1
        if self._library is not None and self._is_initialized:
            self._is_initialized = False
            with suppress(Pkcs11Error):  # a library that lost its device may refuse to end
                self._library.finalize()

    def _sign(self, library: Pkcs11Library, session: _Session, data: bytes) -> bytes:
        """Sign over the session and keep it, or close it if that fails."""
        try:
            signature = _sign(library, session.session, session.handle, session.key, data)
        except Pkcs11Error:
            self._close(library, session)
            raise
        self._keep(library, session)
        return signature

    def _take(self, library: Pkcs11Library, key: Pkcs11Key) -> _Session | None:
        """Take an idle session for this key. Close one for another key instead: the keys have been rotated."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        if session is None or session.key == key:
            return session
        self._close(library, session)
        return None

    def _keep(self, library: Pkcs11Library, session: _Session) -> None:
        with self._lock:
            is_kept = session.epoch == self._epoch and len(self._idle) < self._options.sessions
            if is_kept:
                self._idle.append(session)
        if not is_kept:
            self._close(library, session)

    def _close_idle(self, library: Pkcs11Library) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            self._close(library, session)

    def _close(self, library: Pkcs11Library, session: _Session) -> None:
        if session.epoch == self._epoch:
            with suppress(Pkcs11Error):  # it may be lost already
                library.close_session(session.session)

    def _open(self, library: Pkcs11Library, key: Pkcs11Key) -> _Session:
        """Open a session, log in, find the private key, and prove that it belongs to the public key."""
        session = self._open_session(library, key.uri)
        try:
            handle = self._find_proved(library, session, key)
        except Pkcs11Error:
            with suppress(Pkcs11Error):
                library.close_session(session)
            raise
        return _Session(key=key, session=session, handle=handle, epoch=self._epoch)

    def _open_session(self, library: Pkcs11Library, uri: Pkcs11Uri) -> int:
        slots = [token.slot for token in library.tokens() if _matches(uri, token)]
        if len(slots) != 1:
            raise Pkcs11Error(f"{'several tokens match' if slots else 'no token matches'} {uri}")
        session = library.open_session(slots[0])
        try:
            self._login(library, session)
        except Pkcs11Error:
            with suppress(Pkcs11Error):
                library.close_session(session)
            raise
        return session

    def _login(self, library: Pkcs11Library, session: int) -> None:
        if self._options.pin is None:
            return
        with self._login_lock:
            if self._pin_refusal:
                raise PinRefusedError(self._pin_refusal)
            try:
                library.login(session, self._options.pin)
            except PinRefusedError as error:
                self._pin_refusal = f"{error}; correct VERIFIER_PKCS11_PIN and restart: no worker tries this PIN again"
                raise PinRefusedError(self._pin_refusal) from error

    def _find_proved(self, library: Pkcs11Library, session: int, key: Pkcs11Key) -> int:
        handle = library.find(session, pkcs11.PRIVATE_KEY, label=key.uri.object, key_id=key.uri.id)
        challenge = secrets.token_bytes(32)
        if not key.verifies(_sign(library, session, handle, key, challenge), challenge):
            raise Pkcs11Error(f"the public key of the key file does not belong to the private key of {key.uri}")
        return handle


def _sign(library: Pkcs11Library, session: int, handle: int, key: Pkcs11Key, data: bytes) -> bytes:
    """Sign with ES256 or EdDSA. The hash is made here, because not every token has CKM_ECDSA_SHA256."""
    if isinstance(key.public_key, Ed25519PublicKey):
        return library.sign(session, handle, pkcs11.CKM_EDDSA, data)
    return library.sign(session, handle, pkcs11.CKM_ECDSA, hashlib.sha256(data).digest())


def _matches(uri: Pkcs11Uri, token: Token) -> bool:
    """Return True if the token has each attribute that the URI names."""
    return all(
        getattr(uri, name) in {None, getattr(token, name)} for name in ("token", "manufacturer", "model", "serial")
    )


def _decode_public_key(parameters: bytes, point: bytes) -> PublicKey:
    """Decode CKA_EC_PARAMS and CKA_EC_POINT. Some tokens wrap the point in an OCTET STRING, and others do not."""
    try:
        if parameters in _P256:
            return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point[-65:])
        if parameters in _ED25519:
            return Ed25519PublicKey.from_public_bytes(point[-32:])
    except ValueError:
        raise Pkcs11Error("the public key in the token is not a point of its curve") from None
    raise Pkcs11Error("the key is neither a P-256 key (ES256) nor an Ed25519 key (EdDSA)")

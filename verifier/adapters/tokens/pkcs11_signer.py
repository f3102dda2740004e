"""Sign result tokens with keys in PKCS#11 tokens: an HSM, a cloud's KMS, or SoftHSM.

After a failure, no call is made but one probe after each pause, so a request fails before it uses its nonce.
"""

import secrets
from collections.abc import Callable
from dataclasses import field
from datetime import timedelta
from functools import partial
from time import monotonic, perf_counter
from typing import TypeVar

from verifier.adapters.circuit_breaker import CircuitBreaker, CircuitOpen
from verifier.adapters.stores.blocking import JobTimeout, Runner
from verifier.adapters.tokens.pkcs11_library import Pkcs11Error
from verifier.adapters.tokens.pkcs11_sessions import Pkcs11Sessions
from verifier.adapters.tokens.signers import Pkcs11Key
from verifier.core.values import dataclass
from verifier.ports.stores import StoreUnavailable, Unavailable
from verifier.ports.telemetry import Recorder, SigningKeyChanged, StoreCallMeasured

_T = TypeVar("_T")

#: How long a signature waits for its turn, and how long it may take.
TURN_TIMEOUT = timedelta(seconds=2)
SIGNATURE_TIMEOUT = timedelta(seconds=5)
#: How long no signature is asked for after a failure.
PAUSE = timedelta(seconds=1)
#: A key that has signed within this time is taken for available.
CONFIRMED = timedelta(seconds=10)


class Pkcs11Signing:
    """Sign over sessions in native threads. Create it after the fork, in each worker.

    The name of the store in metrics is `hsm`.
    """

    def __init__(
        self,
        sessions: Pkcs11Sessions,
        run: Runner,
        recorder: Recorder,
        *,
        clock: Callable[[], float] = monotonic,
        pause: timedelta = PAUSE,
    ) -> None:
        self._sessions = sessions
        self._run = run
        self._recorder = recorder
        self._clock = clock
        self._circuit = CircuitBreaker(clock=clock, changed=self._tell, pause=pause)
        #: The key that signed last, and when.
        self._confirmed: tuple[Pkcs11Key | None, float] = (None, 0.0)

    def sign(self, key: Pkcs11Key, data: bytes) -> bytes:
        """Return a JWS signature. Raises Unavailable."""
        try:
            epoch = self._circuit.enter()
        except CircuitOpen as closed:
            raise Unavailable(str(closed.because), retry_after=PAUSE) from None
        try:
            signature = self._call("sign", partial(self._sessions.sign, key, data))
        except SigningKeyLost as error:
            self._circuit.fail(epoch, error, was_slow=True)
            raise
        self._confirmed = (key, self._clock())
        return signature

    def check(self, key: Pkcs11Key) -> None:
        """Raise Unavailable if the key cannot sign. The key signs random bytes if it has not signed recently."""
        if self._circuit.claim_probe():
            self._probe(key)
        confirmed, at = self._confirmed
        if self._circuit.is_open or confirmed != key or self._clock() - at > CONFIRMED.total_seconds():
            self.sign(key, secrets.token_bytes(32))

    def close(self) -> None:
        self._sessions.close()

    def _probe(self, key: Pkcs11Key) -> None:
        lost: Exception | None = None
        try:
            self._call("reconnect", partial(self._sessions.reconnect, key))
            self._confirmed = (key, self._clock())
        except Unavailable as error:
            lost = error
        finally:
            self._circuit.end_probe(lost)

    def _call(self, operation: str, job: Callable[[], _T]) -> _T:
        """Run the job in a native thread and measure it.

        Raises SigningKeyLost, and another Unavailable if too many calls wait.
        """
        started, failed = perf_counter(), True
        try:
            done = self._run(job)
            failed = False
        except Pkcs11Error as error:
            raise SigningKeyLost(f"The signing key in the HSM is unavailable: {error}.", retry_after=PAUSE) from error
        except JobTimeout as error:
            seconds = SIGNATURE_TIMEOUT.total_seconds()
            raise SigningKeyLost(
                f"The HSM of the signing key did not answer within {seconds:g} s.", retry_after=PAUSE
            ) from error
        except StoreUnavailable as error:
            raise Unavailable("Too many signatures wait for the HSM.", retry_after=PAUSE) from error
        else:
            return done
        finally:
            seconds = perf_counter() - started
            self._recorder.record(StoreCallMeasured(store="hsm", operation=operation, seconds=seconds, failed=failed))

    def _tell(self) -> None:
        self._recorder.record(SigningKeyChanged(detail=self._reason()))

    def _reason(self) -> str:
        """Return why the circuit is open, or an empty string."""
        try:
            self._circuit.enter()
        except CircuitOpen as closed:
            return str(closed.because)
        return ""


class SigningKeyLost(Unavailable):
    """Report that the HSM did not sign: not only this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Signer:
    """Sign with one key in a token. Implements Signer."""

    signing: Pkcs11Signing = field(repr=False)
    key: Pkcs11Key

    def sign(self, data: bytes) -> bytes:
        return self.signing.sign(self.key, data)

    def check(self) -> None:
        self.signing.check(self.key)

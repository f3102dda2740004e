"""Faults that a test can order: errors that Azure's page describes, and damage by the network.

In Python, with the `RunningEmulator` of `loopback_emulator` or of the pytest fixture:
`emulator.put(Conditions(faults=(Fault(kind=FaultKind.GONE, requests=2),)))`. Over HTTP: `control_api`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Lock
from typing import Final

_MAX_DELAY_SECONDS: Final = 300.0
_MAX_REQUESTS: Final = 1_000_000
_MAX_FAULTS: Final = 32


class FaultKind(StrEnum):
    """What happens to a request that IMDS would answer otherwise."""

    #: Status 410 (Azure page: Errors and debugging; up to 70 seconds on a real host).
    GONE = "gone"
    #: Status 500.
    ERROR = "error"
    #: Status 429, at any request rate.
    RATE_LIMITED = "rate-limited"
    #: The correct response, `seconds` later.
    SLOW = "slow"
    #: Half of the correct body, with the Content-Length of the whole; then the connection closes.
    CUT = "cut"
    #: The previous document, with its nonce (Azure page: Get Attested data, the note on caching). Without a previous
    #: one, a document without the client's nonce. Applies only to requests for documents.
    CACHED_NONCE = "cached-nonce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of the next `requests`, or of all further ones if None. Only SLOW has `seconds`, and it needs them."""

    kind: FaultKind
    requests: int | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.requests is not None and not 1 <= self.requests <= _MAX_REQUESTS:
            raise ValueError(f"requests of a fault must be 1 to {_MAX_REQUESTS}")
        if not 0 <= self.seconds <= _MAX_DELAY_SECONDS:
            raise ValueError(f"seconds of a fault must be 0 to {_MAX_DELAY_SECONDS:.0f}")
        if (self.kind is FaultKind.SLOW) != (self.seconds > 0):
            raise ValueError("seconds are required for the fault slow, and for no other fault")


class FaultPlan:
    """Faults in order: each is used up before the next one begins. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = Lock()

    def put(self, faults: tuple[Fault, ...]) -> None:
        if len(faults) > _MAX_FAULTS:
            raise ValueError(f"at most {_MAX_FAULTS} faults are allowed")
        with self._lock:
            self._faults = list(faults)

    def remaining(self) -> tuple[Fault, ...]:
        with self._lock:
            return tuple(self._faults)

    def take(self, *, is_for_a_document: bool) -> Fault | None:
        """Return the fault of one request, and count that request."""
        with self._lock:
            if not self._faults:
                return None
            fault = self._faults[0]
            if fault.kind is FaultKind.CACHED_NONCE and not is_for_a_document:
                return None
            if fault.requests == 1:
                del self._faults[0]
            elif fault.requests is not None:
                self._faults[0] = replace(fault, requests=fault.requests - 1)
            return fault

r"""Faults of IMDS that a test asks for: what Azure's page says may happen, and what a network does to answers.

Python: `emulator.put(Conditions(faults=(Fault(kind=FaultKind.GONE, requests=2),)))`, with the `RunningEmulator` of
`verifier.emulator.server` or of the pytest fixture. Over HTTP, from the same machine:

    curl -X PUT -H 'Content-Type: application/json' \
         -d '{"faults": [{"kind": "gone", "requests": 2}]}' http://127.0.0.1:8254/emulator/controls
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Lock
from typing import Final

LONGEST_DELAY_SECONDS: Final = 300.0
MOST_REQUESTS: Final = 1_000_000
MOST_FAULTS: Final = 32


class FaultKind(StrEnum):
    """What happens to a request that IMDS would have answered."""

    #: 410 (Azure page: Errors and debugging; it lasts up to 70 seconds on a real host).
    GONE = "gone"
    #: 500.
    ERROR = "error"
    #: 429, whatever the rate is.
    RATE_LIMITED = "rate-limited"
    #: The right answer, `seconds` later.
    SLOW = "slow"
    #: Half of the right answer's body, under the Content-Length of all of it; then the connection ends.
    CUT = "cut"
    #: The document that was served before, with its nonce (Azure page: Get Attested data, the note on caching); where
    #: none was, one with a nonce that nobody sent. Other requests than those for documents pass, and do not count.
    CACHED_NONCE = "cached-nonce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of the next `requests`; None: of all, until it is taken away. `seconds` is for SLOW, which needs it."""

    kind: FaultKind
    requests: int | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.requests is not None and not 1 <= self.requests <= MOST_REQUESTS:
            raise ValueError(f"a fault is of 1 to {MOST_REQUESTS} requests")
        if not 0 <= self.seconds <= LONGEST_DELAY_SECONDS:
            raise ValueError(f"a fault lasts 0 to {LONGEST_DELAY_SECONDS:.0f} seconds")
        if (self.kind is FaultKind.SLOW) != (self.seconds > 0):
            raise ValueError("a slow fault, and no other, says how many seconds")


class FaultPlan:
    """Faults one after the other: each is used up before the next one's turn. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = Lock()

    def put(self, faults: tuple[Fault, ...]) -> None:
        """These in place of the earlier ones; none ends all."""
        if len(faults) > MOST_FAULTS:
            raise ValueError(f"at most {MOST_FAULTS} faults can be planned")
        with self._lock:
            self._faults = list(faults)

    def remaining(self) -> tuple[Fault, ...]:
        with self._lock:
            return tuple(self._faults)

    def take(self, *, is_for_a_document: bool) -> Fault | None:
        """The fault of one request, which is thereby used up by one."""
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

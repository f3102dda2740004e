"""The conditions of a running emulator, which a test can change and reset."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from verifier.emulator.faults import Fault, FaultPlan
from verifier.emulator.scenarios import Authorities, Chain, ChainChoice

_MAX_CLOCK_OFFSET: Final = timedelta(days=3650)
_MAX_CHAINS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How the emulator differs from a normal IMDS. `clock_offset` is added to the time of documents."""

    faults: tuple[Fault, ...] = ()
    clock_offset: timedelta = timedelta(0)
    chain: ChainChoice = field(default_factory=ChainChoice)

    def __post_init__(self) -> None:
        if abs(self.clock_offset) > _MAX_CLOCK_OFFSET:
            raise ValueError(f"the clock offset must be at most {_MAX_CLOCK_OFFSET.days} days")


class Controls:
    """The current conditions of one emulator. Thread-safe. `clock` returns the true time; `reset` restores `start`."""

    def __init__(
        self,
        *,
        authorities: Authorities,
        clock: Callable[[], datetime],
        base_url: str,
        start: Conditions | None = None,
    ) -> None:
        self.authorities = authorities
        self._clock = clock
        self._base_url = base_url
        self._start = start or Conditions()
        self._plan = FaultPlan()
        self._lock = Lock()
        self._chains: dict[ChainChoice, Chain] = {}
        self.put(self._start)

    def put(self, conditions: Conditions) -> None:
        """Replace the conditions for all further requests, or raise ValueError and keep the earlier ones."""
        with self._lock:
            chain = self._issue_chain(conditions.chain)
            self._plan.put(conditions.faults)
            self._conditions, self._chain = conditions, chain

    def reset(self) -> None:
        self.put(self._start)

    def conditions(self) -> Conditions:
        """Return the current conditions, without the faults that are used up."""
        with self._lock:
            put = self._conditions
        return Conditions(faults=self._plan.remaining(), clock_offset=put.clock_offset, chain=put.chain)

    def now(self) -> datetime:
        with self._lock:
            return self._clock() + self._conditions.clock_offset

    def chain(self) -> Chain:
        with self._lock:
            return self._chain

    def take_fault(self, *, is_for_a_document: bool) -> Fault | None:
        return self._plan.take(is_for_a_document=is_for_a_document)

    def _issue_chain(self, choice: ChainChoice) -> Chain:
        """Return one chain per choice, so that an earlier choice has its earlier signer again."""
        if choice not in self._chains:
            if len(self._chains) >= _MAX_CHAINS:
                raise ValueError(f"at most {_MAX_CHAINS} different chains are allowed")
            self._chains[choice] = self.authorities.chain(choice, now=self._clock(), base_url=self._base_url)
        return self._chains[choice]

"""What can be changed about an emulator while it runs, and put back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from verifier.emulator.faults import Fault, FaultPlan
from verifier.emulator.scenarios import Authorities, Chain, ChainChoice

LARGEST_OFFSET: Final = timedelta(days=3650)
_MOST_CHAINS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Everything that is not as at the start; by default nothing. `clock_offset` is added to the documents' time."""

    faults: tuple[Fault, ...] = ()
    clock_offset: timedelta = timedelta(0)
    chain: ChainChoice = field(default_factory=ChainChoice)

    def __post_init__(self) -> None:
        if abs(self.clock_offset) > LARGEST_OFFSET:
            raise ValueError(f"a clock is at most {LARGEST_OFFSET.days} days off")


class Controls:
    """The conditions of one emulator, as they are now. Thread-safe.

    `clock` is the true time; `start` is what `reset` goes back to.
    """

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
        self._made: dict[ChainChoice, Chain] = {}
        self.put(self._start)

    def put(self, conditions: Conditions) -> None:
        """These conditions and no others, for every request from now on. Raises ValueError: then nothing changed."""
        with self._lock:
            chain = self._make(conditions.chain)
            self._plan.put(conditions.faults)
            self._conditions, self._chain = conditions, chain

    def reset(self) -> None:
        self.put(self._start)

    def conditions(self) -> Conditions:
        """As put, less the faults that were used up."""
        with self._lock:
            put = self._conditions
        return Conditions(faults=self._plan.remaining(), clock_offset=put.clock_offset, chain=put.chain)

    def now(self) -> datetime:
        """By the clock that documents are dated with."""
        with self._lock:
            return self._clock() + self._conditions.clock_offset

    def chain(self) -> Chain:
        with self._lock:
            return self._chain

    def take_fault(self, is_for_a_document: bool, /) -> Fault | None:  # noqa: FBT001 - the one argument
        return self._plan.take(is_for_a_document=is_for_a_document)

    def _make(self, choice: ChainChoice) -> Chain:
        """One certificate a choice, so that going back to a chain is going back to its signer."""
        if choice not in self._made:
            if len(self._made) >= _MOST_CHAINS:
                raise ValueError(f"at most {_MOST_CHAINS} different chains can be put")
            self._made[choice] = self.authorities.chain(choice, now=self._clock(), base_url=self._base_url)
        return self._made[choice]

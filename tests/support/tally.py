"""Count what a run of hostile inputs found: outcomes, faults, and what the most expensive input cost."""

import gc
import heapq
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import process_time
from typing import Self

from support.appraisal_cost import verification_seconds

#: In RSA-2048 verifications, without the chain check (docs/understand/threat-model.md).
MOST_VERIFICATIONS = 250
#: A fault has the input in hex. More of them say the same again.
MOST_FAULTS = 20
#: How many of the most expensive inputs are measured again, and how often each.
_CANDIDATES = 12
_REPEATS = 3
_COLLECT_EVERY = 2000
_REPORT_EVERY = 20_000


@dataclass(slots=True, kw_only=True)
class Tally:
    """The outcomes of one kind of input. `accepted` counts the names of permitted differences."""

    kind: str
    number: int = 0
    seconds: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    fault_count: int = 0
    #: The largest CPU times in seconds, each with its input.
    expensive: list[tuple[float, bytes]] = field(default_factory=list)
    #: The largest cost in RSA verifications, if it is known.
    worst: float = 0.0

    def fail(self, text: str) -> None:
        self.fault_count += 1
        sys.stderr.write(f"FAULT {text}\n")
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)

    def spend(self, seconds: float, data: bytes) -> None:
        """Note the CPU time that one input cost."""
        if len(self.expensive) < _CANDIDATES:
            heapq.heappush(self.expensive, (seconds, data))
        elif seconds > self.expensive[0][0]:
            heapq.heapreplace(self.expensive, (seconds, data))

    def add(self, other: "Tally") -> None:
        """Add the outcomes of another part of the same run. Its time counts as more time of this one."""
        self.number += other.number
        self.seconds += other.seconds
        self.refused += other.refused
        self.accepted += other.accepted
        self.fault_count += other.fault_count
        self.faults = (self.faults + other.faults)[:MOST_FAULTS]
        self.worst = max(self.worst, other.worst)
        for seconds, data in other.expensive:
            self.spend(seconds, data)


class Timed:
    """Run a part of a tally without the garbage collector, which would make single inputs look expensive."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._started = 0.0

    def __enter__(self) -> Self:
        gc.collect()
        gc.freeze()
        gc.disable()
        self._started = process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._tally.seconds += process_time() - self._started
        gc.enable()
        gc.unfreeze()

    def count(self) -> None:
        """Count one input."""
        self._tally.number += 1
        if self._tally.number % _COLLECT_EVERY == 0:
            gc.collect()
        if self._tally.number % _REPORT_EVERY == 0:
            sys.stderr.write(f"{self._tally.number} {self._tally.kind}, {self._tally.fault_count} faults\n")


def confirm_costs(tally: Tally, cost: Callable[[bytes], float]) -> None:
    """Set `worst` in RSA verifications, and report each input above MOST_VERIFICATIONS as a fault.

    One measurement may be disturbed, so an input counts with the cheapest of several. Each is made in a process of its
    own, whose caches are empty. `cost` returns the CPU time of one input in seconds. It must be a function of a module.
    """
    unit = verification_seconds()
    for seconds, data in sorted(tally.expensive, reverse=True):
        cheapest = seconds / unit
        if cheapest > MOST_VERIFICATIONS:
            cheapest = min(cheapest, *(_measure(cost, data) for _ in range(_REPEATS)))
        tally.worst = max(tally.worst, cheapest)
        if cheapest > MOST_VERIFICATIONS:
            tally.fail(f"costs {cheapest:.0f} RSA verifications: {data.hex()}")


def _measure(cost: Callable[[bytes], float], data: bytes) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_in_verifications, (cost, data))


def _in_verifications(cost: Callable[[bytes], float], data: bytes) -> float:
    cost(b"0\x00")  # imports and first uses
    return cost(data) / verification_seconds()

"""Run calls that block their thread: SQLite under a lock, a flush to the disk."""

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from verifier.ports import Decision, DecisionTrail

_T = TypeVar("_T")


class Runner(Protocol):
    """Run one job after another.

    A job takes and returns values. It uses no log, no metric and no lock of `threading`: it may run in a native thread
    of a process whose standard library is patched.
    """

    def __call__(self, job: Callable[[], _T], /) -> _T:
        """Return what the job returns, or raise what it raises. Raises StoreUnavailable if its turn does not come."""


def run_inline(job: Callable[[], _T], /) -> _T:
    """Run the job in the thread of the caller, as the library and the command line do."""
    return job()


def make_inline_runner() -> Runner:
    """Return the runner of a process that needs no other."""
    return run_inline


class TrailInTurn:
    """Append decisions by a runner. Implements the DecisionTrail port."""

    def __init__(self, trail: DecisionTrail, run: Runner) -> None:
        self._trail = trail
        self._run = run

    def append(self, decision: Decision) -> None:
        self._run(partial(self._trail.append, decision))

"""Run calls that block their thread: SQLite waiting for a lock, a flush to the disk."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from verifier.ports.stores import StoreUnavailable

_T = TypeVar("_T")


class JobTimeout(StoreUnavailable):
    """Report that a job did not end within its time. It may go on in its thread."""


class Runner(Protocol):
    """Run a bounded number of jobs at once.

    A job takes and returns values. It uses no log, no metric and no lock of `threading`: it may run in a native thread
    of a process whose standard library is patched.
    """

    def __call__(self, job: Callable[[], _T], /) -> _T:
        """Return what the job returns, or raise what it raises.

        Raises StoreUnavailable if its turn does not come, and JobTimeout.
        """


def run_inline(job: Callable[[], _T], /) -> _T:
    """Run the job in the thread of the caller, as the library and the command line do."""
    return job()

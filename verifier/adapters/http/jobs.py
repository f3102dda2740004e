"""Run blocking jobs in native threads, so that they do not block the other requests of a worker."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from gevent import Timeout
from gevent.threadpool import ThreadPool

from verifier.adapters.fair_turns import FairTurns
from verifier.adapters.stores.blocking import JobTimeout
from verifier.ports.stores import StoreUnavailable

_T = TypeVar("_T")


class NativeThreads:
    """Run jobs in native threads, in their order: one after another if there is one thread. Implements Runner.

    A job waits at most `patience` for the jobs before it, and holds no thread meanwhile. With a `limit`, the caller
    waits no longer for the job, which goes on in its thread. Create the runner after the fork: it belongs to one hub of
    gevent.
    """

    def __init__(self, patience: timedelta, limit: timedelta | None = None, threads: int = 1) -> None:
        self._patience = patience.total_seconds()
        self._limit = None if limit is None else limit.total_seconds()
        self._turns = FairTurns(threads)
        self._pool = ThreadPool(threads)

    def __call__(self, job: Callable[[], _T], /) -> _T:
        if not self._turns.take(seconds=self._patience):
            raise StoreUnavailable("Too many calls wait for this store.")
        try:
            with Timeout(self._limit, JobTimeout("The job did not end in time.")):
                outcome: _T | Exception = self._pool.apply(_outcome_of, (job,))
        finally:
            self._turns.give_back()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _outcome_of(job: Callable[[], _T]) -> _T | Exception:
    """Return an exception as a value, because gevent prints exceptions that leave a thread of its pool."""
    try:
        return job()
    except Exception as error:  # noqa: BLE001 - the caller raises it again
        return error

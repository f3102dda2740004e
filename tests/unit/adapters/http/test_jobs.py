"""Test that blocking jobs in native threads do not block greenlets."""

import threading
import time
from datetime import timedelta

import gevent
import pytest

from verifier.adapters.http.jobs import NativeThreads
from verifier.ports.stores import StoreUnavailable


def test_job_returns_its_value_or_raises_its_exception(capfd: pytest.CaptureFixture[str]) -> None:
    """Without the runner, gevent would print the exception."""
    run = NativeThreads(timedelta(seconds=5))
    assert run(lambda: "done") == "done"
    with pytest.raises(StoreUnavailable, match="is read-only"):
        run(_fail)
    assert run(lambda: None) is None
    assert capfd.readouterr() == ("", "")


def _fail() -> None:
    raise StoreUnavailable("The nonce database is read-only.")


def test_other_greenlets_go_on_while_a_job_blocks_its_thread() -> None:
    run = NativeThreads(timedelta(seconds=5))
    job = gevent.spawn(run, lambda: time.sleep(0.3))  # a job that blocks
    turns = 0
    while not job.ready():
        gevent.sleep(0.01)
        turns += 1
    assert turns > 5
    job.get()


def test_a_job_that_hangs_is_left_in_its_thread() -> None:
    """For example a read from a network file system that is away."""
    run = NativeThreads(timedelta(seconds=5), timedelta(seconds=0.1))
    released, ended = threading.Event(), threading.Event()
    with pytest.raises(StoreUnavailable, match="did not end in time"):
        run(lambda: released.wait(10))
    assert gevent.spawn(gevent.sleep, 0).get() is None
    with pytest.raises(StoreUnavailable, match="did not end in time"):
        run(ended.set)  # which waits for the thread
    assert not ended.is_set()
    released.set()
    assert ended.wait(10)
    assert run(lambda: "done") == "done"

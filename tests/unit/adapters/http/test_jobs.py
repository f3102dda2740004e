"""Blocking jobs in native threads, while greenlets go on."""

import time
from datetime import timedelta

import gevent
import pytest

from verifier.adapters.http.jobs import NativeThread
from verifier.ports.stores import StoreUnavailable


def test_returns_what_the_job_returns_and_raises_what_it_raises(capfd: pytest.CaptureFixture[str]) -> None:
    """An exception is the caller's to judge: gevent would print it."""
    run = NativeThread(timedelta(seconds=5))
    assert run(lambda: "done") == "done"
    with pytest.raises(StoreUnavailable, match="is read-only"):
        run(_fail)
    assert run(lambda: None) is None
    assert capfd.readouterr() == ("", "")


def _fail() -> None:
    raise StoreUnavailable("The nonce database is read-only.")


def test_other_greenlets_go_on_while_a_job_blocks_its_thread() -> None:
    run = NativeThread(timedelta(seconds=5))
    job = gevent.spawn(run, lambda: time.sleep(0.3))
    turns = 0
    while not job.ready():
        gevent.sleep(0.01)
        turns += 1
    assert turns > 5
    job.get()

"""Test that the worker overrides named methods of gunicorn, with the same parameters."""

import inspect

import pytest
from gunicorn.workers.ggevent import GeventWorker

from verifier.adapters.http.worker import Worker

OVERRIDDEN = ["handle", "handle_error", "handle_quit", "handle_request", "init_signals", "run", "timeout_ctx"]


def test_worker_overrides_no_other_method_of_gunicorn() -> None:
    assert (
        sorted(name for name in vars(Worker) if not name.startswith("__") and hasattr(GeventWorker, name)) == OVERRIDDEN
    )


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_overridden_method_has_the_parameters_of_gunicorn(name: str) -> None:
    ours, theirs = (list(inspect.signature(getattr(kind, name)).parameters) for kind in (Worker, GeventWorker))
    assert ours == theirs

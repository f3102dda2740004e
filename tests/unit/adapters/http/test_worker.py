"""What the worker takes over from gunicorn's: named methods with the parameters that they have there."""

import inspect

import pytest
from gunicorn.workers.ggevent import GeventWorker

from verifier.adapters.http.worker import Worker

OVERRIDDEN = ["handle", "handle_error", "handle_quit", "handle_request", "init_signals", "run", "timeout_ctx"]


def test_overrides_no_other_method_of_gunicorns() -> None:
    assert (
        sorted(name for name in vars(Worker) if not name.startswith("__") and hasattr(GeventWorker, name)) == OVERRIDDEN
    )


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_each_has_the_parameters_that_it_has_in_gunicorn(name: str) -> None:
    ours, theirs = (list(inspect.signature(getattr(kind, name)).parameters) for kind in (Worker, GeventWorker))
    assert ours == theirs

"""Measure each call of a store."""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TypeVar, cast

from verifier.adapters.stores.blocking import Runner, run_inline
from verifier.adapters.stores.factory import Stores
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Recorder, StoreCallMeasured, StoreCircuitsChanged

_T = TypeVar("_T")


class _Instrumented:
    """Forward each call to `store` and measure it. This class implements every port that `store` implements."""

    def __init__(self, store: object, recorder: Recorder, name: str, run: Runner) -> None:
        self._store = store
        self._recorder = recorder
        self._name = name
        self._run = run

    def __getattr__(self, operation: str) -> Callable[..., object]:
        call: Callable[..., object] = getattr(self._store, operation)

        def measured(*args: object, **kwargs: object) -> object:
            started = perf_counter()
            failed = False
            try:
                return self._run(partial(call, *args, **kwargs))
            except StoreUnavailable:
                failed = True
                raise
            finally:
                seconds = perf_counter() - started
                self._recorder.record(
                    StoreCallMeasured(store=self._name, operation=operation, seconds=seconds, failed=failed)
                )

        return measured


def _instrument(store: _T, recorder: Recorder, name: str, run: Runner) -> _T:
    return cast("_T", _Instrumented(store, recorder, name, run))


def instrument_stores(
    stores: Stores, recorder: Recorder, make_runner: Callable[[], Runner] = lambda: run_inline
) -> Stores:
    """Wrap the stores so that `recorder` receives each call and each change of the circuit breakers.

    Each store in a file has its own runner. Stores on Redis need none: `serve` patches their sockets.
    """
    if stores.link is not None:
        stores.link.report_open_circuits(lambda circuits: recorder.record(StoreCircuitsChanged(open_circuits=circuits)))
        make_runner = lambda: run_inline  # noqa: E731 - as the default above
    return Stores(
        nonces=_instrument(stores.nonces, recorder, "nonces", make_runner()),
        registry=_instrument(stores.registry, recorder, "registry", make_runner()),
        limiter=_instrument(stores.limiter, recorder, "rates", make_runner()),
        outstanding=_instrument(stores.outstanding, recorder, "outstanding", make_runner()),
        link=stores.link,
    )

"""Measure each call of a store."""

from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from time import perf_counter
from typing import TypeVar, cast

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.stores.blocking import Runner, run_inline
from verifier.adapters.stores.factory import Stores
from verifier.adapters.stores.rate_batches import BatchingRateLimiter
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

        # The next call of this operation finds it as an attribute.
        setattr(self, operation, measured)
        return measured


def _instrument(store: _T, recorder: Recorder, name: str, run: Runner) -> _T:
    return cast("_T", _Instrumented(store, recorder, name, run))


def instrument_stores(
    stores: Stores, recorder: Recorder, make_runner: Callable[[], Runner] = lambda: run_inline
) -> Stores:
    """Wrap the stores so that `recorder` receives each call and each change of the circuit breakers.

    Each store in a file has its own runner. Stores on Redis need none: `serve` patches their sockets.
    """
    _report_circuits({link for link in (stores.link, stores.decision_link) if link is not None}, recorder)

    def runner(link: RedisLink | None) -> Runner:
        return make_runner() if link is None else run_inline

    counters = _instrument(stores.limiter.counters, recorder, "rates", runner(stores.link))
    decisions = stores.decisions
    if decisions is not None:
        decisions = _instrument(decisions, recorder, "decisions", runner(stores.decision_link))
    return Stores(
        nonces=_instrument(stores.nonces, recorder, "nonces", runner(stores.link)),
        registry=_instrument(stores.registry, recorder, "registry", runner(stores.link)),
        limiter=BatchingRateLimiter(counters),
        outstanding=_instrument(stores.outstanding, recorder, "outstanding", runner(stores.link)),
        link=stores.link,
        decisions=decisions,
        decision_link=stores.decision_link,
    )


def _report_circuits(links: Collection[RedisLink], recorder: Recorder) -> None:
    """Record the number of open circuits of all links whenever it changes."""
    open_circuits: Counter[RedisLink] = Counter()

    def change(link: RedisLink, count: int) -> None:
        open_circuits[link] = count
        recorder.record(StoreCircuitsChanged(open_circuits=open_circuits.total()))

    for link in links:
        link.report_open_circuits(partial(change, link))

"""Refresh trust, settings and keys at an interval, in a thread of each worker."""

import threading
from collections.abc import Callable

from verifier.ports.telemetry import Recorder, RefreshFailed


def poll(refresh: Callable[[], object], stop: threading.Event, *, recorder: Recorder, interval_seconds: float) -> None:
    """Call `refresh` at each interval until `stop` is set.

    An error does not end the polling: the worker would miss a rollover or a revoked key. The same error is recorded
    once until `refresh` succeeds or fails with another error.
    """
    recorded = ""
    while not stop.wait(interval_seconds):
        try:
            refresh()
        except Exception as error:  # noqa: BLE001 - see above
            fault = f"{type(error).__name__}: {error}"
            if fault != recorded:
                recorder.record(RefreshFailed(error=error))
            recorded = fault
        else:
            recorded = ""


def start_polling(
    refresh: Callable[[], object], *, recorder: Recorder, name: str, interval_seconds: float
) -> threading.Event:
    """Start a daemon thread that polls until the returned event is set.

    Threads do not survive a fork, so each worker starts its own thread after the fork.
    """
    stop = threading.Event()
    threading.Thread(
        target=poll,
        args=(refresh, stop),
        kwargs={"recorder": recorder, "interval_seconds": interval_seconds},
        name=name,
        daemon=True,
    ).start()
    return stop

"""Something that is looked at again and again, in a thread of each worker: trust, settings, keys."""

import threading
from collections.abc import Callable

from verifier.ports.telemetry import Recorder, RefreshFailed


def poll(refresh: Callable[[], object], recorder: Recorder, stop: threading.Event, *, interval_seconds: float) -> None:
    """Calls `refresh` at each interval until `stop` is set. What goes wrong is told once, until it is another
    fault, and never ends the watch: what nobody looks at any more is a rollover, or a key that was taken back,
    that nobody sees."""
    told = ""
    while not stop.wait(interval_seconds):
        try:
            refresh()
        except Exception as error:  # noqa: BLE001 - see above
            fault = f"{type(error).__name__}: {error}"
            if fault != told:
                recorder.record(RefreshFailed(error=error))
            told = fault
        else:
            told = ""


def start_polling(
    refresh: Callable[[], object], recorder: Recorder, *, name: str, interval_seconds: float
) -> threading.Event:
    """A daemon thread of this process watches until the event that is returned is set. Threads do not survive a
    fork: each worker starts its own, after it."""
    stop = threading.Event()
    threading.Thread(
        target=poll,
        args=(refresh, recorder, stop),
        kwargs={"interval_seconds": interval_seconds},
        name=name,
        daemon=True,
    ).start()
    return stop

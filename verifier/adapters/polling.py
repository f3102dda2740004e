"""Follow the files of trust, settings and keys, at an interval, in a thread of each worker."""

import random
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from verifier.ports.telemetry import Recorder, RefreshFailed

#: How often files are read again if they change during the read. After that, they are refused.
_ATTEMPTS = 3

_State = TypeVar("_State")
_Value = TypeVar("_Value")


class FileFollower(Generic[_State, _Value]):
    """Load a value again when its files change. Not thread-safe: the owner holds a lock.

    `look` returns the state of the files, or None while they are being written. `load` returns the value of that state,
    or None if the files changed during the load. Both raise ValueError for invalid files. Files that were refused are
    loaded again when their state changes, or at each read with `retry_refused`.
    """

    def __init__(
        self,
        look: Callable[[], _State | None],
        load: Callable[[_State], _Value | None],
        *,
        retry_refused: bool = False,
    ) -> None:
        self._look = look
        self._load = load
        self._retry_refused = retry_refused
        self._state: _State | None = None
        #: Why the present files were refused, or an empty string if they were not.
        self.refusal = ""

    def read(self) -> _Value | None:
        """Return the value if it is new. Set `refusal` if the files are invalid; the last good value stays in force."""
        refusal = ""
        for _ in range(_ATTEMPTS):
            state = None
            try:
                state = self._look()
                if state is None or state == self._state:
                    break
                value = self._load(state)
            except ValueError as error:
                self._state, refusal = state, str(error)
                continue
            if value is not None:
                self._state, self.refusal = state, ""
            return value
        if refusal:
            self.refusal = refusal
            if self._retry_refused:
                self._state = None
        return None


def poll(
    refresh: Callable[[], object],
    stop: threading.Event,
    *,
    recorder: Recorder,
    interval_seconds: float,
    jitter: float = 0.0,
) -> None:
    """Call `refresh` at each interval until `stop` is set. `jitter` is the random part of each interval, up to 1.

    An error does not end the polling: the worker would miss a rollover or a revoked key. The same error is recorded
    once until `refresh` succeeds or fails with another error.
    """
    recorded = ""
    while not stop.wait(interval_seconds * (1 - jitter * random.random())):  # noqa: S311 - it spreads the load
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
    refresh: Callable[[], object], *, recorder: Recorder, name: str, interval_seconds: float, jitter: float = 0.0
) -> threading.Event:
    """Start a daemon thread that polls until the returned event is set.

    Threads do not survive a fork, so each worker starts its own thread after the fork.
    """
    stop = threading.Event()
    threading.Thread(
        target=poll,
        args=(refresh, stop),
        kwargs={"recorder": recorder, "interval_seconds": interval_seconds, "jitter": jitter},
        name=name,
        daemon=True,
    ).start()
    return stop

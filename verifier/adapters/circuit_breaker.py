"""Stop calls to a server that does not answer.

The breaker is closed while the server answers. It opens at one call that runs into its timeout, since such a call
holds a thread for seconds, and at some quick failures in a row. While it is open, no call is made. After each pause,
one caller claims the probe, which finds out if the server answers again.
"""

import math
import threading
from collections.abc import Callable
from datetime import timedelta
from time import monotonic

#: How many quick failures in a row open it. Fewer may only mean that the server closed idle connections.
FAILURES = 3
#: How long it is open before the next probe.
PAUSE = timedelta(seconds=0.2)
#: How long a probe may take. After that, another caller claims it: its thread may have died, as in a fork.
LEASE = timedelta(seconds=10)


class CircuitOpen(Exception):
    """No call was made, because earlier calls got no answer. `because` is the last failure."""

    def __init__(self, because: Exception) -> None:
        super().__init__()
        self.because = because


class CircuitBreaker:
    """Guard one server for all threads of a process.

    `clock` returns seconds and never goes back. `changed` is called when the breaker opens or closes, without a lock.
    Each opening or closing begins an epoch. A call does not count for later epochs than the one in which it began.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = monotonic,
        changed: Callable[[], None] = lambda: None,
        pause: timedelta = PAUSE,
    ) -> None:
        self._clock = clock
        self._pause_seconds = pause.total_seconds()
        self._changed = changed
        self._lock = threading.Lock()
        self._epoch = 0
        self._failures = 0
        self._because: Exception | None = None
        self._probe_at = math.inf

    @property
    def is_open(self) -> bool:
        return self._because is not None

    def enter(self) -> int:
        """Return the epoch in which a call begins. Raises CircuitOpen if calls are not allowed now."""
        epoch, because = self._epoch, self._because
        if because is not None:
            raise CircuitOpen(because)
        return epoch

    def succeed(self) -> None:
        """Note that the server answered a call, even if with an error."""
        self._failures = 0

    def fail(self, epoch: int, because: Exception, *, was_slow: bool) -> None:
        """Note that the server did not answer a call that began in `epoch`."""
        with self._lock:
            if epoch != self._epoch or self.is_open:
                return
            self._failures += 1
            if not was_slow and self._failures < FAILURES:
                return
            self._pause(because)
            self._epoch += 1
        self._changed()

    def claim_probe(self) -> bool:
        """Return True to one caller after each pause. That caller must call end_probe."""
        if not self.is_open:
            return False
        with self._lock:
            now = self._clock()
            is_due = now >= self._probe_at
            if is_due:
                self._probe_at = now + LEASE.total_seconds()
            return is_due

    def end_probe(self, error: Exception | None) -> None:
        """Close the breaker if the server answered the probe. Begin another pause if it did not, with `error`."""
        with self._lock:
            if not self.is_open:
                return
            if error is not None:
                self._pause(error)
                return
            self._because, self._failures, self._probe_at = None, 0, math.inf
            self._epoch += 1
        self._changed()

    def _pause(self, because: Exception) -> None:
        self._because = because
        self._probe_at = self._clock() + self._pause_seconds

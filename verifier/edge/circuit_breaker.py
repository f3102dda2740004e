"""What keeps a server that is away from costing every request its timeout.

It is closed while the server answers. It opens at one call that ran into its timeout, since each such call holds a
thread for seconds, or at some quick failures in a row. While it is open, nothing is sent. After a pause, one caller is
told to find out (half-open): the server answers, and it is closed; or it does not, and another pause begins.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from time import monotonic

#: How many quick failures in a row open it: fewer are a server that closed idle connections.
FAILURES = 3
#: How long it is open before somebody finds out whether the server is back.
PAUSE = timedelta(seconds=0.2)


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitOpen(Exception):
    """Nothing was sent: the server did not answer lately. `because` is what it failed with."""

    def __init__(self, because: Exception) -> None:
        super().__init__()
        self.because = because


@dataclass(frozen=True, slots=True)
class Ticket:
    """Of one call: what it found out counts for the state that it began in alone. `is_probe` obliges its holder to
    find out whether the server answers, and to say so."""

    epoch: int
    is_probe: bool = False


class CircuitBreaker:
    """Of one server, for all threads of a process. `clock` is in seconds, and never goes back; `changed` is called,
    with no lock held, when it opens and when it closes."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = monotonic,
        failures: int = FAILURES,
        pause: timedelta = PAUSE,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._most = failures
        self._pause = pause.total_seconds()
        self._changed = changed
        self._lock = threading.Lock()
        self._state = State.CLOSED
        self._epoch = 0
        self._failures = 0
        self._until = 0.0
        self._because: Exception = ConnectionError()

    @property
    def is_open(self) -> bool:
        """Also while somebody finds out."""
        return self._state is not State.CLOSED

    def enter(self) -> Ticket:
        """What a call begins with. Raises CircuitOpen where it must not be made."""
        with self._lock:
            if self._state is State.CLOSED:
                return Ticket(self._epoch)
            if self._state is State.OPEN and self._clock() >= self._until:
                self._state = State.HALF_OPEN
                return Ticket(self._epoch, is_probe=True)
            raise CircuitOpen(self._because)

    def succeed(self, ticket: Ticket) -> None:
        """The server answered, whatever it said."""
        if self._state is State.CLOSED and not self._failures:
            return  # as nearly always: without the lock
        with self._lock:
            self._failures = 0
            closes = self._state is not State.CLOSED and ticket.epoch == self._epoch
            if closes:
                self._move(State.CLOSED)
        if closes:
            self._changed()

    def fail(self, ticket: Ticket, because: Exception, *, was_slow: bool) -> None:
        """The server did not answer. Without effect for a call that began before it last opened or closed."""
        with self._lock:
            if ticket.epoch != self._epoch:
                return
            self._because = because
            self._until = self._clock() + self._pause
            if self._state is not State.CLOSED:
                if ticket.is_probe:
                    self._state = State.OPEN
                return
            self._failures += 1
            opens = was_slow or self._failures >= self._most
            if opens:
                self._move(State.OPEN)
        if opens:
            self._changed()

    def _move(self, state: State) -> None:
        self._state = state
        self._epoch += 1
        self._failures = 0

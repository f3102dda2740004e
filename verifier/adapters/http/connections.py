"""The connections of callers, which gunicorn reads and writes. Each request has one deadline and a bounded size."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any, Self

import gevent
from gevent import socket
from gevent.lock import BoundedSemaphore
from gevent.server import StreamServer
from gunicorn.http.errors import LimitRequestHeaders

from verifier.core.values import dataclass

#: How long a caller has to close its end after its last answer.
LINGER_SECONDS = 2
#: The most bytes that are read of one head, and of one body with its framing.
_HEAD_BYTES = 16 * 1024
_BODY_BYTES = 8 * 1024 * 1024
_STEP_BYTES = 64 * 1024
#: How much of a body the server reads before it calls the application. An ordinary body is shorter.
_AHEAD_BYTES = 16 * 1024
#: The framing and the body of an ordinary request are shorter. A longer one lets other requests go first.
_ORDINARY_BYTES = 8 * 1024
#: How many connections beyond the limit may be about to close, however low the limit is.
_FEWEST_CLOSING = 16
#: How long a caller may keep a full worker waiting before the worker may close its connection.
_PATIENCE_SECONDS = 1
#: How long a request that reached its deadline lets other requests go first.
_QUIET_SECONDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the callers of one listener may use."""

    #: Beyond this number, the worker closes the connections that have kept it waiting longest.
    connections: int
    #: From the first byte of a request to its last, and again for its answer.
    request_seconds: float
    #: Between an answer and the first byte of the next request.
    idle_seconds: float

    @property
    def most_connections(self) -> int:
        """Return how many connections are open at most, with those beyond the limit that are about to close."""
        return self.connections + max(_FEWEST_CLOSING, self.connections // 8)

    def within(self, most: int) -> Self:
        """Return these limits with as many connections as keep `most_connections` within `most`."""
        return replace(self, connections=min(most - _FEWEST_CLOSING, (most * 8 + 7) // 9))


class Connection(socket.socket):  # type: ignore[misc]  # gevent ships no types
    """The connection of a caller. `recv` returns the end of the stream after the deadline of a request."""

    def __init__(self, client: Any, listener: "Listener") -> None:  # noqa: ANN401 - as above
        super().__init__(client.family, client.type, client.proto, fileno=client.detach())
        self._listener = listener
        self._limits = listener.limits
        #: The time of its last answer, or of its arrival.
        self.since = monotonic()
        #: No byte of the next request has been read.
        self.is_idle = True
        #: The worker waits for the caller to send or to read.
        self.is_waiting = False
        #: The caller has ended its stream, or the worker reads no more of it.
        self.has_ended = False
        self._is_in_head = True
        self._is_sending = False
        self._has_answered = False
        self._is_gone = False
        self._left = _HEAD_BYTES
        # The first request has no idle time before its first byte.
        self._read_until = self.since + self._limits.request_seconds
        self._sent_until = 0.0

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what the caller sends next, or the end of the stream if the request has used up its time or size."""
        if not self._is_in_head and self._left <= _BODY_BYTES - _ORDINARY_BYTES:
            self._listener.await_quiet()
        if self._is_in_head and self._left <= 0:
            raise LimitRequestHeaders("the head is too large")
        try:
            data = b"" if self.has_ended else self._receive(min(size, self._left), flags, until=self._read_until)
        except TimeoutError:
            self._listener.await_quiet()
            data = b""
        self._left -= len(data)
        if not data:
            self.has_ended = True
        elif self.is_idle:
            self._start_clock()
        return data

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Send all data within the time of one answer. Raises BrokenPipeError, which gunicorn does not log."""
        self._sent_until = self._sent_until or monotonic() + self._limits.request_seconds
        left = memoryview(data)
        self.is_waiting = self._is_sending = True
        try:
            while left:
                self.settimeout(max(0.001, self._sent_until - monotonic()))
                left = left[super().send(left, flags) :]
                if left and monotonic() > self._sent_until:
                    raise TimeoutError
        except OSError as error:
            self.interrupt()
            raise BrokenPipeError(errno.EPIPE, "the caller does not read its answer") from error
        finally:
            self.is_waiting = self._is_sending = False
        self._has_answered = True

    def send(self, data: bytes, flags: int = 0) -> int:
        """Send all of an interim answer: 100 Continue. It does not use up the time of the answer."""
        self.sendall(data, flags)
        self._sent_until = 0.0
        return len(data)

    def end_head(self) -> None:
        """Expect a body: the head of the request is complete."""
        if self.is_idle:  # it came with the request before
            self._start_clock()
            # A caller that sends many requests at once must not block the other callers.
            self._listener.await_quiet()
        self._is_in_head = False
        self._left = _BODY_BYTES

    def rest(self) -> None:
        """Wait for the next request: this one is answered."""
        self.is_idle = self._is_in_head = True
        self._left = _HEAD_BYTES
        self.since = monotonic()
        self._read_until = self.since + self._limits.idle_seconds
        self._sent_until = 0.0
        self._listener.put_last(self)

    def interrupt(self) -> None:
        """Stop reading, and close soon. An answer may be lost."""
        self._is_gone = self.has_ended = True
        with suppress(OSError):  # the caller has gone already
            self.shutdown(socket.SHUT_RDWR if self._is_sending else socket.SHUT_RD)

    def close(self) -> None:
        """Close after the caller has read its answer: an earlier reset could destroy it (RFC 9112 section 9.6)."""
        if self._has_answered and not self._is_gone:
            self._is_gone = True
            with suppress(OSError):  # the caller has gone already
                self.shutdown(socket.SHUT_WR)
                self._discard()
        super().close()

    def _start_clock(self) -> None:
        self.is_idle = False
        self._read_until = monotonic() + self._limits.request_seconds

    def _receive(self, size: int, flags: int = 0, *, until: float) -> bytes:
        """Return what the caller sends, or the end of the stream if the caller ended it or used up its bytes.

        Raises TimeoutError.
        """
        if size <= 0:
            return b""
        seconds = until - monotonic()
        if seconds <= 0 and not self.is_idle:
            raise TimeoutError
        self.settimeout(max(0.0, seconds))
        self.is_waiting = True
        try:
            if seconds > 0:
                # Wait also if bytes are there: a caller that never pauses must not block other callers. gevent.sleep(0)
                # would not do: it lets go first only those that do not wait for Redis.
                socket.wait_read(self.fileno(), seconds)
            data: bytes = super().recv(size, flags)
        except (TimeoutError, BlockingIOError):
            if seconds > 0 and self.is_idle:  # serve a request that came at the last moment
                return self._receive(size, flags, until=until)
            raise TimeoutError from None
        except (OSError, ValueError):  # the latter if this connection is closed: it has no descriptor to wait for
            data = b""
        finally:
            self.is_waiting = False
        self._is_gone = self._is_gone or not data
        return data

    def _discard(self) -> None:
        until = monotonic() + LINGER_SECONDS
        for _ in range(_BODY_BYTES // _STEP_BYTES):
            if not self._receive(_STEP_BYTES, until=until):
                return
            gevent.sleep(0)


class Body:
    """The body of a request. The application reads it to its end or gets EOFError."""

    def __init__(self, request: Any, connection: Connection) -> None:  # noqa: ANN401 - gunicorn ships no types
        self._request = request
        self._reader = request.body
        self._connection = connection
        self._ahead = b""

    def read_ahead(self) -> None:
        """Wait for the body, or for the first part of a long one. Raises the exceptions of `read`."""
        # gunicorn sends 100 Continue when the application reads; the caller sends no body before that.
        if not any(name == "EXPECT" for name, _ in self._request.headers):
            self._ahead = self._read(_AHEAD_BYTES)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes.

        Raises EOFError if the body is incomplete, and an exception of gunicorn if its framing is invalid. Then the
        start of the next request is unknown, and the connection ends after this one.
        """
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data + self._read(size - len(data))

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._reader.read(size)
        except Exception as error:
            self._request.force_close()
            if self._connection.has_ended:
                raise EOFError from error
            raise
        if self._connection.has_ended:
            self._request.force_close()
            raise EOFError
        return data

    def discard(self) -> bool:
        """Read the rest of the body. Return False if it has no valid end."""
        try:
            while self.read(_STEP_BYTES):
                pass
        except Exception:  # noqa: BLE001 - after any exception, the connection ends
            return False
        return True


class Listener:
    """A socket that accepts connections, and the connections of its callers."""

    def __init__(self, sock: Any, limits: Limits, handle: Callable[["Listener", Any, object], None]) -> None:  # noqa: ANN401 - as above
        self.limits = limits
        self._name: tuple[object, ...] = sock.getsockname()
        self._server = StreamServer(sock, handle=partial(handle, self), spawn=limits.most_connections)
        self._turn = BoundedSemaphore(1)
        #: In the order of `since`.
        self._callers: dict[Connection, None] = {}

    def getsockname(self) -> tuple[object, ...]:
        """Return the address. gunicorn asks for it also after the socket is closed."""
        return self._name

    @property
    def is_busy(self) -> bool:
        return bool(self._server.pool)

    def start(self, *, shared: bool) -> None:
        """Accept connections; one at a time if other workers share the socket."""
        if shared:
            self._server.max_accept = 1
        self._server.start()

    def stop(self) -> None:
        """Accept the connections that wait in the kernel, up to the limit. Close the socket, which resets the rest."""
        self._server.stop_accepting()
        with suppress(OSError):
            while not self._server.full() and (accepted := self._server.do_read()) is not None:
                self._server.do_handle(*accepted)
        self._server.close()

    @contextmanager
    def admit(self, client: Any) -> Iterator[Connection]:  # noqa: ANN401 - gevent ships no types
        connection = Connection(client, self)
        self._callers[connection] = None
        try:
            yield connection
        finally:
            self._callers.pop(connection, None)

    def make_room(self) -> None:
        """Close the connections beyond the limit that have kept the worker waiting longest."""
        excess = len(self._callers) - self.limits.connections
        if excess > 0:
            before = monotonic() - _PATIENCE_SECONDS
            waiting = (caller for caller in self._callers if caller.is_waiting and caller.since < before)
            for caller in list(islice(waiting, excess)):
                del self._callers[caller]
                caller.interrupt()

    def close_idle(self) -> None:
        for caller in list(self._callers):
            if caller.is_idle:
                caller.interrupt()

    def close_all(self) -> None:
        for caller in list(self._callers):
            caller.interrupt()
        self._server.pool.kill(timeout=1)

    def put_last(self, connection: Connection) -> None:
        if connection in self._callers:
            self._callers[connection] = self._callers.pop(connection)

    def await_quiet(self) -> None:
        """Let other requests go first: a thousand may reach their deadline at the same time."""
        with gevent.Timeout(_QUIET_SECONDS, exception=False), self._turn:
            gevent.idle()

"""gunicorn's gevent worker, with one deadline for each request, a stop that loses no request, and problem documents."""

import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from http import HTTPStatus
from time import monotonic
from typing import Any, Protocol

import gevent
from gunicorn.http.errors import ParseException
from gunicorn.workers.ggevent import GeventWorker

from verifier.adapters.http.connections import LINGER_SECONDS, Body, Connection, Limits, Listener
from verifier.ports.telemetry import UnhandledCause

#: The signals that stop a worker. The server blocks them around a fork.
STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
#: How soon a worker notices that it has to stop, or that it has too many callers.
_STEP_SECONDS = 0.1

#: Make the status, the headers and the problem document for a request that the application does not answer.
UnhandledRequestHandler = Callable[[UnhandledCause, Exception], tuple[int, Mapping[str, str], bytes]]


class Application(Protocol):
    """What a worker needs of the server."""

    unhandled: UnhandledRequestHandler

    def limits_of(self, listener: int) -> Limits:
        """Return what the callers of the listener with this number may use."""


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn ships no types
    """One process of the service.

    It overrides `run`, `handle_error`, `handle_quit` and `init_signals` of gunicorn's base worker, and `handle`,
    `handle_request` and `timeout_ctx` of its gevent worker. All have the same signatures in gunicorn 25, 26 and 27.
    """

    app: Application

    def init_signals(self) -> None:
        """Take the signals that were blocked since before the fork, now that the handlers are the worker's own."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def run(self) -> None:
        """Accept connections until the worker has to stop, and then finish the requests in flight."""
        listeners = [Listener(sock, self.app.limits_of(n), self.handle) for n, sock in enumerate(self.sockets)]
        for listener in listeners:
            listener.start(shared=self.cfg.workers > 1)
        while self.alive:
            self.notify()
            for listener in listeners:
                listener.make_room()
            gevent.sleep(_STEP_SECONDS)
        for listener in listeners:
            listener.stop()
        started = monotonic()
        while any(listener.is_busy for listener in listeners):
            waited = monotonic() - started
            if waited > self.cfg.graceful_timeout:
                break
            if waited > LINGER_SECONDS:  # until then, callers may send a request on an idle connection
                for listener in listeners:
                    listener.close_idle()
            self.notify()
            gevent.sleep(_STEP_SECONDS)
        for listener in listeners:
            listener.close_all()

    def handle(self, listener: Listener, client: Any, addr: object) -> None:  # noqa: ANN401 - gevent ships no types
        with listener.admit(client) as connection:
            super().handle(listener, connection, addr)

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """Leave deadlines to the connection: gunicorn's would be the same for a head and for idle keep-alive."""
        return nullcontext()

    def handle_request(self, listener_name: object, req: Any, sock: Connection, addr: object) -> None:  # noqa: ANN401 - as above
        sock.end_head()
        req.body = Body(req, sock)
        try:
            req.body.read_ahead()
        except Exception as error:
            self._refuse(sock, UnhandledCause.INCOMPLETE if sock.has_ended else UnhandledCause.MALFORMED, error)
            raise StopIteration from error
        super().handle_request(listener_name, req, sock, addr)
        if not req.body.discard():
            raise StopIteration
        sock.rest()

    def handle_quit(self, sig: int, frame: object) -> None:
        """Stop for SIGINT, which a terminal sends to each worker too, as for SIGTERM."""
        self.handle_exit(sig, frame)

    def handle_error(self, req: object, client: Connection, addr: object, exc: BaseException) -> None:
        """Answer a request that did not reach the application, or whose answer could not be made."""
        del addr  # what a caller made up is not for the log
        if not isinstance(exc, Exception):  # the worker ends
            return
        # With a request there was a head, and only the answer can be at fault.
        is_malformed = req is None and isinstance(exc, ParseException)
        self._refuse(client, UnhandledCause.MALFORMED if is_malformed else UnhandledCause.FAILED, exc)

    def _refuse(self, client: Connection, cause: UnhandledCause, error: Exception) -> None:
        status, headers, problem = self.app.unhandled(cause, error)
        fields = {"Connection": "close", "Content-Length": len(problem), **headers}
        head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {fields[name]}" for name in fields)]
        with suppress(OSError):  # the caller has gone already
            client.sendall("\r\n".join([*head, "", ""]).encode("ascii") + problem)

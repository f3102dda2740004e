"""gunicorn's gevent worker with one deadline for each request, a stop that loses no request, and problem documents."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from http import HTTPStatus
from time import monotonic
from typing import Any, Protocol

import gevent
from gunicorn.http.errors import ParseException
from gunicorn.workers.ggevent import GeventWorker

from verifier.adapters.http.connections import LINGER_SECONDS, Body, Connection, Limits, Listener
from verifier.adapters.http.options import UnhandledRequestHandler
from verifier.ports.telemetry import UnhandledCause

#: The signals that stop a worker. The server blocks them around a fork.
STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
#: How often a worker checks whether it has to stop, or has too many callers.
_STEP_SECONDS = 0.1


class Application(Protocol):
    """What a worker needs of the server."""

    unhandled: UnhandledRequestHandler
    finish: Callable[[], None]

    def limits_of(self, listener: int) -> Limits:
        """Return the limits of the listener with this number."""


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn ships no types
    """One process of the service.

    It overrides `run`, `handle_error`, `handle_quit` and `init_signals` of gunicorn's base worker, and `handle`,
    `handle_request` and `timeout_ctx` of its gevent worker. Their signatures are the same in gunicorn 24 to 27.
    """

    app: Application

    def init_signals(self) -> None:
        """Install the handlers of the worker, and then unblock the signals that were blocked before the fork."""
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
        self.app.finish()

    def handle(self, listener: Listener, client: Any, addr: object) -> None:  # noqa: ANN401 - gevent ships no types
        with listener.admit(client) as connection:
            super().handle(listener, connection, addr)

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """Return no timeout: the connection has its own deadlines. gunicorn's covers head and idle time together."""
        return nullcontext()

    def handle_request(self, listener_name: object, req: Any, sock: Connection, addr: object) -> None:  # noqa: ANN401 - as above
        sock.end_head()
        if not _is_sound(req):
            self._refuse(sock, UnhandledCause.MALFORMED, ParseException("not one Host, or an unknown transfer coding"))
            raise StopIteration
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
        """Stop on SIGINT as on SIGTERM. A terminal sends SIGINT to each worker too."""
        self.handle_exit(sig, frame)

    def handle_error(self, req: object, client: Connection, addr: object, exc: BaseException) -> None:
        """Answer a request that did not reach the application, or on which the server failed."""
        del addr  # untrusted, so not for the log
        if not isinstance(exc, Exception):  # the worker ends
            return
        # With a request, the head was valid, so the server is at fault.
        is_malformed = req is None and isinstance(exc, ParseException)
        self._refuse(client, UnhandledCause.MALFORMED if is_malformed else UnhandledCause.FAILED, exc)

    def _refuse(self, client: Connection, cause: UnhandledCause, error: Exception) -> None:
        status, headers, problem = self.app.unhandled(cause, error)
        fields = {"Connection": "close", "Content-Length": len(problem), **headers}
        head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {fields[name]}" for name in fields)]
        with suppress(OSError):  # the caller has gone already
            client.sendall("\r\n".join([*head, "", ""]).encode("ascii") + problem)


def _is_sound(req: Any) -> bool:  # noqa: ANN401 - as above
    """Return whether the head has one Host (RFC 9112 section 3.2), and no transfer coding but chunked."""
    hosts = sum(name == "HOST" for name, _ in req.headers)
    codings = [value.strip().lower() for name, value in req.headers if name == "TRANSFER-ENCODING"]
    return (hosts == 1 or (hosts == 0 and req.version < (1, 1))) and all(coding == "chunked" for coding in codings)

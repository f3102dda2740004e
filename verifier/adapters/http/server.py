"""gunicorn, told by arguments rather than by a file: the one place that knows its settings."""

import logging
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import takewhile
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.errors import InvalidResponseHeader, InvalidResponseHeaderName, ParseException
from gunicorn.sock import BaseSocket
from gunicorn.workers.gthread import TConn, ThreadWorker

from verifier.ports.telemetry import METRICS_LISTENER

#: How long a caller has to close its end of a connection that was answered for the last time.
_CLOSING_SECONDS = 2
_DISCARD_BYTES = 64 * 1024
_STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})

#: The answer if the application gave none: its status and its problem document. The flag says
#: whether the request is at fault, which then was not HTTP that can be read.
UnhandledRequestHandler = Callable[[Exception, bool], tuple[int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    host: str
    port: int
    workers: int
    threads: int
    #: How long a caller may take to send one request. One that stalls holds a thread until then.
    request_seconds: int
    graceful_stop_seconds: int
    metrics_host: str = ""
    #: None if the metrics have no listener of their own.
    metrics_port: int | None = None


def serve(
    create: Callable[[], Flask],
    options: ServerOptions,
    *,
    ready: Callable[[str, str], None],
    unserved: UnhandledRequestHandler,
    worker_ended: Callable[[int], None],
) -> None:
    """Serves until SIGTERM or SIGINT; then no new connection is taken, and requests in flight are finished
    within the graceful time. `create` makes the application in each worker, after the fork, so that no
    connection is shared; `ready` is told the base URLs, of the service and (or empty) of the metrics, once connections
    are accepted; what comes by the listener of the metrics has METRICS_LISTENER in its environment; `unserved` answers
    what does not reach the application; `worker_ended` is told the id of a worker's process that is no more. Does not
    return.
    """
    addresses = [(options.host, options.port)]
    if options.metrics_port is not None:
        addresses.append((options.metrics_host, options.metrics_port))
    _Server(
        create,
        options,
        unserved,
        {
            "bind": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses],
            "workers": options.workers,
            "worker_class": _Worker,
            "threads": options.threads,
            "graceful_timeout": options.graceful_stop_seconds,
            "keepalive": 5,
            # Its control socket would be opened under $HOME, which a read-only root does not have.
            "control_socket_disable": True,
            "logger_class": _RootLogger,
            # Requests are small: a document goes in the body, and headers stay short.
            "limit_request_line": 1024,
            "limit_request_fields": 64,
            "limit_request_field_size": 8190,
            # A path is a path: no header may rewrite it.
            "forwarder_headers": "",
            "forwarded_allow_ips": "",
            "child_exit": lambda _, worker: worker_ended(worker.pid),
            "when_ready": lambda arbiter: _tell_ready(arbiter, ready),
        },
    ).run()


def _tell_ready(arbiter: Arbiter, ready: Callable[[str, str], None]) -> None:
    """Before the first worker is forked, so that each knows which port is the metrics'."""
    urls = []
    for listener in arbiter.LISTENERS:
        host, port = listener.sock.getsockname()[:2]
        urls.append(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    if len(urls) > 1:
        arbiter.app.metrics_port = urls[1].rpartition(":")[2]
    ready(urls[0], urls[1] if len(urls) > 1 else "")


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    def __init__(
        self,
        create: Callable[[], Flask],
        options: ServerOptions,
        unserved: UnhandledRequestHandler,
        settings: Mapping[str, object],
    ) -> None:
        self._create = create
        self.options = options
        self.unserved = unserved
        self._settings = settings
        self.metrics_port = ""
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def run(self) -> None:
        _Arbiter(self).run()

    def load(self) -> Flask:
        app = self._create()
        if self.metrics_port:
            app.wsgi_app = _Marked(app.wsgi_app, self.metrics_port)  # type: ignore[method-assign]  # as Flask's documentation says
        return app


class _Arbiter(Arbiter):  # type: ignore[misc]  # gunicorn ships no types
    """A worker is told to stop as soon as it is there: what is sent to it waits until it has handlers of its own. Until
    then it has the arbiter's, which would keep the signal for a loop that never runs there."""

    def spawn_worker(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            return int(super().spawn_worker())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


class _Marked:
    """Marks what came by the listener of the metrics: gunicorn takes SERVER_PORT from the socket, never from Host."""

    def __init__(self, app: WSGIApplication, port: str) -> None:
        self._app = app
        self._port = port

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["SERVER_PORT"] == self._port:
            environ[METRICS_LISTENER] = True
        return self._app(environ, start_response)


class _Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's thread worker, without these faults of the original:

    - it waits without a limit for the rest of a stalled request, so that a few of those occupy all threads;
    - it gives a thread to a silent connection, and the main thread to a caller that does not close its end;
    - on SIGTERM it resets the connections that the kernel has accepted and the worker has not;
    - it answers requests that are not HTTP in HTML, and logs their bytes.

    All but handle_error runs in the worker's main thread.
    """

    app: _Server
    sockets: list[BaseSocket]

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self._deadlines: dict[TConn, float] = {}
        #: Answered connections that wait for the caller to close, with their deadlines.
        self._closing: dict[TConn, float] = {}

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - gunicorn's signature
        """Accept the connections that wait in the kernel before a stop, then release the listeners.

        When the last worker has released them, the kernel refuses new connections at once.
        """
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            self._accept_waiting(listener)
            listener.close()
        self.sockets = []

    def _accept_waiting(self, listener: BaseSocket) -> None:
        for _ in range(self.cfg.backlog):
            before = self.nr_conns
            self.accept(listener)
            if self.nr_conns == before:  # there was none
                return

    def accept(self, listener: BaseSocket) -> None:
        """A connection gets a thread when it says something."""
        try:
            sock, address = listener.accept()
        except OSError:  # another worker was quicker, the caller has gone, or no descriptor is left: others go on
            return
        self.nr_conns += 1
        conn = TConn(self.cfg, sock, address, listener.getsockname())
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def enqueue_req(self, conn: TConn) -> None:
        self._deadlines[conn] = time.monotonic() + self.app.options.request_seconds
        super().enqueue_req(conn)

    def finish_request(self, conn: TConn, fs: Future[object]) -> None:
        del self._deadlines[conn]
        if fs.exception() is None and not fs.result():
            self._begin_closing(conn)
        else:
            super().finish_request(conn, fs)

    def _begin_closing(self, conn: TConn) -> None:
        """RFC 9112 section 9.6: to close both ways at once, while the caller still sends, could take the answer from
        it. The main thread, which serves all connections, does not wait for that."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.settimeout(0)
        except OSError:  # the caller has gone already
            self._end(conn)
            return
        self._closing[conn] = time.monotonic() + _CLOSING_SECONDS
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._discard, conn))

    def _discard(self, conn: TConn, sock: socket.socket) -> None:
        try:
            rest = sock.recv(_DISCARD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            rest = b""
        if not rest:
            self.poller.unregister(sock)
            del self._closing[conn]
            self._end(conn)

    def _end(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """A request that has come by the end of its connection's time is served."""
        now = time.monotonic()
        for conn in list(takewhile(lambda kept: kept.timeout <= now, self.keepalived_conns)):
            if not force and _has_input(conn.sock):
                self.on_client_socket_readable(conn, conn.sock)
        super().murder_keepalived(force)

    def murder_pending(self) -> None:
        """End stalled requests. gunicorn calls it at least once a second, also while stopping.

        The thread of a stalled request reads an end of file, and can still answer.
        """
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in self._deadlines.items():
            if now > deadline:
                with suppress(OSError):  # the caller has gone already
                    conn.sock.shutdown(socket.SHUT_RD)
        for conn in [conn for conn, deadline in self._closing.items() if now > deadline]:
            self.poller.unregister(conn.sock)
            del self._closing[conn]
            self._end(conn)

    def handle_quit(self, sig: int, frame: object) -> None:
        """SIGINT, which a terminal sends to each worker too, stops as SIGTERM does: requests in flight are finished."""
        self.handle_exit(sig, frame)

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: Exception) -> None:
        del req, addr  # what a caller made up is not for the log
        is_the_requests = isinstance(exc, ParseException) and not isinstance(
            exc, InvalidResponseHeader | InvalidResponseHeaderName
        )
        status, problem = self.app.unserved(exc, is_the_requests)
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\nCache-Control: no-store\r\n"
            f"Content-Type: application/problem+json\r\nContent-Length: {len(problem)}\r\n\r\n"
        )
        with suppress(OSError):  # the caller has gone already
            client.sendall(head.encode("ascii") + problem)


def _has_input(sock: socket.socket) -> bool:
    """Whether there is something to read, or an end of file, on a socket that does not block."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


class _RootLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Send gunicorn's messages to the log of the process. There is no access log, because it would hold URLs."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)

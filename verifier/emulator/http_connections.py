"""HTTP/1.1 connections like those of IMDS: they stay open, and each answer has its `Server` header.

werkzeug's own handler closes each connection after one answer, but parses requests for both.
"""

import socket
import threading
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from werkzeug.serving import WSGIRequestHandler

from verifier.emulator.control_api import LOCAL_ADDRESS

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# The form is that of recorded answers.
_SERVER: Final = "IMDS/150.870.65.1854"
_IDLE_SECONDS: Final = 75.0


class OpenConnections:
    """The open connections of one server, so that no answer follows its stop. Thread-safe."""

    def __init__(self) -> None:
        self._open: set[socket.socket] = set()
        self._is_closed = False
        self._lock = threading.Lock()

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
            if self._is_closed:
                _shut_down(connection)

    def discard(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def close(self) -> None:
        """Close all connections, also those that `add` gets later."""
        with self._lock:
            self._is_closed = True
            for connection in self._open:
                _shut_down(connection)


class _Handler(WSGIRequestHandler):
    """A handler without a log, because a request line contains the nonce."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    # The head and the body are two writes. Without this, the second one waits for the acknowledgement of the first.
    disable_nagle_algorithm = True
    connections: OpenConnections

    def setup(self) -> None:
        super().setup()
        self.connections.add(self.connection)

    def finish(self) -> None:
        self.connections.discard(self.connection)
        super().finish()

    def version_string(self) -> str:
        return _SERVER

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name for it
        del type, message, args

    def make_environ(self) -> "WSGIEnvironment":
        return {**super().make_environ(), LOCAL_ADDRESS: self.connection.getsockname()[0]}

    def run_wsgi(self) -> None:
        """Answer a request. The connection stays open, except after a request with a body.

        The application may not have read the body, and its rest would be taken for the next request.
        """
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            super().run_wsgi()
            return
        status, headers = "", list[tuple[str, str]]()

        def start_response(line: str, fields: list[tuple[str, str]], _error: object = None) -> None:
            nonlocal status, headers
            status, headers = line, fields

        parts: Iterable[bytes] = self.server.app(self.make_environ(), start_response)  # type: ignore[arg-type] # no write()
        try:
            self._send_head(status, headers)
            for part in parts:
                self.wfile.write(part)
        except ConnectionError as error:
            # The client went away, or the fault `cut` closes the connection.
            self.close_connection = True
            self.connection_dropped(error)
        finally:
            if hasattr(parts, "close"):
                parts.close()

    def _send_head(self, status: str, headers: list[tuple[str, str]]) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason or HTTPStatus(int(code)).phrase)
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name, _ in headers} or self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


def handler_of(connections: OpenConnections) -> type[WSGIRequestHandler]:
    """Return the class of the handlers that register their connections in `connections`."""
    return type("Handler", (_Handler,), {"connections": connections})


def _shut_down(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The client closed it before.
        return

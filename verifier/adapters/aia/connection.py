"""Send one HTTP request over one connection, with limits on bytes and time that the peer cannot exceed."""

import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from io import BufferedReader, RawIOBase
from types import TracebackType
from typing import Self

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from verifier.adapters.aia.urls import IssuerUrl
from verifier.ports.trust import FetchFailed

MAX_BODY_BYTES = 16 * 1024
#: The limit for all bytes of one answer: interim answers, header, chunk framing, body and trailers.
MAX_ANSWER_BYTES = 2 * MAX_BODY_BYTES

_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "Accept": "application/pkix-cert, application/pkcs7-mime, */*",
    # Request no encoding: a compressed body could exceed the limit when it is decoded.
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "imds-verifier",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hold the location of a redirect, or the body of a successful answer. Not checked: the content of both."""

    unverified_location: str | None = None
    body: bytes = field(default=b"", repr=False)


def ask(url: IssuerUrl, opened: socket.socket, *, tls: ssl.SSLContext, seconds: float) -> Answer:
    """Send GET `url` over `opened`, a connection to an address of its host, and close the connection.

    For https, `tls` verifies the name of the host. Proxies of the environment are not used, because the connection is
    already open. Raises FetchFailed within `seconds`.
    """
    try:
        with opened, _Deadline(opened, seconds) as deadline:
            try:
                opened.settimeout(seconds)
                if url.scheme == "https":
                    with tls.wrap_socket(opened, server_hostname=url.host) as secured:
                        answer = _exchange(url, secured, seconds)
                else:
                    answer = _exchange(url, opened, seconds)
            finally:
                deadline.require_not_passed()
            return answer
    except TimeoutError as error:
        raise FetchFailed("The answer was not complete in time.") from error
    except (HTTPError, HTTPException, OSError) as error:
        raise FetchFailed(f"The server's answer could not be read ({type(error).__name__}).") from error


def _exchange(url: IssuerUrl, opened: socket.socket, seconds: float) -> Answer:
    connection = _Connection(url.host, opened, seconds)
    try:
        # Set Host explicitly: http.client would add a port that is not the default of http.
        connection.request("GET", url.path, headers={**_HEADERS, "Host": url.host}, preload_content=False)
        response = connection.getresponse()
        try:
            if response.status in _REDIRECTS:
                return Answer(unverified_location=response.headers.get("Location", ""))
            if response.status != _OK:
                raise FetchFailed(f"The server answered {response.status}.")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise FetchFailed("The body is encoded, but no encoding was requested.")
            return Answer(body=_read_body(response))
        finally:
            response.close()
    finally:
        connection.close()


def _read_body(response: BaseHTTPResponse) -> bytes:
    """Read until the end of the body: only the read after the last byte reports a body that is too short."""
    body = b""
    while data := response.read(MAX_BODY_BYTES + 1 - len(body), decode_content=False):
        body += data
        if len(body) > MAX_BODY_BYTES:
            raise FetchFailed(f"The body has more than {MAX_BODY_BYTES} bytes.")
    return body


class _Deadline:
    """Shut a connection down after `seconds`.

    The timeout of a socket does not limit the total time, because each received byte restarts it. The timer shuts down
    a duplicate of the descriptor, because TLS detaches the original one during the handshake.
    """

    def __init__(self, watched: socket.socket, seconds: float) -> None:
        self._own = watched.dup()
        self._passed = False
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        try:
            self._timer.start()
        except RuntimeError as error:
            self._own.close()
            raise FetchFailed("No thread is available for a deadline.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        self._own.close()

    def require_not_passed(self) -> None:
        """Raise FetchFailed after the deadline: the shutdown looks as if the server had closed the connection."""
        if self._passed:
            raise FetchFailed("The answer was not complete in time.")

    def _pass(self) -> None:
        self._passed = True
        with suppress(OSError):
            self._own.shutdown(socket.SHUT_RDWR)


class _Meter(RawIOBase):
    """Read at most MAX_ANSWER_BYTES from `source`."""

    def __init__(self, source: BufferedReader) -> None:
        super().__init__()
        self._source = source
        self._left = MAX_ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # what BufferedReader gives
        data = self._source.read1(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise HTTPException("the answer is too long")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


class _Response(HTTPResponse):
    """Limit the whole answer: http.client allows 100 header lines of 64 KiB, and endless trailers."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = BufferedReader(_Meter(self.fp))

    def begin(self) -> None:
        super().begin()
        if self.msg.defects or self.msg.get_payload():
            # urllib3 would accept the readable part of the header and log the rest.
            raise HTTPException("a malformed header")


class _Connection(HTTPConnection):
    """Use an open connection. Never resolve a name, connect or reconnect."""

    response_class = _Response

    def __init__(self, host: str, opened: socket.socket, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self._opened = opened

    def connect(self) -> None:
        self.sock = self._opened

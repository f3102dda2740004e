"""One HTTP request over one connection, which is bounded in bytes and, whatever the peer does, in time."""

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
#: All that is read of one answer: interim answers, header, framing of chunks, and trailers too.
MAX_ANSWER_BYTES = 2 * MAX_BODY_BYTES

_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "Accept": "application/pkix-cert, application/pkcs7-mime, */*",
    # A body that grows while it is decoded has no bound: nothing is decoded here.
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "imds-verifier",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Either where to ask instead, or the body of a plain success. Nothing of it is checked."""

    unverified_location: str | None = None
    body: bytes = field(default=b"", repr=False)


def ask(url: IssuerUrl, opened: socket.socket, *, tls: ssl.SSLContext, seconds: float) -> Answer:
    """The answer to GET `url` over `opened`, which is connected to an address of its host and closed afterwards.

    Where the scheme is https, the server has shown by `tls` that it is the host, whatever the address. Proxies
    of the environment have no say: there is a connection already. Raises FetchFailed, after `seconds` at the
    latest.
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
    except (HTTPError, HTTPException, OSError) as error:
        raise FetchFailed(f"The server's answer could not be read ({type(error).__name__}).") from error


def _exchange(url: IssuerUrl, opened: socket.socket, seconds: float) -> Answer:
    connection = _Connection(url.host, opened, seconds)
    try:
        # The Host field without the port, which may be the one that http.client takes for a strange one.
        connection.request("GET", url.path, headers={**_HEADERS, "Host": url.host}, preload_content=False)
        response = connection.getresponse()
        try:
            if response.status in _REDIRECTS:
                return Answer(unverified_location=response.headers.get("Location", ""))
            if response.status != _OK:
                raise FetchFailed(f"The server answered {response.status}.")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise FetchFailed("The body is encoded, which nobody asked for.")
            return Answer(body=_read_body(response))
        finally:
            response.close()
    finally:
        connection.close()


def _read_body(response: BaseHTTPResponse) -> bytes:
    """All of it: a body that ends before its length does shows only in the read after."""
    body = b""
    while data := response.read(MAX_BODY_BYTES + 1 - len(body), decode_content=False):
        body += data
        if len(body) > MAX_BODY_BYTES:
            raise FetchFailed(f"The body has more than {MAX_BODY_BYTES} bytes.")
    return body


class _Deadline:
    """Shuts a connection down after `seconds`, whatever its two ends are doing.

    A socket's own timeout is none: it starts anew with each byte that trickles in. What shuts down is a
    duplicate of the descriptor, since TLS takes the socket's own away while it shakes hands.
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
            raise FetchFailed("No thread is left for a deadline.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        self._own.close()

    def require_not_passed(self) -> None:
        """A connection that was shut down looks like one that the server ended. Raises FetchFailed."""
        if self._passed:
            raise FetchFailed("The answer was not complete in time.")

    def _pass(self) -> None:
        self._passed = True
        with suppress(OSError):
            self._own.shutdown(socket.SHUT_RDWR)


class _Meter(RawIOBase):
    """Reads on from `source`, MAX_ANSWER_BYTES at most."""

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
            raise HTTPException("too long an answer")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


class _Response(HTTPResponse):
    """http.client alone allows 100 header lines of 64 KiB, and interim answers and trailers without end."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = BufferedReader(_Meter(self.fp))

    def begin(self) -> None:
        super().begin()
        if self.msg.defects or self.msg.get_payload():
            # urllib3 takes what it can read, and writes the rest to the log.
            raise HTTPException("a malformed header")


class _Connection(HTTPConnection):
    """A connection that is there already. It asks no name service and connects nowhere, not even again."""

    response_class = _Response

    def __init__(self, host: str, opened: socket.socket, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self._opened = opened

    def connect(self) -> None:
        self.sock = self._opened

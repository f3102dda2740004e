"""Send one HTTP request over one connection, with limits on bytes and time that the peer cannot exceed."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import field
from functools import partial
from http.client import HTTPException, HTTPResponse
from io import BufferedReader, RawIOBase
from types import TracebackType
from typing import Self, TypeVar

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from verifier.core.values import dataclass
from verifier.ports.trust import FetchFailed

#: The bytes of one answer beside its body: interim answers, header, chunk framing and trailers.
MAX_OVERHEAD_BYTES = 16 * 1024

_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_Address = TypeVar("_Address")


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """One GET request. For https, `tls` verifies the name of the host; for http it is None."""

    host: str
    #: The Host field: the host, with the port if it is not the default one.
    authority: str
    path: str
    accept: str
    tls: ssl.SSLContext | None
    max_body_bytes: int

    def headers(self) -> dict[str, str]:
        return {
            "Accept": self.accept,
            # Request no encoding: a compressed body could exceed the limit when it is decoded.
            "Accept-Encoding": "identity",
            "Connection": "close",
            "User-Agent": "imds-verifier",
            # Set Host explicitly: http.client would add a port that is not the default of http.
            "Host": self.authority,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hold the location of a redirect, or the body of a successful answer. Not checked: the content of both."""

    unverified_location: str | None = None
    body: bytes = field(default=b"", repr=False)


class UnexpectedStatus(FetchFailed):
    """Report an answer that is neither a redirect nor 200."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The server answered {status}.")
        self.status = status


def ask(get: Get, opened: socket.socket, *, seconds: float) -> Answer:
    """Send the request over `opened`, a connection to an address of its host, and close the connection.

    Proxies of the environment are not used, because the connection is already open. Raises FetchFailed within
    `seconds`, and UnexpectedStatus.
    """
    try:
        with opened, Deadline(opened, seconds) as deadline:
            try:
                opened.settimeout(seconds)
                if get.tls is not None:
                    with get.tls.wrap_socket(opened, server_hostname=get.host) as secured:
                        answer = _exchange(get, secured, seconds)
                else:
                    answer = _exchange(get, opened, seconds)
            finally:
                deadline.require_not_passed()
            return answer
    except TimeoutError as error:
        raise FetchFailed("The answer was not complete in time.") from error
    except (HTTPError, HTTPException, OSError, ValueError) as error:  # urllib3 reads a negative size of a chunk as one
        raise FetchFailed(f"The server's answer could not be read ({type(error).__name__}).") from error


def open_first(
    addresses: Sequence[_Address], connect: Callable[[_Address, float], socket.socket], ends: float
) -> socket.socket:
    """Connect to the first address that accepts. Each address gets an equal share of the remaining time.

    `connect` takes an address and a number of seconds, and raises OSError. Raises FetchFailed.
    """
    for tried, address in enumerate(addresses):
        share = remaining(ends) / (len(addresses) - tried)
        with suppress(OSError):
            return connect(address, share)
    raise FetchFailed("No address of the host accepts a connection.")


def remaining(ends: float) -> float:
    """Return the seconds until `ends`, a time of the monotonic clock. Raises FetchFailed if it has passed."""
    left = ends - time.monotonic()
    if left <= 0:
        raise FetchFailed("The time limit has passed.")
    return left


def _exchange(get: Get, opened: socket.socket, seconds: float) -> Answer:
    connection = _Connection(get.host, opened, seconds, max_bytes=get.max_body_bytes + MAX_OVERHEAD_BYTES)
    try:
        connection.request("GET", get.path, headers=get.headers(), preload_content=False)
        response = connection.getresponse()
        try:
            if response.status in _REDIRECTS:
                return Answer(unverified_location=response.headers.get("Location", ""))
            if response.status != _OK:
                raise UnexpectedStatus(response.status)
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise FetchFailed("The body is encoded, but no encoding was requested.")
            return Answer(body=_read_body(response, get.max_body_bytes))
        finally:
            response.close()
    finally:
        connection.close()


def _read_body(response: BaseHTTPResponse, most: int) -> bytes:
    """Read until the end of the body: only the read after the last byte reports a body that is too short."""
    parts: list[bytes] = []
    length = 0
    while data := response.read(most + 1 - length, decode_content=False):
        parts.append(data)
        length += len(data)
        if length > most:
            raise FetchFailed(f"The body has more than {most} bytes.")
    return b"".join(parts)


class Deadline:
    """Shut a connection down after `seconds`.

    The timeout of a socket does not limit the total time, because each received byte restarts it. The timer shuts down
    a duplicate of the descriptor, because TLS detaches the original one during the handshake.
    """

    def __init__(self, watched: socket.socket, seconds: float) -> None:
        self._own = socket.socket(fileno=socket.dup(watched.fileno()))  # `SSLSocket.dup` is not implemented
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
    """Read at most `most` bytes from `source`."""

    def __init__(self, source: BufferedReader, most: int) -> None:
        super().__init__()
        self._source = source
        self._left = most

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

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, *, max_bytes: int) -> None:
        super().__init__(sock, debuglevel, method)
        self.fp = BufferedReader(_Meter(self.fp, max_bytes))

    def begin(self) -> None:
        super().begin()
        if self.msg.defects or self.msg.get_payload():
            # urllib3 would accept the readable part of the header and log the rest.
            raise HTTPException("a malformed header")
        # http.client would take the first length, or read until the server closes (RFC 9112 6.3).
        lengths = self.msg.get_all("Content-Length", [])
        if len(lengths) > 1 or any(not (length.isascii() and length.isdigit()) for length in lengths):
            raise HTTPException("a malformed length")
        if lengths and "Transfer-Encoding" in self.msg:
            raise HTTPException("two lengths")


class _Connection(HTTPConnection):
    """Use an open connection. Never resolve a name, connect or reconnect."""

    def __init__(self, host: str, opened: socket.socket, timeout: float, *, max_bytes: int) -> None:
        super().__init__(host, timeout=timeout)
        self._opened = opened
        self.response_class = partial(_Response, max_bytes=max_bytes)  # type: ignore[assignment]  # only called

    def connect(self) -> None:
        self.sock = self._opened

"""One HTTP exchange, without proxies, redirects or retries, and with limits on time and size."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import field
from threading import Lock, Thread
from typing import Final
from urllib.parse import urlsplit

from verifier.agent.budget import Budget
from verifier.agent.compatibility import dataclass
from verifier.agent.exit_codes import ExitCode, NotAttested

_AUTHORITY: Final = re.compile(r"([0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?", re.ASCII)
_PATH: Final = re.compile(r"[0-9A-Za-z/._~%-]*", re.ASCII)


class TransportError(Exception):
    """The server sent no complete HTTP response within the limits."""


class UnreachableError(TransportError):
    """No connection: the name did not resolve, or the host refused or ignored the attempt."""


class UntrustedError(TransportError):
    """The server's certificate is not trusted, or is not valid for this host name."""


class MalformedResponseError(Exception):
    """The response is not the expected JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An http or https base URL without credentials, query or fragment."""

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Parse a base URL. Raises ValueError with a message that does not repeat the URL, which may hold a secret."""
        # Releases of `urlsplit` differ in these characters and in the brackets of IPv6.
        if " " in url or not url.isprintable():
            raise ValueError("the URL must not contain spaces or control characters")
        try:
            parts = urlsplit(url)
        except ValueError:  # the message may repeat a password
            raise ValueError("the host in the URL is malformed") from None
        if parts.scheme not in {"http", "https"}:
            raise ValueError("the URL must begin with http:// or https://")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the URL must not contain a user name or password")
        if parts.netloc.count(":") > 1 and "[" not in parts.netloc:
            raise ValueError("the URL must have an IPv6 address in brackets, such as http://[::1]:8080")
        if not parts.hostname or not _AUTHORITY.fullmatch(parts.netloc):
            raise ValueError("the URL must contain a host name in ASCII, and a port only as a number")
        if parts.netloc.startswith("[") and not _is_ipv6(parts.hostname):
            raise ValueError("the URL must have an IPv6 address in brackets, such as http://[::1]:8080")
        if parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
            raise ValueError("the URL must be a base address without query or fragment")
        return cls(scheme=parts.scheme, host=parts.hostname, port=parts.port, path=parts.path.rstrip("/"))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def _is_ipv6(text: str) -> bool:
    try:
        return bool(socket.inet_pton(socket.AF_INET6, text))
    except OSError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A complete response of any status. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json_object(self) -> dict[str, object]:
        """Return the body as a JSON object, or raise `MalformedResponseError`. Not checked: its members."""
        return parse_object(self.body)

    def retry_after(self) -> int | None:
        """Return the seconds of Retry-After (RFC 9110 10.2.3), or None. Its date form is ignored."""
        value = self.headers.get("retry-after", "").strip()
        return int(value) if re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) else None


def parse_object(body: bytes) -> dict[str, object]:
    """Parse a JSON object in UTF-8, UTF-16 or UTF-32, with or without a byte order mark."""
    try:
        value = json.loads(body)
    # RecursionError: the size limit alone does not bound the nesting.
    except (ValueError, RecursionError) as error:
        raise MalformedResponseError("the response is not JSON") from error
    if not isinstance(value, dict):
        raise MalformedResponseError("the response is not a JSON object")
    return value


def exchange(
    endpoint: Endpoint,
    *,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    budget: Budget,
    seconds: float,
    max_bytes: int,
) -> Response:
    """Send one request and return the response, of any status.

    `seconds` limits the whole exchange, including the DNS lookup; the budget can shorten it. `max_bytes` limits the
    body. https is verified against the system's trust store. `http.client` reads no proxy settings from the
    environment. Raises `TransportError`, or `NotAttested` with TIMEOUT if the budget is used up.
    """
    allowed = min(seconds, budget.seconds_left())
    timeout = NotAttested(ExitCode.TIMEOUT, f"the timeout of {budget.seconds:g} s expired before {endpoint} answered")
    if allowed <= 0:
        raise timeout
    # `abort` cannot interrupt a connection attempt, so the socket's timeout has to end it.
    running = _Exchange(endpoint=endpoint, connection=_connection(endpoint, allowed + 1), max_bytes=max_bytes)
    response: Future[Response] = Future()

    def run() -> None:
        try:
            response.set_result(running.run(method, path, headers, body))
        except Exception as error:  # noqa: BLE001 - `response.result()` raises it again
            response.set_exception(error)

    # In a thread, because a socket timeout restarts with each received byte, and a DNS lookup has no timeout.
    Thread(target=run, daemon=True).start()
    try:
        in_time = bool(wait([response], timeout=allowed).done)
    finally:
        running.abort()
    if in_time:
        return response.result()
    if allowed < seconds:
        raise timeout
    error = TransportError if running.connected else UnreachableError
    raise error(f"{endpoint} did not answer within {seconds:g} s")


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """A request and its response, run in one thread and aborted from another."""

    endpoint: Endpoint
    connection: http.client.HTTPConnection
    max_bytes: int
    #: A duplicate of the connection's socket without TLS: `SSLSocket.shutdown` would end TLS on the socket, and the
    #: other thread would then send the request, which contains the API key, in plaintext.
    _raw: socket.socket | None = field(default=None, init=False)
    _is_aborted: bool = field(default=False, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    @property
    def connected(self) -> bool:
        return self._raw is not None

    def run(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        try:
            self._connect()
            self.connection.request(method, self.endpoint.path + path, body=body, headers=dict(headers))
            with self.connection.getresponse() as response:
                content = _read_body(response, self.max_bytes)
                missing = response.length
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"{self.endpoint} did not answer ({_describe(error)})") from error
        finally:
            self.connection.close()
        if len(content) > self.max_bytes:
            raise TransportError(f"{self.endpoint} sent more than {self.max_bytes} bytes")
        # `read1` does not report a connection that closed before Content-Length was reached.
        if missing:
            raise TransportError(f"{self.endpoint} closed the connection {missing} bytes before the end")
        received = {name.lower(): value for name, value in response.getheaders()}
        return Response(status=response.status, headers=received, body=content)

    def abort(self) -> None:
        """Shut the socket down. The other thread then stops reading and closes the connection."""
        with self._lock:
            self._is_aborted = True
            if self._raw is not None:
                with suppress(OSError):  # the server has closed the connection
                    self._raw.shutdown(socket.SHUT_RDWR)
                self._raw.close()

    def _connect(self) -> None:
        try:
            self.connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise UntrustedError(f"{self.endpoint} has an untrusted certificate ({error.verify_message})") from error
        except OSError as error:
            raise UnreachableError(f"{self.endpoint} did not answer ({_describe(error)})") from error
        with self._lock:
            if self._is_aborted:
                raise UnreachableError(f"{self.endpoint} did not answer in time")
            self._raw = socket.socket(fileno=socket.dup(self.connection.sock.fileno()))


def _read_body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """Read at most one byte more than `max_bytes`, in pieces.

    `read` would take all that a server sends after a chunk of a negative size.
    """
    body = bytearray()
    while len(body) <= max_bytes and (piece := response.read1(max_bytes + 1 - len(body))):
        body += piece
    return bytes(body[: max_bytes + 1])


def _connection(endpoint: Endpoint, timeout: float) -> http.client.HTTPConnection:
    # Always pass a port: without one, http.client parses the last group of an IPv6 address as the port.
    if endpoint.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(endpoint.host, endpoint.port or 443, timeout=timeout, context=context)
    return http.client.HTTPConnection(endpoint.host, endpoint.port or 80, timeout=timeout)


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__

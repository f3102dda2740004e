"""One HTTP exchange: straight to the named host, never through a proxy, never redirected, never unbounded."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

from verifier.agent.budget import Budget
from verifier.agent.ends import End, NotAttested

_HOST: Final = re.compile(r"[0-9A-Za-z._:-]+", re.ASCII)
_PATH: Final = re.compile(r"[0-9A-Za-z/._~%-]*", re.ASCII)


class TransportError(Exception):
    """No whole answer came: silence, something that is not HTTP, one that was cut off, or is larger than the limit."""


class UnreachableError(TransportError):
    """There is no connection: no such host, refused, or no reply to the attempt."""


class UntrustedError(TransportError):
    """What is there does not show a certificate for the name that was asked for."""


class MalformedAnswerError(Exception):
    """An answer is not the JSON object that it has to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An http or https base URL, with or without a path, and without credentials, query or fragment."""

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Raises ValueError with a sentence about what is wrong, without the URL itself: it may hold a secret."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            raise ValueError("the URL must begin with http:// or https://")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the URL must not contain a user name or password")
        if not parts.hostname or not _HOST.fullmatch(parts.hostname):
            raise ValueError("the URL must name a host, in ASCII")
        if parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
            raise ValueError("the URL must be a plain base address, without query or fragment")
        return cls(scheme=parts.scheme, host=parts.hostname, port=parts.port, path=parts.path.rstrip("/"))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, of any status; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json_object(self) -> dict[str, object]:
        """The body as a JSON object, or `MalformedAnswerError`. What is in the object is not checked."""
        return parse_object(self.body)

    def retry_after(self) -> int | None:
        """Retry-After in seconds (RFC 9110 10.2.3), or None where there is none; its date form counts as none."""
        value = self.headers.get("retry-after", "").strip()
        return int(value) if re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) else None


def parse_object(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    # RecursionError: an answer may be nested as deep as its size allows.
    except (ValueError, RecursionError) as error:
        raise MalformedAnswerError("the answer is not JSON") from error
    if not isinstance(value, dict):
        raise MalformedAnswerError("the answer is not a JSON object")
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
    limit: int,
) -> Answer:
    """The server's own answer to this request, a redirect included: nothing is followed and nothing is retried.

    `http.client` reads no proxy settings from the environment. `seconds` are for all of it, as far as the budget has
    them; `limit` is bytes of body. https is verified against the system's roots. Raises `TransportError`, and
    `NotAttested` where it is the budget that is used up.
    """
    allowed = min(seconds, budget.left())
    out_of_time = NotAttested(End.OUT_OF_TIME, f"the time, {budget.seconds:g} s, was up before {endpoint} answered")
    if allowed <= 0:
        raise out_of_time
    # The socket's timeout ends the thread where cutting does not: while it connects.
    conversation = _Conversation(endpoint=endpoint, connection=_connection(endpoint, allowed + 1), limit=limit)
    answer: Future[Answer] = Future()

    def converse() -> None:
        try:
            answer.set_result(conversation.hold(method, path, headers, body))
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            answer.set_exception(error)

    # In a thread, since the timeout of a socket is for each octet anew, and that of a look-up is not ours to set.
    Thread(target=converse, daemon=True).start()
    try:
        in_time = bool(wait([answer], timeout=allowed).done)
    finally:
        conversation.cut()
    if in_time:
        return answer.result()
    if allowed < seconds:
        raise out_of_time
    silence = TransportError if conversation.line else UnreachableError
    raise silence(f"{endpoint} gave no answer in {seconds:g} s")


@dataclass(slots=True, kw_only=True)
class _Conversation:
    """One request and its answer, held in one thread and cut off from another."""

    endpoint: Endpoint
    connection: http.client.HTTPConnection
    limit: int
    line: socket.socket | None = None

    def hold(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        try:
            self._connect()
            self.connection.request(method, self.endpoint.path + path, body=body, headers=dict(headers))
            with self.connection.getresponse() as response:
                content = response.read(self.limit + 1)
                missing = response.length
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"{self.endpoint} gave no answer ({_describe(error)})") from error
        finally:
            self.connection.close()
        if len(content) > self.limit:
            raise TransportError(f"{self.endpoint} answered with more than {self.limit} bytes")
        # A bounded read does not notice by itself that the connection ended before Content-Length was reached.
        if missing:
            raise TransportError(f"{self.endpoint} broke off {missing} bytes before the end of its answer")
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=received, body=content)

    def cut(self) -> None:
        """A thread that still reads ends soon, and closes the connection itself."""
        with suppress(OSError):  # where the conversation has ended
            if self.line is not None:
                self.line.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> None:
        try:
            self.connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise UntrustedError(f"{self.endpoint} is not who it should be ({error.verify_message})") from error
        except OSError as error:
            raise UnreachableError(f"{self.endpoint} gave no answer ({_describe(error)})") from error
        # Kept here: the connection forgets it where the server says that it closes.
        self.line = self.connection.sock


def _connection(endpoint: Endpoint, timeout: float) -> http.client.HTTPConnection:
    # The port is always given: http.client would look for one in the last group of an IPv6 address.
    if endpoint.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(endpoint.host, endpoint.port or 443, timeout=timeout, context=context)
    return http.client.HTTPConnection(endpoint.host, endpoint.port or 80, timeout=timeout)


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__

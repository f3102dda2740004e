"""One HTTP exchange: straight to the named host, never through a proxy, never redirected, never unbounded."""

import http.client
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

_HOST: Final = re.compile(r"[0-9A-Za-z._:-]+", re.ASCII)
_PATH: Final = re.compile(r"[0-9A-Za-z/._~%-]*", re.ASCII)


class TransportError(Exception):
    """No whole answer came: not reachable, timed out, cut off, or larger than the limit."""


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
    def parse(cls, url: str) -> Self:
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
    timeout: float,
    limit: int,
) -> Answer:
    """The server's own answer to this request, a redirect included: nothing is followed and nothing is retried.

    `http.client` reads no proxy settings from the environment. `timeout` is seconds for each step on the network, not
    for the whole; `limit` is bytes of body. https is verified against the system's roots. Raises `TransportError`.
    """
    connection = _connect(endpoint, timeout)
    try:
        connection.request(method, endpoint.path + path, body=body, headers=dict(headers))
        response = connection.getresponse()
        content = response.read(limit + 1)
        missing = response.length
    except (OSError, http.client.HTTPException) as error:
        raise TransportError(f"{endpoint} gave no answer ({_describe(error)})") from error
    finally:
        connection.close()
    if len(content) > limit:
        raise TransportError(f"{endpoint} answered with more than {limit} bytes")
    # A bounded read does not notice by itself that the connection ended before Content-Length was reached.
    if missing:
        raise TransportError(f"{endpoint} broke off {missing} bytes before the end of its answer")
    received = {name.lower(): value for name, value in response.getheaders()}
    return Answer(status=response.status, headers=received, body=content)


def _connect(endpoint: Endpoint, timeout: float) -> http.client.HTTPConnection:
    # The port is always given: http.client would look for one in the last group of an IPv6 address.
    if endpoint.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(endpoint.host, endpoint.port or 443, timeout=timeout, context=context)
    return http.client.HTTPConnection(endpoint.host, endpoint.port or 80, timeout=timeout)


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__

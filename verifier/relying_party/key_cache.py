"""Fetch the verifier's key set over HTTP, and cache it within bounds of size, number and age."""

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from verifier.relying_party.compact_jws import read_object
from verifier.relying_party.public_keys import PublicKey, read_key_set

MAX_KEY_SET_BYTES = 64 * 1024
#: The verifier lets a key set be cached for so long (`Cache-Control`).
FRESH_SECONDS = 300.0
#: Keys stay in use for so long if the URL is down. A token ends after 600 s by default.
STALE_SECONDS = 3600.0
#: The least time between two requests, also if tokens name unknown keys.
INTERVAL_SECONDS = 10.0
#: The time to connect to one address with TLS, and then the time for headers and body together.
TIMEOUT_SECONDS = 5.0
_CHUNK = 16 * 1024
_HIGHEST_PORT = 65535
# Not `urlsplit`: its releases of one Python differ in the brackets of IPv6, and it deletes some characters.
_URL = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s@/?#:\[\]\\%]+))(?::(?P<port>[0-9]{1,5})?)?"
    r"(?P<path>(?:/[^\s?#]*)?)(?P<query>(?:\?[^\s#]*)?)",
    re.IGNORECASE | re.ASCII,
)


class KeysUnavailable(Exception):
    """Report that no key set is available that is recent enough."""


class Keys(Protocol):
    """Find the verifier's public keys."""

    def find(self, kid: str) -> PublicKey | None:
        """Return the key, or None if the verifier does not publish it. Raises KeysUnavailable."""
        ...


class FixedKeys:
    """Hold a key set that the relying party passes in and replaces by itself."""

    def __init__(self, document: object) -> None:
        self._keys = read_key_set(document)

    def find(self, kid: str) -> PublicKey | None:
        return self._keys.get(kid)


class CachedKeys:
    """Cache the key set of a URL. Any number of threads may call it: at most one of them fetches.

    A key set is used without a request for FRESH_SECONDS. After that a call fetches it again, and so does a call that
    names an unknown key, but at most one in INTERVAL_SECONDS. If the fetch fails, the previous keys stay in use for
    STALE_SECONDS after they were fetched.
    """

    def __init__(self, fetch: Callable[[], bytes], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._state = threading.Lock()
        self._fetching = threading.Lock()
        self._keys: dict[str, PublicKey] = {}
        self._fetched_at = float("-inf")
        self._attempted_at = float("-inf")
        self._is_down = False

    def find(self, kid: str) -> PublicKey | None:
        keys, age = self._cached()
        if kid not in keys or age >= FRESH_SECONDS:
            self._refresh(kid)
            keys, age = self._cached()
        if age >= STALE_SECONDS:
            raise KeysUnavailable("no key set of the verifier is available")
        if kid not in keys and age >= FRESH_SECONDS:
            # The key may be a new one, so a set that cannot be renewed does not show that the key is unknown.
            raise KeysUnavailable("the key set of the verifier is out of date")
        return keys.get(kid)

    def _cached(self) -> tuple[dict[str, PublicKey], float]:
        with self._state:
            return self._keys, self._monotonic() - self._fetched_at

    def _refresh(self, kid: str) -> None:
        """Fetch the key set, unless the last attempt is recent. Threads that come meanwhile wait for this one.

        They do not wait if the last attempt failed: an outage must not take a thread for each request.
        """
        if not self._fetching.acquire(blocking=not self._is_down):
            return
        try:
            keys, age = self._cached()
            now = self._monotonic()
            if now - self._attempted_at < INTERVAL_SECONDS or (kid in keys and age < FRESH_SECONDS):
                return
            self._attempted_at = now
            try:
                fetched = read_key_set(read_object(self._fetch()))
            except (OSError, http.client.HTTPException, ValueError):
                self._is_down = True
                return
            with self._state:
                # The age counts from the start of the request, because the verifier answered after that.
                self._keys, self._fetched_at = fetched, now
            self._is_down = False
        finally:
            self._fetching.release()


class KeySetUrl:
    """Fetch one URL with `https`, or with `http` on loopback. It follows no redirect and uses no proxy."""

    def __init__(self, url: str) -> None:
        match = _URL.fullmatch(url)
        if match is None or int(match["port"] or 0) > _HIGHEST_PORT:
            raise ValueError("the URL of the key set must be https://HOST[:PORT]/PATH")
        host = (match["address"] or match["name"]).lower()
        if match["address"] and not isinstance(_address(host), ipaddress.IPv6Address):
            raise ValueError("the URL of the key set must have an IPv6 address in brackets")
        is_tls = match["scheme"].lower() == "https"
        if not is_tls and not _is_loopback(host):
            raise ValueError("the URL of the key set must use https, except on loopback")
        self._host = host
        self._port = int(match["port"]) if match["port"] else None
        self._target = (match["path"] or "/") + match["query"]
        self._tls = ssl.create_default_context() if is_tls else None

    def __call__(self) -> bytes:
        """Return the body of a 200 answer. Raises OSError or http.client.HTTPException."""
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
            if self._tls is None
            else http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_SECONDS, context=self._tls)
        )
        try:
            connection.connect()
            with _Deadline(connection.sock) as deadline:
                headers = {"Accept": "application/json, application/jwk-set+json"}
                try:
                    connection.request("GET", self._target, headers=headers)
                    with connection.getresponse() as response:
                        return _read_body(response)
                finally:
                    deadline.require_not_passed()
        finally:
            connection.close()


class _Deadline:
    """Shut a connection down after TIMEOUT_SECONDS, because a socket timeout starts again with each byte.

    The timer shuts down a duplicate of the descriptor. `SSLSocket.shutdown` would end TLS on the socket, and the thread
    that reads would then accept plaintext. The timeout of the socket bounds the TLS handshake as a whole. The service's
    fetcher of issuers has the same deadline: the distributions share no code.
    """

    def __init__(self, watched: socket.socket) -> None:
        self._own = socket.socket(fileno=socket.dup(watched.fileno()))
        self._passed = False
        self._timer = threading.Timer(TIMEOUT_SECONDS, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        try:
            self._timer.start()
        except RuntimeError as error:
            self._own.close()
            raise OSError("no thread is available for a deadline") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        self._own.close()

    def require_not_passed(self) -> None:
        """Raise TimeoutError after the deadline: the shutdown looks as if the server had ended the connection."""
        if self._passed:
            raise TimeoutError("the key set was not complete in time")

    def _pass(self) -> None:
        self._passed = True
        with suppress(OSError):
            self._own.shutdown(socket.SHUT_RDWR)


def _read_body(response: http.client.HTTPResponse) -> bytes:
    if response.status != http.client.OK:
        raise OSError(f"the key set was answered with status {response.status}")
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > MAX_KEY_SET_BYTES:
            raise OSError("the key set is too large")
    if response.length:  # the bytes that Content-Length promises and that did not come
        raise http.client.IncompleteRead(bytes(body), response.length)
    return bytes(body)


def _is_loopback(host: str) -> bool:
    address = _address(host)
    # Python 3.13 changed `is_loopback` of IPv4-mapped addresses.
    mapped = getattr(address, "ipv4_mapped", None)
    return host == "localhost" or bool(address and (mapped or address).is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

"""Requests as bytes, for what no HTTP library would send, and the answers to them. Every wait is bounded."""

import socket
from collections.abc import Iterable
from http.client import HTTPResponse
from typing import Self
from urllib.parse import urlsplit

from support.services import Answer

#: Longer than the server itself waits for anything, so that what ends here is a server that hangs.
CLIENT_SECONDS = 30


class Connection:
    """One TCP connection to a server, as a context manager."""

    def __init__(self, url: str, *, timeout: float = CLIENT_SECONDS) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end_sending(self) -> None:
        """The server sees the end of the stream, and can still answer."""
        self._socket.shutdown(socket.SHUT_WR)

    def receive(self, *, method: str = "POST") -> Answer:
        """The next answer. Raises TimeoutError where the server hangs, and HTTPException where it is not HTTP."""
        response = HTTPResponse(self._socket, method=method)
        response.begin()
        return Answer(status=response.status, headers=dict(response.getheaders()), body=response.read())

    def receive_one(self) -> Answer:
        """The next answer and no byte beyond, for connections on which several are under way."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._socket.recv(1)
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = b""
        while len(body) < int(headers["Content-Length"]):
            body += self._socket.recv(int(headers["Content-Length"]) - len(body))
        return Answer(status=int(first.split()[1]), headers=headers, body=body)

    def receive_line(self) -> bytes:
        """The bytes up to the next line feed, none beyond."""
        line = b""
        while not line.endswith(b"\n") and (byte := self._socket.recv(1)):
            line += byte
        return line

    def is_closed(self) -> bool:
        """The server has closed it, or does within the timeout."""
        return self._socket.recv(1) == b""


def exchange(url: str, data: bytes) -> Answer:
    """The answer to one request, on a connection of its own."""
    with Connection(url) as connection:
        connection.send(data)
        return connection.receive()


def request(
    body: bytes = b"",
    *,
    method: str = "POST",
    path: str = "/v1/attestations",
    headers: Iterable[tuple[str, str]] = (("Content-Type", "application/json"),),
) -> bytes:
    """A request with a Content-Length, and exactly these headers besides."""
    lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked_head(
    path: str = "/v1/attestations", headers: Iterable[tuple[str, str]] = (("Content-Type", "application/json"),)
) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: test", "Transfer-Encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)

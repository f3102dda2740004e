"""Send prepared requests over a few connections that are kept, with as little CPU time as Python allows.

The client shares the processors with the servers, so it parses no more of an answer than its status and its length.
"""

import json
import re
import select
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import quantiles

from servers import KEY, Server
from support.documents import imds_answer
from support.live_documents import current_document

CONNECTIONS = 16
_SECONDS = 30
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The answers of one load: the seconds of all and of each, and the bodies, in the order of arrival.

    The first request of each connection waits until a worker accepts the connection, so `latencies` leave it out.
    """

    seconds: float
    client_cpu_seconds: float
    latencies: list[float]
    bodies: list[bytes]

    @property
    def rate(self) -> float:
        return len(self.bodies) / self.seconds

    def percentile(self, percent: int) -> float:
        return quantiles(self.latencies, n=100)[percent - 1]


def request(path: str, body: bytes = b"") -> bytes:
    """Return a POST with the key of the tenant. A body is JSON."""
    kind = "Content-Type: application/json\r\n" if body else ""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n{kind}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body


def send(server: Server, requests: Sequence[bytes], *, status: int) -> Load:
    """Send all requests, with one under way on each connection. Raises RuntimeError for an answer of another status."""
    expected = f"HTTP/1.1 {status} ".encode("ascii")
    with ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        connections: dict[int, socket.socket] = {}
        for _ in range(min(CONNECTIONS, len(requests))):
            connection = stack.enter_context(socket.create_connection((server.host, server.port), timeout=_SECONDS))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            poll.register(connection.fileno(), select.EPOLLIN)
            connections[connection.fileno()] = connection
        waiting = iter(requests)
        parts = dict.fromkeys(connections, b"")
        sent: dict[int, float] = {}
        warm: set[int] = set()
        latencies: list[float] = []
        bodies: list[bytes] = []
        cpu, started = time.process_time(), time.perf_counter()
        for number, connection in connections.items():
            sent[number] = time.perf_counter()
            connection.sendall(next(waiting))
        while len(bodies) < len(requests):
            for number, _ in poll.poll(_SECONDS) or _fail("no answer"):
                answer = parts[number] + connections[number].recv(65536)
                head = answer.find(_END)
                length = _LENGTH.search(answer, 0, head) if head >= 0 else None
                if length is None or len(answer) < head + len(_END) + int(length[1]):
                    if answer == parts[number]:
                        _fail("a connection ended")
                    parts[number] = answer
                    continue
                now = time.perf_counter()
                if not answer.startswith(expected):
                    _fail(answer[:2000].decode("latin-1"))
                if number in warm:
                    latencies.append(now - sent[number])
                warm.add(number)
                bodies.append(answer[head + len(_END) :])
                parts[number] = b""
                following = next(waiting, None)
                if following is not None:
                    sent[number] = now
                    connections[number].sendall(following)
        return Load(
            seconds=time.perf_counter() - started,
            client_cpu_seconds=time.process_time() - cpu,
            latencies=latencies,
            bodies=bodies,
        )


def _fail(what: str) -> list[tuple[int, int]]:
    raise RuntimeError(f"the load failed: {what}")


def document_requests(issued: Load) -> list[bytes]:
    """Return a request for each nonce that the service issued, with a document of the emulator."""
    nonces = (str(json.loads(body)["nonce"]) for body in issued.bodies)
    return [request("/v1/attestations", json.dumps(imds_answer(current_document(nonce))).encode()) for nonce in nonces]

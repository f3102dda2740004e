"""Measure requests over HTTP against a bare Flask application on the same server, workers and settings.

The service signs tokens, counts the rate of a tenant, keeps decisions and nonces in Redis, and logs. Rounds of both
take turns. The callers run on the same cores: they keep their connections, and send requests that were made before.
"""

import hashlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit

from support.documents import imds_answer
from support.live_documents import current_document, write_current_trust
from support.processes import children_of
from support.redis_server import running_redis_server
from support.services import running_service

from bench.figures import Figure, cpu_seconds

_KEY = "k" * 43
_CALLERS = 4
WORKERS = 2
#: Longer than a writer of decisions waits until it writes.
_WRITTEN_SECONDS = 1.2


class Target:
    """One server, and the measured rounds of it."""

    def __init__(self, url: str, process: int, path: str) -> None:
        parts = urlsplit(url)
        self.address = (parts.hostname or "", parts.port or 0)
        self.path = path
        self._process = process
        self.rates: list[float] = []
        self.latencies: list[float] = []
        self.cpu: list[float] = []

    def request(self, body: bytes, path: str = "") -> bytes:
        head = f"POST {path or self.path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {_KEY}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def run(self, requests: Sequence[bytes], status: bytes) -> None:
        """Send the requests over some connections at once, and keep rate, latencies and CPU time of the workers."""
        before, started = self._cpu(), time.perf_counter()
        shares = [requests[number::_CALLERS] for number in range(_CALLERS)]
        times: list[list[float]] = [[] for _ in shares]
        threads = [
            threading.Thread(target=self._call, args=(share, status, taken))
            for share, taken in zip(shares, times, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.rates.append(len(requests) / (time.perf_counter() - started))
        self.latencies += [one for taken in times for one in taken]
        if len(self.latencies) < len(requests):
            raise RuntimeError("a caller failed")
        if status == b"200":
            time.sleep(_WRITTEN_SECONDS)
        self.cpu.append((self._cpu() - before) / len(requests))

    @property
    def workers(self) -> list[int]:
        """The workers, which start a moment after the server says that it listens."""
        return children_of(self._process)

    def _cpu(self) -> float:
        return sum(map(cpu_seconds, self.workers))

    def _call(self, requests: Sequence[bytes], status: bytes, times: list[float]) -> None:
        with connected(self.address) as exchange:
            for one in requests:
                started = time.perf_counter()
                answer = exchange(one)
                times.append(time.perf_counter() - started)
                if answer[9:12] != status:
                    raise RuntimeError(f"an answer is {answer[:400]!r}")


class _Exchange:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def __call__(self, request: bytes) -> bytes:
        """Send the request and return the whole answer."""
        self._connection.sendall(request)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._receive()
        start = answer.lower().index(b"content-length:") + 15
        length = end + 4 + int(answer[start : answer.index(b"\r\n", start)])
        while len(answer) < length:
            answer += self._receive()
        return answer

    def _receive(self) -> bytes:
        data = self._connection.recv(65536)
        if not data:
            raise RuntimeError("the server closed the connection")
        return data


@contextmanager
def connected(address: tuple[str, int]) -> Iterator[_Exchange]:
    """Open a connection, over which requests are sent one after the other."""
    with socket.create_connection(address, timeout=30) as connection:
        yield _Exchange(connection)


@contextmanager
def running_bare_app() -> Iterator[tuple[str, int]]:
    """Run the bare application, and return its URL and the id of its process."""
    command = [sys.executable, "-m", "bench.bare_app", str(WORKERS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = (process.stdout or sys.stdin).readline()
        yield line.split("listening on ", 1)[1].strip(), process.pid
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def running_tenant_service() -> Iterator[tuple[str, int]]:
    """Run the service with a tenant, tokens, decisions and a Redis, and return its URL and the id of its process."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        (directory / "keys").mkdir(mode=0o700)
        generate = ("-m", "verifier", "keys", "generate", "--dir", str(directory / "keys"))
        subprocess.run([sys.executable, *generate], check=True, capture_output=True)
        hashed = hashlib.sha256(_KEY.encode()).hexdigest()
        settings = directory / "verifier.toml"
        settings.write_text(f'[tenants.bench]\nkeys = ["{hashed}"]\nrate = "1000000/minute"\n', encoding="ascii")
        redis = stack.enter_context(running_redis_server())
        service = stack.enter_context(
            running_service(
                nonce_store=redis.url,
                trust_dir=write_current_trust(directory / "trust"),
                workers=WORKERS,
                VERIFIER_CONFIG=str(settings),
                VERIFIER_TOKEN_KEYS_DIR=str(directory / "keys"),
                VERIFIER_TOKEN_ISSUER="https://bench.example",
            )
        )
        yield service.url, service.process.pid


def documents_for(target: Target, count: int) -> list[bytes]:
    """Make requests with documents that answer new nonces of the service."""
    requests: list[bytes] = []
    with connected(target.address) as exchange:
        for _ in range(count):
            answer = exchange(target.request(b"", "/v1/nonces"))
            nonce = json.loads(answer.partition(b"\r\n\r\n")[2])["nonce"]
            requests.append(target.request(json.dumps(imds_answer(current_document(nonce))).encode()))
    return requests


def measure(*, rounds: int = 8, documents: int = 600) -> list[Figure]:
    """Return throughput, latency and CPU of verified documents and of nonces, relative to the bare application."""
    with running_bare_app() as bare, running_tenant_service() as service:
        empty = Target(*bare, "/")
        verify = Target(*service, "/v1/attestations")
        nonces = Target(*service, "/v1/nonces")
        for number in range(rounds + 1):
            prepared = documents_for(verify, documents)
            empty.run([empty.request(b"{}")] * documents * 2, b"200")
            verify.run(prepared, b"200")
            nonces.run([nonces.request(b"")] * documents, b"201")
            if not number:  # the first round fills the caches
                for one in (empty, verify, nonces):
                    one.rates, one.latencies, one.cpu = [], [], []
    figures = [
        Figure(
            part="http",
            name="throughput of verify / of an empty POST",
            value=_ratio(verify.rates, empty.rates),
            bar=0.45,
            at_least=True,
        ),
        Figure(
            part="http",
            name="p99 of verify / of an empty POST",
            value=_p99(verify.latencies) / _p99(empty.latencies),
            bar=2.5,
        ),
        Figure(part="http", name="CPU of verify / of an empty POST", value=_ratio(verify.cpu, empty.cpu)),
        Figure(part="http", name="throughput of a nonce / of an empty POST", value=_ratio(nonces.rates, empty.rates)),
    ]
    for name, target in (("empty POST", empty), ("nonce", nonces), ("verify", verify)):
        figures += [
            Figure(part="http", name=f"{name}: requests a second", value=median(target.rates)),
            Figure(part="http", name=f"{name}: CPU of the workers", value=median(target.cpu) * 1e6, unit="us"),
            Figure(part="http", name=f"{name}: p99", value=_p99(target.latencies) * 1e3, unit="ms"),
        ]
    return figures


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return median(one / other for one, other in zip(ours, theirs, strict=True))


def _p99(times: Sequence[float]) -> float:
    return quantiles(times, n=100)[98]

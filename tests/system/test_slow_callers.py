"""Test that slow callers and slow stores do not delay other requests."""

import json
import logging
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import raw_http
from support.documents import imds_answer
from support.live_documents import current_document
from support.measured import Measured, measured
from support.processes import await_that
from support.redis_server import running_redis_server
from support.services import Answer, Client, RunningServer, running_service
from support.slow_callers import SlowEnd, SlowKind, slow_crowd

#: Of the services here; a caller that is cut off has held its connection for so long.
DEADLINE_SECONDS = 5
#: How long an ordinary request may take.
ORDINARY_SECONDS = 1.0

_HEAD = "POST /v1/attestations HTTP/1.1\r\nHost: test\r\n"
_LENGTH = f"{_HEAD}Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
_CHUNKED = f"{_HEAD}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
HALF_HEADS = (
    SlowKind(first=_HEAD),
    SlowKind(first="POST /v1/att"),
    SlowKind(first=""),
    SlowKind(first=_HEAD, drips="X-Slow: " + "a" * 1000),
)
HALF_BODIES = (
    SlowKind(first=f'{_LENGTH}{{"encoding"'),
    SlowKind(first=_LENGTH),
    SlowKind(first=f'{_CHUNKED}a\r\n{{"encoding'),
    SlowKind(first=_LENGTH, drips="a" * 1000),
)
IDLE = (SlowKind(first="GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"),)
SLOW_READERS = (SlowKind(first="GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n", read_seconds=1),)
_LIVENESS = "GET /healthz HTTP/1.1\r\nHost: test\r\n"
_PIPELINED = 200
PIPELINES = (SlowKind(first=f"{_LIVENESS}\r\n" * (_PIPELINED - 1) + f"{_LIVENESS}Connection: close\r\n\r\n"),)
SMALL_CHUNKS = (
    SlowKind(first=_CHUNKED.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n") + "1\r\n{\r\n" * 60_000 + "0\r\n\r\n"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """A running service, and a client of its listener for metrics and health."""

    service: RunningServer
    health: Client


@contextmanager
def running(
    trust_dir: Path, nonce_store: str, *, workers: int = 2, deadline: int = DEADLINE_SECONDS, **settings: str
) -> Iterator[Listeners]:
    with running_service(
        nonce_store=nonce_store,
        trust_dir=trust_dir,
        workers=workers,
        VERIFIER_METRICS_PORT="0",
        VERIFIER_REQUEST_SECONDS=str(deadline),
        **settings,
    ) as service:
        assert service.process.stdout is not None
        url = service.process.stdout.readline().removeprefix("service: metrics on ").removesuffix("/metrics\n")
        for _ in range(8 * workers):  # each worker has started
            service.issue_nonce()
        yield Listeners(service=service, health=Client(url=url))


def expect(status: int, call: Callable[[], Answer]) -> Callable[[], None]:
    def check() -> None:
        answer = call()
        assert answer.status == status, answer

    return check


def ordinary(listeners: Listeners) -> dict[str, Callable[[], object]]:
    """Return requests that need no store, and requests that need one."""
    client = Client(url=listeners.service.url)
    bad = {"encoding": "pkcs7", "signature": "AAAA"}

    def attest() -> None:
        fields = imds_answer(current_document(client.issue_nonce()))
        expect(200, lambda: client.post_json("/v1/attestations", fields))()

    return {
        "liveness": expect(200, lambda: listeners.health.request("GET", "/healthz")),
        "keys": expect(200, lambda: client.request("GET", "/.well-known/jwks.json")),
        "refusal": expect(400, lambda: client.post_json("/v1/attestations", bad)),
        "readiness": expect(200, lambda: listeners.health.request("GET", "/readyz")),
        "nonce": expect(201, lambda: client.post_json("/v1/nonces")),
        "nonce and verdict": attest,
    }


def open_circuits(listeners: Listeners) -> float:
    """Return how many circuits to Redis are open in all workers."""
    metrics = listeners.health.request("GET", "/metrics").body.decode()
    [gauge] = [line for line in metrics.splitlines() if line.startswith("verifier_store_circuits_open ")]
    return float(gauge.split()[1])


def assert_unmoved(result: Measured, *, but: tuple[str, ...] = ()) -> None:
    """Check that every ordinary request was answered in time."""
    logging.getLogger(__name__).info("%s", result)
    assert result.wrong == []
    for name, seconds in result.seconds.items():
        if name not in but:
            requests = 2 if "and" in name else 1
            assert max(seconds) < ORDINARY_SECONDS * requests, (name, str(result))


def assert_cut_off(ends: list[SlowEnd], number: int, statuses: tuple[int, ...]) -> None:
    """Check that each connection ended at its deadline. A thousand that end at the same time let others go first."""
    assert Counter(end.statuses for end in ends) == {statuses: number}
    assert min(end.seconds for end in ends) > DEADLINE_SECONDS - 0.5
    assert max(end.seconds for end in ends) < DEADLINE_SECONDS + 3


@pytest.mark.parametrize(
    ("kinds", "statuses"), [(HALF_HEADS, ()), (HALF_BODIES, (408,))], ids=["half heads", "half bodies"]
)
def test_thousands_of_half_requests_delay_no_other_request(
    tmp_path: Path, trust_dir: Path, kinds: tuple[SlowKind, ...], statuses: tuple[int, ...]
) -> None:
    """Send 1,000 half requests at once, and then 100 a second for 20 s."""
    with (
        running(trust_dir, f"sqlite://{tmp_path}/nonces.sqlite3") as listeners,
        slow_crowd(listeners.service.url) as crowd,
    ):
        with measured(ordinary(listeners)) as result:
            crowd.send(kinds, 1000)
            crowd.send(kinds, 2000, a_second=100)
        assert_unmoved(result)
        assert_cut_off(crowd.ends(awaited=3000), 3000, statuses)


def test_idle_connections_and_slow_readers_delay_no_other_request(tmp_path: Path, trust_dir: Path) -> None:
    """500 connections are idle and 100 callers read one byte a second, beside half requests. They stay connected."""
    with (
        running(trust_dir, f"sqlite://{tmp_path}/nonces.sqlite3") as listeners,
        slow_crowd(listeners.service.url) as patient,
        slow_crowd(listeners.service.url) as crowd,
    ):
        # At a rate at which the service answers them before the measurement starts.
        patient.send(IDLE, 500, a_second=200)
        patient.send(SLOW_READERS, 100, a_second=50)
        with measured(ordinary(listeners)) as result:
            crowd.send(HALF_HEADS + HALF_BODIES, 1000)
            crowd.send(HALF_HEADS + HALF_BODIES, 600, a_second=100)
        assert_unmoved(result)
        assert patient.ends() == []
        ends = crowd.ends(awaited=1600)
        assert Counter(end.statuses for end in ends) == {(): 800, (408,): 800}


@pytest.mark.parametrize(
    ("kinds", "statuses"),
    [(PIPELINES, {(200,) * _PIPELINED}), (SMALL_CHUNKS, {(408,), (413,)})],
    ids=["pipelines", "small chunks"],
)
def test_callers_that_never_pause_delay_no_other_request(
    tmp_path: Path, trust_dir: Path, kinds: tuple[SlowKind, ...], statuses: set[tuple[int, ...]]
) -> None:
    """20 callers send requests without waiting for answers, or a body in many chunks. Other requests go first."""
    with (
        running(trust_dir, f"sqlite://{tmp_path}/nonces.sqlite3") as listeners,
        slow_crowd(listeners.service.url) as crowd,
    ):
        with measured(ordinary(listeners)) as result:
            crowd.send(kinds, 20)
            ends = crowd.ends(awaited=20)
        assert_unmoved(result)
        assert {end.statuses for end in ends} <= statuses


def test_hanging_redis_delays_no_request_that_needs_no_store(trust_dir: Path) -> None:
    """Redis hangs for 5 s. Requests that need it are 503 after its timeout of 2 s, and soon at once."""
    with (
        running_redis_server() as redis,
        running(trust_dir, redis.url) as listeners,
        slow_crowd(listeners.service.url) as crowd,
    ):
        crowd.send(HALF_HEADS + HALF_BODIES, 1000)
        client = Client(url=listeners.service.url)
        calls = {name: call for name, call in ordinary(listeners).items() if name in {"liveness", "keys", "refusal"}}
        unavailable = expect(503, lambda: client.post_json("/v1/nonces"))
        with redis.hanging():
            with measured({**calls, "first nonces": unavailable}) as first:
                crowd.send(HALF_HEADS + HALF_BODIES, 300, a_second=100)
            with measured({**calls, "nonce": unavailable}) as later:
                crowd.send(HALF_HEADS + HALF_BODIES, 200, a_second=100)
        assert_unmoved(first, but=("first nonces",))
        assert max(first.seconds["first nonces"]) < 2 + ORDINARY_SECONDS
        assert_unmoved(later)
        # Each of the two workers has to find that Redis is back. Many requests in a row may all reach the same worker.
        await_that(lambda: client.post_json("/v1/nonces").status == 201 and open_circuits(listeners) == 0)
        with measured(ordinary(listeners)) as back:
            crowd.send(HALF_HEADS + HALF_BODIES, 100, a_second=100)
        assert_unmoved(back)


def test_burst_beyond_the_connections_to_redis_is_answered_and_opens_no_circuit(trust_dir: Path) -> None:
    """60 callers at once share two connections: each waits for its turn."""
    with (
        running_redis_server() as redis,
        running(trust_dir, redis.url, workers=1, VERIFIER_REDIS_CONNECTIONS="2") as listeners,
        ThreadPoolExecutor(60) as pool,
    ):
        client = Client(url=listeners.service.url)
        calls = [pool.submit(client.post_json, "/v1/nonces") for _ in range(600)]
        assert Counter(call.result().status for call in calls) == {201: 600}
        assert open_circuits(listeners) == 0


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of writers, as another process can."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_locked_sqlite_delays_no_other_request_and_waiting_requests_are_answered(
    tmp_path: Path, trust_dir: Path
) -> None:
    """The lock lasts 3 s, less than a call waits. Six requests wait in one worker, and none loses its wake-up."""
    file = tmp_path / "nonces.sqlite3"
    with running(trust_dir, f"sqlite://{file}", workers=1) as listeners, ThreadPoolExecutor(6) as pool:
        client = Client(url=listeners.service.url)
        calls = {name: call for name, call in ordinary(listeners).items() if name in {"liveness", "keys", "refusal"}}
        with locked(file):
            began = time.monotonic()
            waiting = [pool.submit(client.post_json, "/v1/nonces") for _ in range(6)]
            with measured(calls) as result:
                threading.Event().wait(3)
            assert not any(call.done() for call in waiting)
            held = time.monotonic() - began
        assert_unmoved(result)
        assert [call.result().status for call in waiting] == [201] * 6
        assert held < DEADLINE_SECONDS


def test_liveness_answers_while_every_connection_of_the_service_is_taken(tmp_path: Path, trust_dir: Path) -> None:
    """Requests that wait for the store take the connections, so the worker cannot close any of them."""
    file = tmp_path / "nonces.sqlite3"
    with (
        running(trust_dir, f"sqlite://{file}", workers=1, VERIFIER_WORKER_CONNECTIONS="16") as listeners,
        ExitStack() as stack,
        locked(file),
    ):
        taken = [stack.enter_context(raw_http.Connection(listeners.service.url)) for _ in range(100)]
        for connection in taken:
            connection.send(raw_http.request(path="/v1/nonces", headers=()))
        refused = stack.enter_context(raw_http.Connection(listeners.service.url, timeout=1))
        refused.send(raw_http.request(method="GET", path="/healthz", headers=()))
        liveness = {"liveness": expect(200, lambda: listeners.health.request("GET", "/healthz"))}
        with measured(liveness) as result, pytest.raises(TimeoutError):
            refused.receive(method="GET")
        assert_unmoved(result)


def test_full_worker_closes_the_connection_that_kept_it_waiting_longest(tmp_path: Path, trust_dir: Path) -> None:
    store = f"sqlite://{tmp_path}/nonces.sqlite3"
    with (
        running(trust_dir, store, workers=1, deadline=60, VERIFIER_WORKER_CONNECTIONS="16") as listeners,
        slow_crowd(listeners.service.url) as crowd,
    ):
        crowd.send(HALF_BODIES, 16)
        began = time.monotonic()
        for _ in range(10):
            assert listeners.service.request("GET", "/healthz").status == 200
        crowd.send(HALF_BODIES, 200)
        assert listeners.service.issue_nonce()
        assert len(crowd.ends(awaited=200)) < 216
        assert time.monotonic() - began < 60


def test_caller_that_sends_requests_and_reads_no_answer_is_cut_off(tmp_path: Path, trust_dir: Path) -> None:
    """Answers fill the buffers of the kernel. The service waits for the caller as long as for a request."""
    with (
        running(trust_dir, f"sqlite://{tmp_path}/nonces.sqlite3", workers=1) as listeners,
        closing(socket.socket()) as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, _, port = listeners.service.url.removeprefix("http://").partition(":")
        connection.connect((host, int(port)))
        connection.settimeout(DEADLINE_SECONDS * 4)
        one = raw_http.request(method="GET", path="/openapi.json", headers=())
        with measured(ordinary(listeners)) as result, pytest.raises(ConnectionError):
            connection.sendall(one * 1_000_000)
        assert result.wrong == []


@pytest.mark.parametrize("keep_alive", ["60", "1"])
def test_idle_connection_is_kept_as_long_as_the_setting_says(tmp_path: Path, trust_dir: Path, keep_alive: str) -> None:
    """The time can be longer than a request may take."""
    with (
        running_service(
            nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
            trust_dir=trust_dir,
            VERIFIER_REQUEST_SECONDS="1",
            VERIFIER_KEEP_ALIVE_SECONDS=keep_alive,
        ) as service,
        raw_http.Connection(service.url) as connection,
    ):
        request = raw_http.request(path="/v1/nonces", headers=())
        connection.send(request)
        assert connection.receive().status == 201
        threading.Event().wait(2.5)
        if keep_alive == "1":
            assert connection.is_closed()
        else:
            connection.send(request)
            assert connection.receive().status == 201


def test_stop_loses_none_of_50_requests_in_flight(tmp_path: Path, trust_dir: Path) -> None:
    """25 requests have sent half a body; 25 wait for a locked store."""
    file = tmp_path / "nonces.sqlite3"
    with running(trust_dir, f"sqlite://{file}") as listeners, ExitStack() as stack:
        service = listeners.service
        bodies = [json.dumps(imds_answer(current_document(service.issue_nonce()))).encode() for _ in range(25)]
        halves = [stack.enter_context(raw_http.Connection(service.url)) for _ in bodies]
        waiting = [stack.enter_context(raw_http.Connection(service.url)) for _ in range(25)]
        idle = [stack.enter_context(raw_http.Connection(service.url)) for _ in range(25)]
        for connection in idle:
            connection.send(raw_http.request(path="/v1/nonces", headers=()))
            assert connection.receive().status == 201
        with locked(file):
            for connection, body in zip(halves, bodies, strict=True):
                connection.send(raw_http.request(body)[:-100])
            for connection in waiting:
                connection.send(raw_http.request(path="/v1/nonces", headers=()))
            service.process.send_signal(signal.SIGTERM)
            threading.Event().wait(1)
        for connection, body in zip(halves, bodies, strict=True):
            connection.send(body[-100:])
        assert [connection.receive().status for connection in halves] == [200] * 25
        assert [connection.receive().status for connection in waiting] == [201] * 25
        assert all(connection.is_closed() for connection in idle)
        for connection in halves + waiting:
            assert connection.is_closed()
        assert service.process.wait(20) == 0

"""Four services on one Redis that becomes unavailable: one acceptance at most, 503 meanwhile, recovery in a second."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.concurrent_clients import Told, make_bodies, post_all, under_load
from support.processes import await_that
from support.redis_groups import ask
from support.redis_server import RedisServer, running_redis_server
from support.services import ADMIN_KEYS, AS_ADMIN, RunningServer, running_service

SERVICES = 4
DOCUMENTS = 200
COPIES = 50
#: How long the store is unavailable.
AWAY_SECONDS = 1.2
HANG_SECONDS = 3.5
TIMEOUT_SECONDS = 2.0
#: How long a service may take to recover after its store.
RECOVERY_SECONDS = 1.0


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis_server(appendonly=True) as server:
        yield server


@pytest.fixture(scope="module")
def services(redis: RedisServer, trust_dir: Path) -> Iterator[list[RunningServer]]:
    """Each with one worker."""
    with ExitStack() as stack, ThreadPoolExecutor(SERVICES) as pool:

        def start(_: int) -> RunningServer:
            service = running_service(
                nonce_store=redis.url, trust_dir=trust_dir, workers=1, VERIFIER_ADMIN_KEYS=ADMIN_KEYS
            )
            return stack.enter_context(service)

        running = list(pool.map(start, range(SERVICES)))
        yield running
        for service in running:
            service.process.terminate()  # all at once: each takes its second


def urls_of(services: list[RunningServer]) -> list[str]:
    return [service.url for service in services]


def test_four_services_accept_each_of_200_documents_once(
    services: list[RunningServer],
) -> None:
    bodies = make_bodies(services[0].url, DOCUMENTS)
    told = post_all(urls_of(services), bodies, copies=COPIES, callers=COPIES)
    assert Counter(one.status for one in told) == {200: DOCUMENTS, 409: DOCUMENTS * (COPIES - 1)}
    accepted = Counter(one.document for one in told if one.status == 200)
    assert set(accepted.values()) == {1}


class Fault:
    """One way in which a Redis becomes unavailable and recovers."""

    def __init__(self, name: str, begin: Callable[[RedisServer], object], end: Callable[[RedisServer], object]) -> None:
        self.name = name
        self.begin = begin
        self.end = end


FAULTS = [
    Fault("killed", lambda redis: redis.kill(), lambda redis: redis.restart()),
    Fault("hanging", lambda redis: redis.pause(), lambda redis: redis.resume()),
    Fault(
        "out of memory",
        lambda redis: ask(redis, "CONFIG", "SET", "maxmemory", 1),
        lambda redis: ask(redis, "CONFIG", "SET", "maxmemory", 0),
    ),
    Fault(
        "read-only",
        lambda redis: ask(redis, "REPLICAOF", "127.0.0.1", 1),
        lambda redis: ask(redis, "REPLICAOF", "NO", "ONE"),
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_answers_503_while_redis_is_unavailable_and_accepts_no_document_twice_afterwards(
    services: list[RunningServer], redis: RedisServer, fault: Fault
) -> None:
    hangs = fault.name == "hanging"
    bodies = make_bodies(services[0].url, 80)
    with under_load(urls_of(services), bodies) as load:
        await_that(lambda: len(load.acceptances) >= 20)
        fault.begin(redis)
        away = time.monotonic()
        try:
            threading.Event().wait(HANG_SECONDS if hangs else AWAY_SECONDS)
        finally:
            leaving = time.monotonic()
            fault.end(redis)
            back = time.monotonic()
        await_that(lambda: any(told.ended > back and told.status in {200, 201, 409} for told in load.told))
        await_that(lambda: len(load.within(back, time.monotonic())) > 100)
    assert_unavailable(load.within(away, leaving))
    # Requests that hung at the beginning cost one timeout. Later ones are answered at once.
    assert_quick(load.within(away + (TIMEOUT_SECONDS + 0.5 if hangs else 0), leaving))
    assert load.first_verdict_after(back) - back < RECOVERY_SECONDS
    again = post_all(urls_of(services), bodies, copies=1, callers=4)
    assert {told.status for told in again} <= {200, 409}
    accepted = load.acceptances + Counter(told.document for told in again if told.status == 200)
    assert max(accepted.values()) == 1
    # Only redemptions whose answers were lost may be missing.
    assert len(accepted) > 20 if hangs or fault.name == "killed" else len(accepted) == len(bodies)
    assert {told.status for told in post_all(urls_of(services), bodies, copies=1, callers=4)} == {409}


def assert_unavailable(told: list[Told]) -> None:
    assert len(told) > 50
    assert {one.status for one in told} == {503}
    assert all(one.retry_after is not None and one.retry_after >= 1 for one in told)


def assert_quick(told: list[Told]) -> None:
    """No request waited for the store, whose timeout is 2 s."""
    assert len(told) > 50
    assert sorted(one.seconds for one in told)[len(told) * 9 // 10] < 0.25


def test_is_not_ready_while_the_store_hangs_and_counts_the_open_circuit(
    services: list[RunningServer], redis: RedisServer
) -> None:
    service = services[0]
    with redis.hanging():
        assert service.post_json("/v1/nonces").status == 503
        began = time.monotonic()
        ready = service.request("GET", "/readyz", headers=AS_ADMIN)
        assert time.monotonic() - began < TIMEOUT_SECONDS
        assert (ready.status, b"did not answer in time" in ready.body) == (503, True)
        assert servers_away(service) == 1
    await_that(lambda: service.request("GET", "/readyz").status == 200)
    assert servers_away(service) == 0


def servers_away(service: RunningServer) -> float:
    lines = service.request("GET", "/metrics").body.decode().splitlines()
    [line] = [line for line in lines if line.startswith("verifier_store_circuits_open ")]
    return float(line.split()[1])

"""What every RateLimiter promises (verifier.ports), on the real servers."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from support.redis_server import RedisServer, running_redis_server

from verifier.core.tenancy import LimitedPath, Rate
from verifier.edge.rate_limits import SlidingRateLimiter
from verifier.edge.redis_client import RedisLink
from verifier.ports import StoreUnavailable

# By the hour: a test that runs while one window follows another, within the second, would count differently.
FIVE = Rate.parse("5/hour")
NONCES, ATTESTATIONS = LimitedPath.NONCES, LimitedPath.ATTESTATIONS


class Place:
    """Where one kind of limiter counts, and how another process finds it."""

    def __init__(self, kind: str, where: str) -> None:
        self.kind = kind
        self.where = where

    def open(self) -> SlidingRateLimiter:
        if self.kind == "sqlite":
            return SlidingRateLimiter.on_sqlite(Path(self.where))
        return SlidingRateLimiter.on_redis(RedisLink.open(self.where, connections=8))


@pytest.fixture(scope="session", params=["sqlite", "redis", "redis-unix"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    if request.param == "sqlite":
        return Place("sqlite", str(tmp_path_factory.mktemp("contract") / "rates.sqlite3"))
    server: RedisServer = request.getfixturevalue("redis_server")
    return Place("redis", server.url if request.param == "redis" else server.unix_url)


@pytest.fixture(scope="session")
def limiter(place: Place) -> Iterator[SlidingRateLimiter]:
    limiter = place.open()
    yield limiter
    limiter.close()


def test_admits_as_many_as_the_rate_says_and_no_more(limiter: SlidingRateLimiter, tenant: str) -> None:
    told = [limiter.hit(tenant, NONCES, FIVE) for _ in range(8)]
    assert [allowance.admitted for allowance in told] == [True] * 5 + [False] * 3
    assert [allowance.remaining for allowance in told] == [4, 3, 2, 1, 0, 0, 0, 0]
    assert all(allowance.rate == FIVE for allowance in told)
    assert all(timedelta(seconds=1) <= allowance.reset <= timedelta(hours=2) for allowance in told)


def test_counts_tenants_paths_and_rates_apart(limiter: SlidingRateLimiter, tenant: str) -> None:
    for _ in range(6):
        limiter.hit(tenant, NONCES, FIVE)
    assert not limiter.hit(tenant, NONCES, FIVE).admitted
    assert limiter.hit(tenant, ATTESTATIONS, FIVE).remaining == 4
    assert limiter.hit(f"{tenant}x", NONCES, FIVE).remaining == 4
    assert limiter.hit(tenant, NONCES, Rate.parse("6/hour")).remaining == 5


@pytest.mark.parametrize("text", ["1/minute", "1/hour"])
def test_one_is_one(limiter: SlidingRateLimiter, tenant: str, text: str) -> None:
    rate = Rate.parse(text)
    first = limiter.hit(tenant, NONCES, rate)
    second = limiter.hit(tenant, NONCES, rate)
    assert (first.admitted, first.remaining) == (True, 0)
    assert not second.admitted
    assert second.reset <= 2 * rate.unit.window + timedelta(seconds=1)


def test_of_many_threads_as_many_are_admitted_as_the_rate_says(limiter: SlidingRateLimiter, tenant: str) -> None:
    threads, rate = 16, Rate.parse("40/hour")
    barrier = threading.Barrier(threads)

    def hit(_: int) -> int:
        barrier.wait()
        return sum(limiter.hit(tenant, NONCES, rate).admitted for _ in range(5))

    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(hit, range(threads))) == 40


def test_of_several_processes_as_many_are_admitted_as_the_rate_says(place: Place, tenant: str) -> None:
    processes = 4
    script = Path(__file__).with_name("limiter_process.py")
    command = [sys.executable, str(script), place.kind, place.where, tenant, "50/hour", "25"]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        admitted = sum(int(process.communicate(timeout=60)[0]) for process in started)
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert admitted == 50


def test_works_on_after_close(place: Place, tenant: str) -> None:
    limiter = place.open()
    assert limiter.hit(tenant, NONCES, FIVE).remaining == 4
    limiter.close()
    assert limiter.hit(tenant, NONCES, FIVE).remaining == 3
    limiter.close()


def test_says_that_the_store_is_away_where_the_file_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "rates.sqlite3"
    limiter = SlidingRateLimiter.on_sqlite(file)
    assert limiter.hit("a", NONCES, FIVE).admitted
    file.rename(tmp_path / "aside")
    with pytest.raises(StoreUnavailable, match="rate database"):
        limiter.hit("a", NONCES, FIVE)
    (tmp_path / "aside").rename(file)
    assert limiter.hit("a", NONCES, FIVE).remaining == 3
    limiter.close()


def test_says_that_the_store_is_away_where_the_server_is_and_comes_back_with_it() -> None:
    with running_redis_server() as server:
        limiter = SlidingRateLimiter.on_redis(RedisLink.open(server.url, timeout=timedelta(seconds=1)))
        assert limiter.hit("a", NONCES, FIVE).admitted
    with pytest.raises(StoreUnavailable, match="Redis"):
        limiter.hit("a", NONCES, FIVE)
    limiter.close()


def test_counts_on_where_the_server_forgot_its_scripts(redis_server: RedisServer, tenant: str) -> None:
    """A restart or SCRIPT FLUSH."""
    limiter = SlidingRateLimiter.on_redis(RedisLink.open(redis_server.url))
    assert limiter.hit(tenant, NONCES, FIVE).remaining == 4
    with redis.Redis.from_url(redis_server.url) as client:
        client.script_flush()
    assert limiter.hit(tenant, NONCES, FIVE).remaining == 3
    limiter.close()

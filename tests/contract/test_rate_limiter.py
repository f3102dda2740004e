"""The promises of the RateLimiter port, on SQLite and on real servers. Low rates are counted request by request."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from operator import itemgetter
from pathlib import Path

import pytest
import redis
from support.forking import from_processes
from support.rate_hitter import hit
from support.redis_groups import ClusterGroup, ask
from support.redis_server import RedisServer, running_redis_server

from verifier.adapters.records.rates import Window, take
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.rate_windows import HIT, RedisRateCounters
from verifier.adapters.sqlite.rate_windows import SqliteRateCounters
from verifier.adapters.stores.rate_batches import BatchingRateLimiter
from verifier.core.tenancy import Rate
from verifier.ports.stores import MAX_RATE_KEY, StoreUnavailable

# Rates are by the hour: a test during which one window ends counts differently.
FIVE = Rate.parse("5/hour")
HOUR = 3600 * 1_000_000


class Place:
    """One kind of counters, and their location for another process."""

    def __init__(self, kind: str, where: str) -> None:
        self.kind = kind
        self.where = where

    def open(self) -> SqliteRateCounters | RedisRateCounters:
        if self.kind == "sqlite":
            return SqliteRateCounters(Path(self.where))
        return RedisRateCounters(RedisLink.open(self.where, connections=8, timeout=timedelta(seconds=5)))


@pytest.fixture(scope="session", params=["sqlite", "redis", "redis-unix", "cluster"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    match request.param:
        case "sqlite":
            return Place("sqlite", str(tmp_path_factory.mktemp("contract") / "rates.sqlite3"))
        case "cluster":
            cluster: ClusterGroup = request.getfixturevalue("redis_cluster")
            return Place("redis", cluster.url)
        case kind:
            server: RedisServer = request.getfixturevalue("redis_server")
            return Place("redis", server.url if kind == "redis" else server.unix_url)


@pytest.fixture(scope="session")
def limiter(place: Place) -> Iterator[BatchingRateLimiter]:
    with closing(place.open()) as counters:
        yield BatchingRateLimiter(counters)


def test_admits_as_many_as_the_rate_says_and_no_more(limiter: BatchingRateLimiter, tenant: str) -> None:
    told = [limiter.hit(tenant, FIVE) for _ in range(8)]
    assert [allowance.admitted for allowance in told] == [True] * 5 + [False] * 3
    assert [allowance.remaining for allowance in told] == [4, 3, 2, 1, 0, 0, 0, 0]
    assert all(allowance.rate == FIVE for allowance in told)
    assert all(timedelta(seconds=1) <= allowance.reset <= timedelta(hours=2) for allowance in told)


def test_counts_keys_and_rates_apart(limiter: BatchingRateLimiter, tenant: str) -> None:
    for _ in range(6):
        limiter.hit(f"{tenant}/nonces", FIVE)
    assert not limiter.hit(f"{tenant}/nonces", FIVE).admitted
    assert limiter.hit(f"{tenant}/attestations", FIVE).remaining == 4
    assert limiter.hit(f"{tenant}x/nonces", FIVE).remaining == 4
    assert limiter.hit(f"{tenant}/nonces", Rate.parse("6/hour")).remaining == 5


def test_keys_of_any_characters_are_counted_apart(limiter: BatchingRateLimiter, tenant: str) -> None:
    keys = [
        tenant + text for text in ("", ":", "{", "}", "{a}", "%3A", "ä", "\x00", "2001:db8::1", "\ud800", "a" * 200)
    ]
    for _ in range(2):
        assert len({limiter.hit(key, FIVE).remaining for key in keys}) == 1


def test_a_key_that_is_too_long_is_a_mistake_of_the_caller(limiter: BatchingRateLimiter, tenant: str) -> None:
    longest = tenant.ljust(MAX_RATE_KEY, "x")
    assert limiter.hit(longest, FIVE).admitted
    with pytest.raises(ValueError, match="more than 256 characters"):
        limiter.hit(f"{longest}x", FIVE)


@pytest.mark.parametrize("text", ["1/minute", "1/hour"])
def test_one_is_one(limiter: BatchingRateLimiter, tenant: str, text: str) -> None:
    rate = Rate.parse(text)
    first = limiter.hit(tenant, rate)
    second = limiter.hit(tenant, rate)
    assert (first.admitted, first.remaining) == (True, 0)
    assert not second.admitted
    assert second.reset <= 2 * rate.unit.window + timedelta(seconds=1)


def test_of_many_threads_as_many_are_admitted_as_the_rate_says(limiter: BatchingRateLimiter, tenant: str) -> None:
    threads, rate = 16, Rate.parse("40/hour")
    barrier = threading.Barrier(threads)

    def hit(_: int) -> int:
        barrier.wait()
        return sum(limiter.hit(tenant, rate).admitted for _ in range(5))

    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(hit, range(threads))) == 40


def test_of_several_processes_as_many_are_admitted_as_the_rate_says(place: Place, tenant: str) -> None:
    admitted = from_processes(hit, [(place.kind, place.where, tenant, "50/hour", "25")] * 4)
    assert sum(map(int, admitted)) == 50


def test_batches_of_several_processes_admit_no_more_than_the_rate(place: Place, tenant: str) -> None:
    admitted = from_processes(hit, [(place.kind, place.where, tenant, "4000/hour", "1100")] * 4)
    # Each process may lose a part of its last batch of 4.
    assert 4000 - 4 * 3 <= sum(map(int, admitted)) <= 4000


def test_works_on_after_close(place: Place, tenant: str) -> None:
    counters = place.open()
    limiter = BatchingRateLimiter(counters)
    assert limiter.hit(tenant, FIVE).remaining == 4
    counters.close()
    assert limiter.hit(tenant, FIVE).remaining == 3
    counters.close()


def test_a_missing_file_is_unavailable(tmp_path: Path) -> None:
    file = tmp_path / "rates.sqlite3"
    counters = SqliteRateCounters(file)
    limiter = BatchingRateLimiter(counters)
    assert limiter.hit("a", FIVE).admitted
    file.rename(tmp_path / "aside")
    with pytest.raises(StoreUnavailable, match="rate database"):
        limiter.hit("a", FIVE)
    (tmp_path / "aside").rename(file)
    assert limiter.hit("a", FIVE).remaining == 3
    counters.close()


def test_a_stopped_server_is_unavailable() -> None:
    with running_redis_server() as server:
        link = RedisLink.open(server.url, timeout=timedelta(seconds=1))
        limiter = BatchingRateLimiter(RedisRateCounters(link))
        assert limiter.hit("a", FIVE).admitted
    with pytest.raises(StoreUnavailable, match="Redis"):
        limiter.hit("a", FIVE)
    link.close()


class TestRedis:
    """The script, by the server's clock. Unit tests set the clock of SQLite."""

    @pytest.fixture
    def limiter(self, redis_server: RedisServer) -> Iterator[BatchingRateLimiter]:
        with closing(RedisRateCounters(RedisLink.open(redis_server.url))) as counters:
            yield BatchingRateLimiter(counters)

    @pytest.fixture
    def client(self, redis_server: RedisServer) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(redis_server.url) as client:
            yield client

    def test_counts_on_after_the_server_forgot_its_scripts(
        self, limiter: BatchingRateLimiter, client: redis.Redis, tenant: str
    ) -> None:
        assert limiter.hit(tenant, FIVE).remaining == 4
        client.script_flush()
        assert limiter.hit(tenant, FIVE).remaining == 3

    @pytest.mark.parametrize(
        ("windows_ago", "weight"),
        [
            (1, lambda gone: 1000 * (HOUR - gone) // HOUR),
            (0, lambda _: 1000),
            (2, lambda _: 0),
            (-1, lambda _: 0),
        ],
        ids=["previous", "current", "older", "future"],
    )
    def test_weighs_what_was_counted_before(
        self,
        limiter: BatchingRateLimiter,
        client: redis.Redis,
        tenant: str,
        windows_ago: int,
        weight: Callable[[int], int],
    ) -> None:
        rate = Rate.parse("2000/hour")
        number = time.time_ns() // 1000 // HOUR - windows_ago
        client.hset(
            f"imds-verifier:rate:{tenant}:2000/hour", mapping={"number": number, "current": 1000, "previous": 0}
        )
        before = time.time_ns() // 1000 % HOUR
        told = limiter.hit(tenant, rate)
        after = time.time_ns() // 1000 % HOUR
        assert 1999 - weight(before) <= told.remaining <= 1999 - weight(after)

    def test_a_counter_expires_when_it_has_no_weight(
        self, limiter: BatchingRateLimiter, client: redis.Redis, tenant: str
    ) -> None:
        limiter.hit(tenant, FIVE)
        now = time.time()
        expires = client.pexpiretime(f"imds-verifier:rate:{tenant}:5/hour") / 1000
        assert abs(expires - (now // 3600 + 2) * 3600) < 1

    def test_one_request_is_one_round_trip(self) -> None:
        with running_redis_server() as server:
            with closing(RedisRateCounters(RedisLink.open(server.url))) as counters:
                limiter = BatchingRateLimiter(counters)
                limiter.hit("a", FIVE)
                ask(server, "CONFIG", "RESETSTAT")
                limiter.hit("a", FIVE)
            assert ask(server, "INFO", "commandstats")["cmdstat_eval"]["calls"] == 1

    def test_a_batch_is_one_round_trip(self) -> None:
        with running_redis_server() as server, closing(RedisRateCounters(RedisLink.open(server.url))) as counters:
            limiter = BatchingRateLimiter(counters)
            told = [limiter.hit("a", Rate.parse("100000/hour")).remaining for _ in range(65)]
            assert told == list(range(99_999, 99_934, -1))
            assert ask(server, "INFO", "commandstats")["cmdstat_eval"]["calls"] == 2

    def test_no_window_admits_more_than_the_rate_at_its_edges(self, redis_server: RedisServer, tenant: str) -> None:
        """Three limiters use up rates of one second, through three ends of a window, by the real clock."""
        rate, length = Rate.parse("10000/second"), 1_000_000_000
        until = (time.time_ns() // length + 3) * length + length // 2

        def use_up(_: int) -> list[tuple[int, int, bool]]:
            told = []
            with closing(RedisRateCounters(RedisLink.open(redis_server.url))) as counters:
                limiter = BatchingRateLimiter(counters)
                before = time.time_ns()
                while before < until:
                    is_admitted = limiter.hit(tenant, rate).admitted
                    after = time.time_ns()
                    told.append((before, after, is_admitted))
                    before = after
            return told

        with ThreadPoolExecutor(3) as pool:
            told = [each for part in pool.map(use_up, range(3)) for each in part]
        assert not all(is_admitted for _, _, is_admitted in told)
        # Only requests that began and ended in one window are known to be of that window.
        admitted = Counter[int]()
        for before, after, is_admitted in sorted(told, key=itemgetter(1)):
            if is_admitted and before // length == after // length:
                number, gone = divmod(after, length)
                admitted[number] += 1
                assert admitted[number - 1] * (length - gone) // length + admitted[number] <= 10_000

    @pytest.mark.parametrize(
        ("gone", "admitted"), [(0, 64), (0.998, 64), (0.999, 1), (0.9999, 1)], ids=["start", "late", "end", "very end"]
    )
    def test_the_end_of_a_window_gives_no_batch(
        self, client: redis.Redis, tenant: str, gone: float, admitted: int
    ) -> None:
        """The script with a clock in place of the server's, and the same arithmetic in Python."""
        at = int(HOUR * (490_000 + gone))
        script = HIT.replace("redis.call('TIME')", f"{{{at // 1_000_000}, {at % 1_000_000}}}")
        answer = client.eval(script, 1, f"imds-verifier:rate:{tenant}", 100_000, HOUR, 64)
        assert answer == [admitted, at % HOUR, 0, admitted]
        assert take(Rate.parse("100000/hour"), Window(HOUR, at % HOUR, 0, 0), 64).admitted == admitted

    def test_a_user_with_the_documented_permissions_may_count(self) -> None:
        with running_redis_server() as server, redis.Redis.from_url(server.url) as client:
            client.acl_setuser(
                "limited",
                enabled=True,
                passwords=["+secret"],
                keys=["imds-verifier:rate:*"],
                commands=["+ping", "+eval", "+time", "+hmget", "+hset", "+pexpire"],
            )
            link = RedisLink.open(f"redis://limited:secret@127.0.0.1:{server.port}")
            with closing(RedisRateCounters(link)) as counters:
                assert BatchingRateLimiter(counters).hit("a", FIVE).remaining == 4

    def test_a_value_that_is_not_a_counter_is_unavailable(
        self, limiter: BatchingRateLimiter, client: redis.Redis, tenant: str
    ) -> None:
        name = f"imds-verifier:rate:{tenant}:5/hour"
        client.set(name, b"1")
        with pytest.raises(StoreUnavailable, match=r"refused the command \(WRONGTYPE\)"):
            limiter.hit(tenant, FIVE)
        client.delete(name)
        client.hset(name, mapping={"number": time.time_ns() // 1000 // HOUR, "current": "x"})
        with pytest.raises(StoreUnavailable, match="refused the command"):
            limiter.hit(tenant, FIVE)

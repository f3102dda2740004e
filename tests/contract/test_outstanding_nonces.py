"""The promises of the OutstandingNonces port, on SQLite and on real servers."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from support.redis_groups import ClusterGroup
from support.redis_server import RedisServer, running_redis_server

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.outstanding_nonces import RedisOutstandingNonces
from verifier.adapters.sqlite.outstanding_nonces import SqliteOutstandingNonces
from verifier.ports.stores import MAX_RATE_KEY, StoreUnavailable

Store = SqliteOutstandingNonces | RedisOutstandingNonces
MINUTE = timedelta(minutes=1)


def reserve_many(store: Store, group: str, number: int, *, limit: int, lifetime: timedelta = MINUTE) -> list[bool]:
    return [store.reserve(group, f"nonce-{index}", limit=limit, lifetime=lifetime) is None for index in range(number)]


@pytest.fixture(scope="session", params=["sqlite", "redis", "redis-unix", "cluster"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    match request.param:
        case "sqlite":
            opened: Store = SqliteOutstandingNonces(tmp_path_factory.mktemp("contract") / "outstanding.sqlite3")
        case "cluster":
            cluster: ClusterGroup = request.getfixturevalue("redis_cluster")
            opened = _redis(cluster.url)
        case kind:
            server: RedisServer = request.getfixturevalue("redis_server")
            opened = _redis(server.url if kind == "redis" else server.unix_url)
    with closing(opened):
        yield opened


def _redis(url: str) -> RedisOutstandingNonces:
    return RedisOutstandingNonces(RedisLink.open(url, connections=8, timeout=timedelta(seconds=5)))


def test_admits_as_many_as_the_limit_and_says_how_long_to_wait(store: Store, tenant: str) -> None:
    assert reserve_many(store, tenant, 5, limit=3) == [True] * 3 + [False] * 2
    wait = store.reserve(tenant, "one more", limit=3, lifetime=MINUTE)
    assert wait is not None
    assert timedelta(0) < wait <= MINUTE


def test_groups_are_counted_apart(store: Store, tenant: str) -> None:
    groups = [tenant + end for end in ("", "/192.0.2.1", "/2001:db8::/64", "{a}", "%", "ä")]
    for group in groups:
        assert reserve_many(store, group, 2, limit=1) == [True, False]


def test_released_nonce_leaves_room(store: Store, tenant: str) -> None:
    reserve_many(store, tenant, 3, limit=3)
    store.release(tenant, "nonce-1")
    store.release(tenant, "nonce-1")
    store.release(tenant, "never counted")
    store.release(f"{tenant}/other", "nonce-2")
    assert reserve_many(store, tenant, 2, limit=2) == [False, False]
    assert store.reserve(tenant, "a", limit=3, lifetime=MINUTE) is None
    assert store.reserve(tenant, "b", limit=3, lifetime=MINUTE) is not None


def test_expired_nonce_leaves_room(store: Store, tenant: str) -> None:
    short = timedelta(milliseconds=200)
    assert reserve_many(store, tenant, 3, limit=2, lifetime=short) == [True, True, False]
    wait = store.reserve(tenant, "x", limit=2, lifetime=short)
    assert wait is not None
    assert wait <= short
    time.sleep(0.25)  # longer than the lifetime, which each store counts by a clock of its own
    assert store.reserve(tenant, "x", limit=2, lifetime=MINUTE) is None


def test_lower_limit_says_when_enough_nonces_have_expired(store: Store, tenant: str) -> None:
    for minutes in (1, 2, 3):
        assert store.reserve(tenant, str(minutes), limit=3, lifetime=minutes * MINUTE) is None
    wait = store.reserve(tenant, "x", limit=2, lifetime=MINUTE)
    assert wait is not None
    assert MINUTE < wait <= 2 * MINUTE


def test_concurrent_callers_do_not_exceed_the_limit(store: Store, tenant: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda number: store.reserve(tenant, str(number), limit=20, lifetime=MINUTE), range(60)))
    assert sum(wait is None for wait in waits) == 20


def test_invalid_arguments_are_mistakes_of_the_caller(store: Store, tenant: str) -> None:
    with pytest.raises(ValueError, match="characters"):
        store.reserve(tenant.ljust(MAX_RATE_KEY + 1, "x"), "n", limit=1, lifetime=MINUTE)
    with pytest.raises(ValueError, match="not positive"):
        store.reserve(tenant, "n", limit=0, lifetime=MINUTE)
    with pytest.raises(ValueError, match="not positive"):
        store.reserve(tenant, "n", limit=1, lifetime=timedelta(0))


def test_server_that_does_not_answer_is_unavailable() -> None:
    link = RedisLink.open("redis://127.0.0.1:1/0", connections=1, timeout=timedelta(seconds=1))
    with closing(RedisOutstandingNonces(link)) as store:
        with pytest.raises(StoreUnavailable):
            store.reserve("g", "n", limit=1, lifetime=MINUTE)
        with pytest.raises(StoreUnavailable):
            store.release("g", "n")


def test_a_user_with_the_documented_commands_is_enough() -> None:
    """docs/operate/redis.md names the keys and the commands."""
    commands = ("eval", "zrem", "pexpire", "time", "zadd", "zcard", "zrange", "zremrangebyscore")
    with running_redis_server() as server:
        with closing(redis.Redis.from_url(server.url)) as client:
            client.acl_setuser(
                "limited",
                enabled=True,
                passwords=["+secret"],
                keys=["imds-verifier:outstanding:*"],
                commands=[f"+{command}" for command in commands],
            )
        with closing(_redis(f"redis://limited:secret@127.0.0.1:{server.port}")) as store:
            assert reserve_many(store, "group", 3, limit=2) == [True, True, False]
            store.release("group", "nonce-0")
            assert store.reserve("group", "x", limit=2, lifetime=MINUTE) is None


def test_file_does_not_grow_with_expired_nonces(tmp_path: Path) -> None:
    moment = 1_700_000_000.0
    path = tmp_path / "outstanding.sqlite3"
    with closing(SqliteOutstandingNonces(path, now=lambda: moment)) as store:
        for _ in range(5):
            assert all(reserve_many(store, "group", 300, limit=300))
            moment += 61
        assert all(reserve_many(store, "group", 300, limit=300))
        size = path.stat().st_size
        for _ in range(5):
            moment += 61
            assert all(reserve_many(store, "group", 300, limit=300))
        assert path.stat().st_size <= size

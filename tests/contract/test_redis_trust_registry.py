"""The Redis registry: its commands, and its faults when the server is slow, unavailable or misconfigured."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from redis.crc import key_slot
from support.redis_server import RedisServer, running_redis_server
from support.trust_registry_calls import CALLS, DECIDED, EVENT, FEED, HOUR, NONCONFORMING, NOW, OBSERVATION

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.trust_registry import PREFIX, RedisTrustRegistry
from verifier.core.discovery import IssuerObservation
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.ports.stores import StoreUnavailable
from verifier.ports.trust import FeedState, TrustRegistry

TIMEOUT = timedelta(seconds=0.3)


@contextmanager
def opened(
    url: str, *, prefix: str = PREFIX, timeout: timedelta = timedelta(seconds=5)
) -> Iterator[RedisTrustRegistry]:
    with closing(RedisTrustRegistry(RedisLink.open(url, connections=4, timeout=timeout), prefix=prefix)) as registry:
        yield registry


@contextmanager
def administering(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    """Names that no other test uses."""
    return f"imds-verifier:{{{uuid.uuid4()}}}:"


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """Start a server that the test may stop, pause and inspect."""
    with running_redis_server() as server:
        yield server


def command(client: redis.Redis, *words: bytes | str | int) -> Any:  # noqa: ANN401 -- as redis-py says
    return client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py does not annotate it


def call_all(registry: TrustRegistry) -> None:
    for call in CALLS:
        call(registry)


def test_each_operation_is_one_command(own_server: RedisServer) -> None:
    with opened(own_server.url) as registry, administering(own_server.url) as client:
        registry.revision()
        for call, expected in zip(
            CALLS,
            ["hget", "hmget", "eval", "eval", "eval", "set", "exists", "xrevrange", "eval", "eval", "hmget", "eval"],
            strict=True,
        ):
            client.config_resetstat()
            call(registry)
            # What a script does is counted too; what came over the wire is what the connection was asked.
            [ours] = [known for known in client.client_list() if known["cmd"] != "client|list"]
            assert ours["cmd"] == expected
            assert client.info("commandstats")[f"cmdstat_{expected}"]["calls"] >= 1
            assert client.info("commandstats").get("cmdstat_eval", {"calls": 0})["calls"] == (expected == "eval")


def test_all_names_are_of_one_slot_and_begin_with_the_prefix(own_server: RedisServer) -> None:
    with opened(own_server.url) as registry, administering(own_server.url) as client:
        call_all(registry)
        registry.claim("{another}", lasting=HOUR)
        names = sorted(client.scan_iter(count=1000))
        assert len(names) == 9
        assert all(name.startswith(b"imds-verifier:{trust}:") for name in names)
        # Not asked of the server: Redis, unlike Valkey, tells slots in a cluster alone.
        assert len({key_slot(name) for name in names}) == 1


def test_a_look_tells_a_data_set_that_a_service_uses_from_another_one(redis_url: str, prefix: str) -> None:
    with (
        opened(redis_url, prefix=prefix) as registry,
        closing(RedisTrustRegistry(RedisLink.open(redis_url), prefix=prefix, create=False)) as other,
    ):
        assert other.revision() == 0
        assert not other.exists()
        assert registry.revision() == 0
        assert other.exists()


def test_a_look_at_a_server_that_takes_no_writes_is_no_failure(own_server: RedisServer) -> None:
    with opened(own_server.url) as registry, administering(own_server.url) as client:
        client.config_set("min-replicas-to-write", 1)
        assert registry.revision() == 0
        assert not registry.exists()
        client.config_set("min-replicas-to-write", 0)
        assert registry.revision() == 0
        assert registry.exists()


def test_works_on_a_node_of_a_cluster() -> None:
    # A server in cluster mode refuses what touches two slots, and scripts whose names it was not told.
    with running_redis_server(cluster=True) as server, administering(server.url) as client:
        command(client, "CLUSTER ADDSLOTSRANGE", 0, 16383)
        deadline = time.monotonic() + 20
        while command(client, "CLUSTER INFO")["cluster_state"] != "ok":
            assert time.monotonic() < deadline
            threading.Event().wait(0.02)
        with opened(server.url) as registry:
            call_all(registry)
            assert registry.decisions()[0] == DECIDED


@pytest.mark.parametrize("prefix", ["", "trust:", "{}", "a{}b", "{trust", "}{", "{}{trust}"])
def test_refuses_a_prefix_without_a_hash_tag(prefix: str) -> None:
    with pytest.raises(ValueError, match="hash tag"):
        RedisTrustRegistry(RedisLink.open("redis://127.0.0.1"), prefix=prefix)


def test_two_prefixes_are_two_registries(redis_url: str, prefix: str) -> None:
    with opened(redis_url, prefix=prefix) as one, opened(redis_url, prefix=prefix + "2:") as other:
        one.decide(DECIDED, EVENT, expected=0)
        one.record(OBSERVATION, [])
        one.claim("fetch", lasting=HOUR)
        assert other.decisions() == (OperatorDecisions(), 0)
        assert other.discovered() == ()
        assert not other.is_claimed("fetch")


def test_the_server_ends_a_claim_when_its_time_has_passed(redis_url: str, prefix: str) -> None:
    with opened(redis_url, prefix=prefix) as registry, administering(redis_url) as client:
        registry.claim("a:{b}", lasting=timedelta(seconds=60, microseconds=1))
        name = f"{prefix}claim:a%3A%7Bb%7D"
        assert 0 < client.pttl(name) <= 60_001
        expires = client.pexpiretime(name)
        registry.claim("a:{b}", lasting=HOUR)
        assert client.pexpiretime(name) == expires
        client.pexpire(name, 0)
        assert not registry.is_claimed("a:{b}")
        assert registry.claim("a:{b}", lasting=HOUR)


def test_the_append_only_file_grows_by_the_files_of_a_feed_only_if_they_change() -> None:
    with (
        running_redis_server(appendonly=True) as server,
        opened(server.url) as registry,
        administering(server.url) as client,
    ):

        def grown(state: FeedState) -> int:
            before = client.info("persistence")["aof_current_size"]
            assert registry.keep_feed(state, expected=registry.feed()[1])
            return int(client.info("persistence")["aof_current_size"] - before)

        size = len(FEED.offered or b"")
        assert grown(FEED) > size
        assert grown(replace(FEED, checked_at=NOW + HOUR, problem="away")) < 1000
        assert grown(replace(FEED, offered=b"[]" * 10_000)) > size


def test_an_issuer_that_gave_way_leaves_no_fields(redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.adapters.redis.trust_registry.MAX_DISCOVERED", 1)
    second = IssuerObservation(
        cloud=Cloud.PUBLIC,
        issuer="CN=Another CA",
        authority_key_identifier="",
        issuer_urls=(),
        signer_sha256="",
        seen_at=NOW + HOUR,
    )
    with opened(redis_url, prefix=prefix) as registry, administering(redis_url) as client:
        registry.record(OBSERVATION, [b"der"])
        registry.record(second, [b"der"])
        fields = {f"{second.id}:{part}".encode() for part in ("observation", "first-seen", "documents", "authorities")}
        assert set(client.hkeys(f"{prefix}issuers")) == fields
        assert client.zcard(f"{prefix}seen") == 1


def test_a_stopped_server_is_unavailable_and_a_restarted_one_is_found_again(own_server: RedisServer) -> None:
    with opened(own_server.url) as registry:
        call_all(registry)
        own_server.kill()
        for call in CALLS:
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                call(registry)
        own_server.restart()
        deadline = time.monotonic() + 1
        while True:
            try:
                registry.revision()
                break
            except StoreUnavailable:
                assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        call_all(registry)


def test_what_is_decided_survives_a_crash_of_a_server_that_keeps_its_data() -> None:
    with running_redis_server(appendonly=True) as server, opened(server.url) as registry:
        call_all(registry)
        before = (registry.decisions(), registry.discovered(), registry.audit_log(most=10))
        server.restart()
        assert (registry.decisions(), registry.discovered(), registry.audit_log(most=10)) == before
        assert registry.is_claimed("fetch")


def test_a_hanging_server_is_unavailable_within_the_timeout(own_server: RedisServer) -> None:
    with opened(own_server.url, timeout=TIMEOUT) as registry:
        registry.revision()
        with own_server.hanging():
            for call in CALLS:
                started = time.monotonic()
                with pytest.raises(StoreUnavailable, match="did not answer in time"):
                    call(registry)
                assert time.monotonic() - started < 3 * TIMEOUT.total_seconds()


def test_a_server_out_of_memory_is_unavailable_and_unchanged(own_server: RedisServer) -> None:
    with opened(own_server.url) as registry, administering(own_server.url) as client:
        client.config_set("maxmemory", 1)
        for call in (CALLS[2], CALLS[4], CALLS[5]):
            with pytest.raises(StoreUnavailable, match="out of memory"):
                call(registry)
        assert client.dbsize() == 0


def test_a_user_with_no_more_than_these_commands_on_our_keys_is_enough(own_server: RedisServer) -> None:
    with administering(own_server.url) as client:
        client.acl_setuser(
            "limited",
            enabled=True,
            passwords=["+secret"],
            keys=["imds-verifier:{trust}:*"],
            commands=[
                *("+eval", "+set", "+exists", "+xrevrange", "+xadd", "+xlen", "+hget", "+hmget", "+hset", "+hincrby"),
                *("+hexists", "+hdel", "+zadd", "+zcard", "+zrange", "+zrevrange", "+zscore", "+zrem"),
            ],
        )
    with opened(f"redis://limited:secret@127.0.0.1:{own_server.port}") as registry:
        call_all(registry)
        assert registry.decisions()[0] == DECIDED


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("decisions", CALLS[0]),
        ("decisions", CALLS[1]),
        ("decisions", CALLS[2]),
        ("decisions", CALLS[4]),
        ("audit", CALLS[2]),
        ("audit", CALLS[7]),
        ("issuers", CALLS[3]),
        ("issuers", CALLS[4]),
        ("seen", CALLS[3]),
        ("seen", CALLS[4]),
        ("nonconforming", CALLS[8]),
        ("nonconforming", CALLS[9]),
        ("nonconforming-seen", CALLS[8]),
        ("nonconforming-seen", CALLS[9]),
    ],
)
def test_a_key_of_another_type_is_unavailable_and_no_change_is_partial(
    redis_url: str, prefix: str, name: str, call: Callable[[TrustRegistry], object]
) -> None:
    with opened(redis_url, prefix=prefix) as registry, administering(redis_url) as client:
        registry.record(OBSERVATION, [])
        registry.record_nonconforming(NONCONFORMING)
        client.delete(f"{prefix}{name}")
        client.set(f"{prefix}{name}", b"1")
        before = {key: client.dump(key) for key in client.scan_iter(f"{prefix}*", count=1000)}
        with pytest.raises(StoreUnavailable, match="refused the command"):
            call(registry)
        assert {key: client.dump(key) for key in client.scan_iter(f"{prefix}*", count=1000)} == before


@pytest.mark.parametrize(
    ("name", "part", "value", "call"),
    [
        ("decisions", "revision", b"x", CALLS[0]),
        ("decisions", "revision", b"01", CALLS[1]),
        ("decisions", "revision", b"x", CALLS[4]),
        ("decisions", "decisions", b"[]", CALLS[1]),
        ("decisions", "decisions", b"", CALLS[1]),
        ("decisions", "decisions", b"\xff", CALLS[1]),
        ("issuers", f"{OBSERVATION.id}:observation", b"[1]", CALLS[3]),
        ("issuers", f"{OBSERVATION.id}:observation", None, CALLS[3]),
        ("issuers", f"{OBSERVATION.id}:first-seen", None, CALLS[3]),
        ("issuers", f"{OBSERVATION.id}:first-seen", b"1e9", CALLS[3]),
        ("issuers", f"{OBSERVATION.id}:documents", b"0", CALLS[3]),
        ("issuers", f"{OBSERVATION.id}:documents", b"many", CALLS[4]),
        ("issuers", f"{OBSERVATION.id}:authorities", b"[1,[7]]", CALLS[3]),
    ],
)
def test_a_value_that_we_did_not_write_is_unavailable(
    redis_url: str, prefix: str, name: str, part: str, value: bytes | None, call: Callable[[TrustRegistry], object]
) -> None:
    with opened(redis_url, prefix=prefix) as registry, administering(redis_url) as client:
        registry.decide(DECIDED, EVENT, expected=0)
        registry.record(OBSERVATION, [])
        if value is None:
            client.hdel(f"{prefix}{name}", part)
        else:
            client.hset(f"{prefix}{name}", part, value)
        with pytest.raises(StoreUnavailable):
            call(registry)


@pytest.mark.parametrize("fields", [{"event": b"[]"}, {"another": b"x"}])
def test_an_event_that_we_did_not_write_is_unavailable(
    redis_url: str, prefix: str, fields: dict[bytes | str, bytes | str]
) -> None:
    with opened(redis_url, prefix=prefix) as registry, administering(redis_url) as client:
        client.xadd(f"{prefix}audit", fields)  # type: ignore[arg-type]  # redis-py's dict type is invariant
        with pytest.raises(StoreUnavailable, match="cannot read"):
            registry.audit_log(most=10)

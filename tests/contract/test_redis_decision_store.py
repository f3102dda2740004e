"""The Redis decision store: its keys and commands, its use of memory, and its faults when Redis loses something."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from redis.crc import key_slot
from support.decisions import SUBSCRIPTION, VM, claims_of, garbage_of, record_of
from support.redis_groups import ask
from support.redis_server import RedisServer, running_redis_server
from support.tcp_proxy import Network, running_tcp_proxy

from verifier.adapters.redis.decision_store import BATCH, ENTRY_BYTES, FEW, RedisDecisionStore
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.redis.vm_counts import MOST_VALUES, OTHER_VALUES
from verifier.core.model import Plan
from verifier.core.nonces import FirstUse, NonceRecord
from verifier.ports.decisions import (
    DECISION_STORE_SETTING,
    KEEP_DECISIONS,
    KEEP_USAGE,
    NO_TENANT,
    SHARES,
    AppraisalRecord,
    Dimension,
    Selection,
    Stage,
    Verdict,
)
from verifier.ports.stores import NonceKey, StoreUnavailable

NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
SECOND = timedelta(seconds=1)
MEBIBYTE = 2**20
NAMES = ("unverified", "authentic", "fresh", "requests", "vms", "subscriptions", "state", "first-day")


def key_of(tenant: str, name: str) -> str:
    return f"imds-verifier:decisions:{{tenant:{tenant}}}:{name}"


@contextmanager
def opened(url: str, *, bytes_per_tenant: int = 64 * MEBIBYTE, **options: Any) -> Iterator[RedisDecisionStore]:  # noqa: ANN401 -- those of the store
    link = RedisLink.open(url, setting=DECISION_STORE_SETTING)
    with closing(RedisDecisionStore(link, bytes_per_tenant=bytes_per_tenant, **options)) as store:
        yield store


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """Start a server that the test may inspect and break."""
    with running_redis_server() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


def used_memory(server: RedisServer) -> int:
    return int(ask(server, "INFO", "memory")["used_memory"])


def leave_little(server: RedisServer) -> None:
    """Let the server be short of memory, though not out of it."""
    ask(server, "CONFIG", "SET", "maxmemory", int(used_memory(server) / (FEW + 0.05)))


def ids_in(store: RedisDecisionStore, tenant: str, selection: Selection | None = None) -> list[Any]:
    scan = store.scan(selection or Selection(), tenant=tenant, before=None, limit=10**6, most=10**6)
    assert scan.reached is None
    return [decision.fields["requestId"] for decision in scan.decisions]


def assert_consistent(client: redis.Redis, tenant: str) -> int:
    """Compare the keys of a tenant with each other, and return how many records there are."""
    requests: Any = client.hgetall(key_of(tenant, "requests"))
    indexed: dict[str, list[str]] = {"vms": [], "subscriptions": []}
    sizes: dict[str, int] = {}
    for number, stage in enumerate(NAMES[:3], 1):
        members: Any = client.zrange(key_of(tenant, stage), 0, -1)
        sizes[f"bytes{number}"] = sum(int(member.rpartition("|")[2]) for member in members)
        for member in members:
            place, verdict, code, plan, request, _ = member.split("|")
            its_place, vm, subscription, line = requests.pop(request).split("|", 3)
            fields = json.loads(line)
            assert (its_place, fields["verdict"], fields["code"]) == (place, verdict, code)
            assert (fields["vmId"].lower(), fields["subscriptionId"].lower()) == (vm, subscription)
            for name, value in (("vms", vm), ("subscriptions", subscription)):
                indexed[name] += [f"{value}|{place}{number}|{verdict}|{code}|{plan}|"] if value else []
    assert requests == {}
    for name, entries in indexed.items():
        assert client.zrange(key_of(tenant, name), 0, -1) == sorted(entries)
    state: Any = client.hgetall(key_of(tenant, "state"))
    assert {name: int(state.get(name, 0)) for name in sizes} == sizes
    return len(indexed["vms"])


class TestKeys:
    def test_all_keys_of_a_tenant_are_in_one_slot(self, server: RedisServer, client: redis.Redis) -> None:
        tenants = (NO_TENANT, "{}", "{a}b", "a", "}", "tenant:", "\ud800")
        with opened(server.url) as store:
            store.append([record_of(NOW, tenant) for tenant in tenants])
        names: Any = [*client.scan_iter("imds-verifier:decisions:{*", count=10_000)]
        slots = {name.partition("}")[0]: set[int]() for name in names}
        for name in names:
            slots[name.partition("}")[0]].add(key_slot(name.encode()))
        assert len(slots) == len(tenants)
        assert all(len(numbers) == 1 for numbers in slots.values())
        # An empty hash tag is none.
        assert "imds-verifier:decisions:{tenant:" in slots

    def test_each_key_expires(self, server: RedisServer, client: redis.Redis) -> None:
        with opened(server.url) as store:
            store.append([record_of(NOW, "t"), garbage_of(NOW, "t"), record_of(NOW, "t", stage=Stage.AUTHENTIC)])
        day = timedelta(days=1)
        names: Any = [*client.scan_iter(count=10_000)]
        assert {key_of("t", name) for name in NAMES} < {*names}
        for name in names:
            left = timedelta(milliseconds=int(client.pttl(name)))
            kept = KEEP_DECISIONS if name in {key_of("t", each) for each in NAMES[:7]} else KEEP_USAGE + day
            assert kept - day < left <= kept + day

    def test_an_acl_with_these_commands_is_enough(self, server: RedisServer) -> None:
        inside = (
            "hdel hexists hget hlen hmget hset pexpire pexpireat pfadd pfcount sadd scard sismember smembers unlink"
        )
        sets = "zadd zcard zrange zrem zremrangebyscore zscore"
        direct = "eval exists get hget set zrange ping"
        with opened(f"redis://limited:secret@127.0.0.1:{server.port}", bytes_per_tenant=MEBIBYTE // 64) as store:
            for more in ("info", ""):
                commands = f"{inside} {sets} {direct} {more}".split()
                ask(
                    *(server, "ACL", "SETUSER", "limited", "reset", "on", ">secret", "~imds-verifier:decisions:*"),
                    *(f"+{command}" for command in commands),
                )
                store.append([record_of(NOW + index * SECOND, "t") for index in range(50)])
                assert store.find("nothing", tenant="t") is None
                assert 5 < len(ids_in(store, "t", Selection(vm_id=VM, subscription_id=SUBSCRIPTION))) < 50
                assert store.usage(NOW.date(), NOW.date(), tenant="t", by=Dimension.PLAN).total == 1
                assert store.tenants() == ("t",)
                assert store.erase(tenant="t", vm_id=VM) > 5

    @pytest.mark.parametrize("name", NAMES)
    def test_a_key_of_another_type_is_unavailable_and_no_change_is_partial(
        self, server: RedisServer, client: redis.Redis, name: str
    ) -> None:
        calls: list[Callable[[RedisDecisionStore], object]] = [
            lambda store: store.append([record_of(NOW, "t"), garbage_of(NOW, "t")]),
            lambda store: store.erase(tenant="t", vm_id=VM),
            lambda store: store.erase(tenant="t", subscription_id=SUBSCRIPTION),
        ]
        with opened(server.url) as store:
            store.append([record_of(NOW, "t"), garbage_of(NOW, "t")])
            client.delete(key_of("t", name))
            client.rpush(key_of("t", name), "1")
            keys = [key_of("t", each) for each in NAMES]
            before = [client.dump(key) for key in keys]
            for call in calls[: 1 if name == "first-day" else 3]:
                with pytest.raises(StoreUnavailable, match=r"WRONGTYPE.*VERIFIER_DECISION_STORE"):
                    call(store)
                assert [client.dump(key) for key in keys] == before

    @pytest.mark.parametrize("value", ["", "1", "|||", "x|||{}", "00|||{", "\xff"])
    def test_a_value_that_we_did_not_write_is_unavailable(
        self, server: RedisServer, client: redis.Redis, value: str
    ) -> None:
        with opened(server.url) as store:
            store.append([record_of(NOW, "t", request_id="r")])
            client.hset(key_of("t", "requests"), "r", value)
            with pytest.raises(StoreUnavailable, match="cannot read"):
                store.find("r", tenant="t")

    def test_a_decision_of_a_later_release_is_unavailable(self, server: RedisServer, client: redis.Redis) -> None:
        with opened(server.url) as store:
            store.append([record_of(NOW, "t", request_id=name) for name in ("r", "s")])
            kept: str = client.hget(key_of("t", "requests"), "r")  # type: ignore[assignment]  # not a coroutine
            client.hset(key_of("t", "requests"), "r", kept.replace('"version":1', '"version":2'))
            for read in (
                lambda: store.find("r", tenant="t"),
                lambda: store.scan(Selection(), tenant="t", before=None, limit=9, most=9),
            ):
                with pytest.raises(StoreUnavailable, match="has format 2, and this release knows format 1: update"):
                    read()
            assert store.find("s", tenant="t") is not None


class TestConsistency:
    def test_the_keys_agree_after_a_hundred_thousand_random_operations(
        self, server: RedisServer, client: redis.Redis
    ) -> None:
        """Append and erase records of 20 VMs in 5 subscriptions, in an order of their own, beyond the bounds."""
        chance = random.Random(15)  # noqa: S311 -- it repeats
        bound = MEBIBYTE // 2
        operations = 0
        with opened(server.url, bytes_per_tenant=bound) as store:
            while operations < 100_000:
                number = chance.randrange(20)
                if chance.random() < 0.2:
                    vm, subscription = f"vm-{number}", f"subscription-{number % 5}"
                    chosen: dict[str, str] = (
                        {"vm_id": vm} if chance.random() < 0.7 else {"subscription_id": subscription}
                    )
                    operations += 1 + store.erase(tenant="t", **chosen)
                    assert ids_in(store, "t", Selection(**chosen)) == []  # type: ignore[arg-type]  # both are texts
                    continue
                batch = [random_record(chance, operations + index) for index in range(chance.randrange(1, 400))]
                store.append(batch)
                operations += len(batch)
                if chance.random() < 0.1:
                    records = assert_consistent(client, "t")
                    assert len(ids_in(store, "t")) >= records
            assert_consistent(client, "t")
            state: Any = client.hgetall(key_of("t", "state"))
            for index, stage in enumerate((Stage.UNVERIFIED, Stage.AUTHENTIC, Stage.FRESH), 1):
                assert 0 <= int(state[f"bytes{index}"]) <= bound * SHARES[stage]
            for number in range(20):
                store.erase(tenant="t", vm_id=f"vm-{number}")
        assert assert_consistent(client, "t") == 0
        assert client.exists(key_of("t", "vms"), key_of("t", "subscriptions"), key_of("t", "fresh")) == 0

    def test_a_batch_whose_answer_is_lost_is_kept_once(self, server: RedisServer, client: redis.Redis) -> None:
        records = [record_of(NOW + index * SECOND, "t", claims=claims_of(f"vm-{index}")) for index in range(BATCH)]
        with running_tcp_proxy(server.port) as proxy, opened(f"redis://127.0.0.1:{proxy.port}") as store:
            store.append([garbage_of(NOW, "t", request_id="first")])
            ask(server, "CONFIG RESETSTAT")
            proxy.network, proxy.cuts = Network.CUTS_ANSWERS, 1
            store.append(records)
            assert ask(server, "INFO", "commandstats")["cmdstat_eval"]["calls"] == 2
            proxy.network = Network.WORKS
            assert ids_in(store, "t") == [*(record.request_id for record in records[::-1]), "first"]
            usage = store.usage(NOW.date(), NOW.date(), tenant="t", by=Dimension.PLAN)
            assert usage.total == pytest.approx(BATCH, rel=0.05)
        assert assert_consistent(client, "t") == BATCH

    def test_a_large_batch_is_several_scripts(self, server: RedisServer) -> None:
        with opened(server.url) as store:
            store.append([record_of(NOW, "t")])
            ask(server, "CONFIG RESETSTAT")
            store.append([record_of(NOW, "t") for _ in range(2 * BATCH + 1)])
            assert ask(server, "INFO", "commandstats")["cmdstat_eval"]["calls"] == 3
            assert len(ids_in(store, "t")) == 2 * BATCH + 2

    def test_a_lost_set_of_tenants_is_restored_by_the_next_record(
        self, server: RedisServer, client: redis.Redis
    ) -> None:
        seconds = 0.0
        with opened(server.url, monotonic=lambda: seconds) as store:
            store.append([record_of(NOW, "t"), record_of(NOW, "u")])
            client.delete("imds-verifier:decisions:tenants")
            assert store.tenants() == ()
            seconds = 61
            store.append([record_of(NOW, "t")])
            assert store.tenants() == ("t",)
            with opened(server.url) as another:
                another.append([garbage_of(NOW, "u")])
            assert store.tenants() == ("t", "u")

    @pytest.mark.parametrize("name", ["unverified", "authentic", "fresh", "requests", "state"])
    def test_after_a_lost_key_the_tenant_starts_afresh(
        self, server: RedisServer, client: redis.Redis, name: str
    ) -> None:
        stages = [record_of(NOW, "t"), garbage_of(NOW, "t"), record_of(NOW, "t", stage=Stage.AUTHENTIC)]
        with opened(server.url) as store:
            store.append([*stages, record_of(NOW, "u")])
            client.delete(key_of("t", name))
            ids_in(store, "t")
            ids_in(store, "t", Selection(vm_id=VM))
            store.append([record_of(NOW, "t", request_id="new")])
            assert ids_in(store, "t") == ["new"]
            assert len(ids_in(store, "u")) == 1
        assert assert_consistent(client, "t") == 1


def random_record(chance: random.Random, number: int) -> AppraisalRecord:
    vm = chance.randrange(20)
    stage = chance.choice([Stage.FRESH] * 8 + [Stage.AUTHENTIC, Stage.UNVERIFIED])
    return record_of(
        NOW + chance.randrange(10**6) * SECOND / 1000,
        "t",
        request_id=str(number - chance.randrange(5)),
        stage=stage,
        claims=None if stage is Stage.UNVERIFIED else claims_of(f"VM-{vm}", f"subscription-{vm % 5}"),
        verdict=chance.choice([*Verdict]),
        code=chance.choice(["verified", "policy-not-satisfied"]),
        detail="x" * chance.randrange(2000),
    )


@pytest.mark.parametrize("text", ["x" * 20_000, "1" * 20_000, "|" * 7_000, "%" * 7_000, "[^|]*" * 1_300])
def test_long_texts_do_not_occupy_the_server(server: RedisServer, client: redis.Redis, text: str) -> None:
    """Callers write some of the texts. The time for each must not grow with the square of its length."""
    client.config_set("slowlog-log-slower-than", 500_000)
    claims = claims_of(text, text, plan=Plan(publisher=text, product=text, name=text), sku=text)
    with opened(server.url, bytes_per_tenant=4 * MEBIBYTE) as store:
        for index in range(50):
            store.append([record_of(NOW + index * SECOND, "t", claims=claims, request_id=f"{text}{index}", code=text)])
        assert 0 < len(ids_in(store, "t")) < 50
        selection = Selection(vm_id=text, subscription_id=text, code=text, plan=text)
        assert ids_in(store, "t", selection) == ids_in(store, "t", Selection(code=text)) == ids_in(store, "t")
        assert ids_in(store, "t", Selection(code=text[:-1])) == []
        assert store.erase(tenant="t", subscription_id=text) > 0
    assert client.slowlog_get() == []


class TestMemory:
    def test_the_bytes_of_a_record_are_not_less_than_it_uses(self, server: RedisServer, client: redis.Redis) -> None:
        before = used_memory(server)
        with opened(server.url) as store:
            for start in range(0, 5000, 200):
                store.append(
                    [
                        record_of(NOW, "t", verdict=Verdict.REFUSED, claims=claims_of(f"{VM}{start + index}"))
                        for index in range(200)
                    ]
                )
        used = used_memory(server) - before
        counted = int(client.hget(key_of("t", "state"), "bytes3") or 0)
        assert 0.6 * counted < used <= counted
        assert counted > ENTRY_BYTES * 5000

    def test_decisions_give_way_before_the_memory_is_full(self) -> None:
        limit = 12 * MEBIBYTE
        arguments = ("--maxmemory", str(limit), "--maxmemory-policy", "noeviction")
        with running_redis_server(arguments=arguments) as server, opened(server.url, bytes_per_tenant=2**30) as store:
            # Genuine and other records use all that decisions may use.
            number, counts = 0, [-1, 0]
            while counts[-1] > counts[-2]:
                for _ in range(5):
                    number += 200
                    store.append([record_of(NOW + (number + i) * SECOND / 1000, "t") for i in range(190)])
                    store.append([garbage_of(NOW + (number + i) * SECOND / 1000, "t") for i in range(10)])
                counts.append(int(ask(server, "HLEN", key_of("t", "requests"))))
            used = [used_memory(server)]
            assert FEW * limit < used[0] < (FEW + 0.05) * limit

            # Garbage replaces garbage only.
            genuine = ids_in(store, "t", Selection(code="verified"))
            garbage = len(ids_in(store, "t", Selection(code="untrusted-chain")))
            assert len(genuine) > 2000
            assert garbage > 50
            for index in range(20):
                store.append([garbage_of(NOW + timedelta(hours=1, seconds=index), "t") for _ in range(100)])
            assert ids_in(store, "t", Selection(code="verified")) == genuine
            assert 0 < len(ids_in(store, "t", Selection(code="untrusted-chain"))) <= garbage
            newest = [record_of(NOW + timedelta(hours=2, seconds=index), "t") for index in range(200)]
            store.append(newest)
            assert ids_in(store, "t", Selection(code="verified"))[:200] == [each.request_id for each in newest[::-1]]
            used.append(used_memory(server))
            assert used[1] < (FEW + 0.05) * limit

            # A tenant without decisions can replace none.
            ask(server, "SET", "others", b"x" * (limit // 20))
            with pytest.raises(StoreUnavailable, match=r"short of memory.*VERIFIER_DECISION_STORE"):
                store.append([record_of(NOW, "u")])
            ask(server, "DEL", "others")
            assert ids_in(store, "u") == []

            # The rest is for nonces.
            record = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))
            keys = [NonceKey(tenant="t", nonce=str(nonce)) for nonce in range(2000)]
            with closing(RedisNonceStore.from_url(server.url)) as nonces:
                for key in keys:
                    assert nonces.issue(key, record, keep=timedelta(hours=1), now=NOW)
                for key in keys:
                    assert nonces.redeem(key, keep=timedelta(hours=6), now=NOW) == FirstUse(record=record)
            assert used_memory(server) < 0.9 * limit
            while used_memory(server) < 0.91 * limit:
                ask(server, "APPEND", "others", b"x" * 10_000)
            with pytest.raises(StoreUnavailable, match="short of memory"):
                store.append([record_of(NOW, "t")])
            ask(server, "DEL", "others")
            store.append([record_of(NOW + timedelta(hours=3), "t", request_id="again")])
            assert ids_in(store, "t")[0] == "again"

    def test_a_genuine_record_replaces_garbage_if_there_is_no_other(self) -> None:
        with running_redis_server() as server, opened(server.url) as store:
            ask(server, "SET", "others", b"x" * 8 * MEBIBYTE)
            store.append([garbage_of(NOW + index * SECOND, "t") for index in range(50)])
            store.append([record_of(NOW, "t", stage=Stage.AUTHENTIC) for _ in range(5)])
            leave_little(server)
            genuine = [record_of(NOW + index * SECOND, "t") for index in range(20)]
            store.append(genuine)
            assert ids_in(store, "t", Selection(code="verified"))[:20] == [each.request_id for each in genuine[::-1]]
            garbage = ids_in(store, "t", Selection(code="untrusted-chain"))
            assert 15 < len(garbage) < 35
            leave_little(server)
            with pytest.raises(StoreUnavailable, match="did not keep all"):
                store.append([record_of(NOW + timedelta(hours=1), "t") for _ in range(150)])
            assert 40 < len(ids_in(store, "t")) < 70

    def test_a_server_out_of_memory_is_unavailable_and_unchanged(
        self, server: RedisServer, client: redis.Redis
    ) -> None:
        with opened(server.url) as store:
            store.append([record_of(NOW, "t")])
            before = {name: client.dump(key_of("t", name)) for name in NAMES}
            client.config_set("maxmemory", 1)
            with pytest.raises(StoreUnavailable, match="memory"):
                store.append([record_of(NOW, "t")])
            # Redis 6.2 has no code for this error in a script.
            with pytest.raises(StoreUnavailable, match=r"out of memory|refused the command"):
                store.erase(tenant="t", vm_id=VM)
            assert {name: client.dump(key_of("t", name)) for name in NAMES} == before
            assert len(ids_in(store, "t")) == 1


class TestUsage:
    def test_the_values_of_a_day_are_bounded(self, server: RedisServer, client: redis.Redis) -> None:
        plans = [Plan(publisher="p", product="q", name=str(number)) for number in range(MOST_VALUES + 50)]
        records = [record_of(NOW, "t", claims=claims_of(f"vm-{plan.name}", plan=plan)) for plan in plans]
        long = Plan(publisher="p", product="x" * 1000, name="n")
        with opened(server.url) as store:
            store.append([*records, record_of(NOW, "t", claims=claims_of("long", plan=long))])
            usage = store.usage(NOW.date(), NOW.date(), tenant="t", by=Dimension.PLAN)
        assert len(usage.groups) == MOST_VALUES + 1
        assert usage.groups[OTHER_VALUES] == pytest.approx(51, abs=2)
        assert usage.total == pytest.approx(MOST_VALUES + 51, rel=0.04)
        assert all(len(name) < 500 for name in client.scan_iter(count=10_000))

    def test_many_vms_are_counted_within_the_stated_error(self, server: RedisServer) -> None:
        with opened(server.url) as store:
            for start in range(0, 20_000, 500):
                store.append([record_of(NOW, "t", claims=claims_of(f"vm-{start + index}")) for index in range(500)])
            usage = store.usage(NOW.date(), NOW.date(), tenant="t", by=Dimension.PLAN)
        assert not usage.exact
        assert usage.total == pytest.approx(20_000, rel=4 * usage.error)
        assert usage.groups == {"contoso/appliance/gold": usage.total}

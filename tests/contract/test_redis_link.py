"""What the link sends, how often, and what it does when the network or a server fails."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import redis
from support.redis_groups import ClusterGroup, SentinelGroup, ask, until
from support.redis_server import RedisServer, running_redis_server
from support.tcp_proxy import Network, TcpProxy, running_tcp_proxy

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.redis.urls import Login, RedisOptions
from verifier.adapters.stores.factory import open_stores
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord
from verifier.core.tenancy import Rate
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.ports.stores import NonceKey, StoreUnavailable
from verifier.ports.trust import TrustAuditEvent

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEEP = timedelta(hours=6)
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))
TIMEOUT = timedelta(seconds=0.5)
EVENT = TrustAuditEvent(at=NOW, by="ann", what="reject", subject="ab", before="", after="rejected")
WAITING = RedisOptions(wait_replicas=1, wait_timeout=timedelta(seconds=0.3))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis_server() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[TcpProxy]:
    with running_tcp_proxy(server.port) as proxy:
        yield proxy


def test_a_password_beside_the_url_is_for_its_user(server: RedisServer) -> None:
    """Special characters of the password need no encoding."""
    password = "p@/:#% s"  # noqa: S105 - of this test
    with redis.Redis.from_url(server.url) as client:
        client.acl_setuser("verifier", enabled=True, passwords=[f"+{password}"], keys=["*"], commands=["+@all"])
    url = f"redis://verifier@127.0.0.1:{server.port}"
    with closing(RedisLink.open(url, options=RedisOptions(password=password))) as link:
        link.ping()
    for options in (RedisOptions(), RedisOptions(password="other")):  # noqa: S106 - of this test
        with closing(RedisLink.open(url, options=options)) as link, pytest.raises(StoreUnavailable):
            link.ping()


def test_a_password_in_the_url_and_beside_it_is_refused() -> None:
    with pytest.raises(ValueError, match="set one of them") as refusal:
        RedisLink.open("redis://:hunter2@h", options=RedisOptions(password="s3cret"))  # noqa: S106 - of this test
    assert "hunter2" not in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


def store_at(port: int, options: RedisOptions | None = None, timeout: timedelta = TIMEOUT) -> closing[RedisNonceStore]:
    url = f"redis://127.0.0.1:{port}"
    return closing(RedisNonceStore.from_url(url, connections=4, timeout=timeout, options=options))


def key_of(nonce: str, tenant: str = "default") -> NonceKey:
    return NonceKey(tenant=tenant, nonce=nonce)


def name_of(key: NonceKey) -> str:
    return f"imds-verifier:nonce:{key.tenant}:{key.nonce}"


def calls(server: RedisServer) -> dict[str, int]:
    """Return how often the server executed each command since forget_calls."""
    return {name: told["calls"] for name, told in ask(server, "INFO", "commandstats").items()}


def is_acknowledged(server: RedisServer) -> bool:
    """Return True if the replica has acknowledged its offset, without which WAIT does not count it."""
    with redis.Redis(host="127.0.0.1", port=server.port, socket_timeout=2, protocol=2) as client:
        client.set("probe", b"", px=1000)
        return int(client.wait(1, 100)) >= 1


def forget_calls(server: RedisServer) -> None:
    ask(server, "CONFIG RESETSTAT")


def unavailable(call: Callable[[], object]) -> float:
    """Return how many seconds the call took to raise StoreUnavailable."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        call()
    return time.monotonic() - began


class TestRoundTrips:
    @pytest.mark.parametrize("options", [None, WAITING], ids=["alone", "with WAIT"])
    def test_issuing_and_redeeming_take_one_round_trip_each(
        self, server: RedisServer, proxy: TcpProxy, options: RedisOptions | None
    ) -> None:
        ask(server, "CONFIG", "SET", "repl-diskless-sync-delay", 0)
        with running_redis_server(arguments=("--replicaof", "127.0.0.1", str(server.port))) as replica:
            until(lambda: bool(ask(replica, "INFO", "replication")["master_link_status"] == "up"))
            until(lambda: is_acknowledged(server))
            with store_at(proxy.port, options, timeout=timedelta(seconds=2)) as store:
                store.ping()
                forget_calls(server)
                proxy.forget()
                for number in range(50):
                    assert store.issue(key_of(str(number)), RECORD, keep=KEEP, now=NOW)
                assert (proxy.round_trips, proxy.connections) == (50, 0)
                for number in range(50):
                    assert store.redeem(key_of(str(number)), keep=KEEP, now=NOW) == FirstUse(record=RECORD)
                assert (proxy.round_trips, proxy.connections) == (100, 0)
        told = calls(server)
        assert (told["cmdstat_set"], told.get("cmdstat_wait", 0)) == (100, 50 if options else 0)


class TestLostAnswers:
    def test_a_redemption_is_sent_once(self, server: RedisServer, proxy: TcpProxy) -> None:
        key = key_of("1")
        with store_at(proxy.port) as store:
            store.issue(key, RECORD, keep=KEEP, now=NOW)
            forget_calls(server)
            proxy.network, proxy.cuts = Network.CUTS_ANSWERS, 10
            unavailable(lambda: store.redeem(key, keep=KEEP, now=NOW))
            assert calls(server)["cmdstat_set"] == 1
            proxy.network = Network.WORKS
            assert store.redeem(key, keep=KEEP, now=NOW) == AlreadyUsed()

    def test_issuing_is_sent_again_and_finds_the_nonce_known(self, server: RedisServer, proxy: TcpProxy) -> None:
        """No agent has the nonce. The caller takes another one, as for every known nonce."""
        with store_at(proxy.port) as store:
            store.ping()
            forget_calls(server)
            proxy.network, proxy.cuts = Network.CUTS_ANSWERS, 1
            assert not store.issue(key_of("1"), RECORD, keep=KEEP, now=NOW)
            assert calls(server)["cmdstat_set"] == 2

    def test_a_ping_is_repeated_twice_at_most(self, server: RedisServer, proxy: TcpProxy) -> None:
        with store_at(proxy.port) as store:
            store.ping()
            forget_calls(server)
            proxy.network, proxy.cuts = Network.CUTS_ANSWERS, 2
            store.ping()
            assert calls(server)["cmdstat_ping"] == 3

    def test_a_reset_of_idle_connections_costs_no_redemption(self, proxy: TcpProxy) -> None:
        key = key_of("1")
        with store_at(proxy.port) as store:
            store.issue(key, RECORD, keep=KEEP, now=NOW)
            proxy.cut()
            until(lambda: not proxy.is_connected)
            time.sleep(0.03)  # the pool checks no connection that was in use within 0.02 s
            assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


class TestBreaker:
    def test_a_hanging_server_costs_one_timeout(self, proxy: TcpProxy) -> None:
        with store_at(proxy.port) as store:
            store.ping()
            proxy.network = Network.SWALLOWS
            assert unavailable(store.ping) >= TIMEOUT.total_seconds()
            # A timeout each would be 50 s.
            assert sum(unavailable(lambda: store.redeem(key_of("1"), keep=KEEP, now=NOW)) for _ in range(100)) < 5
            proxy.network = Network.WORKS
            back = time.monotonic()
            until_available(store.ping)
            assert time.monotonic() - back < 1

    def test_error_replies_do_not_open_the_breaker(self, server: RedisServer) -> None:
        with store_at(server.port) as store:
            store.ping()
            ask(server, "CONFIG", "SET", "maxmemory", 1)
            for _ in range(10):
                with pytest.raises(StoreUnavailable, match="out of memory"):
                    store.issue(key_of("1"), RECORD, keep=KEEP, now=NOW)
            ask(server, "CONFIG", "SET", "maxmemory", 0)
            assert store.issue(key_of("1"), RECORD, keep=KEEP, now=NOW)

    def test_reports_the_number_of_unavailable_servers(self, server: RedisServer) -> None:
        told: list[int] = []
        stores = open_stores(server.url, connections=4)
        assert stores.link is not None
        stores.link.report_open_circuits(told.append)
        stores.nonces.ping()
        server.kill()
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                stores.nonces.ping()
        assert told == [1]
        server.restart()
        until_available(stores.nonces.ping)
        assert told == [1, 0]
        stores.link.close()


def until_available(call: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            call()
        except StoreUnavailable:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        else:
            return


class TestPool:
    def test_all_stores_of_a_process_share_connections(self, server: RedisServer) -> None:
        stores = open_stores(server.url, connections=4)
        before = ask(server, "INFO", "stats")["total_connections_received"]

        def use_all() -> None:
            for _ in range(20):
                stores.nonces.ping()
                stores.registry.revision()
                stores.limiter.hit("a", Rate.parse("5/hour"))

        threads = [threading.Thread(target=use_all) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # One more is the question's own.
        assert ask(server, "INFO", "stats")["total_connections_received"] - before <= 5
        assert stores.link is not None
        stores.link.close()

    def test_a_call_that_finds_no_free_connection_in_time_is_told_so_and_opens_no_circuit(
        self, server: RedisServer
    ) -> None:
        """Four calls take a quarter of a second each on one connection, and wait 0.4 s at most."""
        link = RedisLink.open(server.url, connections=1, timeout=timedelta(seconds=0.4))
        told: list[str] = []

        def wait() -> None:
            try:
                link.once("BLPOP", "imds-verifier:nothing", "0.25")
            except StoreUnavailable as error:
                told.append(error.detail)

        threads = [threading.Thread(target=wait) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        address = server.url.removeprefix("redis://").partition("/")[0]
        assert set(told) == {f"All connections to Redis are in use ({address}, VERIFIER_NONCE_STORE)."}
        assert 1 <= len(told) <= 3
        link.ping()
        link.close()


class TestSentinel:
    def test_any_sentinel_that_answers_names_the_primary(self, sentinel_group: SentinelGroup, tenant: str) -> None:
        sentinel_group.sentinels[0].pause()
        try:
            with closing(RedisNonceStore.from_url(sentinel_group.url)) as store:
                assert store.issue(key_of("1", tenant), RECORD, keep=KEEP, now=NOW)
                assert store.redeem(key_of("1", tenant), keep=KEEP, now=NOW) == FirstUse(record=RECORD)
        finally:
            sentinel_group.sentinels[0].resume()

    def test_a_sentinel_that_refuses_the_question_is_passed_over(
        self, sentinel_group: SentinelGroup, tenant: str
    ) -> None:
        refusing = sentinel_group.sentinels[0]
        ask(refusing, "ACL", "SETUSER", "default", "-sentinel")
        try:
            with closing(RedisNonceStore.from_url(sentinel_group.url)) as store:
                assert store.issue(key_of("1", tenant), RECORD, keep=KEEP, now=NOW)
        finally:
            ask(refusing, "ACL", "SETUSER", "default", "+@all")

    def test_is_unavailable_if_no_sentinel_answers_or_knows_the_service(self, sentinel_group: SentinelGroup) -> None:
        for url in ("redis+sentinel://127.0.0.1:1/main", sentinel_group.url.replace("/main/", "/another/")):
            with closing(RedisNonceStore.from_url(url)) as store:
                assert unavailable(store.ping) < 2
                assert unavailable(store.ping) < 2

    def test_sentinels_have_credentials_of_their_own(self, sentinel_group: SentinelGroup) -> None:
        for sentinel in sentinel_group.sentinels:
            ask(sentinel, "ACL", "SETUSER", "guide", "on", ">s3cret", "+sentinel|get-master-addr-by-name")
            ask(
                sentinel, "ACL", "SETUSER", "default", "nopass", "-@all", "+auth", "+acl", "+ping", "+sentinel", "+role"
            )
        try:
            login = Login(username="guide", password="s3cret")  # noqa: S106 - of this test
            for options, works in ((RedisOptions(sentinel=login), True), (wrong(login), False)):
                with closing(RedisNonceStore.from_url(sentinel_group.url, options=options)) as store:
                    if works:
                        store.ping()
                    else:
                        unavailable(store.ping)
        finally:
            for sentinel in sentinel_group.sentinels:
                ask(sentinel, "ACL", "SETUSER", "default", "+@all")


def wrong(login: Login) -> RedisOptions:
    return RedisOptions(sentinel=Login(username=login.username, password="other"))  # noqa: S106 - of this test


class TestCluster:
    def test_every_store_works(self, redis_cluster: ClusterGroup, tenant: str) -> None:
        stores = open_stores(redis_cluster.url, connections=4)
        for number in range(30):
            key = key_of(str(number), tenant)
            assert stores.nonces.issue(key, RECORD, keep=KEEP, now=NOW)
            assert stores.nonces.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)
        assert stores.registry.decide(OperatorDecisions(), EVENT, expected=stores.registry.revision())
        assert stores.registry.audit_log(most=1) == (EVENT,)
        assert stores.registry.discovered() == ()
        for number in range(10):
            assert stores.limiter.hit(f"{tenant}{number}", Rate.parse("5/hour")).remaining == 4
        assert stores.link is not None
        stores.link.close()

    def test_follows_a_slot_to_another_node_and_redeems_once(self, redis_cluster: ClusterGroup, tenant: str) -> None:
        """MOVED: the first node did not act, and names the node that has the key now."""
        key = key_of("1", tenant)
        with closing(RedisNonceStore.from_url(redis_cluster.url)) as store:
            store.issue(key, RECORD, keep=KEEP, now=NOW)
            before = redis_cluster.primary_of(name_of(key))
            other = redis_cluster.replica_of(before)
            ask(other, "CLUSTER", "FAILOVER")
            until(lambda: ask(other, "ROLE")[0] == b"master" and ask(before, "ROLE")[0] == b"slave")
            assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)
            assert store.redeem(key, keep=KEEP, now=NOW) == AlreadyUsed()

    def test_follows_a_key_while_its_slot_moves(self, redis_cluster: ClusterGroup, tenant: str) -> None:
        """ASK: the redirection holds for one command."""
        key = key_of("1", tenant)
        slot = ask(redis_cluster.servers[0], "CLUSTER KEYSLOT", name_of(key))
        source = redis_cluster.primary_of(name_of(key))
        target = next(server for server in redis_cluster.servers if is_primary(server) and server is not source)
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", identity(source))
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", identity(target))
        try:
            with closing(RedisNonceStore.from_url(redis_cluster.url, options=WAITING)) as store:
                assert store.issue(key, RECORD, keep=KEEP, now=NOW)
                assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)
                assert store.redeem(key, keep=KEEP, now=NOW) == AlreadyUsed()
            # Keys of other tests may be in the same slot.
            name = name_of(key).encode()
            assert name not in ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 100)
            assert name in ask(target, "CLUSTER", "GETKEYSINSLOT", slot, 100)
        finally:
            for server in (source, target):
                ask(server, "CLUSTER", "SETSLOT", slot, "STABLE")

    def test_a_hanging_node_is_called_once_and_does_not_affect_the_others(
        self, redis_cluster: ClusterGroup, tenant: str
    ) -> None:
        keys = [key_of(str(number), tenant) for number in range(30)]
        with closing(RedisNonceStore.from_url(redis_cluster.url, timeout=timedelta(seconds=0.3))) as store:
            for key in keys:
                store.issue(key, RECORD, keep=KEEP, now=NOW)
            victim = redis_cluster.primary_of(name_of(keys[0]))
            elsewhere = [key for key in keys if redis_cluster.primary_of(name_of(key)) is not victim]
            forget_calls(victim)
            with victim.hanging():
                unavailable(lambda: store.redeem(keys[0], keep=KEEP, now=NOW))
                for key in elsewhere:
                    assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)
            assert calls(victim)["cmdstat_set"] == 1
            assert len(elsewhere) > 5


def is_primary(server: RedisServer) -> bool:
    return bool(ask(server, "ROLE")[0] == b"master")


def identity(server: RedisServer) -> bytes:
    answer: bytes = ask(server, "CLUSTER MYID")
    return answer


class TestReplicas:
    def test_a_redemption_that_no_replica_confirms_is_unavailable_and_uses_the_nonce(self, server: RedisServer) -> None:
        with store_at(server.port, WAITING, timeout=timedelta(seconds=1)) as store:
            store.issue(key_of("1"), RECORD, keep=KEEP, now=NOW)
            with pytest.raises(StoreUnavailable, match="Too few replicas"):
                store.redeem(key_of("1"), keep=KEEP, now=NOW)
        with store_at(server.port) as store:
            assert store.redeem(key_of("1"), keep=KEEP, now=NOW) == AlreadyUsed()

    def test_a_user_who_may_not_wait_is_told_so(self, server: RedisServer) -> None:
        ask(server, "ACL", "SETUSER", "default", "-wait")
        store = store_at(server.port, WAITING, timeout=timedelta(seconds=1))
        with store as opened, pytest.raises(StoreUnavailable, match="does not permit"):
            opened.redeem(key_of("1"), keep=KEEP, now=NOW)

    def test_a_redemption_counts_when_the_replica_confirms_it(self, sentinel_group: SentinelGroup, tenant: str) -> None:
        key = key_of("1", tenant)
        primary = sentinel_group.primary_of("")
        replica = sentinel_group.replica_of(primary)
        with closing(RedisNonceStore.from_url(sentinel_group.url, options=WAITING)) as store:
            store.issue(key, RECORD, keep=KEEP, now=NOW)
            assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)
            assert ask(replica, "GET", name_of(key)) == b"used"
            store.issue(key_of("2", tenant), RECORD, keep=KEEP, now=NOW)
            with replica.hanging():
                unavailable(lambda: store.redeem(key_of("2", tenant), keep=KEEP, now=NOW))

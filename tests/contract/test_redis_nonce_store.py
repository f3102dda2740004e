"""The Redis nonce store: its commands, and its faults when the server is slow, unavailable or misconfigured."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import redis
from support.redis_server import RedisServer, running_redis_server

from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.ports.stores import DocumentKey, NonceKey, StoreUnavailable

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEEP = timedelta(hours=6)
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))
DOCUMENT = DocumentKey(tenant="default", digest="ab" * 32)
TIMEOUT = timedelta(seconds=0.3)
PASSWORD = "correct horse: battery/staple@#?%"  # noqa: S105 -- of a server that lives as long as the test


@contextmanager
def opened(url: str, *, connections: int = 4, timeout: timedelta = timedelta(seconds=5)) -> Iterator[RedisNonceStore]:
    with closing(RedisNonceStore.from_url(url, connections=connections, timeout=timeout)) as store:
        yield store


@contextmanager
def administering(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


def only_name(client: redis.Redis, tenant: str) -> str:
    [name] = client.scan_iter(match=f"*{tenant}*", count=10_000)
    assert isinstance(name, bytes)
    return name.decode("ascii")


def eventually(redeem: Callable[[], Redemption], *, seconds: float = 1) -> Redemption:
    """Redeem again until the store has recovered, which takes a second at most."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return redeem()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
        threading.Event().wait(0.01)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """Start a server that the test may stop, pause and inspect."""
    with running_redis_server() as server:
        yield server


def test_the_server_forgets_after_keep_which_each_redemption_sets_anew(redis_url: str, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    with opened(redis_url) as store, administering(redis_url) as client:
        store.issue(key, RECORD, keep=KEEP / 100, now=NOW)
        name = only_name(client, tenant)
        keep_ms = KEEP // timedelta(milliseconds=1)
        assert keep_ms / 100 - 60_000 < client.pttl(name) <= keep_ms / 100
        for outcome in (FirstUse(record=RECORD), AlreadyUsed()):
            assert store.redeem(key, keep=KEEP, now=NOW) == outcome
            assert keep_ms - 60_000 < client.pttl(name) <= keep_ms
            client.pexpire(name, 100_000)


def test_the_server_forgets_a_document_after_keep(redis_url: str, tenant: str) -> None:
    document = DocumentKey(tenant=tenant, digest="ab" * 32)
    with opened(redis_url) as store, administering(redis_url) as client:
        assert store.remember(document, keep=KEEP, now=NOW)
        name = only_name(client, tenant)
        keep_ms = KEEP // timedelta(milliseconds=1)
        assert keep_ms - 60_000 < client.pttl(name) <= keep_ms
        expires = client.pexpiretime(name)
        assert not store.remember(document, keep=2 * KEEP, now=NOW)
        assert client.pexpiretime(name) == expires
        client.pexpire(name, 0)
        assert store.remember(document, keep=KEEP, now=NOW)


def test_a_nonce_that_the_server_forgot_is_unknown_and_can_be_issued_again(redis_url: str, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    with opened(redis_url) as store, administering(redis_url) as client:
        store.issue(key, RECORD, keep=KEEP, now=NOW)
        store.redeem(key, keep=KEEP, now=NOW)
        client.pexpire(only_name(client, tenant), 0)
        assert store.redeem(key, keep=KEEP, now=NOW) == UnknownNonce()
        assert store.issue(key, RECORD, keep=KEEP, now=NOW)


def test_each_operation_is_one_command(own_server: RedisServer) -> None:
    key = NonceKey(tenant="default", nonce="1234567890")
    with opened(own_server.url) as store, administering(own_server.url) as client:
        store.ping()
        client.config_resetstat()
        store.issue(key, RECORD, keep=KEEP, now=NOW)
        store.redeem(key, keep=KEEP, now=NOW)
        store.redeem(key, keep=KEEP, now=NOW)
        store.remember(DOCUMENT, keep=KEEP, now=NOW)
        calls = {name: statistics["calls"] for name, statistics in client.info("commandstats").items()}
        assert calls == {"cmdstat_set": 4, "cmdstat_config|resetstat": 1}


def test_a_new_connection_sends_no_commands_of_its_own(own_server: RedisServer) -> None:
    with opened(own_server.url) as store, administering(own_server.url) as client:
        client.ping()
        client.config_resetstat()
        store.ping()
        calls = {name: statistics["calls"] for name, statistics in client.info("commandstats").items()}
        assert calls == {"cmdstat_ping": 1, "cmdstat_config|resetstat": 1}


def test_holds_no_more_connections_than_it_was_given(own_server: RedisServer) -> None:
    with opened(own_server.url, connections=2) as store, administering(own_server.url) as client:
        client.ping()
        before = client.info("stats")["total_connections_received"]
        with ThreadPoolExecutor(16) as pool:
            for ping in [pool.submit(store.ping) for _ in range(200)]:
                ping.result()
        assert client.info("stats")["total_connections_received"] - before <= 2


def test_close_closes_its_connections(own_server: RedisServer) -> None:
    with administering(own_server.url) as client:
        with opened(own_server.url) as store:
            store.ping()
            assert len(client.client_list()) == 2
        # The server notices a closed connection before it answers a later command.
        client.ping()
        assert len(client.client_list()) == 1


def test_a_stopped_server_is_unavailable_and_a_restarted_one_is_found_again(own_server: RedisServer) -> None:
    key = NonceKey(tenant="default", nonce="1234567890")
    with opened(own_server.url) as store:
        store.issue(key, RECORD, keep=KEEP, now=NOW)
        own_server.kill()
        for attempt in range(2):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                store.redeem(key, keep=KEEP, now=NOW)
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                store.issue(NonceKey(tenant="default", nonce=str(attempt)), RECORD, keep=KEEP, now=NOW)
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                store.ping()
        own_server.restart()
        assert eventually(lambda: store.redeem(key, keep=KEEP, now=NOW)) == UnknownNonce()


def test_an_idle_connection_that_the_server_closed_costs_no_request(own_server: RedisServer) -> None:
    with opened(own_server.url) as store:
        store.ping()
        own_server.restart()
        assert store.issue(NonceKey(tenant="default", nonce="1"), RECORD, keep=KEEP, now=NOW)


def test_a_used_nonce_stays_used_over_a_crash_of_a_server_that_keeps_its_data() -> None:
    key = NonceKey(tenant="default", nonce="1234567890")
    with running_redis_server(appendonly=True) as server, opened(server.url) as store:
        store.issue(key, RECORD, keep=KEEP, now=NOW)
        store.redeem(key, keep=KEEP, now=NOW)
        server.restart()
        assert store.redeem(key, keep=KEEP, now=NOW) == AlreadyUsed()


def test_a_hanging_server_is_unavailable_within_the_timeout(own_server: RedisServer) -> None:
    key = NonceKey(tenant="default", nonce="1234567890")
    with opened(own_server.url, timeout=TIMEOUT) as store:
        store.issue(key, RECORD, keep=KEEP, now=NOW)
        with own_server.hanging():
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                store.redeem(key, keep=KEEP, now=NOW)
            elapsed = time.monotonic() - started
        # One attempt, which took one timeout. (The server executes the command when it resumes.)
        assert TIMEOUT.total_seconds() <= elapsed < 3 * TIMEOUT.total_seconds()


def test_a_late_answer_is_not_taken_for_the_answer_to_another_command(own_server: RedisServer) -> None:
    late, next_ = (NonceKey(tenant="default", nonce=nonce) for nonce in ("1", "2"))
    with opened(own_server.url, connections=1, timeout=timedelta(seconds=1)) as store:
        store.issue(late, RECORD, keep=KEEP, now=NOW)
        with own_server.hanging(), pytest.raises(StoreUnavailable):
            store.redeem(late, keep=KEEP, now=NOW)
        # The late answer is the record of another nonce. Its connection was closed.
        assert eventually(lambda: store.redeem(next_, keep=KEEP, now=NOW)) == UnknownNonce()


def test_speaks_with_a_password_and_a_database(tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    with running_redis_server(password=PASSWORD) as server:
        for url in (
            f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/3",
            f"redis://default:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}",
            f"unix://:{quote(PASSWORD, safe='')}@{server.socket_path}?db=2",
        ):
            with opened(url) as store:
                assert store.issue(key, RECORD, keep=KEEP, now=NOW)
                assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


@pytest.mark.parametrize("secret", ["", ":wrong-secret@", "someone:wrong-secret@"])
def test_refused_credentials_are_unavailable_and_are_not_repeated(secret: str) -> None:
    with running_redis_server(password=PASSWORD) as server:
        with (
            opened(f"redis://{secret}127.0.0.1:{server.port}") as store,
            pytest.raises(StoreUnavailable, match="credentials") as caught,
        ):
            store.redeem(NonceKey(tenant="default", nonce="1"), keep=KEEP, now=NOW)
        assert "secret" not in caught.value.detail
        assert PASSWORD not in caught.value.detail


def test_a_replica_is_unavailable(own_server: RedisServer) -> None:
    with opened(own_server.url) as store, administering(own_server.url) as client:
        key = NonceKey(tenant="default", nonce="1234567890")
        store.issue(key, RECORD, keep=KEEP, now=NOW)
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(StoreUnavailable, match=r"read-only replica|refused the command"):
            store.redeem(key, keep=KEEP, now=NOW)


def test_a_server_out_of_memory_is_unavailable(own_server: RedisServer) -> None:
    with opened(own_server.url) as store, administering(own_server.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="out of memory"):
            store.issue(NonceKey(tenant="default", nonce="1"), RECORD, keep=KEEP, now=NOW)


def test_a_user_without_the_command_is_unavailable(own_server: RedisServer) -> None:
    with opened(f"redis://limited:secret@127.0.0.1:{own_server.port}") as store:
        with administering(own_server.url) as client:
            client.acl_setuser("limited", enabled=True, passwords=["+secret"], keys=["*"], commands=["+ping"])
        store.ping()
        with pytest.raises(StoreUnavailable, match="does not permit"):
            store.redeem(NonceKey(tenant="default", nonce="1"), keep=KEEP, now=NOW)


def test_a_user_with_no_more_than_set_on_our_keys_is_enough(own_server: RedisServer) -> None:
    key = NonceKey(tenant="default", nonce="1234567890")
    with opened(f"redis://limited:secret@127.0.0.1:{own_server.port}") as store:
        with administering(own_server.url) as client:
            client.acl_setuser(
                "limited",
                enabled=True,
                passwords=["+secret"],
                keys=["imds-verifier:nonce:*", "imds-verifier:document:*"],
                commands=["+ping", "+set"],
            )
        store.ping()
        assert store.remember(DOCUMENT, keep=KEEP, now=NOW)
        store.issue(key, RECORD, keep=KEEP, now=NOW)
        assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


@pytest.mark.parametrize("value", [b"", b"[]", b"\xff\x00", b"used ", b"USED", b'[2,0,0,"","",""]', b'{"v":1}'])
def test_a_value_that_we_did_not_write_is_unavailable_and_no_verdict(redis_url: str, tenant: str, value: bytes) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    with opened(redis_url) as store, administering(redis_url) as client:
        store.issue(key, RECORD, keep=KEEP, now=NOW)
        client.set(only_name(client, tenant), value)
        with pytest.raises(StoreUnavailable, match=r"cannot read|has format 2, .* update") as caught:
            store.redeem(key, keep=KEEP, now=NOW)
        assert key.nonce not in caught.value.detail


def test_a_key_of_another_type_is_unavailable(redis_url: str, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    with opened(redis_url) as store, administering(redis_url) as client:
        store.issue(key, RECORD, keep=KEEP, now=NOW)
        name = only_name(client, tenant)
        client.delete(name)
        client.rpush(name, b"1")
        with pytest.raises(StoreUnavailable, match=r"refused the command \(WRONGTYPE\)"):
            store.redeem(key, keep=KEEP, now=NOW)


def test_a_fork_does_not_share_a_connection(own_server: RedisServer) -> None:
    with opened(own_server.url) as store, administering(own_server.url) as client:
        store.ping()
        before = client.info("stats")["total_connections_received"]
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                store.ping()
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        store.ping()
        assert client.info("stats")["total_connections_received"] - before == 1

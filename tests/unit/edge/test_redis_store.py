"""What can be said of the Redis store without a server. The rest is in tests/contract."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from redis.exceptions import ChildDeadlockedError

from verifier.core.model import NonceRecord
from verifier.edge.redis_store import RedisNonceStore, client_for
from verifier.ports import NonceKey, NonceStore, StoreUnavailable

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEEP = timedelta(hours=6)
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))
KEY = NonceKey(tenant="default", nonce="1234567890")


class Answering(redis.Redis):
    """A client that answers each command with one thing, and keeps what it was asked."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[tuple[object, ...]] = []

    def execute_command(self, *command: object, **_: object) -> object:
        self.asked.append(command)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_is_a_nonce_store() -> None:
    port: NonceStore = RedisNonceStore(Answering(True))  # noqa: FBT003 -- what the client makes of PONG
    port.ping()


def test_issues_with_one_conditional_set_that_expires() -> None:
    client = Answering(True)  # noqa: FBT003 -- what the client makes of OK
    assert RedisNonceStore(client).issue(KEY, RECORD, keep=timedelta(seconds=1, microseconds=1), now=NOW)
    [(*command,)] = client.asked
    assert command[:2] == ["SET", "imds-verifier:nonce:default:1234567890"]
    assert sorted(map(str, command[3:])) == ["1001", "NX", "PX"]


def test_redeems_with_one_set_that_gives_back_what_was_there() -> None:
    client = Answering(None)
    RedisNonceStore(client).redeem(KEY, now=NOW)
    [(*command,)] = client.asked
    assert command[:3] == ["SET", "imds-verifier:nonce:default:1234567890", b"used"]
    assert sorted(map(str, command[3:])) == ["GET", "KEEPTTL", "XX"]


def test_a_key_holds_no_hash_tag_and_no_separator_of_the_callers() -> None:
    client = Answering(None)
    RedisNonceStore(client).redeem(NonceKey(tenant="a:{b}", nonce="{c}:d\n"), now=NOW)
    assert client.asked[0][1] == "imds-verifier:nonce:a%3A%7Bb%7D:%7Bc%7D%3Ad%0A"


def test_a_client_that_decodes_answers_is_a_mistake_of_the_wiring() -> None:
    with pytest.raises(TypeError, match="octets"):
        RedisNonceStore(Answering("used")).redeem(KEY, now=NOW)


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (redis.exceptions.ConnectionError("Error 111 connecting to h:1"), "cannot be reached"),
        (redis.exceptions.MaxConnectionsError("Too many connections"), "all connections are in use"),
        (redis.exceptions.TimeoutError("Timeout reading"), "did not answer in time"),
        (redis.exceptions.BusyLoadingError("loading"), "is loading its data"),
        (redis.exceptions.AuthenticationError("invalid username-password pair"), "refused the credentials"),
        (redis.exceptions.AuthorizationError("no"), "refused the credentials"),
        (redis.exceptions.NoPermissionError("this user has no permissions"), "does not permit"),
        (redis.exceptions.ReadOnlyError("You can't write"), "read-only replica"),
        (redis.exceptions.OutOfMemoryError("command not allowed"), "out of memory"),
        (redis.exceptions.ResponseError("MISCONF Redis is configured to save"), r"refused the command \(MISCONF\)"),
        (redis.exceptions.ResponseError("syntax error", status_code="ERR"), r"refused the command \(ERR\)"),
        (redis.exceptions.ResponseError("unknown command 'SET', with args '1234567890'"), r"the command \(ERR\)"),
        (redis.exceptions.ResponseError(), r"refused the command \(ERR\)"),
        (redis.exceptions.MovedError("3999 127.0.0.1:6381", status_code="MOVED"), r"the command \(MOVED\)"),
        (redis.exceptions.ClusterDownError("down", status_code="CLUSTERDOWN"), r"the command \(CLUSTERDOWN\)"),
        (redis.exceptions.InvalidResponse("Protocol Error: 1234567890"), r"failed \(InvalidResponse\)"),
        (redis.exceptions.DataError("Invalid input"), r"failed \(DataError\)"),
        (redis.exceptions.RedisError("1234567890"), r"failed \(RedisError\)"),
        (ChildDeadlockedError(), r"failed \(ChildDeadlockedError\)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_fault_is_unavailable_in_words_of_our_own(error: Exception, detail: str) -> None:
    store = RedisNonceStore(Answering(error))
    with pytest.raises(StoreUnavailable, match=detail) as redeeming:
        store.redeem(KEY, now=NOW)
    with pytest.raises(StoreUnavailable, match=detail):
        store.issue(KEY, RECORD, keep=KEEP, now=NOW)
    with pytest.raises(StoreUnavailable, match=detail):
        store.ping()
    assert KEY.nonce not in redeeming.value.detail
    # Nor does a traceback of it show what the server said.
    assert redeeming.value.__cause__ is None
    assert redeeming.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", {"host": "h", "port": 6379, "db": 0, "username": None, "password": None}),
        ("redis://h/", {"host": "h", "port": 6379, "db": 0}),
        ("redis://h:7000/3", {"host": "h", "port": 7000, "db": 3}),
        ("redis://:p%40%2F%23@h", {"username": None, "password": "p@/#"}),
        ("redis://u%3A:p@h", {"username": "u:", "password": "p"}),
        ("redis://[::1]:7000", {"host": "::1", "port": 7000}),
        ("unix:///run/redis.sock", {"path": "/run/redis.sock", "db": 0, "username": None, "password": None}),
        ("unix://u:p@/run/a%20b.sock?db=4", {"path": "/run/a b.sock", "db": 4, "username": "u", "password": "p"}),
    ],
)
def test_reads_where_to_connect_from_the_url(url: str, expected: dict[str, object]) -> None:
    settings = client_for(url).connection_pool.connection_kwargs
    assert {name: settings[name] for name in expected} == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "redis://",
        "redis://:hunter2@",
        "redis://:hunter2@h:port",
        "redis://:hunter2@h:70000",
        "redis://:hunter2@h/first",
        "redis://:hunter2@h/-1",
        "redis://:hunter2@h/0/1",
        "redis://:hunter2@h/٣",
        "redis://:hunter2@h..h",
        "redis://:hunter2@[::1",
        "redis://:hunter2@h?retry_on_timeout=yes",
        "redis://:hunter2@h?socket_timeout=3600",
        "redis://:hunter2@h?db=1",
        "redis://:hunter2@h#fragment",
        "redis://user:12#hunter2@h",
        "redis://user:12/hunter2@h",
        "redis://user:12?hunter2@h",
        "rediss://:hunter2@h",
        "http://:hunter2@h",
        "unix://",
        "unix://h/run/redis.sock",
        "unix://:hunter2@/run/redis.sock?db=x",
        "unix://:hunter2@/run/redis.sock?db=1&db=2",
        "unix://:hunter2@/run/redis.sock?protocol=3",
    ],
)
def test_refuses_any_other_url_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="the Redis URL is neither") as caught:
        RedisNonceStore.from_url(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("connections", [0, -1])
def test_refuses_a_pool_without_connections(connections: int) -> None:
    with pytest.raises(ValueError, match="connections is not positive"):
        client_for("redis://h", connections=connections)


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(seconds=-1)])
def test_refuses_to_wait_for_no_time(timeout: timedelta) -> None:
    with pytest.raises(ValueError, match="timeout is not positive"):
        client_for("redis://h", timeout=timeout)


@pytest.mark.parametrize("url", ["redis://h", "unix:///run/redis.sock"])
def test_a_connection_repeats_nothing_and_waits_no_longer_than_it_was_told(url: str) -> None:
    pool: Any = client_for(url, connections=3, timeout=timedelta(seconds=0.5)).connection_pool
    assert pool.max_connections == 3
    assert pool.timeout == 0.5
    connection = pool.make_connection()
    assert connection.retry.get_retries() == 0
    assert connection.retry_on_error == []
    assert connection.socket_timeout == 0.5
    assert connection.socket_connect_timeout == 0.5
    assert connection.health_check_interval == 0
    assert connection.protocol == 2
    assert connection.driver_info is None

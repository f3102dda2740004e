"""The Redis nonce store without a server. Tests with servers are in tests/contract."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from redis.exceptions import ChildDeadlockedError
from support.redis_links import Answering, answering_link

from verifier.adapters.records.nonces import encode_record
from verifier.adapters.redis.nodes import AllInUse
from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.redis.urls import RedisOptions
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, UnknownNonce
from verifier.ports.stores import DocumentKey, NonceKey, NonceStore, StoreUnavailable

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEEP = timedelta(hours=6)
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))
KEY = NonceKey(tenant="default", nonce="1234567890")


def store_over(answer: object) -> tuple[RedisNonceStore, Answering]:
    link, nodes = answering_link(answer)
    return RedisNonceStore(link), nodes


def test_is_a_nonce_store() -> None:
    port: NonceStore = store_over(b"PONG")[0]
    port.ping()


def test_issues_with_one_conditional_set_that_expires() -> None:
    store, nodes = store_over(b"OK")
    assert store.issue(KEY, RECORD, keep=timedelta(seconds=1, microseconds=1), now=NOW)
    [(*command,)] = nodes.commands
    assert command[:2] == ["SET", "imds-verifier:nonce:default:1234567890"]
    assert sorted(map(str, command[3:])) == ["1001", "NX", "PX"]


def test_redeems_with_one_set_that_gives_back_what_was_there() -> None:
    store, nodes = store_over(None)
    store.redeem(KEY, keep=timedelta(seconds=1, microseconds=1), now=NOW)
    [(*command,)] = nodes.commands
    assert command[:3] == ["SET", "imds-verifier:nonce:default:1234567890", b"used"]
    assert sorted(map(str, command[3:])) == ["1001", "GET", "PX", "XX"]


@pytest.mark.parametrize(
    ("answer", "redemption"),
    [
        (None, UnknownNonce()),
        (b"used", AlreadyUsed()),
        (encode_record(RECORD).encode(), FirstUse(record=RECORD)),
    ],
)
def test_what_was_there_decides(answer: bytes | None, redemption: object) -> None:
    assert store_over(answer)[0].redeem(KEY, keep=KEEP, now=NOW) == redemption


@pytest.mark.parametrize("answer", [b"\xff", b"USED", b""])
def test_a_record_that_is_none_is_no_verdict(answer: bytes) -> None:
    with pytest.raises(StoreUnavailable, match="cannot read"):
        store_over(answer)[0].redeem(KEY, keep=KEEP, now=NOW)


def test_a_nonce_that_the_server_has_is_not_issued() -> None:
    assert not store_over(None)[0].issue(KEY, RECORD, keep=KEEP, now=NOW)


def test_the_record_is_what_is_issued() -> None:
    store, nodes = store_over(b"OK")
    store.issue(KEY, RECORD, keep=KEEP, now=NOW)
    assert nodes.commands[0][2] == encode_record(RECORD)


def test_remembers_with_one_conditional_set_that_expires() -> None:
    link, nodes = answering_link(b"OK", replicas=2, wait_replicas=2)
    store = RedisNonceStore(link)
    document = DocumentKey(tenant="a:b", digest="{c}")
    assert store.remember(document, keep=timedelta(seconds=1, microseconds=1), now=NOW)
    [(*command,), wait] = nodes.commands
    assert command[:3] == ["SET", "imds-verifier:document:a%3Ab:%7Bc%7D", b"used"]
    assert sorted(map(str, command[3:])) == ["1001", "NX", "PX"]
    assert wait[0] == "WAIT"


def test_a_document_that_the_server_has_is_not_remembered_again() -> None:
    document = DocumentKey(tenant="default", digest="d")
    assert not store_over(None)[0].remember(document, keep=KEEP, now=NOW)


@pytest.mark.parametrize("keep", [timedelta(0), timedelta(milliseconds=-1)])
def test_a_time_that_is_not_positive_is_a_mistake_of_the_caller(keep: timedelta) -> None:
    store, nodes = store_over(b"OK")
    with pytest.raises(ValueError, match="keep is not positive"):
        store.issue(KEY, RECORD, keep=keep, now=NOW)
    with pytest.raises(ValueError, match="keep is not positive"):
        store.redeem(KEY, keep=keep, now=NOW)
    assert nodes.commands == []


def test_the_least_time_is_a_millisecond() -> None:
    store, nodes = store_over(b"OK")
    store.issue(KEY, RECORD, keep=timedelta(microseconds=1), now=NOW)
    assert 1 in nodes.commands[0]


def test_a_caller_cannot_put_a_hash_tag_or_a_separator_into_a_key() -> None:
    store, nodes = store_over(None)
    store.redeem(NonceKey(tenant="a:{b}", nonce="{c}:d\n"), keep=KEEP, now=NOW)
    assert nodes.commands[0][1] == "imds-verifier:nonce:a%3A%7Bb%7D:%7Bc%7D%3Ad%0A"


def test_an_answer_that_is_not_bytes_is_a_mistake_of_the_wiring() -> None:
    with pytest.raises(TypeError, match="bytes"):
        store_over("used")[0].redeem(KEY, keep=KEEP, now=NOW)


@pytest.mark.parametrize(("replicas", "counts"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_redemption_counts_when_enough_replicas_confirm_it(replicas: int, counts: bool) -> None:  # noqa: FBT001 - a parameter of the test
    link, nodes = answering_link(encode_record(RECORD).encode(), replicas=replicas, wait_replicas=2)
    store = RedisNonceStore(link)
    if counts:
        assert store.redeem(KEY, keep=KEEP, now=NOW) == FirstUse(record=RECORD)
    else:
        with pytest.raises(StoreUnavailable, match="Too few replicas"):
            store.redeem(KEY, keep=KEEP, now=NOW)
    # In one round trip, and once.
    [[redemption, wait]] = nodes.asked
    assert (redemption[0], wait) == ("SET", ("WAIT", 2, 500))


def test_issuing_does_not_wait_for_replicas() -> None:
    link, nodes = answering_link(b"OK", wait_replicas=2)
    RedisNonceStore(link).issue(KEY, RECORD, keep=KEEP, now=NOW)
    assert [command[0] for command in nodes.commands] == ["SET"]


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (redis.exceptions.ConnectionError("Error 111 connecting to h:1"), "cannot be reached"),
        (AllInUse(), "All connections to Redis are in use"),
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
def test_every_fault_is_unavailable_and_does_not_quote_the_server(error: Exception, detail: str) -> None:
    store, _ = store_over(error)
    with pytest.raises(StoreUnavailable, match=detail) as redeeming:
        store.redeem(KEY, keep=KEEP, now=NOW)
    with pytest.raises(StoreUnavailable, match=detail):
        store.issue(KEY, RECORD, keep=KEEP, now=NOW)
    with pytest.raises(StoreUnavailable, match=detail):
        store.ping()
    assert KEY.nonce not in redeeming.value.detail
    # A traceback does not show the message of the server either.
    assert redeeming.value.__cause__ is None
    assert redeeming.value.__suppress_context__


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [
        ({"connections": 0}, "have to be positive"),
        ({"timeout": timedelta(0)}, "have to be positive"),
        ({"options": RedisOptions(wait_replicas=1, wait_timeout=timedelta(0))}, "has to be positive"),
        ({"options": RedisOptions(wait_replicas=1), "timeout": timedelta(seconds=0.5)}, "shorter than the wait"),
    ],
)
def test_numbers_that_would_wait_for_ever_are_refused(arguments: dict[str, Any], detail: str) -> None:
    """WAIT with 0 milliseconds has no end."""
    with pytest.raises(ValueError, match=detail):
        RedisNonceStore.from_url("redis://h", **arguments)


def test_closing_closes_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    store, nodes = store_over(b"OK")
    closed: list[bool] = []
    monkeypatch.setattr(nodes, "close", lambda: closed.append(True))
    store.close()
    assert closed == [True]

"""The count of outstanding nonces on Redis without a server. Tests with servers are in tests/contract."""

from datetime import timedelta

import pytest
import redis
from support.redis_links import Answering, answering_link

from verifier.adapters.redis.outstanding_nonces import RedisOutstandingNonces
from verifier.ports.stores import MAX_RATE_KEY, OutstandingNonces, StoreUnavailable

MINUTE = timedelta(minutes=1)


def store_over(answer: object) -> tuple[RedisOutstandingNonces, Answering]:
    link, nodes = answering_link(answer)
    return RedisOutstandingNonces(link), nodes


def test_reserves_with_one_script_on_one_key() -> None:
    store, nodes = store_over(0)
    port: OutstandingNonces = store
    assert port.reserve("a:{b}", "c d", limit=3, lifetime=timedelta(seconds=1, microseconds=1)) is None
    [command] = nodes.commands
    assert command[0] == "EVAL"
    assert command[2:] == (1, "imds-verifier:outstanding:a%3A%7Bb%7D", "c%20d", 3, 1001)


def test_the_script_removes_the_expired_counts_the_others_and_adds_one() -> None:
    store, nodes = store_over(0)
    store.reserve("g", "n", limit=1, lifetime=MINUTE)
    script = str(nodes.commands[0][1])
    commands = ["TIME", "ZREMRANGEBYSCORE", "ZCARD", "ZRANGE", "ZADD", "PEXPIRE"]
    places = [script.index(f"redis.call('{command}'") for command in commands]
    assert places == sorted(places)


def test_another_answer_is_the_time_to_wait() -> None:
    assert store_over(1500)[0].reserve("g", "n", limit=1, lifetime=MINUTE) == timedelta(seconds=1.5)
    assert store_over(1)[0].reserve("g", "n", limit=1, lifetime=MINUTE) == timedelta(milliseconds=1)


@pytest.mark.parametrize("answer", [None, b"0"])
def test_an_answer_that_is_no_number_is_a_mistake_of_the_wiring(answer: object) -> None:
    with pytest.raises(TypeError, match="number"):
        store_over(answer)[0].reserve("g", "n", limit=1, lifetime=MINUTE)


def test_a_reservation_is_not_sent_twice() -> None:
    store, nodes = store_over(redis.exceptions.ConnectionError("gone"))
    with pytest.raises(StoreUnavailable):
        store.reserve("g", "n", limit=1, lifetime=MINUTE)
    assert len(nodes.asked) == 1


def test_releases_with_one_command_on_the_same_key() -> None:
    store, nodes = store_over(1)
    store.release("a:{b}", "c d")
    assert nodes.commands == [("ZREM", "imds-verifier:outstanding:a%3A%7Bb%7D", "c%20d")]


def test_invalid_arguments_are_not_sent() -> None:
    store, nodes = store_over(0)
    for group, limit, lifetime in (("x" * (MAX_RATE_KEY + 1), 1, MINUTE), ("g", 0, MINUTE), ("g", 1, timedelta(0))):
        with pytest.raises(ValueError, match=r"characters|not positive"):
            store.reserve(group, "n", limit=limit, lifetime=lifetime)
    assert nodes.commands == []


def test_closing_closes_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    store, nodes = store_over(0)
    closed: list[bool] = []
    monkeypatch.setattr(nodes, "close", lambda: closed.append(True))
    store.close()
    assert closed == [True]

"""Which server takes a command, by the answers of Sentinels and cluster nodes. Tests with servers: tests/contract."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from support.redis_links import ADDRESS, Answering

from verifier.adapters.redis.nodes import Node
from verifier.adapters.redis.routes import ClusterRoute, Route, SentinelRoute
from verifier.adapters.redis.urls import Address

OTHER = Address("10.0.0.2", 7000)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def test_the_answer_of_a_sentinel_counts_for_a_second(time: Time) -> None:
    nodes = Answering([b"10.0.0.2", b"7000"])
    route = SentinelRoute([ADDRESS], "main", nodes, time)
    for _ in range(10):
        assert route.address("key") == OTHER
    assert nodes.commands == [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")]
    time.now += 1
    nodes.answer = [b"10.0.0.3", b"7001"]
    assert route.address("key") == Address("10.0.0.3", 7001)


def test_many_doubts_lead_to_one_question(time: Time) -> None:
    nodes = Answering([b"10.0.0.2", b"7000"])
    route = SentinelRoute([ADDRESS], "main", nodes, time)
    for _ in range(10):
        route.address("key")
        route.doubt()
    assert len(nodes.asked) == 1
    time.now += 0.1
    route.address("key")
    assert len(nodes.asked) == 2


def test_the_last_primary_is_used_while_no_sentinel_answers(time: Time) -> None:
    nodes = Answering([b"10.0.0.2", b"7000"])
    route = SentinelRoute([ADDRESS], "main", nodes, time)
    route.address("key")
    nodes.answer = redis.exceptions.ConnectionError("away")
    time.now += 60
    assert route.address("key") == OTHER


class Slow(Answering):
    """It answers when the test lets it."""

    def __init__(self, answer: object) -> None:
        super().__init__(answer)
        self.was_asked = threading.Event()
        self.may_answer = threading.Event()

    def at(self, address: Address) -> Node:
        self.was_asked.set()
        assert self.may_answer.wait(10)
        return super().at(address)


@pytest.mark.parametrize(
    ("kind", "answer"), [("sentinel", [b"10.0.0.2", b"7000"]), ("cluster", [[0, 16383, [b"10.0.0.2", 7000, b"id"]]])]
)
def test_callers_wait_while_the_first_one_asks(time: Time, kind: str, answer: object) -> None:
    nodes = Slow(answer)
    route: Route = ClusterRoute([ADDRESS], nodes, time)
    if kind == "sentinel":
        route = SentinelRoute([ADDRESS], "main", nodes, time)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(route.address, "key")]
        assert nodes.was_asked.wait(10)
        calls += [pool.submit(route.address, "key") for _ in range(3)]
        threading.Event().wait(0.05)
        assert not any(call.done() for call in calls)
        nodes.may_answer.set()
        assert [call.result() for call in calls] == [OTHER] * 4
    assert len(nodes.asked) == 1


@pytest.mark.parametrize("answer", [None, [], [b"h"], [b"h", b"x"], [b"h", b"70000"], [b"h..h", b"1"], [b"\xff", b"1"]])
def test_an_answer_that_names_no_server_is_ignored(time: Time, answer: object) -> None:
    route = SentinelRoute([ADDRESS], "main", Answering(answer), time)
    with pytest.raises(redis.exceptions.ConnectionError):
        route.address("key")


def test_a_key_goes_to_the_primary_of_its_slot(time: Time) -> None:
    answer = [
        [0, 8191, [b"10.0.0.1", 7000, b"id"], [b"10.0.0.9", 7009, b"id"]],
        [8192, 16383, [b"10.0.0.2", 7000, b"id"]],
    ]
    route = ClusterRoute([ADDRESS], Answering(answer), time)
    assert route.address("{foo}:1") == OTHER  # CLUSTER KEYSLOT foo: 12182
    assert route.address("{bar}:1") == Address("10.0.0.1", 7000)  # 5061
    assert route.address(None) in {OTHER, Address("10.0.0.1", 7000)}


def test_a_node_that_does_not_know_its_own_host_is_found_by_the_host_that_was_asked(time: Time) -> None:
    route = ClusterRoute([ADDRESS], Answering([[0, 16383, [None, 7000, b"id"]]]), time)
    assert route.address("key") == Address(ADDRESS.host, 7000)


def test_a_slot_that_moved_is_found_at_its_new_primary(time: Time) -> None:
    route = ClusterRoute([ADDRESS], Answering([[0, 16383, [b"10.0.0.1", 7000, b"id"]]]), time)
    before = route.address("key")
    assert before == Address("10.0.0.1", 7000)
    route.moved("key", OTHER)
    assert route.address("key") == OTHER


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"OK",
        [],
        [[]],
        [[0, 16384, [b"h", 1]]],
        [[5, 4, [b"h", 1]]],
        [[0, 1]],
        [[0, 1, [b"h"]]],
        [[0, 1, [b"h", 0]]],
        [[0, 1, [b"h", 1]], [2]],
    ],
)
def test_a_malformed_map_is_ignored(time: Time, answer: object) -> None:
    route = ClusterRoute([ADDRESS], Answering(answer), time)
    with pytest.raises(redis.exceptions.ConnectionError):
        route.address("key")


def test_a_slot_without_a_primary_is_unavailable(time: Time) -> None:
    route = ClusterRoute([ADDRESS], Answering([[0, 1, [b"10.0.0.1", 7000, b"id"]]]), time)
    with pytest.raises(redis.exceptions.ConnectionError):
        route.address("key")

"""A link to Redis that ends in this process, for tests that need no server."""

from collections.abc import Sequence
from datetime import timedelta

import redis

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.nodes import Command, ConnectionParams, Node, Nodes
from verifier.adapters.redis.routes import Route
from verifier.adapters.redis.urls import Address, Login

ADDRESS = Address("127.0.0.1", 6379)
PARAMS = ConnectionParams(login=Login(), tls=None, database=0, connections=1, timeout=timedelta(seconds=1))


class Answering(Nodes):
    """Nodes that answer WAIT with `replicas` and any other command with `answer`, and keep what was sent together."""

    def __init__(self, answer: object, *, replicas: int = 0) -> None:
        super().__init__(PARAMS)
        self.answer = answer
        self.replicas = replicas
        self.asked: list[list[Command]] = []

    def at(self, address: Address) -> Node:
        return _AnsweringNode(self, address)

    @property
    def commands(self) -> list[Command]:
        return [command for sent in self.asked for command in sent]


class _AnsweringNode(Node):
    def __init__(self, nodes: Answering, address: Address) -> None:
        super().__init__(address, PARAMS)
        self._nodes = nodes

    def exchange(self, commands: Sequence[Command]) -> list[object]:
        self._nodes.asked.append(list(commands))
        answer = self._nodes.answer
        if isinstance(answer, Exception) and not isinstance(answer, redis.exceptions.ResponseError):
            raise answer
        return [self._nodes.replicas if command[0] == "WAIT" else answer for command in commands]


def answering_link(answer: object, *, replicas: int = 0, wait_replicas: int = 0) -> tuple[RedisLink, Answering]:
    nodes = Answering(answer, replicas=replicas)
    wait = timedelta(seconds=0.5)
    return RedisLink(Route(ADDRESS), nodes, wait_replicas=wait_replicas, wait_timeout=wait), nodes

"""Find the server for a command: the one in the URL, the primary that Sentinels name, or the primary of the key's slot.

A route caches what it learns from servers, and asks them again after an error that may have made the cache stale.
"""

import math
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from time import monotonic

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from verifier.adapters.circuit_breaker import CircuitOpen
from verifier.adapters.redis.nodes import Command, Nodes
from verifier.adapters.redis.urls import Address

#: The minimum number of seconds between two questions while the cached address may be stale.
_PAUSE = 0.1
#: How many seconds the answer of a Sentinel is valid. A replaced primary may still accept redemptions.
_SENTINEL_ANSWER = 1.0
#: How many seconds a caller without a cached address waits for another caller that is asking.
_FIRST_WAIT = 2.0


class Route:
    """Return one fixed server for every command. Subclasses ask servers for the right one."""

    #: Whether to follow MOVED and ASK.
    follows = False

    def __init__(self, address: Address | None) -> None:
        self._address = address

    def address(self, key: str | None) -> Address:  # noqa: ARG002 - for subclasses
        """Return the server for a command on `key`, or any server for a command without a key.

        Raises redis.ConnectionError if it is not known and cannot be learned now.
        """
        if self._address is None:
            raise redis.exceptions.ConnectionError("the server is not known")
        return self._address

    def doubt(self) -> None:
        """Ask again before the next command, because the cached answer may be stale."""

    def moved(self, key: str, address: Address) -> None:
        """Note that `key` is at `address` from now on."""

    def close(self) -> None:
        """Close the connections that only the route uses. The next question opens another one."""


class _LearnedRoute(Route, ABC):
    """Learn the route from servers. One thread asks at a time. The others use the cached answer."""

    def __init__(self, nodes: Nodes, clock: Callable[[], float]) -> None:
        super().__init__(None)
        self._nodes = nodes
        self._clock = clock
        self._asked_at = -math.inf
        self._turn = threading.Lock()
        self._in_doubt = True

    def doubt(self) -> None:
        self._in_doubt = True

    def _refresh(self, *, is_known: bool) -> None:
        # The first answer is still awaited, and no result is known: wait for it.
        if is_known and not self._in_doubt:
            return
        if not self._turn.acquire(timeout=0 if is_known else _FIRST_WAIT):
            return
        try:
            # Another thread may have asked during the wait.
            if self._clock() - self._asked_at >= _PAUSE:
                # Reset before asking, so that a doubt that arises meanwhile is kept.
                self._in_doubt = False
                if not self._ask():
                    self._in_doubt = True
                self._asked_at = self._clock()
        finally:
            self._turn.release()

    @abstractmethod
    def _ask(self) -> bool:
        """Ask the servers, and return True if one answered."""

    def _answer(self, address: Address, *command: str) -> object:
        """Return the answer of one server, or None if it does not answer."""
        commands: list[Command] = [command]
        try:
            return self._nodes.at(address).exchange(commands)[0]
        except (redis.RedisError, CircuitOpen):
            return None


class SentinelRoute(_LearnedRoute):
    """Route to the primary of `service` that the first answering Sentinel names. `nodes` are the Sentinels."""

    def __init__(
        self, sentinels: Iterable[Address], service: str, nodes: Nodes, clock: Callable[[], float] = monotonic
    ) -> None:
        super().__init__(nodes, clock)
        self._sentinels = list(sentinels)
        self._service = service

    def address(self, key: str | None) -> Address:
        if self._clock() - self._asked_at >= _SENTINEL_ANSWER:
            self.doubt()
        self._refresh(is_known=self._address is not None)
        return super().address(key)

    def close(self) -> None:
        self._nodes.close()

    def _ask(self) -> bool:
        for sentinel in self._sentinels:
            match self._answer(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service):
                case [host, port] if (primary := _address(host, port, asked=sentinel)) is not None:
                    self._address = primary
                    # The next question goes to this Sentinel first.
                    self._sentinels.sort(key=lambda other: other != sentinel)
                    return True
        return False


class ClusterRoute(_LearnedRoute):
    """Route to the primary of the key's slot, by the slot map of the first node that answers."""

    follows = True

    def __init__(self, seeds: Iterable[Address], nodes: Nodes, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(nodes, clock)
        self._seeds = frozenset(seeds)
        self._members: frozenset[Address] = frozenset()
        self._slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS

    def address(self, key: str | None) -> Address:
        self._refresh(is_known=bool(self._members))
        if key is None:
            found = next(iter(self._in_order({known for known in self._slots if known is not None})), None)
        else:
            found = self._slots[key_slot(key.encode())]
        if found is None:
            self.doubt()
            raise redis.exceptions.ConnectionError("no node of the cluster is known to have this slot")
        return found

    def moved(self, key: str, address: Address) -> None:
        self._slots[key_slot(key.encode())] = address
        self.doubt()

    def _ask(self) -> bool:
        for address in [*self._in_order(self._members), *self._in_order(self._seeds - self._members)]:
            slots = _slots(self._answer(address, "CLUSTER", "SLOTS"), asked=address)
            if slots is not None:
                self._slots, self._members = slots
                self._nodes.keep(self._members | self._seeds)
                return True
        return False

    def _in_order(self, addresses: Iterable[Address]) -> list[Address]:
        """Shuffle the addresses. Those that did not answer before come last: one that hangs costs its timeout."""
        return sorted(addresses, key=lambda address: (self._nodes.at(address).breaker.is_open, random.random()))  # noqa: S311 - it balances load


def _slots(answer: object, *, asked: Address) -> tuple[list[Address | None], frozenset[Address]] | None:
    """Read the answer to CLUSTER SLOTS: the primary of each slot, and all members. Return None for anything else.

    The answer lists `[first, last, primary, replicas…]` for each range of slots, with each node as `[host, port, …]`.
    """
    slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    members: set[Address] = set()
    for part in answer if isinstance(answer, list) else ():
        match part:
            case [int(first), int(last), [host, port, *_], *replicas] if 0 <= first <= last < REDIS_CLUSTER_HASH_SLOTS:
                primary = _address(host, port, asked=asked)
                if primary is None:
                    return None
                slots[first : last + 1] = [primary] * (last + 1 - first)
                others = {_address(*node[:2], asked=asked) for node in replicas if isinstance(node, list) and node[1:]}
                members |= {primary} | {other for other in others if other is not None}
            case _:
                return None
    return (slots, frozenset(members)) if members else None


def _address(host: object, port: object, *, asked: Address) -> Address | None:
    """Read an address. If a server does not know its own host, the host that was asked is used."""
    try:
        number = int(port) if isinstance(port, (int, bytes)) else 0
        name = host.decode("ascii") if isinstance(host, bytes) else ""
        return Address(asked.host if name in {"", "?"} else name, number) if number else None
    except ValueError:
        return None

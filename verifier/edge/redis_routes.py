"""Which server takes a command: the one of the URL, the primary that Sentinels name, or that of the key's slot in a
cluster. What was learned is kept, and asked for anew where it came into doubt."""

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import timedelta
from time import monotonic
from typing import Protocol

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from verifier.edge.circuit_breaker import CircuitOpen
from verifier.edge.redis_nodes import Command, Nodes
from verifier.edge.redis_urls import Address

#: How often somebody asks anew at the most, while what is known is in doubt.
_PAUSE = timedelta(seconds=0.1)
#: How long what Sentinels say counts. A primary that they replaced may go on without them, and take redemptions.
_SENTINEL_WORD = timedelta(seconds=1)
#: How long a caller waits for another one that asks, where nothing is known yet.
_FIRST_WAIT = timedelta(seconds=2)


class Route(Protocol):
    def address(self, key: str | None) -> Address:
        """Where a command on `key` goes; without a key, a server that may answer it. Raises redis.ConnectionError
        where it is not known, and cannot be learned now."""

    def doubt(self) -> None:
        """What is known may not hold any more: it is asked for before the next command."""

    def redirected(self, key: str, address: Address, *, for_good: bool) -> bool:
        """The server did not act, and said that `key` is at `address`. Whether that is to be followed."""

    def close(self) -> None:
        """Closes the connections to those that it asks, where they are its own. The next question opens another."""


class FixedRoute:
    """To one server, always. Implements Route."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def address(self, key: str | None) -> Address:  # noqa: ARG002 - the protocol's
        return self._address

    def doubt(self) -> None:
        """There is nobody to ask."""

    def redirected(self, key: str, address: Address, *, for_good: bool) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def close(self) -> None:
        """There are none."""


class _AskedRoute(ABC):
    """One that is asked for: by one thread at a time, while the others go by what is known."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.asked_at = -_FIRST_WAIT.total_seconds()
        self._turn = threading.Lock()
        self._in_doubt = True

    def doubt(self) -> None:
        self._in_doubt = True

    def refresh(self, *, is_known: bool) -> None:
        if not self._in_doubt:
            return
        if not self._turn.acquire(timeout=0 if is_known else _FIRST_WAIT.total_seconds()):
            return
        try:
            if self.clock() - self.asked_at < _PAUSE.total_seconds():
                return  # also where another one asked meanwhile
            # Before it is asked: a doubt that arises meanwhile stands.
            self._in_doubt = False
            if not self.ask():
                self._in_doubt = True
            self.asked_at = self.clock()
        finally:
            self._turn.release()

    @abstractmethod
    def ask(self) -> bool:
        """Whether somebody answered, and what he said is known now."""


class SentinelRoute(_AskedRoute):
    """To the primary of `service`, as the first of the Sentinels says that answers. Implements Route."""

    def __init__(
        self, sentinels: Iterable[Address], service: str, nodes: Nodes, clock: Callable[[], float] = monotonic
    ) -> None:
        super().__init__(clock)
        self._sentinels = list(sentinels)
        self._service = service
        self._nodes = nodes
        self._primary: Address | None = None

    def address(self, key: str | None) -> Address:  # noqa: ARG002 - the protocol's
        if self.clock() - self.asked_at >= _SENTINEL_WORD.total_seconds():
            self.doubt()
        self.refresh(is_known=self._primary is not None)
        if self._primary is None:
            raise redis.exceptions.ConnectionError("no Sentinel names the primary")
        return self._primary

    def redirected(self, key: str, address: Address, *, for_good: bool) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def close(self) -> None:
        self._nodes.close()

    def ask(self) -> bool:
        for sentinel in list(self._sentinels):
            answer = _ask(self._nodes, sentinel, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service))
            match answer:
                case [host, port] if (address := _address(host, port, sentinel)) is not None:
                    self._primary = address
                    # Who answered is asked first from now on.
                    self._sentinels.remove(sentinel)
                    self._sentinels.insert(0, sentinel)
                    return True
        return False


class ClusterRoute(_AskedRoute):
    """To the primary of the key's slot, as the first node says that answers. Implements Route."""

    def __init__(self, seeds: Iterable[Address], nodes: Nodes, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(clock)
        self._seeds = tuple(seeds)
        self._nodes = nodes
        self._slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._primaries: frozenset[Address] = frozenset()
        self._members: frozenset[Address] = frozenset()

    def address(self, key: str | None) -> Address:
        self.refresh(is_known=bool(self._primaries))
        if key is None:
            found = next(iter(self._in_random_order(self._primaries)), None)
        else:
            found = self._slots[key_slot(key.encode())]
        if found is None:
            self.doubt()
            raise redis.exceptions.ConnectionError("no node of the cluster is known to have this slot")
        return found

    def redirected(self, key: str, address: Address, *, for_good: bool) -> bool:
        if for_good:
            self._slots[key_slot(key.encode())] = address
            self.doubt()
        return True

    def close(self) -> None:
        """Those are the link's."""

    def ask(self) -> bool:
        for address in [*self._in_random_order(self._members), *self._in_random_order(self._seeds)]:
            slots = _slots(_ask(self._nodes, address, ("CLUSTER", "SLOTS")), asked=address)
            if slots is not None:
                self._slots, self._members = slots
                self._primaries = frozenset(known for known in self._slots if known is not None)
                self._nodes.keep(self._members | frozenset(self._seeds))
                return True
        return False

    def _in_random_order(self, addresses: Iterable[Address]) -> list[Address]:
        """Those that answered lately come first: one that hangs costs its timeout."""
        found = list(addresses)
        random.shuffle(found)
        return sorted(found, key=lambda address: self._nodes.at(address).breaker.is_open)


def _ask(nodes: Nodes, address: Address, command: Command) -> object:
    """The answer, or None where there is none."""
    try:
        [answer] = nodes.at(address).exchange([command])
    except (redis.RedisError, CircuitOpen):
        return None
    return answer


def _slots(answer: object, *, asked: Address) -> tuple[list[Address | None], frozenset[Address]] | None:
    """Which primary has each slot, and all members, of the answer to CLUSTER SLOTS: `[first, last, primary, replicas…]`
    for each range, each node as `[host, port, id, …]`. None where it is none, or nobody has a slot."""
    slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    members: set[Address] = set()
    if not isinstance(answer, list):
        return None
    for part in answer:
        match part:
            case [int() as first, int() as last, *listed] if 0 <= first <= last < REDIS_CLUSTER_HASH_SLOTS and listed:
                found = [
                    _address(node[0], node[1], asked) for node in listed if isinstance(node, list) and len(node) > 1
                ]
                if not found or found[0] is None:
                    return None
                slots[first : last + 1] = [found[0]] * (last + 1 - first)
                members |= {address for address in found if address is not None}
            case _:
                return None
    return (slots, frozenset(members)) if members else None


def _address(host: object, port: object, asked: Address) -> Address | None:
    """Of what a server says. One that does not know its own name says none: it is where it was asked."""
    try:
        number = int(port) if isinstance(port, (int, bytes)) else 0
        name = host.decode("ascii") if isinstance(host, bytes) else ""
        return Address(asked.host if name in {"", "?"} else name, number) if number else None
    except ValueError:
        return None

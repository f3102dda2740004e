"""How every store here speaks with Redis (6.2 or later) or Valkey, and how its faults are told.

One link serves all stores of a process. No command is sent twice where it is unknown whether the first one acted, but
for those that a store calls repeatable; where a node of a cluster answers that it did not act, and names another
(MOVED, ASK), that one is asked, a few times at most.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import redis
from redis.exceptions import AskError, ChildDeadlockedError, ClusterDownError, MovedError, ReadOnlyError, ResponseError

from verifier.edge.circuit_breaker import CircuitOpen
from verifier.edge.redis_nodes import AllInUse, Command, Nodes, Reach, TlsFailed, Word, is_away, tls_context
from verifier.edge.redis_routes import ClusterRoute, FixedRoute, Route, SentinelRoute
from verifier.edge.redis_urls import Address, Form, Login, RedisOptions, RedisPlace, read_redis_url
from verifier.ports import StoreUnavailable

#: How many connections one process holds at most to one server. A call beyond them waits for one, as long as for an
#: answer.
CONNECTIONS = 16

#: How long each wait may last: for a free connection, for it to be made, for each answer.
TIMEOUT = timedelta(seconds=2)
#: The same, for Sentinels.
_SENTINEL_TIMEOUT = timedelta(seconds=0.5)

#: How often a command that may be repeated is sent at most, and the longest wait before the second time.
_ATTEMPTS = 3
_BACKOFF = timedelta(seconds=0.02)
#: How many answers that name another node are followed.
_REDIRECTIONS = 4


class NotReplicated(redis.RedisError):
    """Too few replicas said in time that they have it. The server itself has it."""


#: What an operator is told, by the first class that fits. No message of the server's is repeated: those about
#: unknown commands quote the arguments, and with them a nonce.
_DETAILS: tuple[tuple[type[Exception], str], ...] = (
    (NotReplicated, "Too few replicas of Redis said in time that they have it."),
    (TlsFailed, "The TLS connection to Redis failed: one side does not accept the other's certificate."),
    (redis.exceptions.AuthenticationError, "Redis refused the credentials, or asks for some."),
    (redis.exceptions.AuthorizationError, "Redis refused the credentials, or asks for some."),
    (redis.exceptions.NoPermissionError, "Redis does not permit this user the command (its ACL)."),
    (redis.exceptions.BusyLoadingError, "Redis is loading its data."),
    (redis.exceptions.ReadOnlyError, "Redis is a read-only replica."),
    (redis.exceptions.OutOfMemoryError, "Redis is out of memory."),
    (redis.exceptions.TimeoutError, "Redis did not answer in time."),
    (AllInUse, "All connections to Redis are in use."),
    (redis.exceptions.ConnectionError, "Redis cannot be reached."),
)

#: The code that begins an error reply, as in `MISCONF Redis is configured to …`.
_ERROR_CODE = re.compile(r"[A-Z]{2,16}")


@dataclass(frozen=True, slots=True)
class _Wait:
    replicas: int
    milliseconds: int


class RedisLink:
    """To what `route` leads to, over `nodes`. Thread-safe. Answers are as RESP2 has them: octets, numbers, lists, None.

    A command names its key where Redis has it: in the second place, in the fourth of EVAL, and nowhere in PING.
    """

    def __init__(
        self, route: Route, nodes: Nodes, *, wait_replicas: int = 0, wait_timeout: timedelta = TIMEOUT
    ) -> None:
        self._route = route
        self._nodes = nodes
        self._wait = _Wait(wait_replicas, wait_timeout // timedelta(milliseconds=1)) if wait_replicas else None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        options: RedisOptions | None = None,
        connections: int = CONNECTIONS,
        timeout: timedelta = TIMEOUT,
    ) -> Self:
        """One that has not connected yet, to what the URL names. It connects at the first command, and again in each
        process that a fork makes.

        Raises ValueError for a URL that names nothing (read_redis_url), and for files of TLS that cannot be used.
        """
        if connections < 1:
            raise ValueError("connections is not positive")
        if timeout <= timedelta(0):
            raise ValueError("timeout is not positive")
        options = options or RedisOptions()
        place = read_redis_url(url)
        if options.wait_replicas and not timedelta(0) < options.wait_timeout < timeout:
            raise ValueError("replicas have to answer before the server's own answer is given up")
        if place.is_tls:
            try:
                tls_context(options)
            except OSError as error:
                raise ValueError(f"the certificates or the key for TLS cannot be used ({error.strerror})") from error
        tls = options if place.is_tls else None
        reach = Reach(login=place.login, tls=tls, database=place.database, connections=connections, timeout=timeout)
        nodes = Nodes(reach)
        route = _route_to(place, nodes, options.sentinel, tls, timeout)
        return cls(route, nodes, wait_replicas=options.wait_replicas, wait_timeout=options.wait_timeout)

    def tell(self, changed: Callable[[int], None]) -> None:
        """From now on `changed` is told how many servers are away, whenever that changes."""
        self._nodes.changed = lambda: changed(self._nodes.away)

    def once(self, *command: Word) -> object:
        """The answer to a command that is sent once. Raises StoreUnavailable: whether it acted is unknown then."""
        with failures_named():
            return self._send(command, None)

    def durably(self, *command: Word) -> object:
        """As `once`, and as many replicas as the settings ask for have what the command changed: WAIT goes out with it,
        on its connection. Raises StoreUnavailable also where they have not, or say so too late."""
        with failures_named():
            return self._send(command, self._wait)

    def repeatably(self, *command: Word) -> object:
        """As `once`, but sent up to three times where a connection broke. For what may be done twice."""
        with failures_named():
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return self._send(command, None)
                except redis.exceptions.ConnectionError as error:
                    if attempt == _ATTEMPTS or not is_away(error):
                        raise
                time.sleep(random.uniform(0.1, 1) * attempt * _BACKOFF.total_seconds())  # noqa: S311 -- it is jitter
            raise AssertionError("unreachable: the last attempt returns or raises")

    def ping(self) -> None:
        """Returns where the server answers; of a cluster, one of its primaries. Not checked: that it takes writes."""
        self.repeatably("PING")

    def close(self) -> None:
        """Closes the connections of this process. The next call opens another."""
        self._nodes.close()
        self._route.close()

    def _send(self, command: Command, wait: _Wait | None) -> object:
        key = _key_of(command)
        address = self._route.address(key)
        asking: list[Command] = []
        for _ in range(1 + _REDIRECTIONS):
            *_, answer, replicas = self._ask(address, [*asking, command], wait)
            match answer:
                case AskError() if key is not None:
                    # MOVED, of which redis-py makes a kind of ASK, is for good.
                    is_moved = isinstance(answer, MovedError)
                    address = _named_by(answer, address)
                    if not self._route.redirected(key, address, for_good=is_moved):
                        raise answer
                    asking = [] if is_moved else [("ASKING",)]
                case ResponseError():
                    if isinstance(answer, (ReadOnlyError, ClusterDownError)):
                        self._route.doubt()
                    raise answer
                case _:
                    if wait is not None and not (isinstance(replicas, int) and replicas >= wait.replicas):
                        # It may be a primary that was replaced, and does not know.
                        self._route.doubt()
                        raise NotReplicated
                    return answer
        raise redis.exceptions.ConnectionError("too many redirections")

    def _ask(self, address: Address, commands: list[Command], wait: _Wait | None = None) -> list[object]:
        waiting: list[Command] = [] if wait is None else [("WAIT", wait.replicas, wait.milliseconds)]
        try:
            answers = self._nodes.at(address).exchange([*commands, *waiting])
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, CircuitOpen):
            self._route.doubt()
            raise
        return answers if waiting else [*answers, None]


def _route_to(place: RedisPlace, nodes: Nodes, sentinel: Login, tls: RedisOptions | None, timeout: timedelta) -> Route:
    match place.form:
        case Form.SERVER:
            return FixedRoute(place.addresses[0])
        case Form.CLUSTER:
            return ClusterRoute(place.addresses, nodes)
        case Form.SENTINEL:
            reach = Reach(login=sentinel, tls=tls, database=0, connections=1, timeout=min(timeout, _SENTINEL_TIMEOUT))
            return SentinelRoute(place.addresses, place.service, Nodes(reach))


def _named_by(answer: AskError, asked: Address) -> Address:
    """Where a redirection leads. Raises it where that can be no address."""
    try:
        return Address(answer.host or asked.host, answer.port)
    except ValueError:
        raise answer from None


def _key_of(command: Command) -> str | None:
    match command:
        case ("PING",):
            return None
        case ("EVAL", _, _, str() as key, *_) | (_, str() as key, *_):
            return key
    raise TypeError("a command without a key")


@contextmanager
def failures_named() -> Iterator[None]:
    """What redis-py raises inside is StoreUnavailable, in words of our own."""
    try:
        yield
    except (redis.RedisError, ChildDeadlockedError, CircuitOpen) as error:
        # `from None`: a traceback would show the server's message, which may quote a nonce.
        raise StoreUnavailable(_detail(error)) from None


def _detail(error: Exception) -> str:
    if isinstance(error, CircuitOpen):
        return _detail(error.because)
    for kind, detail in _DETAILS:
        if isinstance(error, kind):
            return detail
    if isinstance(error, ResponseError):
        code = error.status_code or str(error).partition(" ")[0]
        return f"Redis refused the command ({code if _ERROR_CODE.fullmatch(code) else 'ERR'})."
    return f"Redis failed ({type(error).__name__})."

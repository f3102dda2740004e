"""Send commands to Redis (6.2 or later) or Valkey, and turn its errors into StoreUnavailable.

One link serves all stores of a process. It never sends a command twice if it is unknown whether the first one acted,
except commands that a store calls repeatable. If a node of a cluster answers that it did not act and names another node
(MOVED, ASK), the link follows, a few times.
"""

import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Self

import redis
from redis.exceptions import AskError, ChildDeadlockedError, ClusterDownError, MovedError, ReadOnlyError, ResponseError

from verifier.adapters.circuit_breaker import CircuitOpen
from verifier.adapters.redis.nodes import (
    AllInUse,
    Command,
    ConnectionParams,
    Nodes,
    TlsFailed,
    Word,
    is_away,
    tls_context,
)
from verifier.adapters.redis.routes import ClusterRoute, Route, SentinelRoute
from verifier.adapters.redis.urls import Address, Form, RedisOptions, RedisTarget, read_redis_url
from verifier.ports.stores import STORE_SETTING, StoreUnavailable

#: How many connections one process holds to one server. A call beyond them waits for a free one.
CONNECTIONS = 16

#: How long each wait may last: for a free connection, for connecting, for each answer.
TIMEOUT = timedelta(seconds=2)
#: The same, for Sentinels.
_SENTINEL_TIMEOUT = timedelta(seconds=0.5)

#: How often a repeatable command is sent, and the longest wait before the second time.
_ATTEMPTS = 3
_BACKOFF = timedelta(seconds=0.02)
#: How many redirections are followed.
_REDIRECTIONS = 4


class NotReplicated(redis.RedisError):
    """Too few replicas confirmed a write in time. The primary has it."""


#: The sentence for an operator, by the first class that fits. It never repeats a message of the server: a message about
#: an unknown command quotes the arguments, and with them a nonce.
_DETAILS: tuple[tuple[type[Exception], str], ...] = (
    (NotReplicated, "Too few replicas of Redis confirmed the write in time."),
    (TlsFailed, "The TLS connection to Redis failed: one side does not accept the other's certificate."),
    (redis.exceptions.AuthenticationError, "Redis refused the credentials or requires some."),
    (redis.exceptions.AuthorizationError, "Redis refused the credentials or requires some."),
    (redis.exceptions.NoPermissionError, "Redis does not permit this user the command (its ACL)."),
    (redis.exceptions.BusyLoadingError, "Redis is loading its data."),
    (redis.exceptions.ReadOnlyError, "Redis is a read-only replica."),
    (redis.exceptions.OutOfMemoryError, "Redis is out of memory."),
    (redis.exceptions.TimeoutError, "Redis did not answer in time."),
    (AllInUse, "All connections to Redis are in use."),
    (redis.exceptions.ConnectionError, "Redis cannot be reached."),
)

#: What `_send` raises if a command fails.
_FAILURES = (redis.RedisError, ChildDeadlockedError, CircuitOpen)

#: The code at the start of an error reply, as in `MISCONF Redis is configured to …`.
_ERROR_CODE = re.compile(r"[A-Z]{2,16}")


class RedisLink:
    """Send commands over `route` to `nodes`. Thread-safe. Answers are those of RESP2: bytes, numbers, lists, None.

    The key of a command is its second word, or the fourth word of EVAL. PING has none. Errors name `place` and
    `setting`.
    """

    def __init__(
        self,
        route: Route,
        nodes: Nodes,
        *,
        place: str = "",
        setting: str = STORE_SETTING,
        wait_replicas: int = 0,
        wait_timeout: timedelta = TIMEOUT,
    ) -> None:
        self._place = f"{place}, {setting}" if place else setting
        self._route = route
        self._nodes = nodes
        self._wait_replicas = wait_replicas
        wait: Command = ("WAIT", wait_replicas, wait_timeout // timedelta(milliseconds=1))
        self._wait = (wait,) if wait_replicas else ()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        options: RedisOptions | None = None,
        connections: int = CONNECTIONS,
        timeout: timedelta = TIMEOUT,
        setting: str = STORE_SETTING,
    ) -> Self:
        """Return a link to the target of the URL. It connects at its first command, in each process after a fork.

        `setting` is the name of the setting that has the URL.

        Raises ValueError if the URL names no target (read_redis_url), it and the options have a password, a file for
        TLS cannot be used, or a number is out of range.
        """
        options = options or RedisOptions()
        if options.wait_replicas and not timedelta(0) < options.wait_timeout < timeout:
            raise ValueError("the wait for replicas has to be positive and shorter than the wait for an answer")
        target = read_redis_url(url)
        if options.password and target.login.password:
            raise ValueError("the URL has a password, and VERIFIER_REDIS_PASSWORD is set too: set one of them")
        params = ConnectionParams(
            login=replace(target.login, password=target.login.password or options.password),
            tls=options if target.is_tls else None,
            database=target.database,
            connections=connections,
            timeout=timeout,
        )
        if target.is_tls:
            try:
                tls_context(options.ca_file, options.certificate_file, options.key_file)
            except OSError as error:
                files = [str(one) for one in (options.ca_file, options.certificate_file, options.key_file) if one]
                raise ValueError(f"cannot use {' or '.join(files)} for TLS ({error.strerror})") from error
        nodes = Nodes(params)
        route = _route_to(target, nodes, options, params)
        return cls(
            route,
            nodes,
            place=" ".join(map(str, target.addresses)),
            setting=setting,
            wait_replicas=options.wait_replicas,
            wait_timeout=options.wait_timeout,
        )

    def report_open_circuits(self, changed: Callable[[int], None]) -> None:
        """Call `changed` with the number of servers that do not answer, whenever it changes."""
        self._nodes.changed = lambda: changed(self._nodes.away)

    def once(self, *command: Word) -> object:
        """Send a command once and return its answer. After StoreUnavailable, it is unknown if it took effect."""
        try:
            return self._send(command)
        except _FAILURES as error:
            raise self._named(error) from None

    def durably(self, *command: Word) -> object:
        """Send a command once. If the settings require replicas, send WAIT after it on the same connection.

        Raises StoreUnavailable as `once` does, and also if too few replicas confirm the write in time.
        """
        try:
            return self._send(command, self._wait)
        except _FAILURES as error:
            raise self._named(error) from None

    def repeatably(self, *command: Word) -> object:
        """Send a command that may take effect twice. If the connection breaks, send it again: three times at most."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._send(command)
            except _FAILURES as error:
                is_broken = isinstance(error, redis.exceptions.ConnectionError) and is_away(error)
                if attempt == _ATTEMPTS or not is_broken:
                    raise self._named(error) from None
            time.sleep(random.uniform(0.1, 1) * attempt * _BACKOFF.total_seconds())  # noqa: S311 -- it is jitter

    def ping(self) -> None:
        """Raise StoreUnavailable unless the server (in a cluster, one primary) answers.

        Not checked: that it accepts writes.
        """
        self.repeatably("PING")

    def unavailable(self, detail: str) -> StoreUnavailable:
        """Return an error that names the servers. For a store that Redis answered, but could not keep a value in it."""
        return StoreUnavailable(detail).located(self._place)

    def close(self) -> None:
        """Close the connections of this process. The next call opens another one."""
        self._nodes.close()
        self._route.close()

    def _named(self, error: Exception) -> StoreUnavailable:
        """Return the error for a failure, with a sentence of our own, which names the servers.

        Raise it `from None`: a traceback would show the server's message, which may quote a nonce.
        """
        return self.unavailable(_detail(error))

    def _send(self, command: Command, wait: tuple[Command, ...] = ()) -> object:
        key = _key_of(command)
        address = self._route.address(key)
        asking: tuple[Command, ...] = ()
        for _ in range(1 + _REDIRECTIONS):
            answer, *replicas = self._exchange(address, (*asking, command, *wait))[len(asking) :]
            if isinstance(answer, AskError) and key is not None and self._route.follows:
                address = _named_by(answer, address)
                # redis-py derives MovedError from AskError. A slot moves for good, and an ASK holds for one command.
                asking = () if isinstance(answer, MovedError) else (("ASKING",),)
                if not asking:
                    self._route.moved(key, address)
                continue
            for error in (answer, *replicas):
                if isinstance(error, ResponseError):
                    if isinstance(error, (ReadOnlyError, ClusterDownError)):
                        self._route.doubt()
                    raise error
            if not replicas or all(isinstance(number, int) and number >= self._wait_replicas for number in replicas):
                return answer
            # The primary may have been replaced without knowing it.
            self._route.doubt()
            raise NotReplicated
        raise redis.exceptions.ConnectionError("too many redirections")

    def _exchange(self, address: Address, commands: tuple[Command, ...]) -> list[object]:
        try:
            return self._nodes.at(address).exchange(commands)
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, CircuitOpen):
            self._route.doubt()
            raise


def _route_to(target: RedisTarget, nodes: Nodes, options: RedisOptions, params: ConnectionParams) -> Route:
    match target.form:
        case Form.SERVER:
            return Route(target.addresses[0])
        case Form.CLUSTER:
            return ClusterRoute(target.addresses, nodes)
        case Form.SENTINEL:
            timeout = min(params.timeout, _SENTINEL_TIMEOUT)
            sentinels = replace(params, login=options.sentinel, database=0, connections=1, timeout=timeout)
            return SentinelRoute(target.addresses, target.service, Nodes(sentinels))


def _named_by(answer: AskError, asked: Address) -> Address:
    """Return the address that a redirection names. Raises the redirection if that is not an address."""
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

"""One Redis server: a pool of connections to it, and what keeps it from costing time while it is away.

Nothing is left to redis-py's defaults, which change between its releases, and no command is sent twice.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, BusyLoadingError
from redis.retry import Retry

from verifier.edge.circuit_breaker import CircuitBreaker, Ticket
from verifier.edge.fair_turns import FairTurns
from verifier.edge.redis_urls import Address, Login, RedisOptions

#: What the kernel does about a peer that vanished without a word (seconds, seconds, probes): it closes the socket of
#: an idle connection within half a minute, which the pool then sees before it hands the connection out.
_KEEPALIVE = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
#: How long a server that was away may take for each step of a PING, before it counts as away still.
_PROBE = timedelta(seconds=0.5)
#: How long the request waits that happens to ask whether it is back.
_PROBE_GRACE = timedelta(seconds=0.05)

#: What one command consists of.
Word = str | bytes | int
Command = tuple[Word, ...]


class AllInUse(redis.RedisError):
    """No connection became free in time. The server may be well: more was asked of it at once than it answers."""


class TlsFailed(redis.exceptions.ConnectionError):
    """The server could not be verified, or did not accept our certificate, or speaks no TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How servers are connected to: as whom, over what, how long and how often at once."""

    login: Login
    tls: RedisOptions | None
    database: int
    connections: int
    timeout: timedelta


class Node:
    """One server, for all threads of a process; in each process that a fork makes, it connects anew."""

    def __init__(self, address: Address, reach: Reach, changed: Callable[[], None] = lambda: None) -> None:
        self.address = address
        self.breaker = CircuitBreaker(changed=changed)
        self._pool: Any = _pool_for(address, reach)  # redis-py does not annotate it
        self._turns = FairTurns(reach.connections)
        self._patience = reach.timeout.total_seconds()

    def exchange(self, commands: Sequence[Command]) -> list[object]:
        """The answers to the commands, which go out together on one connection, and once: one round trip. Errors that
        the server answers with are among them.

        Raises AllInUse if no connection became free in time; CircuitOpen if the server is unavailable, so that the node
        sent nothing; and what redis-py raises if the server did not answer. Then it is unknown whether it acted.
        """
        if not self._turns.take(seconds=self._patience):
            raise AllInUse
        try:
            return self._exchange(commands)
        finally:
            self._turns.give_back()

    def _exchange(self, commands: Sequence[Command]) -> list[object]:
        # Asked once a connection is free: meanwhile the calls that held one may have found the server unavailable.
        ticket = self._enter()
        try:
            answers = self._send(commands)
        except redis.RedisError as error:
            if is_away(error):
                self.breaker.fail(ticket, error, was_slow=isinstance(error, redis.exceptions.TimeoutError))
                if self.breaker.is_open:
                    self.close()  # the idle ones lead to where nobody answers
            else:
                self.breaker.succeed(ticket)
            raise
        self.breaker.succeed(ticket)
        return answers

    def close(self) -> None:
        """Closes the connections that nobody uses. The next call opens another."""
        self._pool.disconnect(inuse_connections=False)

    def _send(self, commands: Sequence[Command]) -> list[object]:
        connection = self._pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [_read_answer(connection) for _ in commands]
        except BaseException:
            # What is still to come on it would be the answer to somebody else's command.
            connection.disconnect()
            raise
        finally:
            self._pool.release(connection)

    def _enter(self) -> Ticket:
        ticket = self.breaker.enter()
        if not ticket.is_probe:
            return ticket
        # On a thread of its own: where the server hangs, no request has to wait for that to be found out.
        probe = threading.Thread(target=self._probe, args=(ticket,), name="redis-probe", daemon=True)
        try:
            probe.start()
            probe.join(_PROBE_GRACE.total_seconds())
        except RuntimeError as error:
            # There can be no more threads at the moment: a later request finds out.
            self.breaker.fail(ticket, error, was_slow=True)
        return self.breaker.enter()

    def _probe(self, ticket: Ticket) -> None:
        seconds = _PROBE.total_seconds()
        settings = self._pool.connection_kwargs | {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        connection = self._pool.connection_class(**settings)
        try:
            connection.connect()
            connection.send_command("PING", check_health=False)
            _read_answer(connection)
        except Exception as error:  # noqa: BLE001 -- whatever it was, somebody has to ask again
            if is_away(error) or not isinstance(error, redis.RedisError):
                self.breaker.fail(ticket, error, was_slow=True)
                return
        finally:
            connection.disconnect()
        self.breaker.succeed(ticket)


def is_away(error: Exception) -> bool:
    """The server did not answer at all. (redis-py takes some answers for failures of the connection.)"""
    return isinstance(error, (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)) and not isinstance(
        error, (AuthenticationError, AuthorizationError, BusyLoadingError)
    )


def _read_answer(connection: Any) -> object:  # noqa: ANN401 -- redis-py's connections are loosely typed
    try:
        answer: object = connection.read_response()
    except redis.exceptions.ResponseError as error:
        return error
    return answer


class Nodes:
    """The servers that were spoken to, each with its pool. `changed` is called when one goes away or comes back."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self.changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._nodes: dict[Address, Node] = {}

    def at(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is not None:
            return node
        with self._lock:
            return self._nodes.setdefault(address, Node(address, self._reach, self._tell))

    def keep(self, addresses: frozenset[Address]) -> None:
        """The others are closed and forgotten."""
        with self._lock:
            leaving = [self._nodes.pop(address) for address in self._nodes.keys() - addresses]
        for node in leaving:
            node.close()
        if leaving:
            self._tell()

    def _tell(self) -> None:
        self.changed()

    @property
    def away(self) -> int:
        """How many are not asked at the moment, since they did not answer."""
        return sum(node.breaker.is_open for node in list(self._nodes.values()))

    def close(self) -> None:
        for node in list(self._nodes.values()):
            node.close()


def tls_context(options: RedisOptions) -> ssl.SSLContext:
    """One that verifies the server, and its name. Made for each connection, so that renewed files are in force without
    a restart. Raises OSError, of which ssl.SSLError is one, where a file cannot be used."""
    context = ssl.create_default_context(cafile=options.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.certificate_file is not None:
        # Without this, a key with a passphrase would ask for it on the terminal.
        context.load_cert_chain(options.certificate_file, options.key_file, password=_refuse_passphrase)
    return context


def _refuse_passphrase() -> str:
    raise ssl.SSLError("the key is encrypted")


class _TlsConnection(redis.Connection):
    """Over TLS by `tls_context`. redis-py's own adds a CA file to the system's authorities, and not in their place."""

    def __init__(self, *, tls: RedisOptions, **settings: Any) -> None:  # noqa: ANN401 -- redis-py's
        super().__init__(**settings)  # type: ignore[no-untyped-call]  # redis-py does not annotate it
        self._tls = tls

    def _connect(self) -> socket.socket:
        connected: socket.socket = super()._connect()  # type: ignore[no-untyped-call]  # as above
        try:
            return self._wrap(connected)
        except BaseException:
            connected.close()
            raise

    def _wrap(self, connected: socket.socket) -> socket.socket:
        try:
            context = tls_context(self._tls)
        except OSError:
            raise TlsFailed from None
        try:
            return context.wrap_socket(connected, server_hostname=self.host)
        except ssl.SSLError:
            raise TlsFailed from None


def _pool_for(address: Address, reach: Reach) -> redis.BlockingConnectionPool:
    seconds = reach.timeout.total_seconds()
    kind: Callable[..., object] = redis.Connection
    where: dict[str, object] = {
        "host": address.host,
        "port": address.port,
        "socket_keepalive": True,
        "socket_keepalive_options": _KEEPALIVE,
    }
    if address.path:
        kind = redis.UnixDomainSocketConnection
        where = {"path": address.path}
    elif reach.tls is not None:
        kind = _TlsConnection
        where |= {"tls": reach.tls}
    return redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]  # redis-py does not annotate it
        **where,
        connection_class=kind,
        username=reach.login.username or None,
        password=reach.login.password or None,
        db=reach.database,
        max_connections=reach.connections,
        timeout=seconds,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        # Nothing is sent twice: whether the first one acted is unknown, and a second redemption would refuse.
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        retry_on_error=[],
        # No PING before a command: the pool looks for a closed socket before each use, and a failed PING would be the
        # same StoreUnavailable as a failed command, for one more round trip.
        health_check_interval=0,
        # RESP2: no push messages, so anything unread on an idle connection is a fault, and the pool drops it.
        protocol=2,
        decode_responses=False,
        driver_info=None,  # no CLIENT SETINFO: two round trips that an ACL may refuse
        client_name=None,
    )

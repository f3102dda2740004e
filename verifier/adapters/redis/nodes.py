"""One Redis server: its connections and a circuit breaker.

This module sets every option of redis-py whose default could repeat a command, hang, or change between releases.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, BusyLoadingError
from redis.retry import Retry

from verifier.adapters.circuit_breaker import CircuitBreaker
from verifier.adapters.fair_turns import FairTurns
from verifier.adapters.redis.idle_connections import Connection, IdleConnections
from verifier.adapters.redis.urls import Address, Login, RedisOptions
from verifier.core.values import dataclass

#: The kernel closes an idle connection to a vanished peer within half a minute (seconds, seconds, probes). A
#: connection that was idle is looked at before its next use.
_KEEPALIVE = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
#: How long a probe waits for each step of a PING.
_PROBE = timedelta(seconds=0.5)
#: How long the request that starts a probe waits for its result.
_PROBE_GRACE = timedelta(seconds=0.05)

#: One argument of a command.
Word = str | bytes | int
Command = tuple[Word, ...]


class AllInUse(redis.RedisError):
    """No connection became free in time. The server may be available: it got more calls than it can answer."""


class TlsFailed(redis.exceptions.ConnectionError):
    """The handshake failed: one side refused the other's certificate, or the server does not speak TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionParams:
    """How to connect to servers. `timeout` bounds each step: the wait for a free connection, connecting, each answer.

    `tls` is None for connections in the clear. `connections` is the most that one process holds to one server.
    Raises ValueError if `connections` or `timeout` is not positive.
    """

    login: Login
    tls: RedisOptions | None
    database: int
    connections: int
    timeout: timedelta

    def __post_init__(self) -> None:
        if self.connections < 1 or self.timeout <= timedelta(0):
            raise ValueError("the connections and the timeout have to be positive")


class Node:
    """One server, for all threads of a process. After a fork, each process opens its own connections."""

    def __init__(self, address: Address, params: ConnectionParams, changed: Callable[[], None] = lambda: None) -> None:
        self.breaker = CircuitBreaker(changed=changed)
        self._idle = IdleConnections(_connecting(address, params))
        self._connect_probe = _connecting(address, replace(params, timeout=min(params.timeout, _PROBE)))
        self._turns = FairTurns(params.connections)
        self._patience = params.timeout.total_seconds()

    def exchange(self, commands: Sequence[Command]) -> list[object]:
        """Send the commands once, together on one connection, and return their answers: one round trip.

        Error replies are among the answers. Raises AllInUse if no connection became free in time, and CircuitOpen if
        the server is unavailable; then no command was sent. Raises an exception of redis-py if the server did not
        answer; then it is unknown which commands it executed.
        """
        if not self._turns.take(seconds=self._patience):
            raise AllInUse
        try:
            return self._exchange(commands)
        finally:
            self._turns.give_back()

    def _exchange(self, commands: Sequence[Command]) -> list[object]:
        # Ask the breaker after the wait: the calls before this one may have found the server unavailable.
        self._start_probe()
        epoch = self.breaker.enter()
        try:
            connection = self._idle.take()
            answers = _exchange(connection, commands)
        except redis.RedisError as error:
            if is_away(error):
                self.breaker.fail(epoch, error, was_slow=isinstance(error, redis.exceptions.TimeoutError))
                if self.breaker.is_open:
                    self.close()
            else:
                self.breaker.succeed()
            raise
        self._idle.give_back(connection)
        self.breaker.succeed()
        return answers

    def close(self) -> None:
        """Close the idle connections. The next call opens another one."""
        self._idle.close()

    def _start_probe(self) -> None:
        """Probe the server if that is due, and give the probe a moment to close the breaker."""
        if not self.breaker.claim_probe():
            return
        # A thread of its own: a server that hangs must not delay the request.
        probe = threading.Thread(target=self._probe, name="redis-probe", daemon=True)
        try:
            probe.start()
            probe.join(_PROBE_GRACE.total_seconds())
        except RuntimeError as error:
            # The process can start no thread at the moment. A later request probes.
            self.breaker.end_probe(error)

    def _probe(self) -> None:
        try:
            connection = self._connect_probe()
            _exchange(connection, [("PING",)])
        except Exception as error:  # noqa: BLE001 -- after any exception, a later request has to probe
            self.breaker.end_probe(error if is_away(error) or not isinstance(error, redis.RedisError) else None)
        else:
            self.breaker.end_probe(None)
            connection.disconnect()


def is_away(error: Exception) -> bool:
    """Return True if the server did not answer. (redis-py counts some error replies among connection failures.)"""
    return isinstance(error, (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)) and not isinstance(
        error, (AuthenticationError, AuthorizationError, BusyLoadingError)
    )


def _exchange(connection: Connection, commands: Sequence[Command]) -> list[object]:
    try:
        connection.send_packed_command([_packed(commands)], check_health=False)
        return [_read_answer(connection) for _ in commands]
    except BaseException:
        # An answer that arrives later must not be taken for the answer to another command.
        connection.disconnect()
        raise


def _packed(commands: Sequence[Command]) -> bytes:
    """Encode the commands as arrays of strings (RESP2). redis-py's encoder takes a third of the time of a call."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d" % len(command))
        for word in command:
            raw = word if isinstance(word, bytes) else word.encode() if isinstance(word, str) else b"%d" % word
            parts += (b"$%d" % len(raw), raw)
    parts.append(b"")
    return b"\r\n".join(parts)


def _read_answer(connection: Connection) -> object:
    try:
        answer: object = connection.read_response()
    except redis.exceptions.ResponseError as error:
        return error
    return answer


class Nodes:
    """The servers that this process has called. `changed` is called when one stops answering or answers again."""

    def __init__(self, params: ConnectionParams) -> None:
        self._params = params
        self.changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._nodes: dict[Address, Node] = {}

    def at(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is not None:
            return node
        with self._lock:
            return self._nodes.setdefault(address, Node(address, self._params, self._report_change))

    def keep(self, addresses: frozenset[Address]) -> None:
        """Close and forget all other servers."""
        with self._lock:
            leaving = [self._nodes.pop(address) for address in self._nodes.keys() - addresses]
        for node in leaving:
            node.close()
        if leaving:
            self._report_change()

    def _report_change(self) -> None:
        self.changed()

    @property
    def away(self) -> int:
        """Return the number of servers that are not called now, because they did not answer."""
        return sum(node.breaker.is_open for node in list(self._nodes.values()))

    def close(self) -> None:
        for node in list(self._nodes.values()):
            node.close()


def tls_context(ca_file: Path | None, certificate_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies the server's certificate and its name.

    With `ca_file`, its authorities count and the system's do not. Raises OSError if a file cannot be used.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate_file is not None:
        # Without this, a key with a passphrase asks for it on the terminal.
        context.load_cert_chain(certificate_file, key_file, password=_refuse_passphrase)
    return context


def _refuse_passphrase() -> str:
    raise ssl.SSLError("the key is encrypted")


class _TlsConnection(redis.SSLConnection):
    """Wrap the socket with `tls_context`. redis-py would trust the system's authorities besides those of a CA file.

    Each connection reads the files, so that renewed ones are in force without a restart.
    """

    def _wrap_socket_with_ssl(self, sock: socket.socket) -> socket.socket:
        try:
            context = tls_context(self.ca_certs, self.certfile, self.keyfile)
        except OSError:
            raise TlsFailed from None
        try:
            return context.wrap_socket(sock, server_hostname=self.host)
        except ssl.SSLError:
            raise TlsFailed from None


def _connecting(address: Address, params: ConnectionParams) -> Callable[[], Connection]:
    """Return a function that connects to the server. It raises an exception of redis-py if that fails."""
    seconds = params.timeout.total_seconds()
    kind: type[redis.Connection | redis.UnixDomainSocketConnection] = redis.Connection
    where: dict[str, object] = {
        "host": address.host,
        "port": address.port,
        "socket_keepalive": True,
        "socket_keepalive_options": _KEEPALIVE,
    }
    if address.path:
        kind = redis.UnixDomainSocketConnection
        where = {"path": address.path}
    elif params.tls is not None:
        kind = _TlsConnection
        where |= {
            "ssl_ca_certs": params.tls.ca_file,
            "ssl_certfile": params.tls.certificate_file,
            "ssl_keyfile": params.tls.key_file,
        }
    make = partial(
        kind,
        **where,
        username=params.login.username or None,
        password=params.login.password or None,
        db=params.database,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        # Never repeat a command whose answer was lost: a repeated redemption would refuse the nonce as used.
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        retry_on_error=[],
        # No PING before a command: it costs a round trip.
        health_check_interval=0,
        # RESP2 has no push messages: unread bytes on an idle connection are a fault, and it is closed.
        protocol=2,
        decode_responses=False,
        driver_info=None,  # no CLIENT SETINFO: two round trips that an ACL may refuse
        client_name=None,
    )

    def connect() -> Connection:
        connection: Connection = make()
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    return connect

"""The nonce store for several hosts: one Redis (6.2 or later) or Valkey, of which every replica asks the same.

Each operation is one command on one key, so that the server alone decides which of several callers was first.

What it stands on, beyond this module: a server that forgets nothing early (`maxmemory-policy noeviction`) and keeps its
data over a restart (`appendonly yes`). One that loses a nonce makes a genuine document `nonce-unknown`; a *used* nonce
comes back as an unused one only where the server itself returns to an older state (a restored snapshot, a failover to
a replica that lagged).
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ChildDeadlockedError
from redis.retry import Retry

from verifier.core.model import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.edge.nonce_records import decode_record, encode_record, encode_text
from verifier.ports import NonceKey, StoreUnavailable

#: How many connections one process holds at most. A call beyond them waits for one, as long as for an answer.
CONNECTIONS = 16

#: How long each wait may last: for a free connection, for it to be made, for each answer.
TIMEOUT = timedelta(seconds=2)

_USED = b"used"
_MILLISECOND = timedelta(milliseconds=1)
_PORT = 6379

#: What the kernel does about a peer that vanished without a word (seconds, seconds, probes): it closes the socket of
#: an idle connection within half a minute, which the pool then sees before it hands the connection out.
_KEEPALIVE = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}

#: What an operator is told, by the first class that fits. No message of the server's is repeated: those about
#: unknown commands quote the arguments, and with them a nonce.
_DETAILS: tuple[tuple[type[Exception], str], ...] = (
    (redis.exceptions.AuthenticationError, "Redis refused the credentials, or asks for some."),
    (redis.exceptions.AuthorizationError, "Redis refused the credentials, or asks for some."),
    (redis.exceptions.NoPermissionError, "Redis does not permit this user the command (its ACL)."),
    (redis.exceptions.BusyLoadingError, "Redis is loading its data."),
    (redis.exceptions.ReadOnlyError, "Redis is a read-only replica."),
    (redis.exceptions.OutOfMemoryError, "Redis is out of memory."),
    (redis.exceptions.TimeoutError, "Redis did not answer in time."),
    (redis.exceptions.ConnectionError, "Redis cannot be reached, or all connections are in use."),
)

#: The code that begins an error reply, as in `MISCONF Redis is configured to …`.
_ERROR_CODE = re.compile(r"[A-Z]{2,16}")


class RedisNonceStore:
    """A NonceStore in the Redis that `client` reaches.

    `client` answers in octets and repeats no command by itself (client_for makes such a one): a redemption that was
    sent twice would find its own mark, and refuse a genuine document as a replay.
    Another kind of client (Sentinel's, a cluster's, over TLS) is another way to make it, and changes nothing here.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    @classmethod
    def from_url(cls, url: str, *, connections: int = CONNECTIONS, timeout: timedelta = TIMEOUT) -> Self:
        """A store that has not connected yet. Raises ValueError as client_for does."""
        return cls(client_for(url, connections=connections, timeout=timeout))

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:  # noqa: ARG002 -- the server's clock counts `keep` from here on, for all replicas alike
        """As the port says; `keep` is rounded up to whole milliseconds."""
        if keep <= timedelta(0):
            raise ValueError("keep is not positive")
        with _failures_named():
            answer = self._client.set(_name(key), encode_record(record), nx=True, px=-(-keep // _MILLISECOND))
        return bool(answer)

    def redeem(self, key: NonceKey, *, now: datetime) -> Redemption:  # noqa: ARG002 -- what is forgotten is gone from the server
        """As the port says. The mark takes the record's place and keeps its expiry (XX, GET, KEEPTTL)."""
        with _failures_named():
            before = self._client.set(_name(key), _USED, xx=True, get=True, keepttl=True)
        match before:
            case None:
                return UnknownNonce()
            case bytes() if before == _USED:
                return AlreadyUsed()
            case bytes():
                return FirstUse(record=decode_record(before.decode("ascii", errors="replace")))
            case _:
                raise TypeError("the Redis client decodes answers: it must leave them in octets")

    def ping(self) -> None:
        """Returns where the server answers. Not checked: that it takes writes."""
        with _failures_named():
            self._client.ping()

    def close(self) -> None:
        """Closes the connections of this process. The next call opens another."""
        self._client.close()


def client_for(url: str, *, connections: int = CONNECTIONS, timeout: timedelta = TIMEOUT) -> redis.Redis:
    """A client for `redis://[[user]:password@]host[:port][/database]` or `unix://[[user]:password@]/path[?db=N]`, with
    nothing left to redis-py's defaults, which change between its releases. It connects at the first command, and again
    in each process that a fork makes.

    Raises ValueError for any other URL, without repeating it: it may hold a password.
    """
    if connections < 1:
        raise ValueError("connections is not positive")
    if timeout <= timedelta(0):
        raise ValueError("timeout is not positive")
    pool = redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]  # redis-py does not annotate it
        **_address(url),
        max_connections=connections,
        timeout=timeout.total_seconds(),
        socket_timeout=timeout.total_seconds(),
        socket_connect_timeout=timeout.total_seconds(),
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
    return redis.Redis.from_pool(pool)  # the client owns the pool, and closes it


def _address(url: str) -> dict[str, object]:
    """Where to connect and as whom. redis-py's own reading of a URL lets its query overrule every other setting, and
    takes database 0 for one that it cannot read."""
    try:
        parts = urlsplit(url)
        # A fragment is an unescaped # in a password, by which half of it would be taken for the host.
        scheme = parts.scheme if not parts.fragment else None
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        address: dict[str, object] = {
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
        }
        if scheme == "redis" and parts.hostname and not query:
            parts.hostname.encode("idna")
            address |= {
                "connection_class": redis.Connection,
                "host": parts.hostname,
                "port": _PORT if parts.port is None else parts.port,
                "db": _database(parts.path.removeprefix("/")),
                "socket_keepalive": True,
                "socket_keepalive_options": _KEEPALIVE,
            }
            return address
        if scheme == "unix" and parts.path and not parts.hostname and query.keys() <= {"db"}:
            address |= {
                "connection_class": redis.UnixDomainSocketConnection,
                "path": unquote(parts.path),
                "db": _database(*query.get("db", [""])),
            }
            return address
    except (ValueError, TypeError):
        pass  # said below; the causes quote the URL
    raise ValueError(
        "the Redis URL is neither redis://[[user]:password@]host[:port][/database] nor unix:///path[?db=database]"
    )


def _database(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ValueError("not a database number")
    return int(text)


def _name(key: NonceKey) -> str:
    """The key's name in Redis.

    Without a hash tag (Redis Cluster specification, "Hash tags"): every operation touches one key, so any slot will do,
    and a tag on the tenant would bring all of a tenant's load on one node. encode_text leaves no braces, so that
    nobody names one in, and no colon, so that the parts stay apart.
    """
    return f"imds-verifier:nonce:{encode_text(key.tenant)}:{encode_text(key.nonce)}"


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, ChildDeadlockedError) as error:
        # `from None`: a traceback would show the server's message, which may quote a nonce.
        raise StoreUnavailable(_detail(error)) from None


def _detail(error: Exception) -> str:
    for kind, detail in _DETAILS:
        if isinstance(error, kind):
            return detail
    if isinstance(error, redis.exceptions.ResponseError):
        code = error.status_code or str(error).partition(" ")[0]
        return f"Redis refused the command ({code if _ERROR_CODE.fullmatch(code) else 'ERR'})."
    return f"Redis failed ({type(error).__name__})."

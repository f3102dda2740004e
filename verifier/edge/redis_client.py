"""How every store here reaches a Redis (6.2 or later) or Valkey, and how its faults are told.

Nothing is left to redis-py's defaults, and no command is sent twice: whether the first one acted is unknown.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ChildDeadlockedError
from redis.retry import Retry

from verifier.ports import StoreUnavailable

#: How many connections one process holds at most. A call beyond them waits for one, as long as for an answer.
CONNECTIONS = 16

#: How long each wait may last: for a free connection, for it to be made, for each answer.
TIMEOUT = timedelta(seconds=2)

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


@contextmanager
def failures_named() -> Iterator[None]:
    """What redis-py raises inside is StoreUnavailable, in words of our own."""
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

"""Where a Redis is, as its URL says it, and what the settings add to that. Nothing here connects.

redis-py's own reading of a URL lets its query overrule every other setting, that of verification among them, and takes
database 0 for one that it cannot read.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_PORT = 6379
_SENTINEL_PORT = 26379
_HIGHEST_PORT = 65535
#: More hosts than anybody lists by hand.
_MOST_HOSTS = 64

#: The forms that a URL may have, for messages.
FORMS = (
    "redis[s]://[[user]:password@]host[:port][/database], unix://[[user]:password@]/path[?db=database], "
    "redis[s]+sentinel://[[user]:password@]host[:port][,host[:port]…]/service[/database] or "
    "redis[s]+cluster://[[user]:password@]host[:port][,host[:port]…]"
)


class Form(Enum):
    """What stands at the address of a URL."""

    SERVER = "a server"
    SENTINEL = "Sentinels, which know the server"
    CLUSTER = "some nodes of a cluster"


_SCHEMES = {
    "redis": (Form.SERVER, False),
    "rediss": (Form.SERVER, True),
    "unix": (Form.SERVER, False),
    "redis+sentinel": (Form.SENTINEL, False),
    "rediss+sentinel": (Form.SENTINEL, True),
    "redis+cluster": (Form.CLUSTER, False),
    "rediss+cluster": (Form.CLUSTER, True),
}
#: The schemes of the URLs that are read here.
SCHEMES = frozenset(_SCHEMES)


@dataclass(frozen=True, slots=True)
class Address:
    """Of one server: host and port, or the path of a socket. Raises ValueError for what cannot be a host or a port."""

    host: str
    port: int
    path: str = ""

    def __post_init__(self) -> None:
        self.host.encode("idna")
        if not 0 <= self.port <= _HIGHEST_PORT:
            raise ValueError("not a port")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """As whom to connect. Empty: without credentials; without a name: as the user `default`."""

    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisTarget:
    """What a URL says: where to connect, over what, and as whom."""

    form: Form
    addresses: tuple[Address, ...]
    is_tls: bool
    login: Login
    database: int
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """What the settings add. Without a CA file, the system's certificate authorities count; with one, it alone.

    `sentinel` is as whom to connect to Sentinels, which share no credentials with the servers. `wait_replicas` is how
    many replicas have to have a redemption before it counts (docs/redis.md), `wait_timeout` how long they may take.
    Raises ValueError where a certificate is without its key, or a key without its certificate.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    sentinel: Login = field(default_factory=Login)
    wait_replicas: int = 0
    wait_timeout: timedelta = timedelta(seconds=0.5)

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("a client certificate and its key have to be given together")
        if self.wait_replicas < 0:
            raise ValueError("the number of replicas to wait for is negative")


def read_redis_url(url: str) -> RedisTarget:
    """The place that the URL names. Raises ValueError for any other URL, without repeating it: it may hold a
    password."""
    try:
        parts = urlsplit(url)
        # A fragment is an unescaped # in a password, by which half of it would be taken for the host.
        if parts.scheme in SCHEMES and not parts.fragment:
            return _read(parts)
    except (ValueError, TypeError):
        pass  # said below; the causes quote the URL
    raise ValueError(f"the Redis URL is neither {FORMS}")


def _read(parts: SplitResult) -> RedisTarget:
    form, is_tls = _SCHEMES[parts.scheme]
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    service = ""
    path = [unquote(name) for name in parts.path.split("/")[1:]] if parts.path else []
    if parts.scheme == "unix":
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        if hosts or not parts.path or not query.keys() <= {"db"}:
            raise ValueError("not the path of a socket")
        addresses: tuple[Address, ...] = (Address("", 0, unquote(parts.path)),)
        path = query.get("db", [])
    elif parts.query:
        raise ValueError("a query")
    else:
        addresses = _addresses(hosts, _SENTINEL_PORT if form is Form.SENTINEL else _PORT)
    if form is Form.SENTINEL:
        service, *path = path
        if not service:
            raise ValueError("no service")
    if form is Form.SERVER and len(addresses) != 1:
        raise ValueError("several hosts, and nothing that says which")
    [database] = path or [""]
    if form is Form.CLUSTER and database:
        raise ValueError("a cluster has one database")
    return RedisTarget(
        form=form,
        addresses=addresses,
        is_tls=is_tls,
        login=Login(username=unquote(username), password=unquote(password)),
        database=_database(database),
        service=service,
    )


def _addresses(hosts: str, port: int) -> tuple[Address, ...]:
    names = hosts.split(",")
    if len(names) > _MOST_HOSTS:
        raise ValueError("too many hosts")
    return tuple(_address(name, port) for name in names)


def _address(name: str, port: int) -> Address:
    parts = urlsplit(f"//{name}")
    if not parts.hostname or parts.path or "@" in name:
        raise ValueError("not a host")
    return Address(parts.hostname, port if parts.port is None else parts.port)


def _database(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ValueError("not a database number")
    return int(text)

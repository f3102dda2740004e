"""Parse the URL of a Redis server, and hold the connection options. This module does not connect.

redis-py's own reader lets the query of a URL override every setting, also the verification of certificates, and takes
an unreadable database number for 0. `urlsplit` is not used: its releases of one Python differ in the brackets of IPv6.
"""

import ipaddress
import re
from dataclasses import field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from urllib.parse import unquote

from verifier.core.values import dataclass

_PORT = 6379
_SENTINEL_PORT = 26379
_HIGHEST_PORT = 65535
#: More hosts than an operator lists by hand.
_MOST_HOSTS = 64
# The parts of a URL (RFC 3986 3). Brackets are for IPv6 addresses only. A fragment is an unescaped # in a password, and
# half of the password would be taken for the host.
_URL = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:(?P<login>[^/?#\[\]]*)@)?(?P<hosts>[^/?#@]*)(?P<path>(?:/[^?#]*)?)(?:\?(?P<query>[^#]*))?",
    re.IGNORECASE | re.ASCII,
)
_HOST = re.compile(r"(?:\[(?P<address>[^\[\]]+)\]|(?P<name>[^\[\]:]+))(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
_NAME = re.compile(rb"[A-Za-z0-9._-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DATABASE = re.compile(r"[0-9]{0,9}")
_SOCKET_QUERY = re.compile(r"(?:db=([0-9]*))?")

#: The forms that a URL may have, for messages.
FORMS = (
    "redis[s]://[[user]:password@]host[:port][/database], unix://[[user]:password@]/path[?db=database], "
    "redis[s]+sentinel://[[user]:password@]host[:port][,host[:port]…]/service[/database] or "
    "redis[s]+cluster://[[user]:password@]host[:port][,host[:port]…]; an IPv6 address is in brackets"
)


class Form(Enum):
    """What the hosts of a URL are."""

    SERVER = "one server"
    SENTINEL = "Sentinels, which name the server"
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


@dataclass(frozen=True, slots=True)
class Address:
    """The address of one server: host and port, or the path of a socket.

    Raises ValueError if the host or the port is impossible.
    """

    host: str
    port: int
    path: str = ""

    def __post_init__(self) -> None:
        self.host.encode("idna")
        if not 0 <= self.port <= _HIGHEST_PORT:
            raise ValueError("not a port")

    def __str__(self) -> str:
        return self.path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Credentials. An empty password means none; an empty username means the user `default`."""

    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisTarget:
    """Hold the parts of a URL. `service` is the name of the primary in the Sentinels' configuration."""

    form: Form
    addresses: tuple[Address, ...]
    is_tls: bool
    login: Login
    database: int
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """Hold the connection options that are not part of the URL.

    `password` is for servers whose URL has none. The certificate authorities in `ca_file` replace those of the system.
    `sentinel` holds the credentials for Sentinels, which differ from those for the servers. A redemption succeeds only
    if `wait_replicas` replicas confirm it within `wait_timeout` (docs/operate/redis.md).

    Raises ValueError for a certificate without its key, or the reverse.
    """

    password: str = field(default="", repr=False)
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


def is_redis_url(url: str) -> bool:
    """Return True if the scheme is that of a Redis URL. Not checked: the rest of the URL."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme.lower() in _SCHEMES


def read_redis_url(url: str) -> RedisTarget:
    """Return the target that the URL names. Raises ValueError for any other URL, and does not repeat a password."""
    try:
        match = _URL.fullmatch(url)
        if match and is_redis_url(url) and not _CONTROL.search(url):
            return _read(match)
    except (ValueError, TypeError):
        pass  # the causes quote the URL
    raise ValueError(f"the Redis URL is neither {FORMS}")


def _read(parts: re.Match[str]) -> RedisTarget:
    scheme, hosts, query = parts["scheme"].lower(), parts["hosts"], parts["query"] or ""
    form, is_tls = _SCHEMES[scheme]
    username, _, password = (parts["login"] or "").partition(":")
    service, path = "", [unquote(name) for name in parts["path"].split("/")[1:]]
    if scheme == "unix":
        database = _SOCKET_QUERY.fullmatch(query)
        if hosts or not parts["path"] or database is None:
            raise ValueError("not the path of a socket")
        addresses: tuple[Address, ...] = (Address("", 0, unquote(parts["path"])),)
        path = [database[1] or ""]
    else:
        names = hosts.split(",")
        if query or len(names) > (1 if form is Form.SERVER else _MOST_HOSTS):
            raise ValueError("a query, or too many hosts")
        addresses = tuple(_address(name, _SENTINEL_PORT if form is Form.SENTINEL else _PORT) for name in names)
    if form is Form.SENTINEL:
        service, *path = path
        if not service:
            raise ValueError("no service")
    [number] = path or [""]
    if not _DATABASE.fullmatch(number) or (form is Form.CLUSTER and number):
        raise ValueError("not a database number, or one in a cluster, which has one database")
    return RedisTarget(
        form=form,
        addresses=addresses,
        is_tls=is_tls,
        login=Login(username=unquote(username), password=unquote(password)),
        database=int(number or 0),
        service=service,
    )


def _address(text: str, port: int) -> Address:
    match = _HOST.fullmatch(text)
    if match is None:
        raise ValueError("not a host")
    if match["address"]:
        ipaddress.IPv6Address(match["address"])
    elif not _NAME.fullmatch(match["name"].encode("idna")):
        raise ValueError("not a name")
    return Address((match["address"] or match["name"]).lower(), int(match["port"] or port))

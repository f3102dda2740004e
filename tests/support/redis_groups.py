"""Several real servers that belong together: a primary and its replica under three Sentinels, and a cluster of six.

Each starts in a second or so, in a temporary directory, on loopback; a failover takes two to four seconds.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry
from support.redis_server import RedisServer, ServerProcess, free_port, redis_server_binary
from support.redis_tls import RedisTls

SERVICE = "main"
_DEADLINE_SECONDS = 40.0
_DOWN_MILLISECONDS = 1000
_NODE_MILLISECONDS = 1500
_SLOTS = 16384
#: So that a replica is in step at once, and takes part in the first failover already.
REPLICATION = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


def ask(server: ServerProcess, *words: str | int | bytes, password: str | None = None) -> Any:  # noqa: ANN401 -- answers are of any kind
    """The answer of one server to one command, on a connection of its own."""
    tls: dict[str, Any] = {}
    if server.tls is not None:
        tls = {
            "ssl": True,
            "ssl_ca_certs": str(server.tls.authority.file),
            "ssl_certfile": str(server.tls.client.certificate),
            "ssl_keyfile": str(server.tls.client.key),
        }
    with redis.Redis(
        host="127.0.0.1",
        port=server.port,
        password=password,
        socket_timeout=2,
        retry=Retry(NoBackoff(), 0),  # one that hangs is not asked eleven times
        protocol=2,
        **tls,
    ) as client:
        return client.execute_command(*words)


def until(is_so: Callable[[], bool], *, seconds: float = _DEADLINE_SECONDS) -> None:
    """Returns when it is so. Servers that are not there yet, or any more, answer with no."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if is_so():
                return
        except (redis.RedisError, OSError):
            pass
        if time.monotonic() > deadline:
            raise AssertionError("it did not become so in time")
        threading.Event().wait(0.02)


class Group(Protocol):
    """Servers of which one can fail over to another."""

    @property
    def url(self) -> str: ...

    def primary_of(self, key: str) -> RedisServer: ...

    def replica_of(self, primary: RedisServer) -> RedisServer: ...

    def fail_over(self, primary: RedisServer, replica: RedisServer) -> None:
        """The primary was killed, and its replica, which may have been stopped, has its place."""

    def bring_back(self, killed: RedisServer, key: str) -> None:
        """The killed one follows the primary of `key`, and is in step with it."""


def _follows(replica: RedisServer, primary: RedisServer) -> bool:
    info = ask(replica, "INFO", "replication")
    return (info.get("master_link_status"), info.get("master_port")) == ("up", primary.port)


class SentinelGroup:
    """Two servers and three Sentinels. Implements Group."""

    def __init__(self, servers: list[RedisServer], sentinels: list[ServerProcess]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        scheme = "redis" if self.servers[0].tls is None else "rediss"
        return f"{scheme}+sentinel://{','.join(sentinel.address for sentinel in self.sentinels)}/{SERVICE}/0"

    def primary_of(self, key: str) -> RedisServer:  # noqa: ARG002 - the protocol's
        """As the Sentinels say: most of them."""
        ports = [int(ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]) for sentinel in self.sentinels]
        port = max(ports, key=ports.count)
        [primary] = [server for server in self.servers if server.port == port]
        return primary

    def replica_of(self, primary: RedisServer) -> RedisServer:
        [replica] = [server for server in self.servers if server is not primary]
        return replica

    def fail_over(self, primary: RedisServer, replica: RedisServer) -> None:
        primary.kill()
        replica.resume()
        until(lambda: self.primary_of("") is replica and ask(replica, "ROLE")[0] == b"master")

    def bring_back(self, killed: RedisServer, key: str) -> None:
        primary = self.primary_of(key)
        killed.restart("--replicaof", "127.0.0.1", str(primary.port))
        until(self._is_settled)

    def _is_settled(self) -> bool:
        """Whoever is the primary by now: on a laden machine, Sentinels may change their mind once more."""
        primary = self.primary_of("")
        is_followed = _follows(self.replica_of(primary), primary)
        return is_followed and all(self._is_in_order(sentinel) for sentinel in self.sentinels)

    def _is_in_order(self, sentinel: ServerProcess) -> bool:
        def flags(answer: list[bytes]) -> Mapping[bytes, bytes]:
            return dict(zip(answer[::2], answer[1::2], strict=True))

        primary = flags(ask(sentinel, "SENTINEL", "MASTER", SERVICE))
        [replica] = [flags(listed) for listed in ask(sentinel, "SENTINEL", "REPLICAS", SERVICE)]
        return (primary[b"flags"], replica[b"flags"], primary[b"num-other-sentinels"]) == (b"master", b"slave", b"2")


class ClusterGroup:
    """Three primaries with one replica each. Implements Group."""

    def __init__(self, servers: list[RedisServer]) -> None:
        self.servers = servers

    @property
    def url(self) -> str:
        scheme = "redis" if self.servers[0].tls is None else "rediss"
        return f"{scheme}+cluster://{','.join(server.address for server in self.servers[:3])}"

    def primary_of(self, key: str) -> RedisServer:
        return self._member(key, 0)

    def replica_of(self, primary: RedisServer) -> RedisServer:
        for _, _, first, *replicas in self._slots():
            if first[1] == primary.port:
                [port] = [replica[1] for replica in replicas]
                return self._at(port)
        raise AssertionError("it is no primary with a replica")

    def fail_over(self, primary: RedisServer, replica: RedisServer) -> None:
        primary.kill()
        replica.resume()
        until(lambda: self._is_ok(replica) and ask(replica, "ROLE")[0] == b"master")

    def bring_back(self, killed: RedisServer, key: str) -> None:
        primary = self.primary_of(key)
        killed.restart()
        until(lambda: _follows(killed, primary))
        until(lambda: all(self._is_ok(server) and self._sees_replicas(server) for server in self.servers))

    def _member(self, key: str, place: int) -> RedisServer:
        slot = key_slot(key.encode())
        for first, last, *members in self._slots():
            if first <= slot <= last:
                return self._at(members[place][1])
        raise AssertionError("no node has this slot")

    def _slots(self) -> Any:  # noqa: ANN401 -- a list of lists of any kind
        """As the first node sees it that sees all of it, as soon as there is one."""
        seen: list[Any] = []

        def look() -> bool:
            for server in self.servers:
                with suppress(redis.RedisError, OSError):
                    if self._is_ok(server):
                        seen.append(ask(server, "CLUSTER", "SLOTS"))
                        return True
            return False

        until(look)
        return seen[-1]

    def _at(self, port: int) -> RedisServer:
        [found] = [server for server in self.servers if server.port == port]
        return found

    def _sees_replicas(self, server: RedisServer) -> bool:
        return all(len(members) == 2 for _, _, *members in ask(server, "CLUSTER", "SLOTS"))

    def _is_ok(self, server: RedisServer) -> bool:
        """It has its whole cluster in view, with a primary for each slot."""
        info = ask(server, "CLUSTER INFO")
        return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.servers)))


@contextmanager
def running_sentinel_group(*, binary: Path | None = None, tls: RedisTls | None = None) -> Iterator[SentinelGroup]:
    chosen = binary or redis_server_binary()
    with tempfile.TemporaryDirectory(prefix="redis-") as name, ExitStack() as stack:
        directory = Path(name)
        servers: list[RedisServer] = []
        for number in range(2):
            (directory / f"data{number}").mkdir()
            follows = ("--replicaof", "127.0.0.1", str(servers[0].port)) if servers else ()
            server = RedisServer.start(
                directory / f"data{number}",
                binary=chosen,
                tls=tls,
                arguments=REPLICATION,
            )
            stack.callback(server.stop)
            servers.append(server)
            if follows:
                server.restart(*follows)
        until(lambda: _follows(servers[1], servers[0]))
        sentinels = []
        for number in range(3):
            (directory / f"sentinel{number}").mkdir()
            sentinel = _sentinel(chosen, directory / f"sentinel{number}", servers[0])
            sentinel.restart()
            stack.callback(sentinel.stop)
            sentinels.append(sentinel)
        group = SentinelGroup(servers, sentinels)
        until(lambda: all(group._is_in_order(sentinel) for sentinel in sentinels))  # noqa: SLF001 -- the same module's
        yield group


def _sentinel(binary: Path, directory: Path, primary: RedisServer) -> ServerProcess:
    own, tls = free_port(), primary.tls
    file = directory / "sentinel.conf"
    lines = (
        *([f"port {own}"] if tls is None else ["port 0", f"tls-port {own}", *_lines(tls.server_arguments)]),
        "bind 127.0.0.1",
        f"dir {directory}",
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2",
        f"sentinel down-after-milliseconds {SERVICE} {_DOWN_MILLISECONDS}",
        f"sentinel failover-timeout {SERVICE} 2000",
    )
    file.write_text("\n".join(lines) + "\n", encoding="ascii")
    return ServerProcess([str(binary), str(file), "--sentinel"], port=own, directory=directory, tls=tls)


def _lines(arguments: Sequence[str]) -> list[str]:
    """The lines of a file that say the same. What is of no use to a Sentinel, it does not know."""
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return [f"{name.removeprefix('--')} {value}" for name, value in pairs if name != "--tls-cluster"]


@contextmanager
def running_cluster(
    *, binary: Path | None = None, tls: RedisTls | None = None, node_milliseconds: int = _NODE_MILLISECONDS
) -> Iterator[ClusterGroup]:
    chosen = binary or redis_server_binary()
    with tempfile.TemporaryDirectory(prefix="redis-") as name, ExitStack() as stack:
        servers = []
        for number in range(6):
            directory = Path(name) / f"node{number}"
            directory.mkdir()
            server = RedisServer.start(
                directory,
                binary=chosen,
                tls=tls,
                cluster=True,
                arguments=(*REPLICATION, "--cluster-node-timeout", str(node_milliseconds)),
            )
            stack.callback(server.stop)
            servers.append(server)
        group = ClusterGroup(servers)
        _join(servers)
        until(lambda: all(group._is_ok(server) and group._sees_replicas(server) for server in servers))  # noqa: SLF001 -- the same module's
        yield group


def _join(servers: list[RedisServer]) -> None:
    bus = int(ask(servers[0], "CONFIG", "GET", "cluster-port")[1])
    for server in servers[1:]:
        ask(server, "CLUSTER", "MEET", "127.0.0.1", servers[0].port, bus)
    bounds = [_SLOTS * number // 3 for number in range(4)]
    for number, server in enumerate(servers[:3]):
        ask(server, "CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
    until(lambda: all(ask(server, "CLUSTER INFO")["cluster_known_nodes"] == "6" for server in servers))
    for primary, replica in zip(servers[:3], servers[3:], strict=True):
        identity = ask(primary, "CLUSTER", "MYID")
        until(lambda replica=replica, identity=identity: bool(ask(replica, "CLUSTER", "REPLICATE", identity)))  # type: ignore[misc]  # mypy does not infer lambdas with defaults
    for primary, replica in zip(servers[:3], servers[3:], strict=True):
        until(lambda replica=replica, primary=primary: _follows(replica, primary))  # type: ignore[misc]  # as above

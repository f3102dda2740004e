"""A TCP proxy on loopback that counts traffic, terminates TLS, and fails as networks do."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_CHUNK = 65536
_DEADLINE_SECONDS = 10


class Network(Enum):
    WORKS = "works"
    #: No bytes arrive on either side, and the connection stays open.
    SWALLOWS = "swallows"
    #: The client's bytes arrive. Then the connection is cut, and the answer is lost.
    CUTS_ANSWERS = "cuts answers"


@dataclass(slots=True)
class TcpProxy:
    """To `upstream` from `port`. `turns` counts how often the direction changed: two for a round trip."""

    upstream: int
    port: int = 0
    network: Network = Network.WORKS
    connections: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    turns: int = 0
    #: How many answers CUTS_ANSWERS still cuts.
    cuts: int = 1
    _last: str = ""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def round_trips(self) -> int:
        return self.turns // 2

    @property
    def is_connected(self) -> bool:
        return bool(self._writers)

    def forget(self) -> None:
        """Counts from 0 again."""
        self.connections = self.bytes_up = self.bytes_down = self.turns = 0
        self._last = ""

    def cut(self) -> None:
        """All its connections end at once, with a reset."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, up_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump("up", reader, up_writer, both))
                tasks.create_task(self._pump("down", up_reader, writer, both))
        finally:
            self._writers -= both
            for each in both:
                each.close()

    async def _pump(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, both: set[asyncio.StreamWriter]
    ) -> None:
        with suppress(OSError, ssl.SSLError):
            while chunk := await reader.read(_CHUNK):
                if self.network is Network.SWALLOWS:
                    continue
                if way == "down" and self.network is Network.CUTS_ANSWERS and self.cuts > 0:
                    self.cuts -= 1
                    break
                self._count(way, len(chunk))
                writer.write(chunk)
                await writer.drain()
        for each in both:
            each.transport.abort()

    def _count(self, way: str, length: int) -> None:
        if way == "up":
            self.bytes_up += length
        else:
            self.bytes_down += length
        if way != self._last:
            self.turns += 1
            self._last = way

    async def start(self, tls: ssl.SSLContext | None) -> asyncio.Server:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def stop(self, server: asyncio.Server) -> None:
        server.close()
        self._abort()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


@contextmanager
def running_tcp_proxy(upstream: int, *, tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[TcpProxy]:
    """A proxy on a port of its own, on a thread of its own. With `tls` it is what clients speak TLS with."""
    loop = asyncio.new_event_loop()
    # A client that gives up its handshake is what some tests are about, and no fault of the loop's.
    loop.set_exception_handler(lambda *_: None)
    thread = threading.Thread(target=loop.run_forever, name="tcp-proxy")
    thread.start()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 -- of any kind
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(_DEADLINE_SECONDS)

    proxy = TcpProxy(upstream=upstream, port=port)
    try:
        server = run(proxy.start(tls))
        try:
            yield proxy
        finally:
            run(proxy.stop(server))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_DEADLINE_SECONDS)
        loop.close()

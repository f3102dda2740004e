"""A Service of Kubernetes as kube-proxy makes one: a new connection goes to one of the endpoints, and stays there."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SECONDS = 10


class EndpointsProxy:
    """Made by `running_proxy`. Endpoints are ports of loopback; with none, connections are closed at once."""

    def __init__(self) -> None:
        self.port = 0
        self._endpoints: tuple[int, ...] = ()
        self._turn = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, port: int) -> None:
        self._endpoints = (*self._endpoints, port)

    def remove(self, port: int) -> None:
        """New connections do not go there any more; those that are there stay."""
        self._endpoints = tuple(endpoint for endpoint in self._endpoints if endpoint != port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whatever is wrong with an endpoint, the caller sees a connection that ends.
        with suppress(OSError):
            if self._endpoints:
                self._turn += 1
                port = self._endpoints[self._turn % len(self._endpoints)]
                there = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(_pass_on(reader, there[1]), _pass_on(there[0], writer))
        writer.close()

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


@contextmanager
def running_proxy() -> Iterator[EndpointsProxy]:
    """In a thread of its own; every connection has ended afterwards."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="endpoints")
    thread.start()
    try:
        proxy = EndpointsProxy()
        server = asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(_SECONDS)
        try:
            yield proxy
        finally:
            asyncio.run_coroutine_threadsafe(_end(server), loop).result(_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_SECONDS)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

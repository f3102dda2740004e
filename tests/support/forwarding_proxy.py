"""A reverse proxy that adds the address of its peer to X-Forwarded-For: a process, which this file also runs as.

It uses the standard library alone, and keeps one connection to the server for each connection of a client.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import partial
from urllib.parse import urlsplit

_SECONDS = 30
_NAME = "x-forwarded-for"


class Style(StrEnum):
    """How the proxy adds the address."""

    #: As nginx does with `$proxy_add_x_forwarded_for`: one header with the client's entries and its own.
    JOIN = "join"
    #: As HAProxy does with `option forwardfor`: a header of its own, after those of the client.
    APPEND = "append"


@contextmanager
def running_forwarding_proxy(upstream: str, style: Style) -> Iterator[str]:
    """Return the URL of a proxy in front of the server at `upstream`."""
    command = [sys.executable, "-I", __file__, upstream, style]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        yield url
    finally:
        process.terminate()
        process.wait(_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def _forwarded(lines: list[str], peer: str, style: Style) -> list[str]:
    if style is Style.APPEND:
        return [*lines, f"X-Forwarded-For: {peer}"]
    fields = [(line, *line.split(":", 1)) for line in lines]
    entries = [value.strip() for _, name, value in fields if name.lower() == _NAME]
    others = [line for line, name, _ in fields if name.lower() != _NAME]
    return [*others, f"X-Forwarded-For: {', '.join([*entries, peer])}"]


async def _read(reader: asyncio.StreamReader) -> tuple[str, list[str], bytes]:
    """Return the first line, the headers and the body of a message. Its body has a Content-Length, or is empty."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    length = next((int(line.split(":", 1)[1]) for line in lines if line.lower().startswith("content-length:")), 0)
    return first, lines, await reader.readexactly(length)


def _message(first: str, lines: list[str], body: bytes) -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1") + body


async def _serve(upstream: str, style: Style, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    parts = urlsplit(upstream)
    peer = writer.get_extra_info("peername")[0]
    up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                first, lines, body = await _read(reader)
                up_writer.write(_message(first, _forwarded(lines, peer, style), body))
                first, lines, body = await _read(up_reader)
                writer.write(_message(first, lines, body))
                await writer.drain()
    finally:
        up_writer.close()
        writer.close()


async def _main(upstream: str, style: Style) -> None:
    server = await asyncio.start_server(partial(_serve, upstream, style), "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Style(sys.argv[2])))

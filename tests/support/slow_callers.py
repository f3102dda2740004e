"""Callers that send or read slowly, from a process of their own."""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

_DESCRIPTORS = 8192
_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowKind:
    """What a slow caller sends at once, then what byte by byte, and how it reads. The texts are Latin-1."""

    first: str
    drips: str = ""
    drip_seconds: float = 0.25
    #: It reads all that comes if this is 0, and otherwise one byte in so many seconds.
    read_seconds: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowEnd:
    """How the connection of a slow caller ended: after so long, and with these statuses of answers before."""

    seconds: float
    statuses: tuple[int, ...]


class SlowCrowd:
    """A process of slow callers. Each command is a line of JSON, and so is its answer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, kinds: Sequence[SlowKind], count: int, *, a_second: float = 0) -> None:
        """Open `count` connections, of each kind in turn: all at once, or so many a second."""
        self._ask({"kinds": [asdict(kind) for kind in kinds], "count": count, "a_second": a_second})

    def ends(self, *, awaited: int = 0) -> list[SlowEnd]:
        """Return how connections ended, once so many have. The others stay open."""
        answer = self._ask({"awaited": awaited})
        return [SlowEnd(seconds=end["seconds"], statuses=tuple(end["statuses"])) for end in answer["ends"]]

    def _ask(self, command: Mapping[str, object]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(command)}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"fault": "the crowd is gone"}')
        if "fault" in answer:
            raise AssertionError(answer["fault"])
        return answer


@contextmanager
def slow_crowd(url: str) -> Iterator[SlowCrowd]:
    """Slow callers of `url`. At the end, all their connections are closed."""
    command = [sys.executable, "-P", __file__, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield SlowCrowd(process)
        finally:
            process.kill()


@dataclass(slots=True)
class _Callers:
    url: str
    opened: int = 0
    ends: list[SlowEnd] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def obey(self, command: dict[str, Any]) -> dict[str, object]:
        if "count" in command:
            kinds = [SlowKind(**kind) for kind in command["kinds"]]
            wanted = self.opened + command["count"]
            began = time.monotonic()
            for number in range(command["count"]):
                if command["a_second"]:
                    await asyncio.sleep(max(0.0, began + number / command["a_second"] - time.monotonic()))
                self.tasks.add(asyncio.create_task(self._call(kinds[number % len(kinds)])))
            await _until(lambda: self.opened >= wanted or bool(self.faults))
            return {"fault": f"{self.faults[:3]}"} if self.opened < wanted else {}
        await _until(lambda: len(self.ends) >= command["awaited"])
        if len(self.ends) < command["awaited"]:
            return {"fault": f"{command['awaited'] - len(self.ends)} connections do not end"}
        return {"ends": [asdict(end) for end in self.ends]}

    async def _call(self, kind: SlowKind) -> None:
        parts = urlsplit(self.url)
        began = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        except OSError as error:
            self.faults.append(repr(error))
            return
        self.opened += 1
        writer.write(kind.first.encode("latin-1"))
        dripping = asyncio.create_task(_drip(writer, kind))
        received = bytearray()
        with suppress(ConnectionError):
            while piece := await reader.read(1 if kind.read_seconds else 65536):
                received += piece
                await asyncio.sleep(kind.read_seconds)
        dripping.cancel()
        writer.close()
        statuses = tuple(int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:])
        self.ends.append(SlowEnd(seconds=time.monotonic() - began, statuses=statuses))


async def _until(condition: Callable[[], bool]) -> None:
    """It holds, or time is over."""
    deadline = time.monotonic() + _SECONDS
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - conditions of many kinds
        await asyncio.sleep(0.02)


async def _drip(writer: asyncio.StreamWriter, kind: SlowKind) -> None:
    for byte in kind.drips.encode("latin-1"):
        await asyncio.sleep(kind.drip_seconds)
        writer.write(bytes([byte]))


async def _main(url: str) -> None:
    callers = _Callers(url)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await callers.obey(json.loads(line))), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    _, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (_DESCRIPTORS if _hard == resource.RLIM_INFINITY else min(_hard, _DESCRIPTORS), _hard)
    )
    asyncio.run(_main(sys.argv[1]))

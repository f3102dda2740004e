"""Run a function in several processes at the same time.

A server that has imported the verifier forks each process. Each is a process of its own, without the second of CPU
time that importing the verifier takes.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess

_SECONDS = 60

#: Opens what it needs from its arguments, calls the function it is given, acts, and returns the outcome.
Act = Callable[..., str]


def from_processes(act: Act, arguments: Sequence[Sequence[str]]) -> list[str]:
    """Return what `act` returns in one process for each list of arguments.

    `act` gets a function before its arguments, which returns as soon as every process has called it. The processes
    die without closing anything.
    """
    context = _context()
    with ExitStack() as stack:
        connections = []
        for texts in arguments:
            ours, theirs = context.Pipe()
            process = context.Process(target=_run, args=(theirs, act, texts))
            process.start()
            theirs.close()
            stack.enter_context(ours)
            stack.callback(_end, process)
            connections.append(ours)
        for connection in connections:
            _receive(connection)
        for connection in connections:
            connection.send("go")
        return [_receive(connection) for connection in connections]


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    ours = sorted(name for name in sys.modules if name.partition(".")[0] == "verifier")
    context.set_forkserver_preload(["__main__", *ours])
    return context


def _run(connection: "Connection[str, str]", act: Act, texts: Sequence[str]) -> None:
    def meet() -> None:
        connection.send("ready")
        connection.recv()

    connection.send(act(meet, *texts))
    os._exit(0)


def _receive(connection: "Connection[str, str]") -> str:
    if not connection.poll(_SECONDS):
        raise AssertionError("a process does not answer")
    return connection.recv()


def _end(process: ForkServerProcess) -> None:
    if process.is_alive():
        process.kill()
    process.join()
    process.close()

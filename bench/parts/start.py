"""`start`: how long commands and the service take to start."""

import os
import subprocess
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from figures import Figure
from options import Options
from servers import PYTHON, SERVICE, Site, make_site
from support.processes import await_that

_COMMAND = Path(PYTHON).with_name("imds-verifier")
#: For each round of the others.
_STARTS = 4


def measure(options: Options) -> list[Figure]:
    """Measure the CPU of `--help` next to an empty Python, and the seconds until the service is ready."""
    ratios = []
    for _ in range(options.rounds * _STARTS):
        empty, command = _cpu_seconds_of(["-c", "pass"]), _cpu_seconds_of([str(_COMMAND), "--help"])
        ratios.append((command / empty, command * 1e3))
    relative, milliseconds = zip(*ratios, strict=True)
    with make_site() as site:
        seconds = [_seconds_to_ready(site) for _ in range(options.rounds)]
    listening, ready = zip(*seconds, strict=True)
    return [
        Figure(part="start", row="imds-verifier --help / empty Python", unit="x", samples=relative, bar=12, aim=8),
        Figure(part="start", row="imds-verifier --help", unit="ms CPU", samples=milliseconds),
        Figure(part="start", row="service start to ready", unit="s", samples=ready, bar=1.0, aim=0.6),
        Figure(part="start", row="service start to listening", unit="s", samples=listening),
    ]


def _cpu_seconds_of(arguments: Sequence[str]) -> float:
    """Return the CPU seconds of Python with these arguments. Bytecode is read from the cache, if it is there."""
    process = subprocess.Popen([PYTHON, *arguments], stdout=subprocess.DEVNULL)  # noqa: S603 - ours
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{arguments} failed with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _seconds_to_ready(site: Site) -> tuple[float, float]:
    """Return the seconds from the start of the process until it says that it listens, and until `/readyz` is 200."""
    started = time.monotonic()
    with site.running(SERVICE) as service:
        await_that(lambda: service.status_of("/readyz") == HTTPStatus.OK)
        return service.seconds, time.monotonic() - started

"""Measure what a command costs before it does anything, and how long the service takes until it is ready."""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from statistics import median

from support.live_documents import write_current_trust
from support.services import running_service

from bench.figures import Figure


def measure(*, rounds: int = 15, starts: int = 5) -> list[Figure]:
    """Return the CPU of `imds-verifier --help` relative to an empty Python, and the time until /readyz answers 200."""
    ratios = [_cpu(["-P", "-m", "verifier", "--help"]) / _cpu(["-P", "-c", "pass"]) for _ in range(rounds)]
    return [
        Figure(part="start", name="CPU of --help / of an empty Python", value=median(ratios), bar=12),
        Figure(
            part="start",
            name="start of the service to ready",
            value=median(_start() for _ in range(starts)),
            unit="s",
            bar=1,
        ),
    ]


def _cpu(arguments: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _start() -> float:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        trust_dir = write_current_trust(directory / "trust")
        started = time.perf_counter()
        with running_service(nonce_store=f"sqlite://{directory}/nonces.sqlite3", trust_dir=trust_dir) as service:
            while service.request("GET", "/readyz").status != HTTPStatus.OK:
                time.sleep(0.01)
            return time.perf_counter() - started

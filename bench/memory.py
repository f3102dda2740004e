"""Measure the memory of a worker: its proportional set size (PSS), which shares pages among processes."""

import re
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from bench.figures import Figure
from bench.requests import Target, documents_for, running_tenant_service

_IN_TURN = 1000


def measure(*, warm_up: int = 10_000, requests: int = 20_000) -> list[Figure]:
    """Return the PSS of a worker after the warm-up, and its growth over this number of requests."""
    with running_tenant_service() as service:
        target = Target(*service, "/v1/attestations")
        _post(target, warm_up)
        before = _pss(target.workers)
        _post(target, requests)
        after = _pss(target.workers)
    return [
        Figure(part="memory", name="PSS of a worker after the warm-up", value=before, unit="MB", bar=45),
        Figure(
            part="memory",
            name=f"growth over {requests} requests",
            value=(after / before - 1) * 100,
            unit="%",
            bar=1,
        ),
    ]


def _post(target: Target, count: int) -> None:
    for _ in range(0, count, _IN_TURN):
        target.run(documents_for(target, _IN_TURN // 2), b"200")


def _pss(processes: Iterable[int]) -> float:
    """Return the mean PSS in MB (proc_pid_smaps_rollup)."""
    sizes = []
    for process in processes:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text("ascii"), re.MULTILINE)
        if found is None:
            raise RuntimeError("the kernel tells no PSS")
        sizes.append(int(found[1]) / 1000)
    return mean(sizes)

"""Measure what a failover loses, with and without VERIFIER_NONCE_WAIT_REPLICAS, under Sentinel and in a cluster.

Run from the repository: `PYTHONPATH=tests .venv/bin/python bench/failover.py --runs 20`. Each run kills the primary of
a real Redis or Valkey under load, in conditions that lose every write that was not replicated
(tests/support/failovers.py). A run without WAIT shows what can be lost, not how often that happens. The service is the
installed one.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from support.failovers import Outcome, fail_over_under_load
from support.live_documents import write_current_trust
from support.redis_groups import Group, running_cluster, running_sentinel_group
from support.services import running_service

GROUPS: dict[str, Callable[[], AbstractContextManager[Group]]] = {
    "sentinel": running_sentinel_group,
    "cluster": running_cluster,
}
WAITING = {"VERIFIER_NONCE_WAIT_REPLICAS": "1", "VERIFIER_NONCE_WAIT_SECONDS": "0.1"}


def measure(kind: str, trust_dir: Path, *, runs: int, waits: bool) -> list[Outcome]:
    outcomes = []
    with (
        GROUPS[kind]() as group,
        running_service(nonce_store=group.url, trust_dir=trust_dir, workers=2, **(WAITING if waits else {})) as service,
    ):
        for run in range(runs):
            began = time.monotonic()
            outcome = fail_over_under_load(group, [service.url])
            outcomes.append(outcome)
            sys.stderr.write(
                f"{kind} {'WAIT' if waits else 'none'} {run + 1}: {outcome}, {time.monotonic() - began:.1f} s\n"
            )
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kind", choices=sorted(GROUPS), action="append", help="default: both")
    arguments = parser.parse_args()
    logging.disable()
    twice_with_wait = 0
    print(
        f"{'group':9} {'WAIT':4} {'runs':>4} {'documents':>9} {'twice':>6} {'runs with':>9} "
        f"{'away s: median':>14} {'most':>5}"
    )
    with tempfile.TemporaryDirectory() as directory:
        trust_dir = write_current_trust(Path(directory) / "trust")
        for kind in arguments.kind or GROUPS:
            for waits in (True, False):
                outcomes = measure(kind, trust_dir, runs=arguments.runs, waits=waits)
                away = [outcome.away for outcome in outcomes]
                twice = sum(outcome.accepted_twice for outcome in outcomes)
                print(
                    f"{kind:9} {'1' if waits else '0':4} {len(outcomes):4} "
                    f"{sum(outcome.documents for outcome in outcomes):9} {twice:6} "
                    f"{sum(outcome.accepted_twice > 0 for outcome in outcomes):9} "
                    f"{statistics.median(away):14.1f} {max(away):5.1f}",
                    flush=True,
                )
                twice_with_wait += twice if waits else 0
    return 1 if twice_with_wait else 0


if __name__ == "__main__":
    sys.exit(main())

"""What refusing costs: the time that the application takes to answer each kind of bad input, the dearest first.

Run from the repository: `PYTHONPATH=.:tests python bench/bad_input.py`. Each figure is the best of several posts to the
Flask application in this process, over a SQLite store; what HTTP itself costs is not in it.
"""

import logging
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

from support.applications import Application, make_application
from support.bad_input import BadInput, bad_inputs

ROUNDS = 5
AIM_MILLISECONDS = 50


def measure(post: Callable[[], object]) -> tuple[float, float]:
    """The first and the best of ROUNDS calls, in milliseconds. The first reads what later ones have cached."""
    times = []
    for _ in range(ROUNDS):
        started = perf_counter()
        post()
        times.append((perf_counter() - started) * 1000)
    return times[0], min(times)


def post(application: Application, kind: BadInput) -> str:
    answer = application.client.post("/v1/attestations", data=kind.body, content_type=kind.media_type)
    return str(answer.get_json()["code"])


def main() -> int:
    logging.disable()
    with tempfile.TemporaryDirectory() as directory:
        application = make_application(Path(directory))
        application.client.get("/healthz")  # Flask prepares itself at its first request
        rows = []
        for kind in bad_inputs():
            first, best = measure(partial(post, application, kind))
            rows.append((first, best, len(kind.body), post(application, kind), kind.name))
    rows.sort(reverse=True)
    sys.stdout.write(f"{'first ms':>9} {'best ms':>9} {'data':>7}  {'code':24} kind\n")
    for first, best, data, code, name in rows:
        sys.stdout.write(f"{first:9.2f} {best:9.2f} {data:7}  {code:24} {name}\n")
    slowest = rows[0]
    sys.stdout.write(f"\nslowest: {slowest[-1]}, {slowest[0]:.1f} ms; aim: under {AIM_MILLISECONDS} ms\n")
    return 0 if slowest[0] < AIM_MILLISECONDS else 1


if __name__ == "__main__":
    sys.exit(main())

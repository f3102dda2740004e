"""Measure the service, and print one table: each figure with the bar that it must reach.

Run from the repository: `make bench`, `make bench PART=core`, or `PYTHONPATH=tests .venv/bin/python bench core http`.
What is measured is the installed project. bench/README.md says what the figures mean.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import figures
from options import Options
from parts import core, growth, http, memory, start

PARTS: dict[str, Callable[[Options], list[figures.Figure]]] = {
    "core": core.measure,
    "http": http.measure,
    "growth": growth.measure,
    "memory": memory.measure,
    "start": start.measure,
}
_DEFAULT = Options()
_AFTER_LONG = 100_000
_JSON = Path(__file__).parents[1] / "build" / "bench.json"


def main() -> int:
    """Measure the parts that the arguments name. A missed bar is no error: the table shows it."""
    arguments = _parser().parse_args()
    logging.disable()
    options = Options(
        rounds=arguments.rounds,
        requests=arguments.requests,
        warm_up=arguments.warm_up,
        after=max(arguments.after, _AFTER_LONG) if arguments.long else arguments.after,
        long=arguments.long,
    )
    found: list[figures.Figure] = []
    for part in arguments.part or PARTS:
        started = time.monotonic()
        found += PARTS[part](options)
        sys.stderr.write(f"{part}: {time.monotonic() - started:.0f} s\n")
    sys.stdout.write(figures.table(found))
    figures.write_json(arguments.json, found, options=asdict(options))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], help="default: all of them")
    parser.add_argument("--rounds", type=int, default=_DEFAULT.rounds, help="repetitions, of which the median counts")
    parser.add_argument("--requests", type=int, default=_DEFAULT.requests, help="for each round of http")
    parser.add_argument(
        "--warm-up", type=int, default=_DEFAULT.warm_up, help="requests of memory before its first look"
    )
    parser.add_argument("--after", type=int, default=_DEFAULT.after, help="requests of memory between its two looks")
    parser.add_argument(
        "--long", action="store_true", help="the largest cases of growth, and 100,000 requests in memory"
    )
    parser.add_argument("--json", type=Path, default=_JSON, help="where the figures go as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())

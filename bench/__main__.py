"""Run parts of the benchmark, print their figures as a table, and write them as JSON.

`make bench`, or `make bench PART="core start"`. Figures with a bar are ratios where that is possible, because machines
differ. Run it on a quiet machine.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from bench import core, memory, requests, start
from bench.figures import Figure, as_json, table

_PARTS: dict[str, Callable[[], list[Figure]]] = {
    "core": core.measure,
    "start": start.measure,
    "http": requests.measure,
    "memory": memory.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(_PARTS)} (default: all)")
    parser.add_argument("--json", type=Path, default=Path("dist/bench.json"))
    arguments = parser.parse_args()
    logging.disable()
    figures: list[Figure] = []
    for name in arguments.parts or _PARTS:
        if name not in _PARTS:
            parser.error(f"unknown part {name!r}: choose from {', '.join(_PARTS)}")
        figures += _PARTS[name]()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(as_json(figures), encoding="utf-8")
    sys.stdout.write(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())

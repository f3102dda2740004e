# ruff: noqa: INP001 - a script beside the text that it makes, not a package
"""Prints docs/imds-conformance.md from the list of behaviours that the tests run:

.venv/bin/python docs/generate_imds_conformance.py > docs/imds-conformance.md
"""

import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.imds_behaviours import BEHAVIOURS
from support.imds_conformance import PUBLIC, Behaviour

_HEAD = """\
# IMDS, behaviour by behaviour

What Azure's page on the Instance Metadata Service (of January 2021, and the api-versions since) says that IMDS does, a
line each, by the sections of that page. `tests/conformance/test_imds.py` sends each request to a running
[emulator](emulator.md) and holds the answer against the last column: {count} tests. The machine is
[`{public}`](../examples/emulator/{public}.toml) where the line names no other.

This page is generated from the list in `tests/support/imds_behaviours.py` by
[generate_imds_conformance.py](generate_imds_conformance.py); do not edit it.
"""


def generate() -> str:
    parts = [_HEAD.format(count=len(BEHAVIOURS), public=PUBLIC)]
    for section, behaviours in groupby(BEHAVIOURS, key=lambda behaviour: behaviour.section):
        parts.append(f"## {section}\n\n| what | request | answer |\n| --- | --- | --- |\n")
        parts[-1] += "".join(_row(behaviour) for behaviour in behaviours)
    return "\n".join(parts)


def _row(behaviour: Behaviour) -> str:
    """The request that counts, after what is sent or put before it."""
    request = str(behaviour.request)
    if behaviour.before:
        request += f", after {len(behaviour.before)} of {behaviour.before[0]}"
    if behaviour.conditions is not None:
        request += f", under the fault `{behaviour.conditions.faults[0].kind}`"
    machine = "" if behaviour.machine == PUBLIC else f" [{behaviour.machine}]"
    return f"| {behaviour.says}{machine} | {request} | {'; '.join(one.told for one in behaviour.expected)} |\n"


if __name__ == "__main__":
    sys.stdout.write(generate())

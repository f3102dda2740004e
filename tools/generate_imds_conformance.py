"""Print docs/integrate/imds-conformance.md from the behaviours that the tests run. `make generate` writes it."""

import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.imds_behaviours import BEHAVIOURS
from support.imds_conformance import PUBLIC, Behaviour

_HEAD = """\
# IMDS conformance

Each line is one behaviour from Azure's page on the Instance Metadata Service (January 2021, with later api-versions),
in the order of the page. `tests/conformance/test_imds.py` sends each request to a running [emulator](emulator.md) and
checks the answer: {count} tests. The machine is [`{public}`](../../examples/emulator/{public}.toml),
unless the line names another one in brackets.

`make generate` writes this page with [generate_imds_conformance.py](../../tools/generate_imds_conformance.py), from the
list in `tests/support/imds_behaviours.py`. Do not edit it.
"""


def generate() -> str:
    parts = [_HEAD.format(count=len(BEHAVIOURS), public=PUBLIC)]
    for section, behaviours in groupby(BEHAVIOURS, key=lambda behaviour: behaviour.section):
        parts.append(f"## {section}\n\n| what | request | answer |\n| --- | --- | --- |\n")
        parts[-1] += "".join(_row(behaviour) for behaviour in behaviours)
    return "\n".join(parts)


def _row(behaviour: Behaviour) -> str:
    """Return a table row with the request and what happens before it."""
    request = str(behaviour.request)
    if behaviour.before:
        request += f", after {len(behaviour.before)} of {behaviour.before[0]}"
    if behaviour.conditions is not None:
        request += f", under the fault `{behaviour.conditions.faults[0].kind}`"
    machine = "" if behaviour.machine == PUBLIC else f" [{behaviour.machine}]"
    return f"| {behaviour.says}{machine} | {request} | {'; '.join(one.summary for one in behaviour.expected)} |\n"


if __name__ == "__main__":
    sys.stdout.write(generate())

"""Print docs/integrate/imds-conformance.md from the behaviours that the tests run. `make generate` writes it."""

import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.client_tables import table_of_clients
from support.imds_behaviours import BEHAVIOURS
from support.imds_conformance import EVERY_KEY, PUBLIC, Behaviour
from support.imds_fields import FIELDS, Field
from support.imds_sources import SOURCES

_HEAD = """\
# IMDS conformance

Each line is one behaviour of the Instance Metadata Service, in the order of Azure's page, with its evidence.
`tests/conformance/test_imds.py` sends each request to a running [emulator](emulator.md) and checks the answer: {count}
tests. The machine is [`{public}`](../../examples/emulator/{public}.toml), unless the line names another one
in brackets. `{every_key}` is [the machine of the snapshots](../../tests/data/imds-instance/README.md).

`make generate` writes this page with [generate_imds_conformance.py](../../tools/generate_imds_conformance.py), from the
lists in `tests/support/imds_behaviours.py` and `tests/support/imds_fields.py`. Do not edit it.

## Evidence

| evidence | source |
| --- | --- |
"""

_FIELDS = """\
## Fields of an instance

`/metadata/instance` has exactly these fields. `tests/conformance/test_imds_fields.py` checks each api-version.

| field | api-versions | absent without a value | evidence |
| --- | --- | --- | --- |
"""

_CLIENTS = """\
## Clients

`make clients` runs these unmodified clients with an emulator at 169.254.169.254. Each client gets what it needs. Each
[fault](emulator.md#faults-clocks-and-rollovers) ends as its documentation or its source says. "no end" means that the
client does not handle a response that breaks off, so its call never ends.

"""


def generate() -> str:
    head = _HEAD.format(count=len(BEHAVIOURS), public=PUBLIC, every_key=EVERY_KEY)
    parts = [head + "".join(f"| {source} | {source.description} |\n" for source in SOURCES)]
    for section, behaviours in groupby(BEHAVIOURS, key=lambda behaviour: behaviour.section):
        parts.append(f"## {section}\n\n| what | request | answer | evidence |\n| --- | --- | --- | --- |\n")
        parts[-1] += "".join(_row(behaviour) for behaviour in behaviours)
    parts.append(_FIELDS + "".join(_field(field) for field in FIELDS))
    parts.append(_CLIENTS + table_of_clients())
    return "\n".join(parts)


def _field(field: Field) -> str:
    versions = field.first if field.first == field.last else f"from {field.first}"
    return f"| `{field.path}` | {versions} | {'yes' if field.is_optional else ''} | {field.source} |\n"


def _row(behaviour: Behaviour) -> str:
    """Return a table row with the request and what happens before it."""
    request = str(behaviour.request)
    if behaviour.before:
        request += f", after {len(behaviour.before)} of {behaviour.before[0]}"
    if behaviour.conditions is not None:
        request += f", under the fault `{behaviour.conditions.faults[0].kind}`"
    machine = "" if behaviour.machine == PUBLIC else f" [{behaviour.machine}]"
    answer = "; ".join(one.summary for one in behaviour.expected)
    return f"| {behaviour.says}{machine} | {request} | {answer} | {behaviour.source} |\n"


if __name__ == "__main__":
    sys.stdout.write(generate())

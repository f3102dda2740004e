"""The emulator behaves as Azure's page says: one test per line of `support.imds_behaviours`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from support.imds_behaviours import BEHAVIOURS
from support.imds_conformance import Behaviour, machine_file
from support.imds_fields import FIELDS
from support.imds_sources import INFERENCE, SOURCES, Kind
from support.scripts import load_script

from verifier.emulator.server import RunningEmulator, loopback_emulator
from verifier.emulator.virtual_machines import read_virtual_machine

ROOT = Path(__file__).parents[2]
GENERATOR = ROOT / "tools" / "generate_imds_conformance.py"


@pytest.fixture(scope="module")
def emulator_of() -> Iterator[Callable[[str], RunningEmulator]]:
    """Start an emulator for an example machine on demand. The clock of its rate limit stands still."""
    with ExitStack() as stack:
        running: dict[str, RunningEmulator] = {}

        def start(machine: str) -> RunningEmulator:
            if machine not in running:
                vm = read_virtual_machine(machine_file(machine))
                running[machine] = stack.enter_context(loopback_emulator(vm, monotonic=lambda: 0.0))
            return running[machine]

        yield start


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=str)
def test_emulator_behaves_as_the_page_says(emulator_of: Callable[[str], RunningEmulator], behaviour: Behaviour) -> None:
    emulator = emulator_of(behaviour.machine)
    emulator.reset()
    before = tuple(request.send(emulator.url) for request in behaviour.before)
    if behaviour.conditions is not None:
        emulator.put(behaviour.conditions)

    answer = replace(behaviour.request.send(emulator.url), before=before)

    for expectation in behaviour.expected:
        expectation.check(answer)


def test_every_line_is_different() -> None:
    assert len({str(behaviour) for behaviour in BEHAVIOURS}) == len(BEHAVIOURS)


def test_every_source_is_used_and_named_once() -> None:
    """Most lines are from a source: few follow only from others."""
    used = [*(behaviour.source for behaviour in BEHAVIOURS), *(field.source for field in FIELDS)]
    assert set(used) == set(SOURCES)
    assert len({str(source) for source in SOURCES}) == len(SOURCES)
    assert [source for source in SOURCES if source.kind is Kind.INFERENCE] == [INFERENCE]
    assert used.count(INFERENCE) < len(used) / 8


def test_conformance_page_is_up_to_date() -> None:
    page = load_script("tools/generate_imds_conformance.py").generate()
    assert (ROOT / "docs" / "integrate" / "imds-conformance.md").read_text("utf-8") == page

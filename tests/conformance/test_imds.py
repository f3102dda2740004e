"""The emulator behaves as Azure's page says: one test per line of `support.imds_behaviours`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.imds_behaviours import BEHAVIOURS
from support.imds_conformance import Behaviour
from support.scripts import load_script

from verifier.emulator.server import RunningEmulator, loopback_emulator
from verifier.emulator.virtual_machines import read_virtual_machine

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "emulator"
GENERATOR = ROOT / "tools" / "generate_imds_conformance.py"


@pytest.fixture(scope="module")
def emulator_of() -> Iterator[Callable[[str], RunningEmulator]]:
    """Start an emulator for an example machine on demand. The clock of its rate limit stands still."""
    with ExitStack() as stack:
        running: dict[str, RunningEmulator] = {}

        def start(machine: str) -> RunningEmulator:
            if machine not in running:
                vm = read_virtual_machine(EXAMPLES / f"{machine}.toml")
                running[machine] = stack.enter_context(loopback_emulator(vm, monotonic=lambda: 0.0))
            return running[machine]

        yield start


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=str)
def test_emulator_behaves_as_the_page_says(emulator_of: Callable[[str], RunningEmulator], behaviour: Behaviour) -> None:
    emulator = emulator_of(behaviour.machine)
    emulator.reset()
    for request in behaviour.before:
        request.send(emulator.url)
    if behaviour.conditions is not None:
        emulator.put(behaviour.conditions)

    answer = behaviour.request.send(emulator.url)

    for expectation in behaviour.expected:
        expectation.check(answer)


def test_every_line_is_different() -> None:
    assert len({str(behaviour) for behaviour in BEHAVIOURS}) == len(BEHAVIOURS)


def test_conformance_page_is_up_to_date() -> None:
    page = load_script("tools/generate_imds_conformance.py").generate()
    assert (ROOT / "docs" / "integrate" / "imds-conformance.md").read_text("utf-8") == page

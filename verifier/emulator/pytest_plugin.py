"""The emulator as pytest fixtures, for whoever asks for them: `pytest_plugins = ["verifier.emulator.pytest_plugin"]`.

pytest is not among what this package installs: a project that has this line has it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from verifier.emulator.documents import VirtualMachine
from verifier.emulator.server import RunningEmulator, loopback_emulator


@pytest.fixture(scope="session")
def imds_emulator_vm() -> VirtualMachine:
    """The machine that IMDS tells of. Override it, with this scope, to have another one."""
    return VirtualMachine()


@pytest.fixture(scope="session")
def imds_emulator_of_the_session(imds_emulator_vm: VirtualMachine) -> Iterator[RunningEmulator]:
    """One server for the run, on a loopback port of its own; it answers whoever asks. Tests take `imds_emulator`."""
    with loopback_emulator(imds_emulator_vm) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def imds_emulator_trust_dir(
    imds_emulator_of_the_session: RunningEmulator, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The trust directory for `VERIFIER_TRUST_DIR`: with it a verifier accepts this emulator's documents alone."""
    directory = tmp_path_factory.mktemp("imds-emulator") / "trust"
    imds_emulator_of_the_session.write_trust(directory)
    return directory


@pytest.fixture
def imds_emulator(imds_emulator_of_the_session: RunningEmulator) -> Iterator[RunningEmulator]:
    """The emulator as it is at the start: undisturbed, and with nothing counted against its rate."""
    imds_emulator_of_the_session.reset()
    yield imds_emulator_of_the_session
    imds_emulator_of_the_session.reset()

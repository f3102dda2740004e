"""The emulator as pytest fixtures. Enable them with `pytest_plugins = ["verifier.emulator.pytest_plugin"]`.

This package does not install pytest: a project that enables the fixtures has it already.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from verifier.emulator.documents import VirtualMachine
from verifier.emulator.server import RunningEmulator, loopback_emulator


@pytest.fixture(scope="session")
def imds_emulator_vm() -> VirtualMachine:
    """Return the machine to emulate. Override it, with session scope, to emulate another one."""
    return VirtualMachine()


@pytest.fixture(scope="session")
def imds_emulator_of_the_session(imds_emulator_vm: VirtualMachine) -> Iterator[RunningEmulator]:
    """Run one server for all tests, on a free loopback port. Tests use `imds_emulator` instead."""
    with loopback_emulator(imds_emulator_vm) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def imds_emulator_trust_dir(
    imds_emulator_of_the_session: RunningEmulator, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a directory for `VERIFIER_TRUST_DIR`. With it, a verifier accepts only this emulator's documents."""
    directory = tmp_path_factory.mktemp("imds-emulator") / "trust"
    imds_emulator_of_the_session.write_trust(directory)
    return directory


@pytest.fixture
def imds_emulator(imds_emulator_of_the_session: RunningEmulator) -> Iterator[RunningEmulator]:
    """Return the emulator without faults, and with an unused rate limit."""
    imds_emulator_of_the_session.reset()
    yield imds_emulator_of_the_session
    imds_emulator_of_the_session.reset()

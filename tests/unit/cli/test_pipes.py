"""A reader that closes the output is no error of the command, and does not change a verdict."""

import os
import subprocess
import sys

import pytest
from support import documents

SAMPLE = str(documents.SAMPLES / "public-eastus-2026-07-28.json")
VALID, EXPIRED = ("--at", "2026-07-28T13:24:00Z"), ("--at", "2026-07-29T13:24:00Z")


def status_with_closed_output(*arguments: str, **environment: str) -> int:
    """Return the exit status of the command, and check that it does not complain."""
    reader, writer = os.pipe()
    os.close(reader)
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "verifier", *arguments],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
            env={**inherited, **environment},
        )
    assert done.stderr == b""
    return done.returncode


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("verify", SAMPLE, *VALID), 0),
        (("verify", SAMPLE, "--json", *VALID), 0),
        (("verify", SAMPLE, "--json", *EXPIRED), 1),
    ],
)
def test_a_command_that_finished_keeps_its_status(arguments: tuple[str, ...], status: int) -> None:
    assert status_with_closed_output(*arguments) == status


def test_a_command_that_could_not_finish_ends_as_with_sigpipe() -> None:
    assert status_with_closed_output("inspect", SAMPLE, PYTHONUNBUFFERED="1") == 141

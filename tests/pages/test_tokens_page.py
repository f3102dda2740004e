"""docs/integrate/tokens.md: its commands make keys, start a service that signs, and rotate the keys.

tests/unit/adapters/tokens/test_issuer.py runs the check in Python, and tests/system/test_hsm.py those for an HSM.
"""

import json
import os
import time
from pathlib import Path

from support.page_blocks import blocks_of, commands_of, free_port, run_commands, run_in_order
from support.page_servers import one_after_the_other
from support.token_load import keys

PAGE = "docs/integrate/tokens.md"
RUNS_BLOCKS = {"docs/integrate/tokens.md": {"Result tokens": 1, "Rotation": 1}}
KEYS_DIR = "/etc/imds-verifier/keys"
OLD, NEW = "20260823-34ee5902a30f", "20261123-810d2eaa5bda"


def test_service_with_a_key_starts(tmp_path: Path) -> None:
    [block] = blocks_of(PAGE, "Result tokens", "sh")
    [printed] = run_in_order(
        [one_after_the_other(block, servers=1)],
        directory=tmp_path,
        environment={"VERIFIER_PORT": free_port(), "VERIFIER_WORKERS": "1", "XDG_STATE_HOME": str(tmp_path)},
        stand_ins={KEYS_DIR: str(tmp_path / "keys")},
    )
    kid, *told = printed.splitlines()
    assert (tmp_path / "keys" / f"{kid}.pem").exists()
    assert any("listening on" in line for line in told)


def test_key_is_rotated(tmp_path: Path) -> None:
    """The times that the page waits pass before each command: they count from the times of the files."""
    directory = tmp_path / "keys"
    generate, show, rotate, retire = commands_of(PAGE, "Rotation").replace(KEYS_DIR, str(directory)).splitlines()

    def run(command: str) -> str:
        return run_commands(command, directory=tmp_path, environment={}).strip()

    old, new = keys(directory, "generate"), run(generate)
    assert kids(run(show)) == [old, new]
    pass_seconds(directory, 301)
    run(rotate.replace(NEW, new))
    assert kids(keys(directory, "show")) == [new, old]
    pass_seconds(directory, 601)
    run(retire.replace(OLD, old))
    assert kids(keys(directory, "show")) == [new]


def kids(key_set: str) -> list[str]:
    return [key["kid"] for key in json.loads(key_set)["keys"]]


def pass_seconds(directory: Path, seconds: int) -> None:
    moment = time.time() - seconds
    for file in directory.iterdir():
        os.utime(file, (moment, moment))

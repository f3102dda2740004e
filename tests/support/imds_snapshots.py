"""The snapshots of `/metadata/instance`, in tests/data/imds-instance: one for each api-version that changes the answer.

`PYTHONPATH=tests python -m support.imds_snapshots` writes them again. Then review the difference.
"""

import json
from itertools import pairwise
from pathlib import Path

from verifier.emulator.instance import instance_metadata
from verifier.emulator.schema import Json
from verifier.emulator.versions import API_VERSIONS
from verifier.emulator.virtual_machines import read_virtual_machine

DIRECTORY = Path(__file__).parents[1] / "data" / "imds-instance"
#: A machine with a value for every key that a file can have.
MACHINE = DIRECTORY / "machine.toml"


def snapshots() -> dict[str, object]:
    """Return the snapshots by the api-version that they begin with."""
    return {file.stem: json.loads(file.read_bytes()) for file in sorted(DIRECTORY.glob("*.json"))}


def snapshot_of(version: str) -> object:
    """Return the answer at an api-version: the newest snapshot that is not newer."""
    kept = snapshots()
    return kept[max(first for first in kept if first <= version)]


def _write() -> None:
    for file in DIRECTORY.glob("*.json"):
        file.unlink()
    vm = read_virtual_machine(MACHINE)
    answers: dict[str, Json] = {v: instance_metadata(vm, api_version=v, is_extended=True) for v in API_VERSIONS}
    changed = [API_VERSIONS[0], *(newer for older, newer in pairwise(API_VERSIONS) if answers[older] != answers[newer])]
    for version in changed:
        text = json.dumps(answers[version], indent=1, sort_keys=True)
        (DIRECTORY / f"{version}.json").write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    _write()

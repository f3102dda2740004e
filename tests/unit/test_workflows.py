"""The workflows of GitHub run code of others by its commit, and install by hash."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call

WORKFLOWS = sorted((Path(__file__).parents[2] / ".github" / "workflows").glob("*.y*ml"))
#: An action of a repository, its full commit, and the version that this is.
_PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
each_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)


def read(workflow: Path) -> dict[str, Any]:
    fields: dict[str, Any] = yaml.safe_load(workflow.read_text("utf-8"))
    return fields


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in read(workflow)["jobs"].values() for step in job.get("steps", [job])]


def test_there_are_workflows() -> None:
    assert WORKFLOWS


@each_workflow
def test_every_action_is_pinned_by_its_commit(workflow: Path) -> None:
    written = re.findall(r"^[ -]*uses: *(.*)$", workflow.read_text("utf-8"), re.MULTILINE)
    used = [str(step["uses"]) for step in steps(workflow) if "uses" in step]
    assert [pin.split(" # ")[0] for pin in written] == used
    assert [pin for pin in written if not _PINNED.fullmatch(pin)] == []


@each_workflow
def test_what_is_installed_is_named_by_its_hash(workflow: Path) -> None:
    scripts = "\n".join(str(step.get("run", "")) for step in steps(workflow)).replace("\\\n", " ")
    commands = [line for line in scripts.splitlines() if re.search(r"\b(install|add|sync|build|tool)\b", line)]
    loose = [command for command in commands if "--require-hashes" not in command]
    # Our own wheel, which was just built.
    assert [command for command in loose if not command.endswith(" --no-deps dist/*.whl")] == []


@each_workflow
def test_the_token_of_a_run_can_only_read(workflow: Path) -> None:
    assert read(workflow)["permissions"] == {"contents": "read"}
    assert [job for job in read(workflow)["jobs"].values() if "permissions" in job] == []

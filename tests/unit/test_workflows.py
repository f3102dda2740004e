"""The workflows of GitHub run code of others by its commit, and install by hash."""

import base64
import gzip
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call

WORKFLOWS = sorted((Path(__file__).parents[2] / ".github" / "workflows").glob("*.y*ml"))
PROPOSE = WORKFLOWS[0].parents[1] / "propose-trust-entries.sh"
BRANCH = "trust-check/entries"
MAINTAINER = ("-c", "user.name=maintainer", "-c", "user.email=maintainer@example.com")
#: An action of a repository, its full commit, and the version that this is; or a workflow of this repository.
_PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\$/\.github/workflows/[a-z-]+\.yml")
#: The jobs that can write or sign, with what they are allowed to.
_WRITING = {
    ("trust-check.yml", "propose"): {"contents", "pull-requests"},
    ("release.yml", "image"): {"packages"},
    ("release.yml", "image-index"): {"attestations", "id-token", "packages"},
    ("release.yml", "chart"): {"id-token", "packages"},
    ("release.yml", "provenance"): {"attestations", "id-token"},
    ("release.yml", "pypi"): {"id-token"},
    ("release.yml", "github"): {"contents"},
    ("release.yml", "site"): {"id-token", "pages"},
    ("site.yml", "deploy"): {"id-token", "pages"},
}
#: Programs that run code of the repository or of a package.
_RUNNERS = re.compile(r"\b(make|pip|uv|npm|npx|python3?|pytest|\.ci/run)\b")
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
    # Our own wheel, which was just built, and the image, whose Dockerfile installs by hash.
    ours = (" --no-deps dist/*.whl", " --metadata-file metadata.json")
    assert [command for command in loose if not command.rstrip().endswith(ours)] == []


@each_workflow
def test_only_a_job_that_runs_no_code_of_a_package_can_write(workflow: Path) -> None:
    fields = read(workflow)
    assert fields["permissions"] == {"contents": "read"}
    for name, job in fields["jobs"].items():
        granted = {scope for scope, level in job.get("permissions", {}).items() if level == "write"}
        assert granted == _WRITING.get((workflow.name, name), set()), name
        scripts = [str(step.get("run", "")) for step in job.get("steps", [])]
        if granted:
            assert [script for script in scripts if _RUNNERS.search(script)] == [], name


@each_workflow
def test_a_job_has_a_bound_and_leaves_no_token_in_the_checkout(workflow: Path) -> None:
    fields = read(workflow)
    assert fields["concurrency"]["group"]
    for name, job in fields["jobs"].items():
        assert ("uses" in job) != (0 < job.get("timeout-minutes", 0) <= 180), name
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_the_gate_runs_on_every_python_of_the_metadata() -> None:
    root = Path(__file__).parents[2]
    [workflow] = [path for path in WORKFLOWS if path.name == "ci.yml"]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    versions = [name.rpartition(" ")[2] for name in project["classifiers"] if name.startswith("Programming Language")]
    assert read(workflow)["jobs"]["gate"]["strategy"]["matrix"]["python"] == versions
    assert project["requires-python"] == f">={versions[0]},<3.{int(versions[-1].partition('.')[2]) + 1}"
    makefile = (root / "Makefile").read_text("utf-8")
    assert "python3 " + " ".join(f"python{version}" for version in reversed(versions)) in makefile


def test_only_the_schedule_proposes_and_only_changes() -> None:
    [workflow] = [path for path in WORKFLOWS if path.name == "trust-check.yml"]
    jobs = read(workflow)["jobs"]

    assert jobs["propose"]["needs"] == "compare"
    assert "github.event_name == 'schedule'" in jobs["propose"]["if"]
    assert "needs.compare.outputs.patch != ''" in jobs["propose"]["if"]
    [compare] = [step for step in jobs["compare"]["steps"] if step.get("id") == "compare"]
    assert '--write-entries "$GITHUB_WORKSPACE/trust_roots"' in compare["run"]
    assert 'exit "$status"' in compare["run"]


def test_no_code_of_a_package_runs_beside_the_files_of_the_feed() -> None:
    [workflow] = [path for path in WORKFLOWS if path.name == "site.yml"]
    jobs = read(workflow)["jobs"]

    assert [step["run"] for step in jobs["docs"]["steps"] if "run" in step] == ["make docs"]
    assert "trust-feed" not in str(jobs["docs"])
    assert jobs["collect"]["needs"] == "docs"
    assert [step for step in jobs["collect"]["steps"] if _RUNNERS.search(str(step.get("run", "")))] == []
    assert jobs["deploy"]["needs"] == "collect"


# --- The script that proposes entries, with a real repository. `gh` records its arguments, because there is no GitHub.


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposing:
    directory: Path
    environment: Mapping[str, str]

    def git(self, *arguments: str, clone: str = "clone") -> str:
        return self._run(["git", *arguments], self.directory / clone)

    def patch(self, changes: Mapping[str, str]) -> str:
        """Return the variable PATCH for these files, and leave the clone as it was."""
        for name, text in changes.items():
            path = self.directory / "clone" / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text, "utf-8")
        self.git("add", ".")
        diff = self.git("diff", "--cached", "--binary")
        self.git("reset", "--quiet", "--hard")
        return base64.b64encode(gzip.compress(diff.encode("utf-8"))).decode("ascii")

    def propose(self, patch: str, *, open_number: str = "") -> str:
        """Run the script in a clone of its own, and return what it printed."""
        shutil.rmtree(self.directory / "run", ignore_errors=True)
        self._run(["git", "clone", "--quiet", "origin.git", "run"], self.directory)
        report = base64.b64encode(b"added intermediates/new.pem\nno entry for 01 ```\n# x: why").decode("ascii")
        variables = {"PATCH": patch, "REPORT": report, "BRANCH": BRANCH, "OPEN_NUMBER": open_number}
        return self._run([str(PROPOSE)], self.directory / "run", variables)

    def calls(self) -> list[str]:
        return (self.directory / "calls").read_text("utf-8").splitlines()

    def _run(self, command: list[str], place: Path, variables: Mapping[str, str] | None = None) -> str:
        environment = {**self.environment, **(variables or {})}
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def proposing(tmp_path: Path) -> Proposing:
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$*" >> "$CALLS"\n[ "$1 $2" != "pr list" ] || printf %s "$OPEN_NUMBER"\n'
        'for last; do case $last in */body.md) cat "${last#body=@}" > "$CALLS.body";; esac; done\n',
        "utf-8",
    )
    gh.chmod(0o755)
    made = Proposing(
        directory=tmp_path,
        environment={
            "PATH": f"{gh.parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "CALLS": str(tmp_path / "calls"),
            "GITHUB_REPOSITORY": "owner/name",
            "GITHUB_REF_NAME": "main",
        },
    )
    made.git("init", "--quiet", "--bare", "--initial-branch=main", "origin.git", clone=".")
    made.git("clone", "--quiet", "origin.git", "clone", clone=".")
    (tmp_path / "clone" / "trust_roots").mkdir()
    (tmp_path / "clone" / "trust_roots" / "manifest.toml").write_text("format = 1\n", "utf-8")
    made.git("add", ".")
    made.git(*MAINTAINER, "commit", "--quiet", "--message", "start")
    made.git("branch", "--move", "--force", "main")
    made.git("push", "--quiet", "origin", "main")
    return made


NEW = {
    "trust_roots/manifest.toml": "format = 1\n# more\n",
    "trust_roots/intermediates/new.pem": "PEM\n",
    ".github/workflows/evil.yml": "on: push\n",
    "trust_roots/roots/evil.pem": "PEM\n",
}


def test_proposes_only_intermediates_and_the_manifest(proposing: Proposing) -> None:
    proposing.propose(proposing.patch(NEW))

    changed = proposing.git("diff", "--name-only", "main", BRANCH, clone="origin.git").split()
    assert changed == ["trust_roots/intermediates/new.pem", "trust_roots/manifest.toml"]
    assert proposing.git("log", "-1", "--format=%an", BRANCH, clone="origin.git") == "github-actions[bot]\n"
    assert [call.split()[:2] for call in proposing.calls()] == [["auth", "setup-git"], ["pr", "list"], ["pr", "create"]]
    body = (proposing.directory / "calls.body").read_text("utf-8")
    assert "    added intermediates/new.pem\n    no entry for 01 ```\n    # x: why" in body
    assert "compare each thumbprint with [Azure's page]" in body


def test_updates_the_open_pull_request(proposing: Proposing) -> None:
    proposing.propose(proposing.patch(NEW))
    before = proposing.git("rev-parse", BRANCH, clone="origin.git")
    proposing.propose(proposing.patch(NEW), open_number="7")
    assert proposing.git("rev-parse", BRANCH, clone="origin.git") == before

    proposing.propose(proposing.patch({**NEW, "trust_roots/intermediates/second.pem": "PEM\n"}), open_number="7")

    assert "second.pem" in proposing.git("diff", "--name-only", "main", BRANCH, clone="origin.git")
    assert proposing.git("rev-list", "--count", f"main..{BRANCH}", clone="origin.git") == "1\n"
    assert [call.split()[:2] for call in proposing.calls()].count(["pr", "create"]) == 1
    assert proposing.calls()[-1].startswith("api --silent --method PATCH repos/owner/name/pulls/7 --field body=@")


def test_leaves_the_commits_of_a_maintainer(proposing: Proposing) -> None:
    proposing.propose(proposing.patch(NEW))
    proposing.git("fetch", "--quiet", "origin", BRANCH)
    proposing.git("checkout", "--quiet", "-B", "work", "FETCH_HEAD")
    proposing.git(*MAINTAINER, "commit", "--quiet", "--allow-empty", "--message", "Add the provenance")
    proposing.git("push", "--quiet", "origin", f"HEAD:{BRANCH}")
    kept = proposing.git("rev-parse", "HEAD")
    proposing.git("checkout", "--quiet", "main")
    calls = len(proposing.calls())

    told = proposing.propose(proposing.patch({**NEW, "trust_roots/intermediates/second.pem": "PEM\n"}), open_number="7")

    assert told.startswith("::warning::")
    assert proposing.git("rev-parse", BRANCH, clone="origin.git") == kept
    assert [call.split()[0] for call in proposing.calls()[calls:]] == ["auth"]

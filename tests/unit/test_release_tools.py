"""What a release takes from the repository: its version, and its notes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
PLACES = {
    "verifier/__init__.py": '__version__ = "1.2.3"\n',
    "verifier/relying_party/__init__.py": '__version__ = "1.2.3"\n',
    "helm/verifier/Chart.yaml": "version: 1.2.3\nappVersion: 1.2.3\n",
}
CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.3] - 2026-12-01

### Added

- A thing with a [link](docs/a.md).

## [1.2.2] - 2026-11-01

- Older.
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in {**PLACES, "CHANGELOG.md": CHANGELOG}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    (tmp_path / "tools").mkdir()
    for name in ("versions.py", "release_notes.py"):
        (tmp_path / "tools" / name).write_bytes((TOOLS / name).read_bytes())
    return tmp_path


def call(root: Path, *command: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, f"tools/{command[0]}", *command[1:]], cwd=root, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_the_places_of_this_repository_agree() -> None:
    status, version, told = call(ROOT, "versions.py")
    assert (status, told) == (0, "")
    assert version.count(".") == 2


def test_a_tag_of_the_version_with_notes_is_accepted(repository: Path) -> None:
    assert call(repository, "versions.py", "v1.2.3") == (0, "1.2.3\n", "")


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2.4", "v1.2.3-rc1", ""])
def test_another_tag_is_refused(repository: Path, tag: str) -> None:
    status, _, told = call(repository, "versions.py", tag)
    assert (status, told) == (1, f"versions.py: the tag is {tag}, and the version is 1.2.3\n")


@pytest.mark.parametrize("name", PLACES)
def test_a_place_with_another_version_is_named(repository: Path, name: str) -> None:
    (repository / name).write_text(PLACES[name].replace("1.2.3", "1.2.4", 1), "utf-8")
    status, _, told = call(repository, "versions.py")
    assert status == 1
    assert f"{name} says 1.2.4" in told


@pytest.mark.parametrize("name", PLACES)
def test_a_place_without_a_version_is_named(repository: Path, name: str) -> None:
    (repository / name).write_text("", "utf-8")
    status, _, told = call(repository, "versions.py")
    assert status == 1
    assert name in told


def test_notes_are_the_text_below_the_heading_of_the_version(repository: Path) -> None:
    notes = "### Added\n\n- A thing with a [link](docs/a.md).\n"
    assert call(repository, "release_notes.py", "1.2.3") == (0, notes, "")
    assert call(repository, "release_notes.py", "1.2.2") == (0, "- Older.\n", "")


@pytest.mark.parametrize("version", ["1.2.4", "1.2", "Unreleased", "1x2.3"])
def test_a_version_without_notes_is_refused(repository: Path, version: str) -> None:
    status, _, told = call(repository, "release_notes.py", version)
    assert (status, told) == (
        1,
        f"release_notes.py: CHANGELOG.md has no text below '## [{version}] - YYYY-MM-DD'\n",
    )


def test_a_tag_without_notes_is_refused(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text("# Changelog\n\n## [1.2.3] - 2026-12-01\n", "utf-8")
    assert call(repository, "versions.py", "v1.2.3")[0] == 1


@pytest.mark.parametrize("command", [("versions.py", "a", "b"), ("release_notes.py",)])
def test_other_arguments_are_a_slip_of_use(repository: Path, command: tuple[str, ...]) -> None:
    status, _, told = call(repository, *command)
    assert status == 2
    assert told.startswith("usage: ")

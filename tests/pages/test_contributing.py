"""CONTRIBUTING.md: its commands run in a copy of the repository, and each target and file that it names exists."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from support.page_blocks import ROOT, blocks_of, pages, run_commands

PAGE = "CONTRIBUTING.md"
RUNS_BLOCKS = {"CONTRIBUTING.md": {"Run one test": 1, "Add a vector": 1}}
#: `make lint` installs into .venv. Here make only shows what it would run.
STAND_INS = {"make lint": "make --dry-run lint"}
MADE = ("node_modules", "__pycache__", ".pytest_cache")
_TARGETS = re.compile(r"^([a-z][a-z-]*):(?!=)", re.MULTILINE)
_MAKE = re.compile(r"(?:`|^ *|\bTAG=\S+ )make ([a-z-]+)", re.MULTILINE)
_PATHS = re.compile(r"\b(?:verifier|tests|tools|helm|docs|examples|trust_roots|vectors)/[\w./-]*\w")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of what the commands need, with the packages of this run."""
    for name in ("tests", "tools", "trust_roots", "vectors"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(*MADE))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def run(section: str, directory: Path) -> str:
    [block] = blocks_of(PAGE, section, "sh")
    script = block.commands
    for shown, used in STAND_INS.items():
        assert shown in script
        script = script.replace(shown, used)
    return run_commands(script, directory=directory, environment={"PYTHONDONTWRITEBYTECODE": "1"})


def test_one_test_runs(repository: Path) -> None:
    assert re.search(r"= \d+ passed in ", run("Run one test", repository))


def test_missing_vector_is_added(repository: Path) -> None:
    vector = min((repository / "vectors" / "malformed-evidence").iterdir())
    shutil.rmtree(vector)
    assert "1 vectors added" in run("Add a vector", repository)
    assert vector.is_dir()


def test_named_targets_exist() -> None:
    targets = set(_TARGETS.findall((ROOT / "Makefile").read_text("utf-8")))
    named = {(page, target) for page in pages() for target in _MAKE.findall((ROOT / page).read_text("utf-8"))}
    assert len(named) > 10
    assert [(page, target) for page, target in sorted(named) if target not in targets] == []


def test_named_files_exist() -> None:
    text = (ROOT / PAGE).read_text("utf-8")
    named = {path.rstrip(".") for path in _PATHS.findall(text)}
    assert len(named) > 30
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []

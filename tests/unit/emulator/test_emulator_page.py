"""docs/integrate/emulator.md documents every option and public name, and its example runs."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.page_blocks import ROOT, blocks_of

from verifier import emulator
from verifier.emulator.command import configure
from verifier.emulator.faults import FaultKind
from verifier.emulator.scenarios import Scenario

RUNS_BLOCKS = {"docs/integrate/emulator.md": {"In pytest": 2}}
PAGE = (ROOT / "docs" / "integrate" / "emulator.md").read_text("utf-8")


def test_page_names_every_option() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    configure(parser)
    options = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001 - no public way
    assert "--authority" in options
    assert [option for option in options if f"`{option}`" not in PAGE] == []


def test_page_names_every_public_name() -> None:
    assert [name for name in emulator.__all__ if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("choice", [*FaultKind, *Scenario])
def test_page_has_every_fault_and_scenario_in_a_table(choice: str) -> None:
    assert f"\n| `{choice}` | " in PAGE


def test_page_links_every_example() -> None:
    files = sorted(file.name for file in (ROOT / "examples" / "emulator").iterdir())
    assert sorted(re.findall(r"\]\(\.\./\.\./examples/emulator/([\w.-]+)\)", PAGE)) == files


def test_pytest_example_of_the_page_runs(tmp_path: Path) -> None:
    conftest, example = blocks_of("docs/integrate/emulator.md", "In pytest", "python")
    (tmp_path / "conftest.py").write_text(conftest.text, "utf-8")
    (tmp_path / "test_example.py").write_text(example.text, "utf-8")

    ran = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-c", "/dev/null", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout

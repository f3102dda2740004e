"""The rules of the code base that a machine can check: who imports whom, and how long a module is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = REPOSITORY / "verifier"
MODULES = sorted(SOURCES.rglob("*.py"))

#: A module beyond about 300 lines wants to be two.
MOST_LINES = 330


def names_of(modules: list[Path]) -> list[str]:
    return [str(module.relative_to(REPOSITORY)) for module in modules]


def test_finds_the_modules() -> None:
    assert len(MODULES) > 40


def test_keeps_the_contracts_between_the_packages() -> None:
    """import-linter's, in pyproject.toml, over the sources; a contract that names a module that is gone fails too."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize("module", names_of(MODULES))
def test_is_a_module_of_a_readable_length(module: str) -> None:
    assert len((REPOSITORY / module).read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("module", names_of(MODULES))
def test_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(ast.parse((REPOSITORY / module).read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", names_of([module for module in MODULES if "core" in module.parts]))
def test_the_core_asks_no_clock(module: str) -> None:
    """`datetime` is imported there, for its type; asking it for the time is what the imports cannot tell."""
    asked = {
        node.attr
        for node in ast.walk(ast.parse((REPOSITORY / module).read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    assert not asked & {"now", "utcnow", "today"}


def test_takes_asn1_types_that_are_ready_for_threads() -> None:
    """core.asn1 makes them so; the emulator, which is apart, uses none that has tables."""
    importers = {
        str(module.relative_to(SOURCES))
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "asn1crypto"
    }
    assert importers == {"core/asn1.py", "emulator/cms.py"}

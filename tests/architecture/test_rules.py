"""Check the rules of the code base: imports, module length, and docs/understand/architecture.md."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import verifier
import verifier.relying_party

REPOSITORY = Path(__file__).parents[2]
SOURCES = REPOSITORY / "verifier"
MODULES = sorted(SOURCES.rglob("*.py"))
PAGE = (REPOSITORY / "docs" / "understand" / "architecture.md").read_text(encoding="utf-8")

#: A longer module should be two.
MAX_LINES = 330


def name_of(module: Path) -> str:
    return module.relative_to(REPOSITORY).as_posix()


def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def test_import_contracts_hold() -> None:
    """import-linter's contracts in pyproject.toml, over the sources. A contract that names no module fails too."""
    assert len(MODULES) > 100
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


def test_every_module_has_a_readable_length() -> None:
    lengths = {name_of(module): len(module.read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_every_module_has_a_docstring() -> None:
    assert [name_of(module) for module in MODULES if not ast.get_docstring(tree_of(module))] == []


def test_core_reads_no_clock() -> None:
    """`datetime` is imported for its type. The import contracts cannot see a call of `datetime.now`."""
    readers = [
        name_of(module)
        for module in MODULES
        if "core" in module.parts
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
    ]
    assert readers == []


def test_asn1_types_are_taken_from_the_module_that_makes_them_thread_safe() -> None:
    """core.encoding.asn1 does. The emulator, which is apart, uses only the low-level parser."""
    importers = {
        name_of(module)
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "asn1crypto"
    }
    assert importers == {"verifier/core/encoding/asn1.py", "verifier/emulator/cms.py"}


def packages() -> set[str]:
    """Every package and every top-level module below verifier/, as paths in it."""
    folders = {path.parent.relative_to(SOURCES).as_posix() + "/" for path in SOURCES.rglob("__init__.py")} - {"./"}
    return folders | {path.name for path in SOURCES.glob("*.py") if not path.name.startswith("__")}


def test_the_diagram_names_every_package() -> None:
    """The first code block of the page, whose indented lines begin with a package or a module."""
    [diagram, *_] = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    named: list[str] = []
    parents: list[str] = []
    for indent, name in re.findall(r"^( +)([a-z_]+(?:/|\.py))(?= |$)", diagram, re.MULTILINE):
        depth = len(indent) // 2 - 1
        parents[depth:] = [name]
        named.append("".join(parents))
    assert sorted(named) == sorted(packages())


def test_the_page_names_only_modules_that_exist() -> None:
    named = set(re.findall(r"`((?:core|ports|usecases|adapters|api|cli|emulator|relying_party)(?:\.[a-z_]+)+)", PAGE))
    assert len(named) > 10
    modules = {".".join(path.relative_to(SOURCES).with_suffix("").parts) for path in MODULES}
    packages_and_modules = modules | {name.removesuffix(".__init__") for name in modules}
    # The last part may be a function of a module.
    unknown = {name for name in named if name not in packages_and_modules and name.rpartition(".")[0] not in modules}
    assert unknown == set()


@pytest.mark.parametrize(
    ("heading", "module"),
    [("public names", verifier), ("public names of verifier.relying_party", verifier.relying_party)],
)
def test_the_page_lists_the_public_names(heading: str, module: ModuleType) -> None:
    [names] = re.findall(rf"^<!-- {heading} -->\n(.*?)^<!-- end -->$", PAGE, re.MULTILINE | re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", names)) == sorted(module.__all__)


def test_importing_the_library_imports_only_the_standard_library() -> None:
    probe = (
        "import sys, verifier\n"
        "foreign = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in foreign if not name.startswith('_')))"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{probe}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.strip() == "['verifier']"

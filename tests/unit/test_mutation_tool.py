"""The tool behind `make mutants`: which changes it makes, and what it reports of a package with a weak test."""

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "mutation"


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(TOOL)
    yield import_module("changes")
    sys.modules.pop("changes")


def listed(changes: ModuleType, source: str) -> list[str]:
    tree = ast.parse(textwrap.dedent(source))
    return [f"{one.before}  ->  {one.after}" for one in changes.list_mutants(tree)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", ["a < b  ->  a <= b", "a < b  ->  a >= b"]),
        ("x = a and b", ["a and b  ->  b", "a and b  ->  a"]),
        ("x = not a", ["not a  ->  a"]),
        ("x = a + 1", ["a + 1  ->  a - 1", "a + 1  ->  a + 2", "a + 1  ->  a + 0"]),
        ("x = True", ["True  ->  False"]),
        ("x = 'key'", ["'key'  ->  'XXkeyXX'"]),
        ("x = b'key'", ["b'key'  ->  b'XXkey'"]),
        ("x = f(a)", ["f(a)  ->  f(None)"]),
        ("x = f(a=b)", ["a=b  ->  a=None"]),
        ("x = y[a:]", ["a:  ->  :"]),
        ("x = [a for a in b if c]", ["[a for a in b if c]  ->  [a for a in b]"]),
        ("x = a.lower()", ["a.lower  ->  a.upper"]),
        ("raise Refused(a)", ["raise Refused(a)  ->  pass", "Refused(a)  ->  Refused(None)"]),
        ("def f():\n return x", ["return x  ->  return None"]),
        ("for a in b:\n c", ["b  ->  ()"]),
        ("if a:\n b", ["a  ->  not a"]),
        (
            "try:\n a\nexcept (B, C):\n d",
            ["except (B, C): d  ->  except (B, C): raise", "(B, C)  ->  (C,)", "(B, C)  ->  (B,)"],
        ),
        ("a.b = c", ["a.b = c  ->  pass"]),
        ("match a:\n case 'key' if b:\n  c", ["b  ->  not b", "'key'  ->  'XXkeyXX'"]),
    ],
)
def test_makes_these_changes(changes: ModuleType, source: str, expected: list[str]) -> None:
    assert listed(changes, source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring of two."""',
        "x: Literal['key']",
        "def f(a: 'T') -> 'T': ...",
        "@decorated(frozen=True)\nclass A: ...",
        "__all__ = ['name']",
        "x = cast('T', a)",
        "if TYPE_CHECKING:\n import a",
        "x = 'Text for people.'",
        "x = f'{a} is missing'",
        "x = ', '.join(a)",
        "x = len(a)",
        "raise",
    ],
)
def test_makes_no_change_of_types_decorators_and_text(changes: ModuleType, source: str) -> None:
    assert listed(changes, source) == []


def test_a_mutant_is_named_by_its_function_and_text_and_not_by_its_line(changes: ModuleType) -> None:
    source = "class A:\n def f(self):\n  return x(1, 'Wrong in words.')\n"
    mutants = changes.list_mutants(ast.parse(source))
    later = changes.list_mutants(ast.parse("import a\n\n" + source.replace("Wrong in words", "Other words here")))
    assert [one.key for one in mutants] == [one.key for one in later]
    assert mutants[0].key == ("A.f", "return x(1, '…')", "return None", 1)
    assert [one.number for one in changes.list_mutants(ast.parse("x = f(1, 1)")) if one.before == "f(1, 1)"] == [1] * 4


def test_each_mutant_is_valid_code_that_differs(changes: ModuleType) -> None:
    source = (ROOT / "verifier" / "core" / "claims.py").read_text("utf-8")
    tree = ast.parse(source)
    original = ast.dump(tree)
    for mutant in changes.list_mutants(tree):
        kept = mutant.place.read()
        mutant.apply()
        compile(ast.fix_missing_locations(tree), "mutant", "exec")
        assert ast.dump(tree) != original
        mutant.place.write(kept)
    assert ast.dump(tree) == original


SMALL = """
    LIMIT = 3

    class Level:
        TOP = 5

    def is_small(number, more=0):
        if number < 0:
            raise ValueError("It is negative.")
        return number + more <= LIMIT
"""
TESTS = """
    import pytest
    from small.sizes import Level, is_small

    def test_three_is_small():
        assert is_small(3)
        assert not is_small(4)

    def test_negative():
        with pytest.raises(ValueError):
            is_small(-1)
"""
PARTS = """
[[part]]
name = "all"
score = 90
modules = ["small/sizes.py"]
[part.tests]
"small/sizes.py" = ["tests/test_sizes.py"]
"""
EQUIVALENT = """
[[equivalent]]
module = "small/sizes.py"
function = "is_small"
changes = ["number + more <= LIMIT  ->  number - more <= LIMIT", "{}"]
reason = "No caller passes it."
"""


def run_tool(directory: Path, listing: str) -> tuple[int, list[str]]:
    for name, text in {
        "small/__init__.py": "",
        "small/sizes.py": textwrap.dedent(SMALL),
        "tests/test_sizes.py": textwrap.dedent(TESTS),
        "tests/mutants/parts.toml": PARTS,
        "tests/mutants/equivalent.toml": listing,
    }.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    ran = subprocess.run(
        [sys.executable, str(TOOL)],
        cwd=directory,
        env={"PYTHONPATH": ".", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ran.stderr
    return ran.returncode, ran.stdout.splitlines()


def test_the_tool_lists_the_survivors(tmp_path: Path) -> None:
    status, lines = run_tool(tmp_path, EQUIVALENT.format("number < 0  ->  number >= 0"))

    assert status == 1
    found = {line.split(": ", 1)[1] for line in lines if "small/sizes.py:" in line}
    assert found == {
        "survives in Level: 5  ->  6",
        "survives in Level: 5  ->  4",
        "survives in is_small: number < 0  ->  number <= 0",
        "survives in is_small: number < 0  ->  number < 1",
        "listed as equivalent, and killed: ('is_small', 'number < 0', 'number >= 0', 1)",
    }
    row = next(line.split() for line in lines if line.startswith("small/sizes.py"))
    assert row[1:5] == ["14", "9", "1", "4"]
    assert any("the score is " in line for line in lines)

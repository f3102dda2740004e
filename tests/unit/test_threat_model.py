"""Each threat of docs/understand/threat-model.md has a test that exists. The drawing has each flow of the page."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "understand" / "threat-model.md"
DRAWING = PAGE.parents[1] / "images" / "threat-model.svg"
STRIDE = "STRIDE"
#: What the page has to name, as the threats that were asked about first.
REQUIRED = (
    "another VM relays",
    "another process on the VM relays",
    "stolen token with `cnf`",
    "stolen token without `cnf`",
    "a copied disk",
    "published agent key",
    "hostile neighbour tenant",
    "hostile host answers with another CA",
    "the server, or the holder of the online key",
    "the store is lost",
    "hostile operator of one replica",
)
_FLOW = re.compile(r"^### (?P<number>\d+)\. .+\n(?P<text>(?:(?!^##).*\n)+)", re.MULTILINE)
_ROW = re.compile(r"^\| (?P<letter>\w) \| (?P<threat>.+) \| (?P<defence>.+) \| (?P<tests>.+) \|$", re.MULTILINE)
_TEST = re.compile(r"\[`(?P<name>test_\w+)`\]\((?P<path>[^)#]+)\)")
TEXT = PAGE.read_text("utf-8")
FLOWS = {int(flow["number"]): flow["text"] for flow in _FLOW.finditer(TEXT)}


@cache
def functions_of(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("number", FLOWS)
def test_every_threat_of_a_flow_names_tests_that_exist(number: int) -> None:
    rows = list(_ROW.finditer(FLOWS[number]))
    # Besides the header and its line.
    assert len(rows) == sum(line.startswith("|") for line in FLOWS[number].splitlines()) - 2 > 0
    for row in rows:
        tests = list(_TEST.finditer(row["tests"]))
        assert _TEST.sub("", row["tests"]).replace("<br>", "").strip() == ""
        assert tests, row["threat"]
        for test in tests:
            assert test["name"] in functions_of((PAGE.parent / test["path"]).resolve()), row["threat"]


@pytest.mark.parametrize("number", FLOWS)
def test_every_letter_of_stride_is_considered_in_order(number: int) -> None:
    letters = [row["letter"] for row in _ROW.finditer(FLOWS[number])]
    assert sorted(letters, key=STRIDE.index) == letters
    assert set(letters) == set(STRIDE)


def test_the_drawing_has_every_flow_and_an_opaque_background() -> None:
    drawing = DRAWING.read_text("utf-8")
    drawn = {int(number) for number in re.findall(r'class="number"[^>]*>(\d+)<', drawing)}
    assert drawn == set(FLOWS) == set(range(1, len(FLOWS) + 1))
    # A dark page would hide dark lines.
    assert ".page{fill:#ffffff}" in drawing
    assert f"../images/{DRAWING.name}" in TEXT


@pytest.mark.parametrize("threat", REQUIRED)
def test_the_page_names_the_threat(threat: str) -> None:
    assert any(threat in row["threat"] for row in _ROW.finditer(TEXT)), threat

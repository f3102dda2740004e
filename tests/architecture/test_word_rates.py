"""Measure the words that make sentences hard to read: in the code, the pages, the chart and the examples."""

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from verifier.api.problems import DOCUMENTATION
from verifier.wiring import COMMANDS

ROOT = Path(__file__).parents[2]
#: Python code, apart from the tests.
SOURCES = tuple(ROOT / name for name in ("verifier", "examples", "bench", "helm", "tools"))
#: Files whose comments begin with `#`, apart from Python's.
CONFIGURATION = (
    *(ROOT / "helm" / "verifier").rglob("*.yaml"),
    *(ROOT / "helm" / "verifier").rglob("*.tpl"),
    *(ROOT / "ops").glob("*.yaml"),
    *(path for path in (ROOT / "examples").rglob("*") if path.suffix in {".ps1", ".service", ".sh", ".toml", ".yaml"}),
    *(path for path in (ROOT / ".github").rglob("*") if path.suffix in {".sh", ".txt", ".yml"}),
    ROOT / "Dockerfile",
    ROOT / "Makefile",
    ROOT / "compose.yaml",
    ROOT / "pyproject.toml",
)
#: Pages whose words are counted: a reader's, without the decision records and the notes beside test data.
PAGES = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "trust_roots").glob("*.md"))
RECORDS = (ROOT / "CHANGELOG.md", *(ROOT / "docs" / "adr").glob("*.md"))
OTHER_PAGES = tuple(
    path
    for name in ("bench", "clients", "examples", "helm", "packaging", "tests", "vectors")
    for path in (ROOT / name).rglob("*.md")
)
MAX_PAGE_WORDS = 25_000
MAX_README_LINES = 200

#: The greatest number of these words in 1,000 words of prose.
RATES = {
    re.compile(r"\b(where|whoever|whatever|whichever|wherever)\b", re.IGNORECASE): 1.0,
    re.compile(r"\b(nobody|nothing)\b", re.IGNORECASE): 0.3,
    re.compile(r"\boctets?\b(?!-)(?! STRING)"): 0.0,
}
_WORD = re.compile(r"[A-Za-z']+")
_BLOCK = re.compile(r"^ *```.*?^ *```$|<!--.*?-->|\]\([^)]*\)", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^\s*#+ (.*)$|\{\{-? */\*(.*?)\*/", re.MULTILINE)
_CODE = re.compile(r"`[^`]*`|\{[^}]*\}")
_SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE)\b")
#: A string constant with this many words is a message to a person, and not a name.
_LEAST_WORDS = 4


def docstrings() -> Iterator[str]:
    for _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node) or ""


def messages() -> Iterator[str]:
    for _, tree in modules():
        documented = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in documented
                and not _SQL.search(node.value)
                and len(_WORD.findall(node.value)) >= _LEAST_WORDS
            ):
                yield node.value


def comments() -> Iterator[str]:
    for text, _ in modules():
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.string.partition("noqa:")[0]


def command_line_help() -> Iterator[str]:
    for command in COMMANDS:
        parser = argparse.ArgumentParser(prog=f"imds-verifier {command.name}", description=command.summary)
        command.load().configure(parser)
        yield from helps(parser)


def helps(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield parser.format_help()
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to its subcommands
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for inner in action.choices.values():
                yield from helps(inner)


def problems() -> Iterator[str]:
    for entry in DOCUMENTATION.values():
        yield f"{entry}"


def pages() -> Iterator[str]:
    yield from map(prose_of, {*PAGES, *RECORDS})


def other_pages() -> Iterator[str]:
    yield from (prose_of(path) for path in OTHER_PAGES if "node_modules" not in path.parts)


def changelog() -> Iterator[str]:
    yield prose_of(ROOT / "CHANGELOG.md")


def security() -> Iterator[str]:
    yield prose_of(ROOT / "SECURITY.md")


def configuration_comments() -> Iterator[str]:
    for path in CONFIGURATION:
        for comment, in_template in _COMMENT.findall(path.read_text("utf-8")):
            yield comment or in_template


def prose_of(page: Path) -> str:
    """Return the text of a page without code blocks, HTML comments and the addresses of links."""
    return _BLOCK.sub(" ", page.read_text("utf-8"))


@cache
def modules() -> list[tuple[str, ast.Module]]:
    texts = [path.read_text(encoding="utf-8") for source in SOURCES for path in source.rglob("*.py")]
    return [(text, ast.parse(text)) for text in texts]


@pytest.mark.parametrize(
    "texts",
    [
        docstrings,
        messages,
        comments,
        command_line_help,
        problems,
        pages,
        other_pages,
        changelog,
        security,
        configuration_comments,
    ],
)
@pytest.mark.parametrize(("words", "limit"), RATES.items())
def test_prose_has_few_words_that_carry_hidden_conditions(
    texts: Callable[[], Iterator[str]], words: re.Pattern[str], limit: float
) -> None:
    prose = [_CODE.sub(" ", text) for text in texts()]
    total = sum(len(_WORD.findall(text)) for text in prose)
    found = [match for text in prose for match in words.findall(text)]
    assert total > 100
    assert 1000 * len(found) / total <= limit, [text for text in prose if words.search(text)][:20]


def is_generated(page: Path) -> bool:
    return "`make generate` writes this page" in page.read_text("utf-8")


def test_hand_written_pages_are_short() -> None:
    words = {
        page.relative_to(ROOT).as_posix(): len(_WORD.findall(_CODE.sub("X", prose_of(page))))
        for page in PAGES
        if page not in RECORDS and not is_generated(page)
    }
    assert len(words) > 20
    assert sum(words.values()) <= MAX_PAGE_WORDS, words


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize(
    "page",
    [
        "docs/operate/settings.md",
        "docs/integrate/reasons.md",
        "docs/integrate/imds-conformance.md",
        "docs/understand/divergences.md",
        "helm/verifier/README.md",
    ],
)
def test_generated_pages_say_so(page: str) -> None:
    assert is_generated(ROOT / page)

"""Measure the words that make sentences hard to read, in docstrings, comments, messages and CLI help."""

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from verifier.api.problems import DOCUMENTATION
from verifier.wiring import COMMANDS

SOURCES = Path(__file__).parents[2] / "verifier"

#: The greatest number of these words in 1,000 words of prose.
RATES = {
    re.compile(r"\b(where|whoever|whatever|whichever|wherever)\b", re.IGNORECASE): 1.0,
    re.compile(r"\b(nobody|nothing)\b", re.IGNORECASE): 0.3,
    re.compile(r"\boctets?\b(?!-)(?! STRING)"): 0.0,
}
_WORD = re.compile(r"[A-Za-z']+")
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


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in SOURCES.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        yield text, ast.parse(text)


@pytest.mark.parametrize("texts", [docstrings, messages, comments, command_line_help, problems])
@pytest.mark.parametrize(("words", "limit"), RATES.items())
def test_prose_has_few_words_that_carry_hidden_conditions(
    texts: Callable[[], Iterator[str]], words: re.Pattern[str], limit: float
) -> None:
    prose = [_CODE.sub(" ", text) for text in texts()]
    total = sum(len(_WORD.findall(text)) for text in prose)
    found = [match for text in prose for match in words.findall(text)]
    assert total > 100
    assert 1000 * len(found) / total <= limit, [text for text in prose if words.search(text)][:20]

"""Each comment that silences ruff or mypy says why."""

import io
import re
import tokenize
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("bench", "examples", "fuzz", "helm", "tests", "tools", "vectors", "verifier")

_SILENCES = re.compile(r"#\s*(?:type:\s*ignore|noqa)")
#: Both tools take what follows the codes as a comment. A line that silences both gives one reason, at its end.
_EXPLAINED = re.compile(r"# type: ignore\[[\w, -]+\] +# (?!noqa)\S|# noqa: [A-Z]+\d+(?:, [A-Z]+\d+)* --? \S")


def unexplained(text: str) -> list[str]:
    if not _SILENCES.search(text):
        return []
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return [comment for comment in comments if _SILENCES.search(comment) and not _EXPLAINED.search(comment)]


def test_each_ignored_rule_has_its_reason() -> None:
    files = [file for folder in FOLDERS for file in sorted((REPOSITORY / folder).rglob("*.py"))]
    assert len(files) > 500
    found = {file.relative_to(REPOSITORY).as_posix(): unexplained(file.read_text("utf-8")) for file in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("comment", "is_explained"),
    [
        ("noqa: S105 - a code", True),
        ("noqa: S105, S106 -- two codes", True),
        ("type: ignore[arg-type]  # a reason", True),
        ("type: ignore[misc, arg-type] # a reason", True),
        ("type: ignore[arg-type] # noqa: SLF001 - a reason for both", True),
        ("noqa", False),
        ("noqa - every rule", False),
        ("noqa: S105", False),
        ("noqa: S105 - ", False),
        ("type: ignore", False),
        ("type: ignore  # every error", False),
        ("type: ignore[arg-type]", False),
        ("type: ignore[arg-type]  # noqa: SLF001", False),
    ],
)
def test_a_reason_follows_the_codes(comment: str, *, is_explained: bool) -> None:
    assert (unexplained(f"value()  # {comment}") == []) is is_explained

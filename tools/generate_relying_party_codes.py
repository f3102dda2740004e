"""Print docs/integrate/relying-party-codes.md from the code. `make generate` writes it."""

import ast
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from verifier.relying_party import RefusalCode

SOURCE = Path(__file__).parents[1] / "verifier" / "relying_party" / "refusals.py"
_INTRODUCTION = """\
# Codes of the relying party

`NotVerified` of the packages for [relying parties](relying-party.md#codes) has one of these codes. The checks are
made in this order. A temporary code is no decision: answer 503, and the same token may pass later.

`make generate` writes this page with
[generate_relying_party_codes.py](../../tools/generate_relying_party_codes.py). Do not edit it.

| code | why the token is refused | temporary |
| --- | --- | --- |
"""


def meanings() -> Iterator[tuple[str, str]]:
    """Yield the name and the docstring of each code in the source."""
    [members] = [
        node.body
        for node in ast.parse(SOURCE.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == RefusalCode.__name__
    ]
    for pair in pairwise(members):
        match pair:
            case (ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text)))):
                yield name, text


def generate() -> str:
    """Return the text of the page."""
    rows = []
    for name, text in meanings():
        code = RefusalCode[name]
        rows.append(f"| `{code}` | {text} | {'yes' if code.is_temporary else ''} |\n")
    return _INTRODUCTION + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(generate())

"""Print docs/integrate/reasons.md from the code. `make generate` writes it.

The text comes from `verifier.api.problems`. The check of each code, and whether the caller may retry, come from the
source that raises it.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import verifier.core
from verifier.api.problems import DOCUMENTATION, Code, Failure, RequestFault
from verifier.core import reasons
from verifier.core.reasons import Check, Reason, Refused

_INTRODUCTION = """\
# Reasons

This page explains every code that an answer can carry. The service serves the same text at the `type` of each problem
(`/problems/<code>`). [HTTP](http.md#problems) explains the members of a problem, and
[how a document is judged](../understand/how-a-document-is-judged.md) the checks and their order.

`make generate` writes this page with [generate_reasons.py](../../tools/generate_reasons.py). Do not edit it.
"""

_SECTIONS: tuple[tuple[str, str, type[Reason | RequestFault | Failure]], ...] = (
    (
        "Refusals",
        "A refusal is a verdict: the document is not accepted. `checks` in the problem shows the failed check.",
        Reason,
    ),
    ("Faults of a request", "The service did not process the request, and appraised no document.", RequestFault),
    ("Failures of the service", "A failure is not a verdict.", Failure),
)

#: Codes that no check raises and after which the caller may send the same request again.
_RETRYABLE = frozenset({RequestFault.REQUEST_TIMEOUT, RequestFault.RATE_LIMITED, Failure.STORE_UNAVAILABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """One place in the source that raises a reason."""

    reason: Reason
    check: Check
    retryable: bool


def raised_refusals() -> frozenset[Raised]:
    """Find every refusal in the source of the core, which always names its reason literally."""
    found: set[Raised] = set()
    for path in Path(verifier.core.__path__[0]).rglob("*.py"):
        found.update(_refusals_in(ast.parse(path.read_text(encoding="utf-8"))))
    return frozenset(found)


def _refusals_in(tree: ast.Module) -> Iterator[Raised]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id=name),
                args=[ast.Attribute(value=ast.Name(id="Reason"), attr=reason), *_],
                keywords=keywords,
            ):
                refusal = getattr(reasons, name)
                if issubclass(refusal, Refused):
                    retryable = any(keyword.arg == "retry_after" for keyword in keywords)
                    yield Raised(reason=Reason[reason], check=refusal.check, retryable=retryable)


def generate() -> str:
    """Return the text of docs/integrate/reasons.md."""
    raised = raised_refusals()
    parts = [_INTRODUCTION, _index(raised)]
    for title, preface, kind in _SECTIONS:
        parts.append(f"## {title}\n\n{preface}\n")
        parts += [_entry(code, raised) for code in DOCUMENTATION if isinstance(code, kind)]
    return "\n".join(parts)


def _index(raised: frozenset[Raised]) -> str:
    lines = ["| code | status | at check | retryable |", "| --- | --- | --- | --- |"]
    for code, documentation in DOCUMENTATION.items():
        cells = (
            f"[{code.value}](#{code.value})",
            f"{documentation.status}",
            _checks(code, raised),
            _retryable(code, raised),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _entry(code: Code, raised: frozenset[Raised]) -> str:
    documentation = DOCUMENTATION[code]
    return (
        f"### {code.value}\n\n"
        f"**{documentation.title}.** {documentation.meaning}\n\n"
        f"- What to do: {documentation.remedy}\n"
        f"- HTTP status: {documentation.status}\n"
        f"- At check: {_checks(code, raised)}\n"
        f"- Retryable: {_retryable(code, raised)}\n"
    )


def _checks(code: Code, raised: frozenset[Raised]) -> str:
    found = {place.check for place in raised if place.reason is code}
    return ", ".join(f"`{check}`" for check in Check if check in found) or "not a check"


def _retryable(code: Code, raised: frozenset[Raised]) -> str:
    if isinstance(code, Reason):
        answers = {place.retryable for place in raised if place.reason is code}
    else:
        answers = {code in _RETRYABLE}
    if answers == {True, False}:
        return "in some cases; see `retryable` in the problem"
    return "yes, after `Retry-After`" if answers == {True} else "no"


if __name__ == "__main__":
    sys.stdout.write(generate())

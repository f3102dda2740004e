"""Implement `imds-verifier policy`: say which rules of the policies in a file a document satisfies, and why not."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from verifier.cli.commands import CommandParts, ExitStatus, UsageError, read_document_file, read_moment
from verifier.cli.verify import (
    AT_HINT,
    FILE_HELP,
    ArchiveVerifierFactory,
    appraise_file,
    as_json_text,
    problem_of,
    tell_refusal,
)
from verifier.core.encoding.moments import moment_json
from verifier.core.encoding.printable import printable
from verifier.core.model import AttestationResult
from verifier.core.policy import Policies, Rule, RuleOutcome
from verifier.core.policy_report import PolicyReport, RuleReport, report_policy
from verifier.core.reasons import Refused
from verifier.core.trust.bundle import TrustError
from verifier.ports.clock import Clock

#: Reads the policies of a file, by name.
PolicyReader = Callable[[Path], Mapping[str, Rule]]

#: The number of allowed values that the text shows of one rule. The JSON has all.
SHOWN_VALUES = 10


class RuleJson(TypedDict):
    """The outcome of one rule. `rules` is empty unless the rule combines others."""

    rule: str
    outcome: str
    detail: str
    found: str | None
    allowed: list[str]
    rules: list["RuleJson"]


class PolicyJson(TypedDict):
    """The outcome of one policy."""

    name: str
    outcome: str
    rules: list[RuleJson]


class PolicyTestJson(TypedDict):
    """The answer of `policy test`."""

    evaluatedAt: str
    cloud: str
    vmId: str
    policies: list[PolicyJson]


def policy_command(create: ArchiveVerifierFactory, read: PolicyReader, clock: Clock) -> CommandParts:
    def run(arguments: argparse.Namespace) -> int:
        at = read_moment("--at", arguments.at) if arguments.at else clock.now()
        rules = _choose(read(arguments.file), arguments.policy)
        try:
            # The document must be authentic, and of any cloud: no policy of the settings applies.
            verifier = replace(create(arguments.trust_dir), policies=Policies())
            result = appraise_file(verifier, read_document_file(arguments.document), at=at, nonce=None, policy=None)
        except Refused as refused:
            problem = problem_of(refused, hint="" if arguments.at else AT_HINT)
            return tell_refusal(refused, problem, as_json=arguments.json)
        except TrustError as error:
            raise UsageError(str(error)) from error
        reports = [report_policy(name, rule, result.content, now=at) for name, rule in rules.items()]
        write = _as_json if arguments.json else _as_text
        sys.stdout.write(write(result, reports))
        is_met = all(report.outcome is RuleOutcome.SATISFIED for report in reports)
        return ExitStatus.DONE if is_met else ExitStatus.REFUSED

    def configure(parser: argparse.ArgumentParser) -> None:
        subparsers = parser.add_subparsers(dest="policy_command", required=True, metavar="ACTION")
        summary = "Say which rules of the policies in a file an authentic document satisfies, and why not the others."
        test = subparsers.add_parser("test", help=summary, description=summary)
        test.epilog = (
            "Exit status: 0 every policy is satisfied, 1 one is not, or the document is refused, 2 unusable input."
        )
        test.add_argument("file", metavar="FILE", type=Path, help="a settings file (TOML) with [policies.NAME] tables")
        test.add_argument("--document", metavar="FILE", required=True, help=FILE_HELP)
        test.add_argument("--at", metavar="TIME", help="appraise as of this moment, e.g. 2026-07-28T13:24:00Z")
        test.add_argument("--policy", metavar="NAME", help="test this policy alone (default: every policy in the file)")
        test.add_argument("--trust-dir", metavar="DIR", type=Path, help="add to or replace the shipped trust bundle")
        test.add_argument("--json", action="store_true", help="print JSON, with all allowed values")

    return CommandParts(configure=configure, run=run)


def _choose(rules: Mapping[str, Rule], name: str | None) -> Mapping[str, Rule]:
    """Return the one policy that is named, or all. Raises UsageError."""
    if name is None:
        return rules
    if name not in rules:
        raise UsageError(f"--policy: the file has no policy {name!r}; it has {', '.join(map(repr, rules))}")
    return {name: rules[name]}


def _as_json(result: AttestationResult, reports: list[PolicyReport]) -> str:
    answer: PolicyTestJson = {
        "evaluatedAt": moment_json(result.evaluated_at),
        "cloud": result.content.cloud,
        "vmId": result.claims.vm_id,
        "policies": [
            {"name": report.name, "outcome": report.outcome.value, "rules": [_rule_json(rule) for rule in report.rules]}
            for report in reports
        ],
    }
    return as_json_text({**answer})


def _rule_json(report: RuleReport) -> RuleJson:
    result = report.result
    return {
        "rule": result.rule,
        "outcome": result.outcome.value,
        "detail": result.detail,
        "found": result.found,
        "allowed": sorted(result.allowed),
        "rules": [_rule_json(part) for part in report.parts],
    }


def _as_text(result: AttestationResult, reports: list[PolicyReport]) -> str:
    vm_id, at = printable(result.claims.vm_id), moment_json(result.evaluated_at)
    lines = [f"authentic: a document of {result.content.cloud}, vmId {vm_id}, as of {at}"]
    for report in reports:
        lines.append(f"policy {_quoted(report.name)}: {report.outcome.value}")
        for rule in report.rules:
            lines += _rule_lines(rule, "  ")
    return "\n".join(lines) + "\n"


def _rule_lines(report: RuleReport, indent: str) -> Iterator[str]:
    result = report.result
    is_satisfied = result.outcome is RuleOutcome.SATISFIED
    yield f"{indent}{result.outcome.value}: {printable(result.rule)}"
    if not is_satisfied and result.detail:
        yield f"{indent}  {printable(result.detail)}"
    if result.found is not None:
        yield f"{indent}  found: {_quoted(result.found)}"
    if not is_satisfied and result.allowed:
        yield f"{indent}  allowed: {_listed(sorted(result.allowed))}"
    for part in report.parts:
        yield from _rule_lines(part, f"{indent}  ")


def _listed(values: list[str]) -> str:
    more = len(values) - SHOWN_VALUES
    return ", ".join(map(_quoted, values[:SHOWN_VALUES])) + (f", and {more:,} more" if more > 0 else "")


def _quoted(value: str) -> str:
    """Return the value between quotes, in printable ASCII."""
    return printable(json.dumps(value))

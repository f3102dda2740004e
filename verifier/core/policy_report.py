"""Explain a policy on one document: the outcome of each rule in it, also of those that others decide for."""

from datetime import datetime

from verifier.core.model import AuthenticContent
from verifier.core.policy import Rule, RuleOutcome, RuleResult
from verifier.core.policy_combinators import AllOf, AnyOf, Not
from verifier.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReport:
    """The result of a rule, and the reports of the rules that it combines."""

    result: RuleResult
    parts: tuple["RuleReport", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReport:
    """The outcome of a policy, and one report for each rule that it requires."""

    name: str
    outcome: RuleOutcome
    rules: tuple[RuleReport, ...]


def report_policy(name: str, rule: Rule, content: AuthenticContent, *, now: datetime) -> PolicyReport:
    """Evaluate every rule of the policy. The outcome is the one that an appraisal finds."""
    required = rule.rules if isinstance(rule, AllOf) else (rule,)
    return PolicyReport(
        name=name,
        outcome=rule.evaluate(content, now=now).outcome,
        rules=tuple(_report(part, content, now=now) for part in required),
    )


def _report(rule: Rule, content: AuthenticContent, *, now: datetime) -> RuleReport:
    match rule:
        case AllOf(rules=(only,)):
            return _report(only, content, now=now)
        case AllOf(rules=rules):
            combination = "all of"
        case AnyOf(rules=rules):
            combination = "any of"
        case Not(rule=inner):
            combination, rules = "not", (inner,)
        case _:
            return RuleReport(result=rule.evaluate(content, now=now))
    result = rule.evaluate(content, now=now)
    return RuleReport(
        # The result of a combination has the name and detail of one part. The parts are reported themselves.
        result=RuleResult(outcome=result.outcome, rule=combination),
        parts=tuple(_report(part, content, now=now) for part in rules),
    )

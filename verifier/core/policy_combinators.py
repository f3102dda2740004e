"""Combine rules of a policy: all of them, any of them, or the negation of one."""

from datetime import datetime

from verifier.core.model import AuthenticContent
from verifier.core.policy import Rule, RuleOutcome, RuleResult


class AllOf:
    """Require that every rule is satisfied. It has at least one rule: without one it would allow every document."""

    def __init__(self, *rules: Rule) -> None:
        if not rules:
            raise ValueError("AllOf without a rule")
        self.rules = rules

    def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult:
        results = [rule.evaluate(content, now=now) for rule in self.rules]
        failed = [result for result in results if result.outcome is not RuleOutcome.SATISFIED]
        # A denied rule is more specific than an absent claim, also inside a Not.
        failed.sort(key=lambda result: result.outcome is RuleOutcome.ABSENT)
        return failed[0] if failed else results[0]


class AnyOf:
    """Require that at least one rule is satisfied. It has at least one rule."""

    def __init__(self, *rules: Rule) -> None:
        if not rules:
            raise ValueError("AnyOf without a rule")
        self.rules = rules

    def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult:
        results = [rule.evaluate(content, now=now) for rule in self.rules]
        for outcome in (RuleOutcome.SATISFIED, RuleOutcome.ABSENT):
            for result in results:
                if result.outcome is outcome:
                    return result
        return RuleResult(
            outcome=RuleOutcome.DENIED,
            rule=" or ".join(result.rule for result in results),
            detail=" ".join(result.detail for result in results),
        )


class Not:
    """Require that a rule is denied. If the rule's claim is absent, this rule is absent too."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult:
        result = self.rule.evaluate(content, now=now)
        rule = f"not ({result.rule})"
        match result.outcome:
            case RuleOutcome.SATISFIED:
                return RuleResult(
                    outcome=RuleOutcome.DENIED, rule=rule, detail="The document is of a kind that is excluded."
                )
            case RuleOutcome.DENIED:
                return RuleResult(outcome=RuleOutcome.SATISFIED, rule=rule)
            case RuleOutcome.ABSENT:  # pragma: no branch - mypy proves that the cases are all
                return RuleResult(outcome=RuleOutcome.ABSENT, rule=rule, detail=result.detail)

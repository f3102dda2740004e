"""The report of a policy: every rule in it, and the outcome that an appraisal finds."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.appraisals import read_in_time
from support.documents import NOW, document, raw, shared_bundle

from verifier.core.chain import build_chain
from verifier.core.model import AuthenticContent, Limits
from verifier.core.policy import ClaimIn, ClaimName, CloudIn, MaximumAge, RequirePlan, Rule, RuleOutcome
from verifier.core.policy_combinators import AllOf, AnyOf, Not
from verifier.core.policy_report import RuleReport, report_policy
from verifier.core.trust.clouds import Cloud

S, D, A = RuleOutcome.SATISFIED, RuleOutcome.DENIED, RuleOutcome.ABSENT
CONTENT = build_chain(read_in_time(raw(document()), now=NOW, limits=Limits()), now=NOW, bundle=shared_bundle())
CONTOSO, FABRIKAM = (ClaimIn(ClaimName.PUBLISHER, frozenset({name})) for name in ("contoso", "fabrikam"))


def without(*names: str) -> AuthenticContent:
    claims = replace(CONTENT.claims, **dict.fromkeys(names))  # type: ignore[arg-type] # it checks the names
    return replace(CONTENT, decoded=replace(CONTENT.decoded, claims=claims))


def shape(report: RuleReport) -> tuple[object, ...]:
    return (report.result.rule, report.result.outcome, *map(shape, report.parts))


def shapes(rule: Rule) -> list[tuple[object, ...]]:
    return [shape(report) for report in report_policy("gold", rule, CONTENT, now=NOW).rules]


def test_reports_each_rule_of_the_policy_also_after_one_that_fails() -> None:
    name = "plan.publisher is allowed"
    assert shapes(AllOf(FABRIKAM, CONTOSO)) == [(name, D), (name, S)]
    assert shapes(FABRIKAM) == [(name, D)]
    assert shapes(AllOf(AnyOf(FABRIKAM, CONTOSO))) == [("any of", S, (name, D), (name, S))]
    assert shapes(AllOf(Not(AllOf(CONTOSO)), AllOf(CONTOSO, FABRIKAM))) == [
        ("not", D, (name, S)),
        ("all of", D, (name, S), (name, D)),
    ]


@pytest.mark.parametrize(
    ("rule", "found", "allowed"),
    [
        (FABRIKAM, "contoso", {"fabrikam"}),
        (CONTOSO, "contoso", {"contoso"}),
        (CloudIn(frozenset({Cloud.CHINA})), "AzurePublicCloud", {"AzureChinaCloud"}),
        (MaximumAge(timedelta(seconds=90)), "3700 s", {"at most 90 s"}),
        (RequirePlan(), None, set()),
    ],
)
def test_states_the_value_found_and_the_values_allowed(rule: Rule, found: str | None, allowed: set[str]) -> None:
    created_on = CONTENT.claims.created_on
    assert created_on is not None
    [report] = report_policy("gold", rule, CONTENT, now=created_on + timedelta(seconds=3700)).rules
    assert (report.result.found, set(report.result.allowed)) == (found, allowed)


def test_every_rule_is_evaluated_at_the_moment() -> None:
    created_on = CONTENT.claims.created_on
    assert created_on is not None
    young = MaximumAge(timedelta(seconds=90))
    for now, outcome in ((created_on, S), (created_on + timedelta(seconds=91), D)):
        for rule in (
            young,
            AllOf(young),
            AnyOf(young, FABRIKAM),
            AllOf(AllOf(young), CONTOSO),
            AllOf(AllOf(young, CONTOSO)),
        ):
            policy = report_policy("gold", rule, CONTENT, now=now)
            assert policy.name == "gold"
            assert policy.outcome is outcome
            assert policy.rules[0].result.outcome is outcome


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (ClaimIn(ClaimName.SKU, frozenset({"standard"})), "sku"),
        (MaximumAge(timedelta(seconds=90)), "created_on"),
        (RequirePlan(), "plan"),
    ],
)
def test_an_absent_claim_has_no_value_and_a_reason(rule: Rule, name: str) -> None:
    [report] = report_policy("gold", rule, without(name), now=NOW).rules
    assert (report.result.outcome, report.result.found) == (A, None)
    assert report.result.detail


RULES: st.SearchStrategy[Rule] = st.recursive(
    st.sampled_from([CONTOSO, FABRIKAM, ClaimIn(ClaimName.SKU, frozenset({"standard"}))]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda rules: AllOf(*rules)),
        st.lists(inner, min_size=1, max_size=3).map(lambda rules: AnyOf(*rules)),
        inner.map(Not),
    ),
    max_leaves=8,
)


def reports(report: RuleReport) -> Iterator[RuleReport]:
    yield report
    for part in report.parts:
        yield from reports(part)


@given(rule=RULES)
def test_the_outcome_is_that_of_an_appraisal_and_follows_from_the_parts(rule: Rule) -> None:
    bare = without("sku")
    policy = report_policy("gold", rule, bare, now=NOW)
    assert policy.outcome is rule.evaluate(bare, now=NOW).outcome
    for report in (one for required in policy.rules for one in reports(required)):
        outcomes = {part.result.outcome for part in report.parts}
        match report.result.rule:
            case "all of":
                assert report.result.outcome is next(one for one in (D, A, S) if one in outcomes)
            case "any of":
                assert report.result.outcome is next(one for one in (S, A, D) if one in outcomes)
            case "not":
                assert {report.result.outcome} == {{S: D, D: S, A: A}[one] for one in outcomes}

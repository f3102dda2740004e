"""Policies: what is absent satisfies nothing, and nothing is empty."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.appraisals import read_in_time
from support.documents import NOW, document, raw, shared_bundle

from verifier.core.chain import build_chain
from verifier.core.model import Archived, AuthenticContent, FirstSight, Limits, Plan, Redeemed
from verifier.core.nonces import NonceRecord
from verifier.core.policy import (
    ClaimIn,
    ClaimName,
    CloudIn,
    Denial,
    MaximumAge,
    Policies,
    PolicyDenied,
    RequirePlan,
    Rule,
    RuleOutcome,
    RuleResult,
    UnknownPolicyError,
    applicable_policies,
)
from verifier.core.policy_combinators import AllOf, AnyOf, Not
from verifier.core.reasons import NO_REMARKS, Check, PolicyRefused, Reason, Remarks, progress
from verifier.core.trust.clouds import Cloud
from verifier.core.vm_ids import swap_bytes

OTHER_VM = "0f9d6c2b-3b1e-4c55-8a67-2d94e7b1c3f8"
S, D, A = RuleOutcome.SATISFIED, RuleOutcome.DENIED, RuleOutcome.ABSENT


@cache
def authentic() -> AuthenticContent:
    return build_chain(read_in_time(raw(document()), now=NOW, limits=Limits()), now=NOW, bundle=shared_bundle())


def content(**changes: object) -> AuthenticContent:
    claims = replace(authentic().claims, **changes)  # type: ignore[arg-type] # it checks the names
    return replace(authentic(), decoded=replace(authentic().decoded, claims=claims))


class Fixed:
    """A rule that stands as it is told to."""

    def __init__(self, outcome: RuleOutcome) -> None:
        self.outcome = outcome

    def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult:  # noqa: ARG002 - the protocol's
        return RuleResult(outcome=self.outcome, rule=self.outcome.value, detail=f"It is {self.outcome.value}.")


def outcome(rule: Rule, of: AuthenticContent | None = None) -> RuleOutcome:
    return rule.evaluate(of or content(), now=NOW).outcome


def fixed(*outcomes: RuleOutcome) -> list[Fixed]:
    return [Fixed(one) for one in outcomes]


@pytest.mark.parametrize(
    ("one", "other", "both", "either"),
    [
        (S, S, S, S),
        (S, D, D, S),
        (S, A, A, S),
        (D, D, D, D),
        (D, A, D, A),
        (A, A, A, A),
    ],
)
def test_truth_tables(one: RuleOutcome, other: RuleOutcome, both: RuleOutcome, either: RuleOutcome) -> None:
    for pair in (fixed(one, other), fixed(other, one)):
        assert outcome(AllOf(*pair)) is both
        assert outcome(AnyOf(*pair)) is either


def test_a_combination_passes_document_and_moment_on() -> None:
    young, later = MaximumAge(timedelta(seconds=20)), NOW + timedelta(seconds=21)
    of = content(created_on=NOW)
    for rule, now, expected in (
        (AllOf(young), NOW, S),
        (AllOf(young), later, D),
        (AnyOf(young), NOW, S),
        (AnyOf(young), later, D),
        (Not(young), NOW, D),
        (Not(young), later, S),
    ):
        assert rule.evaluate(of, now=now).outcome is expected


def test_a_satisfied_combination_has_the_result_of_its_first_rule() -> None:
    first, second = ClaimIn(ClaimName.SKU, frozenset({"standard"})), CloudIn(frozenset({Cloud.PUBLIC}))
    assert AllOf(first, second).evaluate(content(), now=NOW).rule == "sku is allowed"
    assert AnyOf(first, second).evaluate(content(), now=NOW).rule == "sku is allowed"


@pytest.mark.parametrize(("inner", "outer"), [(S, D), (D, S), (A, A)])
def test_the_negation_of_an_absent_claim_is_absent(inner: RuleOutcome, outer: RuleOutcome) -> None:
    assert outcome(Not(Fixed(inner))) is outer


RULES: st.SearchStrategy[Rule] = st.recursive(
    st.sampled_from([S, D, A]).map(Fixed),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda rules: AllOf(*rules)),
        st.lists(inner, min_size=1, max_size=3).map(lambda rules: AnyOf(*rules)),
        inner.map(Not),
    ),
    max_leaves=8,
)
ABSENT_RULES: st.SearchStrategy[Rule] = st.recursive(
    st.just(Fixed(A)),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda rules: AllOf(*rules)),
        st.lists(inner, min_size=1, max_size=3).map(lambda rules: AnyOf(*rules)),
        inner.map(Not),
    ),
    max_leaves=8,
)


@given(rule=ABSENT_RULES)
def test_combinations_of_absent_claims_are_absent(rule: Rule) -> None:
    assert outcome(rule) is A


@given(rule=RULES)
def test_a_double_negation_changes_nothing(rule: Rule) -> None:
    assert outcome(Not(Not(rule))) is outcome(rule)


@given(one=RULES, other=RULES)
def test_negation_turns_all_into_any(one: Rule, other: Rule) -> None:
    assert outcome(Not(AllOf(one, other))) is outcome(AnyOf(Not(one), Not(other)))
    assert outcome(Not(AnyOf(one, other))) is outcome(AllOf(Not(one), Not(other)))


@given(rule=RULES)
def test_an_unsatisfied_rule_has_an_explanation(rule: Rule) -> None:
    result = rule.evaluate(content(), now=NOW)
    assert result.rule
    assert result.detail or result.outcome is S


@pytest.mark.parametrize("combination", [AllOf, AnyOf])
def test_an_empty_combination_is_refused(combination: type[AllOf | AnyOf]) -> None:
    with pytest.raises(ValueError, match="without a rule"):
        combination()


def test_a_rule_without_allowed_values_is_refused() -> None:
    with pytest.raises(ValueError, match="no allowed value for sku"):
        ClaimIn(ClaimName.SKU, frozenset())
    with pytest.raises(ValueError, match="no allowed cloud"):
        CloudIn(frozenset())


def test_a_vm_id_that_is_no_guid_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a GUID"):
        ClaimIn(ClaimName.VM_ID, frozenset({OTHER_VM, "vm-1"}))


@pytest.mark.parametrize("form", ["{}", "{{{}}}"])
def test_a_vm_is_one_of_those_allowed(form: str) -> None:
    own = form.format(content().claims.vm_id.upper())
    assert outcome(ClaimIn(ClaimName.VM_ID, frozenset({own, OTHER_VM}))) is S
    assert outcome(ClaimIn(ClaimName.VM_ID, frozenset({OTHER_VM}))) is D
    assert outcome(ClaimIn(ClaimName.VM_ID, frozenset({own})), content(vm_id=own.strip("{}"))) is S


def test_vm_id_of_dmidecode_in_a_policy_is_denied_with_a_hint() -> None:
    swapped = str(swap_bytes(authentic().claims.vm_id))
    result = ClaimIn(ClaimName.VM_ID, frozenset({OTHER_VM, swapped.upper()})).evaluate(content(), now=NOW)
    assert result.outcome is D
    assert "in the byte order of dmidecode on Gen1 VMs" in result.detail
    other = ClaimIn(ClaimName.VM_ID, frozenset({OTHER_VM})).evaluate(content(), now=NOW)
    assert other.detail == "The document's vmId is not allowed."


@pytest.mark.parametrize("age", [timedelta(0), timedelta(seconds=-1)])
def test_an_impossible_age_is_refused(age: timedelta) -> None:
    with pytest.raises(ValueError, match="not positive"):
        MaximumAge(age)


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        (ClaimName.PUBLISHER, "contoso"),
        (ClaimName.PRODUCT, "contoso-appliance"),
        (ClaimName.PLAN, "standard"),
        (ClaimName.SUBSCRIPTION_ID, "0f9d6c2b-3b1e-4c55-8a67-2d94e7b1c3f8"),
        (ClaimName.SKU, "standard"),
        (ClaimName.LICENSE_TYPE, ""),
    ],
)
def test_each_claim_is_compared_with_the_allowed_values(claim: ClaimName, value: str) -> None:
    assert outcome(ClaimIn(claim, frozenset({value.upper(), "another"}))) is S
    assert outcome(ClaimIn(claim, frozenset({f"{value}x", "another"}))) is D
    bare = content(subscription_id=None, sku=None, license_type=None, plan=None)
    assert outcome(ClaimIn(claim, frozenset({value})), bare) is A
    assert outcome(Not(ClaimIn(claim, frozenset({value}))), bare) is A


@pytest.mark.parametrize(
    ("allowed", "claimed"), [("conto\u017fo", "contoso"), ("KIOSK", "\u212aIOS\u212a"), ("ss", "\u00df")]
)
def test_only_ascii_letters_are_equal_in_another_case(allowed: str, claimed: str) -> None:
    assert outcome(ClaimIn(ClaimName.SKU, frozenset({allowed})), content(sku=claimed)) is D
    assert outcome(ClaimIn(ClaimName.SKU, frozenset({claimed})), content(sku=allowed)) is D
    assert outcome(ClaimIn(ClaimName.SKU, frozenset({claimed})), content(sku=claimed)) is S


def test_an_empty_claim_is_present_and_equals_no_other_value() -> None:
    empty = content(sku="")
    assert outcome(ClaimIn(ClaimName.SKU, frozenset({"standard"})), empty) is D
    assert outcome(Not(ClaimIn(ClaimName.SKU, frozenset({"standard"}))), empty) is S
    assert outcome(ClaimIn(ClaimName.SKU, frozenset({""})), empty) is S


def test_the_explanation_of_an_absent_claim_names_its_api_version() -> None:
    result = ClaimIn(ClaimName.SKU, frozenset({"standard"})).evaluate(content(sku=None), now=NOW)
    assert "sku" in result.detail
    assert "2019-11-01" in result.detail


def test_a_cloud_is_allowed_or_not() -> None:
    assert outcome(CloudIn(frozenset({Cloud.PUBLIC}))) is S
    assert outcome(CloudIn(frozenset({Cloud.CHINA, Cloud.GERMANY}))) is D


@pytest.mark.parametrize(
    "plan",
    [
        None,
        Plan(publisher=None, product=None, name=None),
        Plan(publisher="", product="", name=""),
        Plan(publisher="contoso", product="appliance", name=""),
        Plan(publisher=None, product="appliance", name="standard"),
    ],
)
def test_an_incomplete_plan_counts_as_absent(plan: Plan | None) -> None:
    assert outcome(RequirePlan(), content(plan=plan)) is A
    assert outcome(Not(RequirePlan()), content(plan=plan)) is A
    assert outcome(RequirePlan()) is S


def test_an_age_is_exact_to_the_microsecond() -> None:
    rule = MaximumAge(timedelta(seconds=20))
    assert outcome(rule, content(created_on=NOW - timedelta(seconds=20))) is S
    assert outcome(rule, content(created_on=NOW - timedelta(seconds=20, microseconds=1))) is D
    assert outcome(rule, content(created_on=NOW + timedelta(seconds=60))) is S
    assert outcome(rule, content(created_on=None)) is A


@pytest.mark.parametrize(
    ("claim", "version"),
    [
        ("plan.publisher", "2018-10-01"),
        ("plan.product", "2018-10-01"),
        ("plan.name", "2018-10-01"),
        ("vmId", "2018-10-01"),
        ("subscriptionId", "2019-04-30"),
        ("sku", "2019-11-01"),
        ("licenseType", "2020-09-01"),
    ],
)
def test_each_claim_has_the_api_version_that_introduced_it(claim: str, version: str) -> None:
    assert ClaimName(claim).introduced == version


def test_a_rule_states_what_it_found_and_what_it_allows() -> None:
    allowed = frozenset({"a", "b"})
    for of, found, detail in (
        (content(sku="Standard"), "Standard", "The document's sku is not allowed."),
        (content(sku="A"), "A", ""),
        (content(sku=None), None, "The document does not carry sku; IMDS adds it from api-version 2019-11-01 on."),
    ):
        result = ClaimIn(ClaimName.SKU, frozenset({"A", "b"})).evaluate(of, now=NOW)
        assert (result.rule, result.found, result.allowed) == ("sku is allowed", found, allowed)
        assert result.detail == detail


def test_a_rule_on_the_cloud_states_the_cloud() -> None:
    allowed = frozenset({Cloud.CHINA})
    result = CloudIn(allowed).evaluate(content(), now=NOW)
    assert (result.rule, result.found, result.allowed) == ("cloud is allowed", Cloud.PUBLIC, allowed)
    assert result.detail == f"{Cloud.PUBLIC} is not an allowed cloud."


@pytest.mark.parametrize("created_on", [NOW - timedelta(seconds=30), None])
def test_a_rule_on_the_age_states_the_age(created_on: datetime | None) -> None:
    result = MaximumAge(timedelta(seconds=20)).evaluate(content(created_on=created_on), now=NOW)
    assert result.rule == "document is at most 20 s old"
    assert result.found == ("30 s" if created_on else None)
    assert result.allowed == {"at most 20 s"}
    assert result.detail == (
        "The document is older than the policy allows."
        if created_on
        else "The document does not say when it was created."
    )


@pytest.mark.parametrize("claim", [ClaimName.PUBLISHER, ClaimName.PRODUCT, ClaimName.PLAN])
def test_an_empty_part_of_the_plan_is_explained(claim: ClaimName) -> None:
    of = content(plan=Plan(publisher="", product="", name=""))
    detail = f"The VM was not made from a Marketplace image: its {claim} is empty."
    assert ClaimIn(claim, frozenset({"a"})).evaluate(of, now=NOW).detail == detail
    assert ClaimIn(claim, frozenset({"a"})).evaluate(content(), now=NOW).detail == (
        f"The document's {claim} is not allowed."
    )
    assert ClaimIn(ClaimName.SKU, frozenset({"a"})).evaluate(content(sku=""), now=NOW).detail == (
        "The document's sku is not allowed."
    )


def test_a_missing_plan_is_explained_by_its_first_missing_part() -> None:
    for plan, detail in (
        (None, "The document does not carry plan.publisher; IMDS adds it from api-version 2018-10-01 on."),
        (
            Plan(publisher="contoso", product="", name=None),
            "The VM was not made from a Marketplace image: its plan.product is empty.",
        ),
    ):
        result = RequirePlan().evaluate(content(plan=plan), now=NOW)
        assert (result.rule, result.detail) == ("plan is present", detail)
        assert result.allowed == frozenset()
    satisfied = RequirePlan().evaluate(content(), now=NOW)
    assert satisfied == RuleResult(outcome=S, rule="plan is present", detail="", found=None, allowed=frozenset())


def test_the_denial_has_the_first_allowed_values_and_the_number_of_all() -> None:
    result = RuleResult(
        outcome=D, rule="sku is allowed", detail="No.", found="x", allowed=frozenset(f"{n:02}" for n in range(25))
    )
    refused = PolicyDenied("gold", result)
    assert refused.reason is Reason.POLICY_DENIED
    assert refused.detail == "Policy 'gold', rule 'sku is allowed': No."
    for one in (refused, refused.with_remarks(NO_REMARKS), refused.as_final()):
        assert one.denial == Denial(
            policy="gold",
            rule="sku is allowed",
            found="x",
            allowed=tuple(f"{n:02}" for n in range(20)),
            allowed_count=25,
        )


def test_a_denial_keeps_its_remarks() -> None:
    remarks = Remarks(omitted={Check.NONCE: "none"})
    result = RuleResult(outcome=D, rule="sku is allowed")
    assert PolicyDenied("gold", result, remarks=remarks).checks == progress(failed=Check.POLICY, remarks=remarks)
    assert PolicyDenied("gold", result).with_remarks(remarks).checks == progress(failed=Check.POLICY, remarks=remarks)
    assert PolicyDenied("gold", result, remarks=remarks).as_final().checks[6].detail == "none"


def test_an_unknown_policy_is_named_within_bounds() -> None:
    with pytest.raises(UnknownPolicyError, match=f"^There is no policy '{'x' * 64}' here.$"):
        Policies().find("x" * 65)
    redeemed = Redeemed(content=content(), record=NonceRecord(issued_at=NOW, expires_at=NOW))
    with pytest.raises(PolicyRefused, match=f"bound to policy '{'x' * 64}', which"):
        Policies().apply(redeemed, ("x" * 65,), now=NOW)


def test_the_outcomes_have_stable_names() -> None:
    assert [one.value for one in RuleOutcome] == ["satisfied", "denied", "absent"]


def test_only_vm_ids_have_another_byte_order() -> None:
    guid = authentic().claims.vm_id
    swapped = str(swap_bytes(guid))
    result = ClaimIn(ClaimName.SKU, frozenset({swapped})).evaluate(content(sku=guid), now=NOW)
    assert result.detail == "The document's sku is not allowed."


@pytest.mark.parametrize(
    "fresh", [FirstSight(content=authentic()), Archived(content=authentic(), has_expected_nonce=True)]
)
def test_without_a_nonce_the_policies_are_those_of_tenant_and_request(fresh: FirstSight | Archived) -> None:
    assert applicable_policies(fresh, tenant="theirs", asked=None) == ("theirs",)
    assert applicable_policies(fresh, tenant="theirs", asked="gold") == ("theirs", "gold")


def test_a_rule_gets_the_document_and_the_moment() -> None:
    class Keeping:
        def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult:
            kept.append((content, now))
            return RuleResult(outcome=S, rule="kept")

    kept: list[tuple[AuthenticContent, datetime]] = []
    redeemed = Redeemed(content=content(), record=NonceRecord(issued_at=NOW, expires_at=NOW))
    verified = Policies({"gold": Keeping()}).apply(redeemed, ("gold",), now=NOW)
    assert verified.fresh is redeemed
    assert kept == [(redeemed.content, NOW)]


class TestPolicies:
    def redeemed(self) -> Redeemed:
        return Redeemed(content=content(), record=NonceRecord(issued_at=NOW, expires_at=NOW))

    def test_the_default_policy_exists_and_allows_every_cloud(self) -> None:
        assert Policies().apply(self.redeemed(), (Policies.DEFAULT,), now=NOW).policies == ("default",)

    def test_the_default_policy_can_be_replaced(self) -> None:
        policies = Policies({Policies.DEFAULT: Fixed(D)})
        with pytest.raises(PolicyRefused):
            policies.apply(self.redeemed(), (Policies.DEFAULT,), now=NOW)

    @pytest.mark.parametrize("refusing", [D, A])
    @pytest.mark.parametrize(
        "names", [("gold",), ("gold", "silver"), ("silver", "gold"), ("silver", "default", "gold")]
    )
    def test_a_refusal_names_the_rule_that_failed(self, refusing: RuleOutcome, names: tuple[str, ...]) -> None:
        policies = Policies({"gold": AllOf(Fixed(S), Fixed(refusing)), "silver": Fixed(S)})
        with pytest.raises(PolicyRefused) as caught:
            policies.apply(self.redeemed(), names, now=NOW)
        assert caught.value.reason is Reason.POLICY_DENIED
        assert caught.value.check is Check.POLICY
        assert not caught.value.retryable
        assert "Policy 'gold'" in caught.value.detail
        assert f"It is {refusing.value}." in caught.value.detail

    def test_a_policy_that_is_left_out_does_not_exist(self) -> None:
        policies = Policies({"gold": Fixed(S), "silver": Fixed(A)})
        left = policies.without({"gold", "bronze"})
        assert left.find("silver") is policies.find("silver")
        with pytest.raises(UnknownPolicyError):
            left.find("gold")

    def test_the_default_policy_cannot_be_left_out(self) -> None:
        policies = Policies({Policies.DEFAULT: Fixed(D), "gold": Fixed(S)})
        left = policies.without({Policies.DEFAULT, "gold"})
        assert left.find(Policies.DEFAULT) is policies.find(Policies.DEFAULT)

    def test_without_policies_every_document_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no policy was applied"):
            Policies().apply(self.redeemed(), (), now=NOW)

    @pytest.mark.parametrize("name", ["", "Gold", "gold ", "x" * 1000])
    def test_an_unknown_name_is_an_error_and_not_a_pass(self, name: str) -> None:
        policies = Policies({"gold": Fixed(S)})
        assert policies.apply(self.redeemed(), ("gold",), now=NOW).policies == ("gold",)
        with pytest.raises(UnknownPolicyError):
            policies.find(name)
        for names in ((name,), ("gold", name), (name, "gold")):
            with pytest.raises(PolicyRefused, match="no longer exists: get a new nonce") as caught:
                policies.apply(self.redeemed(), names, now=NOW)
            assert caught.value.reason is Reason.POLICY_DENIED
            assert (
                caught.value.public_detail == "The nonce is bound to a policy that no longer exists: get a new nonce."
            )
            assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("bound", "asked", "names"),
    [
        ("", None, ("theirs",)),
        ("", "gold", ("theirs", "gold")),
        ("gold", None, ("theirs", "gold")),
        ("gold", "silver", ("theirs", "gold", "silver")),
        ("gold", "gold", ("theirs", "gold")),
        ("theirs", "gold", ("theirs", "gold")),
        ("gold", "theirs", ("theirs", "gold")),
        ("theirs", "theirs", ("theirs",)),
        ("default", "default", ("theirs", "default")),
        ("", "", ("theirs", "")),
    ],
)
def test_the_tenants_policy_always_applies_and_nonce_and_request_add_to_it(
    bound: str, asked: str | None, names: tuple[str, ...]
) -> None:
    redeemed = Redeemed(content=content(), record=NonceRecord(issued_at=NOW, expires_at=NOW, policy=bound))
    assert applicable_policies(redeemed, tenant="theirs", asked=asked) == names


def test_public_detail_of_a_refusal_names_the_rule_alone() -> None:
    policies = Policies({"gold": ClaimIn(ClaimName.PUBLISHER, frozenset({"fabrikam"}))})
    redeemed = Redeemed(content=content(), record=NonceRecord(issued_at=NOW, expires_at=NOW))
    with pytest.raises(PolicyRefused) as caught:
        policies.apply(redeemed, ("gold",), now=NOW)
    assert "gold" in caught.value.detail
    for refused in (caught.value, caught.value.with_remarks(NO_REMARKS), caught.value.as_final()):
        assert refused.public_detail == "The document does not satisfy the rule 'plan.publisher is allowed'."

"""Policies as tables: each asks exactly what it names, and one that asks nothing is none."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from pydantic import ValidationError
from support import documents
from support.applications import FixedTrust

from verifier.adapters.settings.policies import MAX_DEPTH, MAX_TABLES, PolicyTable
from verifier.core.model import AuthenticContent
from verifier.core.policy import RuleOutcome
from verifier.usecases.archive import ArchiveVerifier

OTHER_VM = "0f9d6c2b-3b1e-4c55-8a67-2d94e7b1c3f8"
LATER = documents.NOW + timedelta(minutes=10)


@pytest.fixture(scope="module")
def content() -> AuthenticContent:
    """Of a VM made from a Marketplace image, as authentic as the shared PKI makes it."""
    return content_of(documents.content())


def content_of(fields: dict[str, object]) -> AuthenticContent:
    verifier = ArchiveVerifier(trust=FixedTrust(in_force=documents.shared_bundle()))
    return verifier.appraise(documents.raw(documents.sign(documents.encode(fields))), at=documents.NOW).content


def outcome_of(table: dict[str, object], content: AuthenticContent) -> RuleOutcome:
    return PolicyTable.model_validate(table).rule().evaluate(content, now=LATER).outcome


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clouds", "AzurePublicCloud"),
        ("publishers", "contoso"),
        ("products", "contoso-appliance"),
        ("plans", "standard"),
        ("vmIds", documents.VM.vm_id),
        ("subscriptionIds", documents.VM.subscription_id),
        ("skus", "standard"),
        ("licenseTypes", ""),
    ],
)
def test_asks_for_one_of_the_values_named(content: AuthenticContent, name: str, value: str) -> None:
    other = {"clouds": "AzureChinaCloud", "vmIds": OTHER_VM}.get(name, "another")
    assert outcome_of({name: [other, value]}, content) is RuleOutcome.SATISFIED
    assert outcome_of({name: [other]}, content) is RuleOutcome.DENIED


def test_ignores_the_case_of_values(content: AuthenticContent) -> None:
    assert outcome_of({"publishers": ["CONTOSO"]}, content) is RuleOutcome.SATISFIED


@pytest.mark.parametrize("form", ["{}", "{{{}}}"])
@pytest.mark.parametrize("change", [str.upper, str.lower])
def test_takes_vm_ids_in_every_form_that_tools_print(
    content: AuthenticContent, form: str, change: Callable[[str], str]
) -> None:
    vm_id = form.format(change(documents.VM.vm_id))
    assert outcome_of({"vmIds": [vm_id]}, content) is RuleOutcome.SATISFIED


@pytest.mark.parametrize("value", ["", "vm-1", f" {OTHER_VM}", f"{OTHER_VM}\n", f"{{{OTHER_VM}", OTHER_VM[:-1], 5])
def test_names_the_place_of_a_vm_id_that_is_no_guid(value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        PolicyTable.model_validate({"not": {"vmIds": [OTHER_VM, value]}})
    assert [fault["loc"] for fault in refusal.value.errors()] == [("not", "vmIds", 1)]


def test_asks_for_a_plan(content: AuthenticContent) -> None:
    assert outcome_of({"requirePlan": True}, content) is RuleOutcome.SATISFIED


def test_asks_for_an_age(content: AuthenticContent) -> None:
    assert outcome_of({"maximumAgeSeconds": 600}, content) is RuleOutcome.SATISFIED
    assert outcome_of({"maximumAgeSeconds": 599}, content) is RuleOutcome.DENIED


def test_asks_for_all_that_it_names(content: AuthenticContent) -> None:
    table: dict[str, object] = {"publishers": ["contoso"], "skus": ["standard"], "requirePlan": True}
    assert outcome_of(table, content) is RuleOutcome.SATISFIED
    assert outcome_of({**table, "skus": ["premium"]}, content) is RuleOutcome.DENIED


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"requirePlan": False},
        {"clouds": []},
        {"clouds": ["Azure"]},
        {"clouds": "AzurePublicCloud"},
        {"publishers": []},
        {"publishers": "contoso"},
        {"publishers": [5]},
        {"publisher": ["contoso"]},
        {"require_plan": True},
        {"maximumAgeSeconds": 0},
        {"maximumAgeSeconds": 604801},
        {"maximumAgeSeconds": 86400000000000},
        {"maximumAgeSeconds": "soon"},
    ],
)
def test_refuses_a_table_without_rules_or_with_unknown_keys(table: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PolicyTable.model_validate(table)


CONTOSO: dict[str, object] = {"publishers": ["contoso"]}
FABRIKAM: dict[str, object] = {"publishers": ["fabrikam"]}


@pytest.mark.parametrize(
    ("table", "outcome"),
    [
        ({"allOf": [CONTOSO, {"skus": ["standard"]}]}, RuleOutcome.SATISFIED),
        ({"allOf": [CONTOSO, FABRIKAM]}, RuleOutcome.DENIED),
        ({"anyOf": [FABRIKAM, CONTOSO]}, RuleOutcome.SATISFIED),
        ({"anyOf": [FABRIKAM, {"skus": ["premium"]}]}, RuleOutcome.DENIED),
        ({"not": FABRIKAM}, RuleOutcome.SATISFIED),
        ({"not": CONTOSO}, RuleOutcome.DENIED),
        ({"not": {"publishers": ["contoso"], "skus": ["premium"]}}, RuleOutcome.SATISFIED),
        ({"not": {"anyOf": [FABRIKAM, {"not": CONTOSO}]}}, RuleOutcome.SATISFIED),
        ({"skus": ["premium"], "anyOf": [CONTOSO]}, RuleOutcome.DENIED),
        ({"skus": ["standard"], "anyOf": [CONTOSO], "not": FABRIKAM}, RuleOutcome.SATISFIED),
    ],
)
def test_composes_tables(content: AuthenticContent, table: dict[str, object], outcome: RuleOutcome) -> None:
    assert outcome_of(table, content) is outcome


@pytest.mark.parametrize(
    "table",
    [
        {"licenseTypes": ["Windows_Server"]},
        {"anyOf": [{"licenseTypes": ["Windows_Server"]}]},
        {"not": {"licenseTypes": ["Windows_Server"]}},
        {"not": {"not": {"licenseTypes": ["Windows_Server"]}}},
    ],
)
def test_a_claim_that_is_absent_satisfies_no_table(table: dict[str, object]) -> None:
    fields = documents.content()
    del fields["licenseType"]
    assert outcome_of(table, content_of(fields)) is RuleOutcome.ABSENT


def nested(depth: int) -> dict[str, object]:
    table = CONTOSO
    for _ in range(depth):
        table = {"not": table}
    return table


def test_tables_stand_in_one_another_only_so_deep(content: AuthenticContent) -> None:
    assert outcome_of(nested(MAX_DEPTH), content) is RuleOutcome.SATISFIED
    for depth in (MAX_DEPTH + 1, 100, 600):
        with pytest.raises(ValidationError):
            PolicyTable.model_validate(nested(depth))


def test_a_policy_has_only_so_many_tables(content: AuthenticContent) -> None:
    assert outcome_of({"anyOf": [CONTOSO] * (MAX_TABLES - 1)}, content) is RuleOutcome.SATISFIED
    for table in ({"anyOf": [CONTOSO] * MAX_TABLES}, {"allOf": [{"anyOf": [CONTOSO] * (MAX_TABLES - 1)}]}):
        with pytest.raises(ValidationError, match=f"more than {MAX_TABLES} tables"):
            PolicyTable.model_validate(table)


@pytest.mark.parametrize(
    "part",
    [
        {"allOf": []},
        {"anyOf": []},
        {"not": {}},
        {"not": []},
        {"allOf": [{}]},
        {"anyOf": [CONTOSO, {}]},
        {"anyOf": CONTOSO},
        {"allOf": [{"requirePlan": False}]},
        {"not": {"publishers": []}},
        {"not": {"publisher": ["contoso"]}},
        {"all_of": [CONTOSO]},
        {"negated": CONTOSO},
    ],
)
def test_refuses_a_part_that_is_empty_or_not_understood(part: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PolicyTable.model_validate({**CONTOSO, **part})

"""Policies as tables: each asks exactly what it names, and one that asks nothing is none."""

from datetime import timedelta

import pytest
from pydantic import ValidationError
from support import documents
from support.applications import StandingTrust

from verifier.core.model import AuthenticContent
from verifier.core.policy import Standing
from verifier.edge.policies import PolicyTable
from verifier.service import ArchiveVerifier

LATER = documents.NOW + timedelta(minutes=10)


@pytest.fixture(scope="module")
def content() -> AuthenticContent:
    """Of a VM made from a Marketplace image, as authentic as the shared PKI makes it."""
    verifier = ArchiveVerifier(trust=StandingTrust(in_force=documents.shared_bundle()))
    return verifier.appraise(documents.raw(documents.document()), at=documents.NOW).content


def stands(table: dict[str, object], content: AuthenticContent) -> Standing:
    return PolicyTable.model_validate(table).rule().judge(content, now=LATER).standing


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clouds", "AzurePublicCloud"),
        ("publishers", "contoso"),
        ("products", "contoso-appliance"),
        ("plans", "standard"),
        ("subscriptionIds", documents.VM.subscription_id),
        ("skus", "standard"),
        ("licenseTypes", ""),
    ],
)
def test_asks_for_one_of_the_values_named(content: AuthenticContent, name: str, value: str) -> None:
    other = "AzureChinaCloud" if name == "clouds" else "another"
    assert stands({name: [other, value]}, content) is Standing.SATISFIED
    assert stands({name: [other]}, content) is Standing.DENIED


def test_ignores_the_case_of_values(content: AuthenticContent) -> None:
    assert stands({"publishers": ["CONTOSO"]}, content) is Standing.SATISFIED


def test_asks_for_a_plan(content: AuthenticContent) -> None:
    assert stands({"requirePlan": True}, content) is Standing.SATISFIED


def test_asks_for_an_age(content: AuthenticContent) -> None:
    assert stands({"maximumAgeSeconds": 600}, content) is Standing.SATISFIED
    assert stands({"maximumAgeSeconds": 599}, content) is Standing.DENIED


def test_asks_for_all_that_it_names(content: AuthenticContent) -> None:
    table: dict[str, object] = {"publishers": ["contoso"], "skus": ["standard"], "requirePlan": True}
    assert stands(table, content) is Standing.SATISFIED
    assert stands({**table, "skus": ["premium"]}, content) is Standing.DENIED


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
        {"maximumAgeSeconds": "soon"},
    ],
)
def test_refuses_a_table_that_asks_nothing_or_is_not_understood(table: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PolicyTable.model_validate(table)

"""Test policies of the settings file over HTTP."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from support import documents
from support.applications import Application, make_application
from support.problems import read_problem

from verifier.adapters.settings.policies import PolicyTable
from verifier.core.policy import MAX_ALLOWED_SHOWN, ClaimIn, ClaimName, Policies

FILE = f"""
[policies.everything]
clouds = ["AzurePublicCloud"]
publishers = ["CONTOSO"]
products = ["Contoso-Appliance"]
plans = ["STANDARD"]
subscriptionIds = ["{documents.VM.subscription_id.upper()}"]
skus = ["Standard"]
licenseTypes = ["", "windows_server"]
requirePlan = true
maximumAgeSeconds = 60

[policies.publisher]
publishers = ["fabrikam"]

[policies.china]
clouds = ["AzureChinaCloud"]

[policies.subscription]
subscriptionIds = ["{documents.VM.subscription_id.upper()}"]

[policies.sku]
skus = ["standard"]

[policies.license]
not = {{ licenseTypes = ["Windows_Server"] }}

[policies.plan]
requirePlan = true

[policies.either]
anyOf = [{{ publishers = ["fabrikam"] }}, {{ allOf = [{{ skus = ["premium"] }}, {{ requirePlan = true }}] }}]
"""


@pytest.fixture
def application(tmp_path: Path) -> Application:
    tables = tomllib.loads(FILE)["policies"]
    policies = Policies({name: PolicyTable.model_validate(table).rule() for name, table in tables.items()})
    return make_application(tmp_path, policies=policies)


def post(application: Application, policy: str, fields: dict[str, object]) -> tuple[int, dict[str, object]]:
    """Post the document and return status and body. A problem must be complete."""
    application.give_out(documents.NONCE)
    evidence = documents.imds_answer(documents.sign(documents.encode(fields)))
    answer = application.client.post("/v1/attestations", json={**evidence, "policy": policy})
    if answer.status_code == 200:
        return 200, dict(answer.get_json())
    return answer.status_code, read_problem(answer.status_code, dict(answer.headers), answer.data)


def without(*names: str) -> Callable[[dict[str, object]], None]:
    def remove(fields: dict[str, object]) -> None:
        for name in names:
            del fields[name]

    return remove


def empty_plan(fields: dict[str, object]) -> None:
    fields["plan"] = {"name": "", "product": "", "publisher": ""}


def test_document_that_satisfies_every_rule_is_accepted_in_any_case(application: Application) -> None:
    status, result = post(application, "everything", documents.content())
    assert (status, result["policies"]) == (200, ["default", "everything"])


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        ("publisher", "plan.publisher is allowed"),
        ("china", "cloud is allowed"),
        ("either", "plan.publisher is allowed or sku is allowed"),
    ],
)
def test_denial_names_the_failed_rule(application: Application, policy: str, rule: str) -> None:
    status, problem = post(application, policy, documents.content())
    assert (status, problem["code"], problem["retryable"]) == (403, "policy-denied", False)
    assert f"Policy '{policy}', rule '{rule}'" in str(problem["detail"])
    checks = problem["checks"]
    assert isinstance(checks, list)
    assert checks[-1] == {"name": "policy", "outcome": "fail"}


@pytest.mark.parametrize(
    ("policy", "change", "claim", "version"),
    [
        ("publisher", without("plan"), "plan.publisher", "2018-10-01"),
        ("subscription", without("subscriptionId"), "subscriptionId", "2019-04-30"),
        ("sku", without("sku"), "sku", "2019-11-01"),
        ("license", without("licenseType"), "licenseType", "2020-09-01"),
        ("plan", without("plan"), "plan.publisher", "2018-10-01"),
        ("either", without("plan", "sku"), "plan.publisher", "2018-10-01"),
    ],
)
def test_denial_for_an_absent_claim_names_the_api_version_that_has_it(
    application: Application, policy: str, change: Callable[[dict[str, object]], None], claim: str, version: str
) -> None:
    fields = documents.content()
    change(fields)
    status, problem = post(application, policy, fields)
    assert (status, problem["code"]) == (403, "policy-denied")
    assert f"Policy '{policy}', rule '" in str(problem["detail"])
    assert f"does not carry {claim}; IMDS adds it from api-version {version} on." in str(problem["detail"])


@pytest.mark.parametrize("policy", ["plan", "publisher"])
def test_denial_for_an_empty_plan_says_that_the_image_is_not_of_the_marketplace(
    application: Application, policy: str
) -> None:
    fields = documents.content()
    empty_plan(fields)
    status, problem = post(application, policy, fields)
    assert (status, problem["code"]) == (403, "policy-denied")
    assert "The VM was not made from a Marketplace image: its plan.publisher is empty." in str(problem["detail"])


def test_nonce_of_a_removed_policy_is_denied(tmp_path: Path) -> None:
    in_force = [Policies({"gold": PolicyTable.model_validate({"requirePlan": True}).rule()})]
    application = make_application(tmp_path, policies=lambda: in_force[-1])
    issued = application.client.post("/v1/nonces", json={"policy": "gold"}).get_json()
    in_force.append(Policies())

    evidence = documents.imds_answer(documents.document(nonce=issued["nonce"]))
    denied = application.client.post("/v1/attestations", json=evidence)
    problem = read_problem(denied.status_code, dict(denied.headers), denied.data)
    assert (denied.status_code, problem["code"], problem["retryable"]) == (403, "policy-denied", False)
    assert "policy 'gold', which no longer exists" in str(problem["detail"])

    again = application.client.post("/v1/attestations", json=evidence)
    assert (again.status_code, again.get_json()["code"]) == (409, "nonce-replayed")


def test_denial_names_a_bounded_number_of_allowed_values(tmp_path: Path) -> None:
    allowed = [f"sku-{number:03d}" for number in range(MAX_ALLOWED_SHOWN + 5)]
    rule = ClaimIn(ClaimName.SKU, frozenset(allowed))
    application = make_application(tmp_path, policies=Policies({"default": rule}))
    application.give_out(documents.NONCE)
    answer = application.client.post("/v1/attestations", json=documents.imds_answer(documents.document()))
    denial = answer.get_json()["denial"]
    assert denial["allowed"] == allowed[:MAX_ALLOWED_SHOWN]
    assert (denial["found"], denial["allowedCount"]) == (documents.VM.sku, MAX_ALLOWED_SHOWN + 5)

"""Test that callers can add policies to their tenant's policy, cannot remove it, and know none of other tenants."""

import base64
import hashlib
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import documents
from support.applications import Application, make_application
from support.policy_choices import ALLOWED, OWN, Choice, choices, policies_of
from support.problems import read_problem
from werkzeug.test import TestResponse

from verifier.api.authentication import Callers, Tenants
from verifier.core.policy import Policies
from verifier.core.tenancy import Tenant

#: One tenant for each policy in OWN, with the same name, and its key.
TENANTS = Tenants(
    key_hashes={Tenant(name=name, policy=name): [hashlib.sha256(name.encode()).hexdigest()] for name in OWN}
)
#: Does not allow the product of `documents.VM`. The default does.
STRICT = "db-alone"

Post = Callable[[Application, str], TestResponse]


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    policies = Policies({**policies_of(ALLOWED).rules, "default": Policies().find("default")})
    return make_application(tmp_path_factory.mktemp("application"), policies=policies, tenants=TENANTS)


def post(
    application: Application, path: str, key: str, body: object = None, *, data: bytes | str = b""
) -> TestResponse:
    headers = {"Authorization": f"Bearer {key}"}
    if data:
        media_type = "application/json" if isinstance(data, str) else "application/pkcs7-mime"
        return application.client.post(path, data=data, content_type=media_type, headers=headers)
    return application.client.post(path, json=body, headers=headers)


def issue(application: Application, key: str, **binding: str) -> str:
    return str(post(application, "/v1/nonces", key, binding).get_json()["nonce"])


@settings(max_examples=100, deadline=None)
@given(choice=choices(own=OWN), form=st.sampled_from(["JSON", "DER"]))
def test_policies_of_nonce_and_request_never_replace_the_tenants_policy(
    application: Application, choice: Choice, form: str
) -> None:
    nonce = issue(application, choice.tenant, **({"policy": choice.nonce} if choice.nonce else {}))
    document = documents.document(nonce=nonce, vm=choice.vm)
    beside = {"policy": choice.request} if choice.request else {}
    answer = (
        post(application, "/v1/attestations", choice.tenant, data=document)
        if form == "DER" and not beside
        else post(application, "/v1/attestations", choice.tenant, {**documents.imds_answer(document), **beside})
    )
    told = application.records.decisions[-1]
    assert list(told.policies) == choice.names
    if choice.all_allow:
        assert (answer.status_code, answer.get_json()["policies"]) == (200, choice.names)
    else:
        problem = read_problem(answer.status_code, dict(answer.headers), answer.data)
        assert (answer.status_code, problem["code"]) == (403, "policy-denied")
    assert choice.tenant_allows or answer.status_code == 403


@pytest.mark.parametrize("path", ["/v1/nonces", "/v1/attestations", "/v1/inspections"])
@pytest.mark.parametrize("tenant", sorted(OWN))
def test_the_policy_of_another_tenant_is_as_unknown_as_one_that_does_not_exist(
    application: Application, path: str, tenant: str
) -> None:
    evidence = {} if path == "/v1/nonces" else documents.imds_answer(documents.document(nonce=documents.NONCE))
    for name in sorted(OWN - {tenant, Policies.DEFAULT}):
        others, missing = (
            post(application, path, tenant, {**evidence, "policy": policy}) for policy in (name, "missing")
        )
        problem = read_problem(others.status_code, dict(others.headers), others.data)
        assert (others.status_code, problem["code"]) == (400, "malformed-request")
        assert problem["detail"] == missing.get_json()["detail"].replace("missing", name)
    allowed = {tenant, Policies.DEFAULT, "web-alone"}
    answers = [post(application, path, tenant, {**evidence, "policy": policy}) for policy in sorted(allowed)]
    assert 400 not in [answer.status_code for answer in answers]


def test_a_nonce_ends_with_the_right_to_name_its_policy(tmp_path: Path) -> None:
    """Another tenant got the policy after the nonce was issued."""

    def callers(others: str) -> Callers:
        hashes = {name: [hashlib.sha256(name.encode()).hexdigest()] for name in ("one", "two")}
        tenants = {Tenant(name="one"): hashes["one"], Tenant(name="two", policy=others): hashes["two"]}
        return Callers(tenants=Tenants(key_hashes=tenants), policies=policies_of(ALLOWED))

    in_force = [callers("web-alone"), callers("db-alone")]
    application = make_application(tmp_path, callers=lambda: in_force[-1])
    nonce = issue(application, "one", policy="web-alone")
    in_force.pop()
    vm = Choice(product="web", tenant="default", nonce=None, request=None, allowed=ALLOWED).vm
    evidence = documents.imds_answer(documents.document(nonce=nonce, vm=vm))
    denied = post(application, "/v1/attestations", "one", evidence)
    problem = read_problem(denied.status_code, dict(denied.headers), denied.data)
    assert (denied.status_code, problem["code"]) == (403, "policy-denied")


# --- Attacks from a VM that its tenant's policy refuses and `default` would accept


def in_the_request(application: Application, key: str) -> TestResponse:
    evidence = documents.imds_answer(documents.document(nonce=issue(application, key)))
    return post(application, "/v1/attestations", key, {**evidence, "policy": "default"})


def in_the_nonce(application: Application, key: str) -> TestResponse:
    document = documents.document(nonce=issue(application, key, policy="default"))
    return post(application, "/v1/attestations", key, documents.imds_answer(document))


def in_both(application: Application, key: str) -> TestResponse:
    nonce = issue(application, key, policy="default")
    evidence = documents.imds_answer(documents.document(nonce=nonce))
    return post(application, "/v1/attestations", key, {**evidence, "policy": "default", "nonce": nonce})


def in_the_nonce_of_a_document_as_der(application: Application, key: str) -> TestResponse:
    nonce = issue(application, key, policy="default")
    return post(application, "/v1/attestations", key, data=documents.document(nonce=nonce))


@pytest.mark.parametrize("attack", [in_the_request, in_the_nonce, in_both, in_the_nonce_of_a_document_as_der])
def test_naming_the_default_policy_does_not_replace_the_tenants_policy(application: Application, attack: Post) -> None:
    assert attack(application, "default").status_code == 200  # of a tenant whose policy it is
    denied = attack(application, STRICT)
    problem = read_problem(denied.status_code, dict(denied.headers), denied.data)
    assert (denied.status_code, problem["code"], problem["retryable"]) == (403, "policy-denied", False)
    assert f"Policy '{STRICT}'" in str(problem["detail"])
    assert "token" not in denied.get_json()


def with_another_case(signature: str) -> str:
    return f'{{"encoding": "pkcs7", "signature": "{signature}", "policy": "Db-alone"}}'


def with_an_empty_name(signature: str) -> str:
    return f'{{"encoding": "pkcs7", "signature": "{signature}", "policy": ""}}'


def with_two_names(signature: str) -> str:
    return f'{{"encoding": "pkcs7", "signature": "{signature}", "policy": "{STRICT}", "policy": "default"}}'


def with_a_list(signature: str) -> str:
    return f'{{"encoding": "pkcs7", "signature": "{signature}", "policy": ["default"]}}'


def with_the_field_of_the_result(signature: str) -> str:
    return f'{{"encoding": "pkcs7", "signature": "{signature}", "policies": ["default"]}}'


@pytest.mark.parametrize(
    "body", [with_another_case, with_an_empty_name, with_two_names, with_a_list, with_the_field_of_the_result]
)
def test_unknown_policy_is_refused_and_the_nonce_stays_valid(
    application: Application, body: Callable[[str], str]
) -> None:
    nonce = issue(application, "default")
    signature = base64.b64encode(documents.document(nonce=nonce)).decode()
    assert post(application, "/v1/attestations", "default", data=body(signature)).status_code == 400
    good = f'{{"encoding": "pkcs7", "signature": "{signature}"}}'
    assert post(application, "/v1/attestations", "default", data=good).status_code == 200


def test_the_nonce_of_a_tenant_with_a_wider_policy_is_unknown(application: Application) -> None:
    evidence = documents.imds_answer(documents.document(nonce=issue(application, "default")))
    denied = post(application, "/v1/attestations", STRICT, evidence)
    assert (denied.status_code, denied.get_json()["code"]) == (422, "nonce-unknown")


@pytest.mark.parametrize("status", [200, 403])
def test_name_and_rules_of_the_tenants_policy_are_from_one_snapshot(tmp_path: Path, status: int) -> None:
    """Each read of the settings finds others. A name with the rules of another snapshot has the opposite outcome."""
    allows, denies = ALLOWED["db-or-web"], ALLOWED["db-alone"]
    its_own, other = (allows, denies) if status == 200 else (denies, allows)
    snapshots = cycle(
        Callers(
            tenants=Tenants(key_hashes={Tenant(name="one", policy=named): [hashlib.sha256(b"key").hexdigest()]}),
            policies=policies_of({named: its_own, unnamed: other}),
        )
        for named, unnamed in (("a", "b"), ("b", "a"))
    )
    application = make_application(tmp_path, callers=lambda: next(snapshots))
    for reads in range(4):
        for _ in range(reads):
            next(snapshots)
        vm = Choice(product="web", tenant="a", nonce=None, request=None, allowed=ALLOWED).vm
        evidence = documents.imds_answer(documents.document(nonce=issue(application, "key"), vm=vm))
        assert post(application, "/v1/attestations", "key", evidence).status_code == status


@pytest.mark.parametrize("beside", [{}, {"policy": "default"}], ids=str)
def test_missing_tenant_policy_is_no_verdict_and_the_nonce_stays_valid(tmp_path: Path, beside: dict[str, str]) -> None:
    """Settings with such a tenant are invalid. If they were in force, the service would still accept no document."""
    in_force = [policies_of(ALLOWED), policies_of({"default": ALLOWED["default"]})]
    application = make_application(tmp_path, policies=lambda: in_force[-1], tenants=TENANTS)
    vm = Choice(product="db", tenant=STRICT, nonce=None, request=None, allowed=ALLOWED).vm
    evidence = documents.imds_answer(documents.document(nonce=issue(application, STRICT), vm=vm))

    waiting = post(application, "/v1/attestations", STRICT, {**evidence, **beside})
    problem = read_problem(waiting.status_code, dict(waiting.headers), waiting.data)
    assert (waiting.status_code, problem["code"], problem["retryable"]) == (503, "store-unavailable", True)
    assert application.records.decisions[-1].verdict == "unavailable"

    in_force.pop()
    accepted = post(application, "/v1/attestations", STRICT, evidence)
    assert (accepted.status_code, accepted.get_json()["policies"]) == (200, [STRICT])

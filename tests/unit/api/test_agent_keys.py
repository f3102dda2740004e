"""Test agent keys: their paths, their limits, and what their answers show."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support import documents
from support.applications import Application, make_application
from support.documents import VM
from support.problems import read_problem
from support.tenant_keys import hash_of
from werkzeug.test import TestResponse

from verifier.api.authentication import Callers, TenantCaller, Tenants
from verifier.api.json_codec import RequestError
from verifier.core.policy import ClaimIn, ClaimName, Policies
from verifier.core.tenancy import AgentLimits, Allowance, KeyKind, Rate, Tenant
from verifier.emulator.documents import VirtualMachine

LIMITS = AgentLimits(address_rate=Rate.parse("6/hour"), vm_rate=Rate.parse("2/hour"), address_nonces=4, tenant_nonces=6)
NORTH = Tenant(name="north", rate=Rate.parse("3/hour"), agents=LIMITS)
SOUTH = Tenant(name="south", policy="other")
TENANTS = Tenants(
    key_hashes={NORTH: [hash_of("backend")], SOUTH: [hash_of("south")]},
    agent_key_hashes={NORTH: [hash_of("agent")], SOUTH: [hash_of("south-agent")]},
)
POLICIES = Policies({"other": ClaimIn(ClaimName.PUBLISHER, frozenset({"secret-publisher"}))})
HERE, THERE = "192.0.2.1", "192.0.2.2"
OTHER_VM = replace(VM, vm_id="11111111-2222-4333-8444-555555555555")


class FixedLimiter:
    """Implements the RateLimiter port. It refuses every request for 1.2 seconds."""

    def hit(self, key: str, rate: Rate) -> Allowance:
        del key
        return Allowance(admitted=False, rate=rate, remaining=0, reset=timedelta(seconds=1.2))


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return make_application(tmp_path, policies=POLICIES, tenants=TENANTS)


def post(
    application: Application,
    path: str,
    body: Mapping[str, object] | None = None,
    *,
    key: str = "agent",
    address: str = HERE,
    headers: Mapping[str, str] | None = None,
) -> TestResponse:
    return application.client.post(
        path,
        json=body,
        headers={"Authorization": f"Bearer {key}", **(headers or {})},
        environ_overrides={"REMOTE_ADDR": address},
    )


def attest(
    application: Application, *, vm: VirtualMachine = VM, key: str = "agent", address: str = HERE
) -> TestResponse:
    """Get a nonce and post a document with it."""
    nonce = post(application, "/v1/nonces", key=key, address=address).get_json()["nonce"]
    evidence = documents.imds_answer(documents.document(nonce=nonce, vm=vm))
    return post(application, "/v1/attestations", evidence, key=key, address=address)


def code_of(response: TestResponse) -> object:
    return read_problem(response.status_code, dict(response.headers), response.data)["code"]


def test_each_kind_of_key_authenticates_as_its_kind() -> None:
    callers = Callers(tenants=TENANTS)
    for key, kind in (("backend", KeyKind.BACKEND), ("agent", KeyKind.AGENT)):
        assert callers.authenticate_tenant(f"Bearer {key}") == TenantCaller(tenant=NORTH, kind=kind)


def test_agent_key_shows_no_details_and_administers_nothing() -> None:
    callers = Callers(tenants=TENANTS)
    assert callers.know("Bearer backend")
    assert not callers.know("Bearer agent")
    with pytest.raises(RequestError, match="you sent an agent key") as refusal:
        callers.authenticate_administrator("Bearer agent")
    assert refusal.value.fault == "forbidden"


@pytest.mark.parametrize(
    ("agents", "said"),
    [
        ({NORTH: [hash_of("backend")]}, "the same"),
        ({NORTH: ["agent"]}, "SHA-256"),
        ({SOUTH: [hash_of("agent")]}, "no key"),
    ],
)
def test_ambiguous_or_invalid_agent_keys_are_refused_at_construction(
    agents: dict[Tenant, list[str]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Tenants(key_hashes={NORTH: [hash_of("backend")]}, agent_key_hashes=agents)


def test_agent_gets_a_nonce_and_a_verdict(application: Application) -> None:
    answer = attest(application)
    assert (answer.status_code, answer.get_json()["verdict"]) == (200, "verified")


def test_flood_from_one_address_is_refused_and_changes_no_other_count(application: Application) -> None:
    codes = [post(application, "/v1/attestations", {}).status_code for _ in range(9)]
    assert codes == [400] * 6 + [429] * 3
    limited = post(application, "/v1/attestations", {})
    assert "your address" in limited.get_json()["detail"]
    assert limited.headers["Retry-After"] == str(limited.get_json()["retryAfterSeconds"])
    assert attest(application, vm=OTHER_VM, address=THERE).status_code == 200
    backend = post(application, "/v1/attestations", {}, key="backend")
    assert backend.headers["RateLimit"].startswith('"attestations";r=2;')


def test_addresses_of_one_64_have_one_rate(application: Application) -> None:
    hosts = [f"2001:db8:1:2:{number:x}::{number:x}" for number in range(1, 8)]
    codes = [post(application, "/v1/attestations", {}, address=host).status_code for host in hosts]
    assert codes == [400] * 6 + [429]
    for other in ("2001:db8:1:3::1", "2001:db8:1:1:ffff:ffff:ffff:ffff"):
        assert post(application, "/v1/attestations", {}, address=other).status_code == 400


def test_waiting_times_are_rounded_up(tmp_path: Path) -> None:
    """A caller that waits for Retry-After is admitted."""
    application = make_application(tmp_path, tenants=TENANTS, limiter=FixedLimiter())
    limited = post(application, "/v1/nonces")
    assert (limited.headers["Retry-After"], limited.get_json()["retryAfterSeconds"]) == ("2", 2)
    assert limited.headers["RateLimit"] == '"nonces";r=0;t=2'


def test_backend_over_its_rate_changes_no_count_of_agents(application: Application) -> None:
    assert [post(application, "/v1/nonces", key="backend").status_code for _ in range(4)] == [201] * 3 + [429]
    assert attest(application).status_code == 200


def test_vm_has_a_rate_of_its_own_behind_one_address(application: Application) -> None:
    assert [attest(application).status_code for _ in range(2)] == [200, 200]
    limited = attest(application)
    problem = limited.get_json()
    assert (limited.status_code, problem["code"], problem["retryable"]) == (429, "rate-limited", True)
    assert "nonce of this document is used" in problem["detail"]
    assert "RateLimit" in limited.headers
    assert attest(application, vm=OTHER_VM).status_code == 200


def test_rate_of_a_vm_does_not_depend_on_the_case_of_its_id(application: Application) -> None:
    letters = replace(VM, vm_id="abcdefab-2222-4333-8444-555555555555")
    spelled = [replace(letters, vm_id=vm_id) for vm_id in (letters.vm_id, letters.vm_id.upper(), letters.vm_id.title())]
    assert [attest(application, vm=vm).status_code for vm in spelled] == [200, 200, 429]


def test_captured_document_does_not_use_up_the_rate_of_its_vm(application: Application) -> None:
    nonce = post(application, "/v1/nonces").get_json()["nonce"]
    evidence = documents.imds_answer(documents.document(nonce=nonce))
    assert post(application, "/v1/attestations", evidence).status_code == 200
    for _ in range(5):
        assert code_of(post(application, "/v1/attestations", evidence, address=THERE)) == "nonce-replayed"
    assert attest(application).status_code == 200


def test_hoarded_nonces_are_capped_for_an_address_and_for_all_agents(application: Application) -> None:
    assert [post(application, "/v1/nonces").status_code for _ in range(5)] == [201] * 4 + [429]
    assert [post(application, "/v1/nonces", address=THERE).status_code for _ in range(3)] == [201, 201, 429]
    mine, everyone = post(application, "/v1/nonces"), post(application, "/v1/nonces", address=THERE)
    assert "Your address has 4 outstanding nonces" in mine.get_json()["detail"]
    assert "agents of this tenant" in everyone.get_json()["detail"]
    for refused in (mine, everyone):
        assert code_of(refused) == "rate-limited"
        assert 1 <= int(refused.headers["Retry-After"]) <= 300
    assert post(application, "/v1/nonces", key="backend").status_code == 201
    assert post(application, "/v1/nonces", key="south-agent").status_code == 201


def test_nonces_that_another_address_redeems_count_for_the_first_one(application: Application) -> None:
    """One VM cannot collect nonces at one address and make room by redeeming them at another one."""
    nonces = [post(application, "/v1/nonces").get_json()["nonce"] for _ in range(4)]
    for nonce in nonces[:2]:
        evidence = documents.imds_answer(documents.document(nonce=nonce))
        assert post(application, "/v1/attestations", evidence, address=THERE).status_code == 200
    assert code_of(post(application, "/v1/nonces")) == "rate-limited"
    # All agents have two outstanding nonces less.
    assert [post(application, "/v1/nonces", address=THERE).status_code for _ in range(4)] == [201] * 4


def test_redeemed_nonce_is_not_outstanding(application: Application) -> None:
    nonces = [post(application, "/v1/nonces").get_json()["nonce"] for _ in range(4)]
    assert post(application, "/v1/nonces").status_code == 429
    evidence = documents.imds_answer(documents.document(nonce=nonces[0]))
    assert post(application, "/v1/attestations", evidence).status_code == 200
    assert post(application, "/v1/nonces").status_code == 201


def test_nonce_of_another_tenant_is_unknown(application: Application) -> None:
    nonce = post(application, "/v1/nonces", key="south-agent").get_json()["nonce"]
    evidence = documents.imds_answer(documents.document(nonce=nonce))
    assert code_of(post(application, "/v1/attestations", evidence)) == "nonce-unknown"


def test_policy_refusal_names_only_the_rule_to_an_agent(application: Application) -> None:
    for_backend = attest(application, key="south").get_json()
    for_agent = attest(application, key="south-agent").get_json()
    assert for_backend["code"] == for_agent["code"] == "policy-denied"
    assert for_backend["claims"]["vmId"] == VM.vm_id
    assert for_backend["denial"]["allowed"] == ["secret-publisher"]
    assert not {"claims", "denial"} & for_agent.keys()
    assert "other" in for_backend["detail"]
    assert for_agent["detail"] == "The document does not satisfy the rule 'plan.publisher is allowed'."
    assert for_agent["checks"] == for_backend["checks"]


@pytest.mark.parametrize("body", [{"policy": "default"}, {}])
def test_request_of_an_agent_cannot_widen_the_policy(application: Application, body: dict[str, object]) -> None:
    nonce = post(application, "/v1/nonces", body, key="south-agent").get_json()["nonce"]
    evidence = documents.imds_answer(documents.document(nonce=nonce))
    assert code_of(post(application, "/v1/attestations", {**evidence, **body}, key="south-agent")) == "policy-denied"


def test_forged_header_does_not_change_the_address_without_proxies(application: Application) -> None:
    for number in range(6):
        post(application, "/v1/attestations", {}, headers={"X-Forwarded-For": f"198.51.100.{number}"})
    assert post(application, "/v1/attestations", {}).status_code == 429
    [warning] = application.records.forwarding
    assert "VERIFIER_TRUSTED_PROXIES is 0" in warning


def test_customers_behind_a_proxy_are_counted_apart(tmp_path: Path) -> None:
    application = make_application(tmp_path, policies=POLICIES, tenants=TENANTS, trusted_proxies=1)
    # The customer forges the first entry. The proxy adds the second one.
    flood = [{"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.7"} for number in range(7)]
    codes = [post(application, "/v1/attestations", {}, headers=headers).status_code for headers in flood]
    assert codes == [400] * 6 + [429]
    other = {"X-Forwarded-For": "203.0.113.8"}
    assert post(application, "/v1/attestations", {}, headers=other).status_code == 400

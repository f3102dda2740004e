"""Test the authentication and the rates of tenants."""

from datetime import timedelta
from pathlib import Path

import pytest
from support import documents
from support.applications import Application, make_application
from support.problems import read_problem
from support.tenant_keys import hash_of
from werkzeug.test import TestResponse

from verifier.api.authentication import OPEN_TENANT, Administrators, Callers, TenantCaller, Tenants
from verifier.api.json_codec import RequestError
from verifier.core.nonces import FirstUse
from verifier.core.policy import ClaimIn, ClaimName, Policies
from verifier.core.tenancy import Allowance, KeyKind, Rate, Tenant
from verifier.ports.stores import NonceKey, StoreUnavailable

NORTH, SOUTH = Tenant(name="north", rate=Rate.parse("3/hour")), Tenant(name="south", policy="fabrikam")


TENANTS = Tenants(key_hashes={NORTH: [hash_of("north-1"), hash_of("north-2")], SOUTH: [hash_of("south-1")]})
ADMINISTRATORS = Administrators(key_hashes={"alice": hash_of("alice-1")})
CALLERS = Callers(administrators=ADMINISTRATORS, tenants=TENANTS)
POLICIES = Policies({"fabrikam": ClaimIn(ClaimName.PUBLISHER, frozenset({"fabrikam"}))})


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return make_application(tmp_path, policies=POLICIES, tenants=TENANTS)


def post(application: Application, path: str, key: str, body: dict[str, object] | None = None) -> TestResponse:
    return application.client.post(path, json=body, headers={"Authorization": f"Bearer {key}"})


def code_of(response: TestResponse) -> object:
    return read_problem(response.status_code, dict(response.headers), response.data)["code"]


def test_each_key_of_a_tenant_authenticates_it() -> None:
    for key, tenant in (("north-1", NORTH), ("north-2", NORTH), ("south-1", SOUTH)):
        assert CALLERS.authenticate_tenant(f"Bearer {key}") == TenantCaller(tenant=tenant, kind=KeyKind.BACKEND)


@pytest.mark.parametrize(
    ("authorization", "fault"),
    [
        (None, "unauthenticated"),
        ("", "unauthenticated"),
        ("Bearer north-3", "unauthenticated"),
        ("Bearer north-1,Bearer north-1", "unauthenticated"),
        ("Bearer north-1,Bearer south-1", "unauthenticated"),
        (f"Bearer {hash_of('north-1')}", "unauthenticated"),
        ("Bearer alice-1", "forbidden"),
    ],
)
def test_missing_malformed_or_unknown_key_is_refused(authorization: str | None, fault: str) -> None:
    with pytest.raises(RequestError) as refusal:
        CALLERS.authenticate_tenant(authorization)
    assert refusal.value.fault == fault
    for name in ("north", "south", "alice"):
        assert name not in refusal.value.detail


def test_admin_key_is_forbidden_for_tenants() -> None:
    with pytest.raises(RequestError) as refusal:
        CALLERS.authenticate_administrator("Bearer north-2")
    assert refusal.value.fault == "forbidden"
    assert CALLERS.authenticate_administrator("Bearer alice-1") == "alice"


@pytest.mark.parametrize("authorization", [None, "Bearer nobody", "Bearer alice-1", "x,y"])
def test_without_tenants_every_caller_is_the_open_tenant(authorization: str | None) -> None:
    open_to_all = Callers(administrators=ADMINISTRATORS)
    assert open_to_all.tenants.are_open
    assert open_to_all.authenticate_tenant(authorization).tenant is OPEN_TENANT


@pytest.mark.parametrize(
    ("key_hashes", "said"),
    [
        ({NORTH: []}, "no key"),
        ({NORTH: ["north-1"]}, "SHA-256"),
        ({NORTH: [hash_of("a").upper()]}, "SHA-256"),
        ({NORTH: [hash_of("")]}, "SHA-256"),
        ({NORTH: [hash_of("a"), hash_of("a")]}, "the same"),
        ({NORTH: [hash_of("a")], SOUTH: [hash_of("a")]}, "the same"),
        ({NORTH: [hash_of("a")], Tenant(name="north"): [hash_of("b")]}, "same name"),
    ],
)
def test_missing_invalid_or_ambiguous_keys_are_refused_at_construction(
    key_hashes: dict[Tenant, list[str]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Tenants(key_hashes=key_hashes)


def test_representation_does_not_show_the_hashes() -> None:
    assert hash_of("north-1") not in repr(TENANTS)


def test_answers_of_a_limited_path_have_rate_headers(application: Application) -> None:
    """Refusals count too. Each path has its own count."""
    bodies: list[dict[str, object] | None] = [None, {"x": 1}, None]
    answers = [post(application, "/v1/nonces", "north-1", body) for body in bodies]
    assert [answer.status_code for answer in answers] == [201, 400, 201]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"nonces";q=3;w=3600'}
    assert [answer.headers["RateLimit"].rpartition(";")[0] for answer in answers] == [
        *('"nonces";r=2', '"nonces";r=1', '"nonces";r=0'),
    ]
    other = post(application, "/v1/attestations", "north-1", {})
    assert other.headers["RateLimit"].startswith('"attestations";r=2;t=')


def test_rate_limited_request_gets_retry_after(application: Application) -> None:
    for _ in range(3):
        assert post(application, "/v1/nonces", "north-1").status_code == 201
    refused = post(application, "/v1/nonces", "north-2")
    problem = read_problem(refused.status_code, dict(refused.headers), refused.data)
    assert (refused.status_code, problem["code"], problem["retryable"]) == (429, "rate-limited", True)
    seconds = refused.headers["Retry-After"]
    assert str(problem["retryAfterSeconds"]) == seconds
    assert 1 <= int(seconds) <= 2 * 3600
    assert refused.headers["RateLimit"] == f'"nonces";r=0;t={seconds}'
    assert "north" not in refused.text


def test_tenant_without_a_rate_is_not_limited_and_gets_no_rate_headers(application: Application) -> None:
    for _ in range(5):
        post(application, "/v1/nonces", "north-1")
    for _ in range(5):
        answer = post(application, "/v1/nonces", "south-1")
        assert answer.status_code == 201
        assert "RateLimit" not in answer.headers


def test_unauthenticated_requests_are_not_counted(application: Application) -> None:
    for key in ("nobody", "north-3", ""):
        refused = post(application, "/v1/nonces", key)
        assert refused.status_code == 401
        assert "RateLimit" not in refused.headers
    assert post(application, "/v1/nonces", "north-1").headers["RateLimit"].startswith('"nonces";r=2')


def test_rate_limited_request_leaves_its_nonce_valid(application: Application) -> None:
    issued = post(application, "/v1/nonces", "north-1").get_json()["nonce"]
    evidence = documents.imds_answer(documents.document(nonce=issued))
    for _ in range(3):
        post(application, "/v1/attestations", "north-1", {})
    assert post(application, "/v1/attestations", "north-1", evidence).status_code == 429
    application.clock.advance(timedelta(seconds=1))
    assert evidence_is_unused(application, issued)


def evidence_is_unused(application: Application, nonce: str) -> bool:
    key = NonceKey(tenant="north", nonce=nonce)
    found = application.nonces.redeem(key, keep=timedelta(hours=7), now=application.clock.now())
    return isinstance(found, FirstUse)


class _AwayLimiter:
    """Implements the RateLimiter port and is always unavailable."""

    def hit(self, key: str, rate: Rate) -> Allowance:
        raise StoreUnavailable(f"The test took it from {key}, {rate}.")


def test_unavailable_rate_limiter_is_503_without_a_verdict(tmp_path: Path) -> None:
    application = make_application(tmp_path, tenants=TENANTS, policies=POLICIES, limiter=_AwayLimiter())
    for path in ("/v1/nonces", "/v1/attestations"):
        refused = post(application, path, "north-1")
        assert (refused.status_code, code_of(refused)) == (503, "store-unavailable")
        assert "Retry-After" in refused.headers
        assert "north" not in refused.text
    # A tenant without a rate needs no limiter.
    assert post(application, "/v1/nonces", "south-1").status_code == 201

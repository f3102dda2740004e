"""Test what all answers share, and the routes of nonces, attestations and health."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from support import documents
from support.applications import Application, KeptRecords, make_application
from support.clocks import ManualClock
from support.problems import read_problem
from support.services import AS_ADMIN

from verifier.api.app import answer_unhandled
from verifier.api.appraisals import Appraisals
from verifier.core.model import Claims
from verifier.core.nonces import NonceRecord, Redemption
from verifier.core.policy import ClaimIn, ClaimName, Policies
from verifier.ports.stores import DocumentKey, NonceKey, StoreUnavailable
from verifier.ports.telemetry import UnhandledCause

JSON = "application/json"


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return make_application(
        tmp_path, policies=Policies({"contoso": ClaimIn(ClaimName.PUBLISHER, frozenset({"contoso"}))})
    )


@pytest.fixture
def client(application: Application) -> FlaskClient:
    return application.client


class _AwayStore:
    """Implements the NonceStore port and is always unavailable."""

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: object) -> bool:
        del key, record, keep, now
        raise StoreUnavailable("The test took it.", retry_after=timedelta(seconds=3))

    def redeem(self, key: NonceKey, *, keep: timedelta, now: object) -> Redemption:
        del key, keep, now
        raise StoreUnavailable("The test took it.", retry_after=timedelta(milliseconds=3))

    def remember(self, key: DocumentKey, *, keep: timedelta, now: object) -> bool:
        del key, keep, now
        raise StoreUnavailable("The test took it.")

    def ping(self) -> None:
        raise StoreUnavailable("The test took it.")


class _FaultyStore(_AwayStore):
    def redeem(self, key: NonceKey, *, keep: timedelta, now: object) -> Redemption:
        raise RuntimeError(f"a fault that tells {key} at {now}, {keep}")


def answer(**more: object) -> dict[str, object]:
    return {**documents.imds_answer(documents.document()), **more}


def paths() -> Iterator[tuple[str, str]]:
    yield "GET", "/healthz"
    yield "GET", "/readyz"
    yield "GET", "/problems/internal"
    yield "GET", "/none"
    yield "PUT", "/v1/nonces"
    yield "POST", "/v1/nonces"
    yield "POST", "/v1/attestations"
    yield "OPTIONS", "/v1/attestations"


@pytest.mark.parametrize(("method", "path"), list(paths()))
def test_every_answer_has_a_request_id_and_security_headers(client: FlaskClient, method: str, path: str) -> None:
    response = client.open(path, method=method, headers={"X-Request-Id": "mine"})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"])
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert path.startswith("/problems/") or response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("sent", [{}, {"X-Request-Id": "mine"}, {"X-Request-Id": "0" * 32}], ids=str)
def test_service_creates_the_id_of_each_request(application: Application, sent: dict[str, str]) -> None:
    """The id is new, even if the caller sends an earlier id of the service."""
    ids = {application.client.get("/healthz", headers=sent).headers["X-Request-Id"] for _ in range(5)}
    assert len(ids - set(sent.values())) == 5
    assert {exchange.request_id for exchange in application.records.exchanges} == ids


@pytest.mark.parametrize("sent", ["mine-1.2_3", "a" * 64, "0" * 32])
def test_client_request_id_is_recorded_as_well(application: Application, sent: str) -> None:
    response = application.client.get("/none", headers={"X-Request-Id": sent})
    told = application.records.exchanges[-1]
    assert told.client_request_id == sent
    assert response.get_json()["requestId"] == response.headers["X-Request-Id"] == told.request_id != sent


@pytest.mark.parametrize("sent", ["a" * 65, "a b", "a/b", '"', "a;b", "{}", "a,b", "\u0661"])
def test_malformed_client_request_id_is_not_recorded(application: Application, sent: str) -> None:
    response = application.client.get("/none", headers={"X-Request-Id": sent})
    told = application.records.exchanges[-1]
    assert told.client_request_id == ""
    assert response.get_json()["requestId"] == told.request_id != sent


def test_result_has_every_member(application: Application) -> None:
    application.give_out(documents.NONCE)
    response = application.client.post("/v1/attestations", json=answer())
    assert response.status_code == 200
    result = response.get_json()
    assert list(result)[:6] == ["verdict", "cloud", "claims", "document", "signer", "chain"]
    assert (result["verdict"], result["cloud"], result["policies"]) == ("verified", "AzurePublicCloud", ["default"])
    assert result["claims"] == {
        "vmId": documents.VM.vm_id,
        "subscriptionId": documents.VM.subscription_id,
        "sku": documents.VM.sku,
        "licenseType": "",
        "nonce": documents.NONCE,
        "plan": {"publisher": "contoso", "product": "contoso-appliance", "name": "standard"},
        "createdOn": "2026-11-23T08:00:00Z",
        "expiresOn": "2026-11-23T14:00:00Z",
    }
    assert result["document"] == documents.content()
    assert result["evaluatedAt"] == "2026-11-23T08:00:00Z"
    assert {check["outcome"] for check in result["checks"]} == {"pass"}
    assert [check["name"] for check in result["checks"]] == [
        *("format", "signature", "signer-name", "claims", "validity-window", "chain", "nonce", "policy"),
    ]
    assert len(result["chain"]) == 2
    assert set(result["signer"]) == {"subject", "names", "issuer", "serialNumber", "sha256", "notAfter"}


def test_absent_claims_are_null_and_unknown_fields_stay_in_the_document(application: Application) -> None:
    application.give_out(documents.NONCE)
    fields: dict[str, object] = {"vmId": "v", "nonce": documents.NONCE, "later": [1, {"a": None}], "timeStamp": None}
    der = documents.sign(documents.encode(fields))
    result = application.client.post("/v1/attestations", json=documents.imds_answer(der)).get_json()
    assert result["document"] == fields
    assert result["claims"] == {
        **dict.fromkeys(("subscriptionId", "sku", "licenseType", "plan", "createdOn", "expiresOn")),
        "vmId": "v",
        "nonce": documents.NONCE,
    }
    assert len(result["claims"]) == len(Claims.__dataclass_fields__)


def test_unknown_request_field_is_refused_and_never_reaches_a_result(application: Application) -> None:
    application.give_out(documents.NONCE)
    response = application.client.post("/v1/attestations", json=answer(nonce=documents.NONCE, policy="contoso"))
    assert response.get_json()["policies"] == ["default", "contoso"]
    again = application.client.post("/v1/attestations", json=answer(vmId="another"))
    assert read_problem(again.status_code, dict(again.headers), again.data)["code"] == "malformed-evidence"
    assert "another" not in again.text
    assert "Unknown field 'vmId'." in again.text


def test_refusal_shows_the_outcome_of_each_check(client: FlaskClient) -> None:
    response = client.post("/v1/attestations", json=answer(nonce="4711"))
    problem = read_problem(response.status_code, dict(response.headers), response.data)
    assert (problem["code"], problem["retryable"], problem["retryAfterSeconds"]) == ("nonce-mismatch", True, 5)
    checks = problem["checks"]
    assert isinstance(checks, list)
    assert [check["outcome"] for check in checks] == ["pass"] * 6 + ["fail", "skipped"]


def test_refusal_before_the_policies_shows_no_claim(application: Application) -> None:
    refused = application.client.post("/v1/attestations", json=answer())
    assert (refused.status_code, refused.get_json()["code"]) == (422, "nonce-unknown")
    for told in (documents.VM.vm_id, documents.VM.subscription_id, documents.NONCE):
        assert told not in refused.text


def test_refusal_by_a_policy_shows_the_claims_and_the_rule(application: Application) -> None:
    application.give_out(documents.NONCE)
    denied = json.loads(make_denied_answer(application))
    assert denied["claims"]["vmId"] == documents.VM.vm_id
    assert denied["claims"]["plan"] == {"publisher": "fabrikam", "product": "p", "name": "n"}
    assert denied["denial"] == {
        "policy": "contoso",
        "rule": "plan.publisher is allowed",
        "found": "fabrikam",
        "allowed": ["contoso"],
        "allowedCount": 1,
    }


def make_denied_answer(application: Application) -> str:
    from_elsewhere = documents.content()
    from_elsewhere["plan"] = {"publisher": "fabrikam", "product": "p", "name": "n"}
    der = documents.sign(documents.encode(from_elsewhere))
    response = application.client.post("/v1/attestations", json={**documents.imds_answer(der), "policy": "contoso"})
    assert response.status_code == 403
    return response.text


def test_nonce_is_bound_to_the_requested_values(application: Application) -> None:
    asked = {"vmId": "{0000000A-0000-4000-8000-000000000000}", "policy": "contoso", "jkt": "x" * 43}
    response = application.client.post("/v1/nonces", json=asked)
    issued = response.get_json()
    assert response.status_code == 201
    assert issued["issuedAt"] == "2026-11-23T08:00:00Z"
    assert issued["expiresAt"] == "2026-11-23T08:05:00Z"
    assert len(issued["nonce"]) == 10
    assert issued["nonce"].isdigit()
    der = documents.document(nonce=issued["nonce"])
    refused = application.client.post("/v1/attestations", json=documents.imds_answer(der))
    assert (refused.status_code, refused.get_json()["code"]) == (422, "nonce-mismatch")


def test_nonce_request_may_have_no_body_or_an_empty_object(client: FlaskClient) -> None:
    assert client.post("/v1/nonces").status_code == 201
    assert client.post("/v1/nonces", json={}).status_code == 201
    assert client.post("/v1/nonces", json={"vmId": None}).status_code == 201


def test_unavailable_store_is_503_with_retry_after(tmp_path: Path) -> None:
    application = make_application(tmp_path, nonces=_AwayStore())
    nonce = application.client.post("/v1/nonces")
    verdict = application.client.post("/v1/attestations", json=answer())
    for response, seconds in ((nonce, "3"), (verdict, "1")):
        problem = read_problem(response.status_code, dict(response.headers), response.data)
        assert (problem["code"], response.headers["Retry-After"]) == ("store-unavailable", seconds)
        assert "The test took it" not in response.text
    assert [type(error) for _, error in application.records.failures] == [StoreUnavailable, StoreUnavailable]
    ready, seen = (application.client.get("/readyz", headers=headers) for headers in (AS_ADMIN, {}))
    assert (ready.status_code, seen.status_code) == (503, 503)
    assert {"name": "nonce-store", "ready": False, "detail": "The test took it."} in ready.get_json()["conditions"]
    assert "The test took it" not in seen.text
    assert [one["ready"] for one in seen.get_json()["conditions"]] == [
        one["ready"] for one in ready.get_json()["conditions"]
    ]
    assert application.client.get("/healthz").status_code == 200


def test_unexpected_error_shows_only_the_request_id(tmp_path: Path) -> None:
    application = make_application(tmp_path, nonces=_FaultyStore())
    response = application.client.post("/v1/attestations", json=answer())
    problem = read_problem(response.status_code, dict(response.headers), response.data)
    assert (problem["status"], problem["code"]) == (500, "internal")
    assert "fault that tells" not in response.text
    assert documents.NONCE not in response.text
    ((request_id, error),) = application.records.failures
    assert request_id == problem["requestId"]
    assert isinstance(error, RuntimeError)


def test_service_without_usable_anchors_is_not_ready(application: Application) -> None:
    assert application.client.get("/readyz").get_json()["status"] == "ready"
    application.clock.advance(timedelta(days=20 * 365))
    answered = application.client.get("/readyz", headers=AS_ADMIN)
    assert answered.status_code == 503
    (trust,) = [entry for entry in answered.get_json()["conditions"] if entry["name"] == "trust"]
    assert trust["ready"] is False
    assert "AzurePublicCloud" in trust["detail"]


def test_log_has_the_route_and_not_the_path(application: Application) -> None:
    for method, path in (("GET", "/problems/internal"), ("GET", "/problems/0123456789"), ("GET", "/0123456789")):
        application.client.open(path, method=method)
    routes = [exchange.route for exchange in application.records.exchanges]
    assert routes == ["GET /problems/<code>", "GET /problems/<code>", ""]


def test_each_answer_is_recorded_with_its_code(application: Application) -> None:
    application.client.get("/healthz")
    application.client.post("/v1/attestations", data=b"{", content_type=JSON)
    application.client.get("/none")
    told = [(exchange.status, exchange.code) for exchange in application.records.exchanges]
    assert told == [(200, ""), (400, "malformed-evidence"), (404, "not-found")]
    assert all(0 <= exchange.seconds < 60 for exchange in application.records.exchanges)


def test_answers_keep_the_field_order_and_are_utf_8(application: Application) -> None:
    application.give_out(documents.NONCE)
    der = documents.sign(documents.encode({**documents.content(), "zeta": "ü", "alpha": 1}))
    response = application.client.post("/v1/attestations", json=documents.imds_answer(der))
    assert list(json.loads(response.data)["document"])[-2:] == ["zeta", "alpha"]
    assert json.loads(response.data)["document"]["zeta"] == "ü"


def appraisals_of(records: KeptRecords) -> Appraisals:
    return Appraisals(recorder=records, clock=ManualClock(documents.NOW))


@pytest.mark.parametrize(
    ("cause", "code"),
    [(UnhandledCause.MALFORMED, "malformed-request"), (UnhandledCause.INCOMPLETE, "request-timeout")],
)
def test_request_that_the_application_does_not_get_is_answered_with_a_problem(cause: UnhandledCause, code: str) -> None:
    records = KeptRecords()
    status, headers, body = answer_unhandled(
        records, Appraisals(recorder=records, clock=ManualClock(documents.NOW)), cause, ValueError("told by a sender")
    )
    problem = read_problem(status, headers, body)
    assert (problem["code"], headers["X-Request-Id"]) == (code, problem["requestId"])
    assert b"told by a sender" not in body
    assert records.failures == []
    assert records.exchanges[-1].request_id == problem["requestId"]
    assert [(record.request_id, record.code) for record in records.problems] == [(problem["requestId"], code)]


def test_server_failure_is_answered_with_a_problem() -> None:
    records = KeptRecords()
    fault = ValueError("inner")
    status, headers, body = answer_unhandled(
        records, Appraisals(recorder=records, clock=ManualClock(documents.NOW)), UnhandledCause.FAILED, fault
    )
    problem = read_problem(status, headers, body)
    assert (status, problem["code"]) == (500, "internal")
    assert b"inner" not in body
    assert records.failures == [(problem["requestId"], fault)]

"""Inspections over HTTP: who may ask, with which rate and policies, what the answer has, and what no record has."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support import documents
from support.applications import Application, make_application
from support.documents import NONCE, NOW, document, imds_answer, sample
from support.services import ADMIN_KEY
from support.tenant_keys import hash_of
from support.vectors import VECTORS, vectors_trust
from werkzeug.test import TestResponse

from verifier.api.authentication import Tenants
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.policy import ClaimIn, ClaimName, Policies
from verifier.core.reasons import Check
from verifier.core.tenancy import Rate, Tenant
from verifier.ports.decisions import AppraisalRecord

NORTH, SOUTH = Tenant(name="north", rate=Rate.parse("2/hour")), Tenant(name="south", policy="fabrikam")
TENANTS = Tenants(
    key_hashes={NORTH: [hash_of("north-1")], SOUTH: [hash_of("south-1")]},
    agent_key_hashes={NORTH: [hash_of("north-agent")]},
)
POLICIES = Policies(
    {
        "fabrikam": ClaimIn(ClaimName.PUBLISHER, frozenset({"fabrikam"})),
        "contoso": ClaimIn(ClaimName.PUBLISHER, frozenset({"contoso"})),
    }
)


@pytest.fixture
def application(tmp_path: Path) -> Application:
    """Create a service without tenants."""
    return make_application(tmp_path, policies=POLICIES)


@pytest.fixture
def closed(tmp_path: Path) -> Application:
    return make_application(tmp_path, policies=POLICIES, tenants=TENANTS)


def inspect(
    application: Application,
    body: bytes | None = None,
    *,
    media_type: str = "application/octet-stream",
    query: str = "",
    key: str = "",
    **beside: object,
) -> TestResponse:
    """Post these bytes, or the JSON of a valid document with these fields."""
    if body is None:
        body, media_type = json.dumps(imds_answer(document()) | beside).encode(), "application/json"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return application.client.post(f"/v1/inspections{query}", data=body, content_type=media_type, headers=headers)


def shown(response: TestResponse) -> Any:  # noqa: ANN401 - JSON
    assert response.status_code == 200, response.data
    return response.get_json()


def problem(response: TestResponse) -> tuple[int, str]:
    return response.status_code, response.get_json()["code"]


def test_a_service_without_tenants_shows_a_document_to_anybody(application: Application) -> None:
    for key in ("unknown", ADMIN_KEY):
        assert shown(inspect(application, key=key))["verdict"] == "verified"
    answer = shown(inspect(application))
    assert (answer["verdict"], answer["code"], answer["detail"]) == ("verified", None, "")
    assert answer["evaluatedAt"] == "2026-11-23T08:00:00Z"
    assert answer["policies"] == ["default"]
    assert answer["unverified"] is None
    authentic = answer["authentic"]
    assert authentic["document"] == documents.content()
    assert authentic["claims"]["nonce"] == NONCE
    assert {name["kind"] for name in authentic["names"]} == {"commonName", "dNSName"}
    assert {name["cloud"] for name in authentic["names"]} == {"AzurePublicCloud"}
    assert authentic["signer"]["notBefore"] < authentic["signer"]["notAfter"]
    assert len(authentic["chain"]) == 2
    assert all(link["notBefore"] < link["notAfter"] for link in authentic["chain"])
    assert answer["structure"]["root"]["name"] == "contentInfo"
    assert "token" not in answer
    assert "denial" not in answer


def test_the_same_document_in_each_form_is_shown_alike(application: Application) -> None:
    data = document()
    base64 = str(imds_answer(data)["signature"]).encode()
    answers = [
        shown(inspect(application, body, media_type=media_type))
        for body, media_type in (
            (data, "application/octet-stream"),
            (data, "application/pkcs7-mime"),
            (data, "application/cms"),
            (base64, "text/plain"),
            (b"-----BEGIN PKCS7-----\n" + base64 + b"\n-----END PKCS7-----\n", "text/plain"),
            (json.dumps(imds_answer(data)).encode(), "text/plain"),
            (json.dumps(imds_answer(data)).encode(), "application/json"),
        )
    ]
    assert answers == [answers[0]] * 7


def test_an_inspected_document_is_accepted_afterwards_and_once(application: Application) -> None:
    application.give_out(NONCE)
    for _ in range(3):
        assert shown(inspect(application, nonce=NONCE))["verdict"] == "verified"
    statuses = [application.client.post("/v1/attestations", json=imds_answer(document())).status_code for _ in range(2)]
    assert statuses == [200, 409]
    assert shown(inspect(application))["verdict"] == "verified"


def test_the_nonce_is_compared(application: Application) -> None:
    answer = shown(inspect(application, nonce="9876543210"))
    assert (answer["verdict"], answer["code"], answer["unverified"]) == ("refused", "nonce-mismatch", None)
    assert answer["authentic"]["claims"]["nonce"] == NONCE
    failed = answer["checks"][6]
    assert failed == {"name": "nonce", "outcome": "fail", "detail": answer["detail"]}


def test_a_refused_document_is_shown_as_unverified(application: Application) -> None:
    data = document()
    answer = shown(inspect(application, data[:-1] + bytes([data[-1] ^ 1])))
    assert (answer["verdict"], answer["code"], answer["authentic"]) == ("refused", "signature-invalid", None)
    assert json.loads(answer["unverified"]["content"]) == documents.content()
    assert answer["unverified"]["claims"]["nonce"] == NONCE
    assert answer["unverified"]["cloud"] == "AzurePublicCloud"
    assert [check["outcome"] for check in answer["checks"]] == ["pass", "fail", *["skipped"] * 6]
    assert answer["checks"][1]["detail"] == answer["detail"]
    assert answer["checks"][6]["detail"] == "an inspection redeems no nonce"


@pytest.mark.parametrize(
    ("body", "media_type", "code"),
    [
        (b"", "text/plain", "malformed-evidence"),
        (b"{}", "application/json", "malformed-evidence"),
        (b"[", "application/json", "malformed-evidence"),
        (b'{"encoding": "pkcs7", "signature": "MIIC", "vmid": ""}', "application/json", "malformed-evidence"),
        (b'{"encoding": "cbor", "signature": "MIIC"}', "application/json", "unsupported-encoding"),
        (b'{"error": {"code": "Gone"}}', "text/plain", "malformed-evidence"),
    ],
)
def test_evidence_without_der_is_shown_as_refused(
    application: Application, body: bytes, media_type: str, code: str
) -> None:
    # The description does not promise that the service takes these bodies.
    application.flask.test_client_class = None
    answer = shown(inspect(application, body, media_type=media_type, query="?policy=contoso"))
    assert (answer["verdict"], answer["code"], answer["policies"]) == ("refused", code, ["default", "contoso"])
    assert answer["checks"][0] == {"name": "format", "outcome": "fail", "detail": answer["detail"]}
    assert {answer[name] for name in ("sha256", "authentic", "unverified", "structure")} == {None}


def test_malformed_der_has_a_structure_with_its_fault(application: Application) -> None:
    answer = shown(inspect(application, document()[:-10]))
    assert (answer["code"], answer["authentic"], answer["unverified"]) == ("malformed-evidence", None, None)
    assert answer["structure"]["root"]["error"].startswith("The element is cut off")
    assert answer["structure"]["root"]["children"]
    assert len(answer["sha256"]) == 64


def test_an_expired_document_is_valid_as_of_a_moment_in_its_life(application: Application) -> None:
    data = document(created_on=NOW - timedelta(hours=20))
    assert shown(inspect(application, data))["code"] == "document-expired"
    answer = shown(inspect(application, data, query="?at=2026-11-22T14:00:00%2B01:00"))
    assert (answer["verdict"], answer["evaluatedAt"]) == ("verified", "2026-11-22T13:00:00Z")


@pytest.mark.parametrize(
    "query",
    [
        "?at=yesterday",
        "?at=2026-11-20T08:00:00",
        "?at=1999-11-20T08:00:00Z",
        "?at=2026-11-20T08:00:00Z&at=2026-11-20T08:00:00Z",
        "?at=",
        "?policy=",
        "?policy=silver",
        "?nonce=1",
        "?verbose",
    ],
)
def test_a_faulty_query_is_refused(application: Application, query: str) -> None:
    assert problem(inspect(application, query=query)) == (400, "malformed-request")


def test_the_query_is_not_accepted_by_attestations(application: Application) -> None:
    answer = application.client.post("/v1/attestations?at=2026-11-20T08:00:00Z", json=imds_answer(document()))
    assert problem(answer) == (400, "malformed-request")


def test_policies_of_query_and_body_are_one(application: Application) -> None:
    assert shown(inspect(application, policy="contoso"))["policies"] == ["default", "contoso"]
    assert shown(inspect(application, query="?policy=contoso", policy="contoso"))["verdict"] == "verified"
    assert problem(inspect(application, query="?policy=contoso", policy="fabrikam")) == (400, "malformed-request")
    assert problem(inspect(application, policy="silver")) == (400, "malformed-request")


def test_a_denial_names_the_rule_and_the_document_stays_authentic(application: Application) -> None:
    answer = shown(inspect(application, query="?policy=fabrikam"))
    assert (answer["code"], answer["unverified"]) == ("policy-denied", None)
    assert answer["authentic"]["claims"]["plan"]["publisher"] == "contoso"
    assert answer["denial"] == {
        "policy": "fabrikam",
        "rule": answer["denial"]["rule"],
        "found": "contoso",
        "allowed": ["fabrikam"],
        "allowedCount": 1,
    }


@pytest.mark.parametrize(
    ("key", "expected"),
    [("", (401, "unauthenticated")), ("north-2", (401, "unauthenticated")), ("north-agent", (403, "forbidden"))],
)
def test_other_callers_are_refused(closed: Application, key: str, expected: tuple[int, str]) -> None:
    assert problem(inspect(closed, key=key)) == expected


def test_the_policy_is_the_tenants_and_default_for_an_administrator(closed: Application) -> None:
    assert shown(inspect(closed, key="south-1"))["policies"] == ["fabrikam"]
    assert shown(inspect(closed, key="south-1", policy="contoso"))["policies"] == ["fabrikam", "contoso"]
    assert shown(inspect(closed, key="north-1"))["verdict"] == "verified"
    assert shown(inspect(closed, key=ADMIN_KEY))["policies"] == ["default"]


def test_the_rate_is_the_tenants_in_a_count_of_its_own(closed: Application) -> None:
    headers = {"Authorization": "Bearer north-1"}
    for remaining in (1, 0):
        answer = inspect(closed, key="north-1")
        assert answer.status_code == 200
        assert answer.headers["RateLimit"].startswith(f'"inspections";r={remaining};')
    limited = inspect(closed, key="north-1")
    assert problem(limited) == (429, "rate-limited")
    assert int(limited.headers["Retry-After"]) > 0
    assert closed.client.post("/v1/nonces", headers=headers).status_code == 201
    for _ in range(4):
        unlimited = inspect(closed, key=ADMIN_KEY)
        assert unlimited.status_code == 200
        assert "RateLimit" not in unlimited.headers


@pytest.mark.parametrize(
    ("body", "media_type", "expected"),
    [
        (b"MIIC", "text/html", (415, "unsupported-media-type")),
        (b"MIIC", "", (415, "unsupported-media-type")),
        (b" " * (MAX_EVIDENCE_BYTES + 1), "text/plain", (413, "too-large")),
    ],
)
def test_a_faulty_request_is_a_problem(
    application: Application, body: bytes, media_type: str, expected: tuple[int, str]
) -> None:
    assert problem(inspect(application, body, media_type=media_type)) == expected


def test_only_posts_are_accepted(application: Application) -> None:
    answer = application.client.get("/v1/inspections")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_no_record_says_anything_of_a_document(tmp_path: Path) -> None:
    kept: list[AppraisalRecord] = []

    class Log:
        def append(self, record: AppraisalRecord) -> None:
            kept.append(record)

    application = make_application(tmp_path, policies=POLICIES, log=Log())
    for query in ("", "?policy=fabrikam", "?at=2027-01-01T00:00:00Z"):
        shown(inspect(application, query=query))
    records = application.records
    assert (kept, records.decisions, records.problems, records.failures) == ([], [], [], [])
    assert [(one.route, one.status, one.code) for one in records.exchanges] == [("POST /v1/inspections", 200, "")] * 3
    # A fault of the request is recorded as on every path.
    inspect(application, query="?at=x")
    assert [(one.code, one.claims, one.document_sha256) for one in records.problems] == [
        ("malformed-request", None, "")
    ]


@pytest.mark.parametrize(
    ("name", "at", "code", "check"),
    [
        ("verified/public-eastus-2026-07-28", "2026-07-28T13:25:00Z", None, None),
        (
            "document-expired/public-eastus-2026-07-28",
            "2026-07-29T13:25:00Z",
            "document-expired",
            Check.VALIDITY_WINDOW,
        ),
        (
            "signature-invalid/public-eastus-2026-07-28-other-vm-id",
            "2026-07-28T13:25:00Z",
            "signature-invalid",
            Check.SIGNATURE,
        ),
    ],
)
def test_the_vectors_of_the_real_document_are_shown(
    tmp_path: Path, name: str, at: str, code: str | None, check: Check | None
) -> None:
    application = make_application(tmp_path, bundle=vectors_trust())
    body = (VECTORS / name / "body.json").read_bytes()
    answer = shown(inspect(application, body, media_type="application/json", query=f"?at={at}"))
    assert answer["code"] == code
    assert next((each["name"] for each in answer["checks"] if each["outcome"] == "fail"), None) == check
    assert (answer["authentic"] is None) == (code is not None)


def test_the_real_document_of_the_vectors_is_that_of_the_samples() -> None:
    body = json.loads((VECTORS / "verified/public-eastus-2026-07-28/body.json").read_bytes())
    assert documents.der_of(body) == sample("public-eastus-2026-07-28")
    tampered = json.loads((VECTORS / "signature-invalid/public-eastus-2026-07-28-other-vm-id/body.json").read_bytes())
    pairs = zip(documents.der_of(tampered), documents.der_of(body), strict=True)
    assert [pair for pair in pairs if pair[0] != pair[1]] == [(ord("c"), ord("b"))]

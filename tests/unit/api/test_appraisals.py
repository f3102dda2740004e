"""Check that each appraisal, and each other problem, is recorded exactly once, with its facts and no secret."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support import documents
from support.applications import Application, make_application
from support.services import ADMIN_KEY
from support.tenant_keys import hash_of

from verifier.adapters.records.decisions import line_of
from verifier.api.authentication import Tenants
from verifier.core.nonces import NonceRecord, Redemption
from verifier.core.policy import ClaimIn, ClaimName, Denial, Policies
from verifier.core.reasons import Check
from verifier.core.tenancy import AgentLimits, Rate, Tenant
from verifier.core.trust.clouds import Cloud
from verifier.ports.decisions import NO_TENANT, AppraisalRecord, Stage, Verdict
from verifier.ports.stores import DocumentKey, NonceKey, StoreUnavailable
from verifier.ports.telemetry import METRICS_LISTENER

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PATH = "/v1/attestations"
LIMITS = AgentLimits(address_rate=Rate.parse("3/hour"), vm_rate=Rate.parse("1/hour"), address_nonces=9, tenant_nonces=9)
NORTH = Tenant(name="north", agents=LIMITS)
TENANTS = Tenants(key_hashes={NORTH: [hash_of("backend")]}, agent_key_hashes={NORTH: [hash_of("agent")]})


@dataclass(frozen=True, slots=True)
class KeptLog:
    """Implements the DecisionLog port: keeps each record."""

    records: list[AppraisalRecord] = field(default_factory=list)

    def append(self, record: AppraisalRecord) -> None:
        self.records.append(record)


class FullLog:
    """Implements the DecisionLog port: keeps no record."""

    def append(self, record: AppraisalRecord) -> None:
        del record
        raise StoreUnavailable("The decision log is full.")


class _FailingStore:
    """Implements the NonceStore port: each call raises the error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: object) -> bool:
        del key, record, keep, now
        raise self._error

    def redeem(self, key: NonceKey, *, keep: timedelta, now: object) -> Redemption:
        del key, keep, now
        raise self._error

    def remember(self, key: DocumentKey, *, keep: timedelta, now: object) -> bool:
        del key, keep, now
        raise self._error

    def ping(self) -> None:
        raise self._error


@pytest.fixture
def application(tmp_path: Path) -> Application:
    policies = Policies({"other": ClaimIn(ClaimName.PUBLISHER, frozenset({"other"}))})
    return make_application(tmp_path, policies=policies)


def post(application: Application, **more: object) -> int:
    fields = {**documents.imds_answer(documents.document()), **more}
    return application.client.post(PATH, json=fields, headers={"X-Request-Id": "mine"}).status_code


def only_record(application: Application) -> AppraisalRecord:
    (record,) = application.records.decisions
    return record


def only_problem(application: Application) -> AppraisalRecord:
    (record,) = application.records.problems
    return record


def test_verified_document_is_recorded_with_its_claims(application: Application) -> None:
    application.give_out(documents.NONCE)
    assert post(application) == 200
    record = only_record(application)
    signer = documents.shared_pki().signer.certificate
    assert (record.verdict, record.code, record.failed_check) == (Verdict.VERIFIED, "verified", None)
    assert (record.client_request_id, record.tenant, record.policies) == ("mine", "default", ("default",))
    assert (record.key, record.route, record.stage) == ("", "POST /v1/attestations", Stage.FRESH)
    assert (record.detail, record.denial) == ("", None)
    assert record.request_id == application.records.exchanges[-1].request_id != "mine"
    assert record.at == documents.NOW
    assert record.claims is not None
    assert (record.claims.vm_id, record.claims.subscription_id) == (documents.VM.vm_id, documents.VM.subscription_id)
    assert (record.cloud, record.signer_serial) == (Cloud.PUBLIC, f"{signer.serial_number:x}")
    assert record.issuer
    assert len(record.document_sha256) == 64
    assert tuple(check for check, _ in record.steps) == tuple(Check)
    assert all(seconds >= 0 for _, seconds in record.steps)
    assert sum(seconds for _, seconds in record.steps) <= record.seconds
    assert application.records.problems == []


def test_document_that_the_nonce_check_refused_is_recorded_with_its_claims(application: Application) -> None:
    assert post(application) == 422
    record = only_record(application)
    assert (record.verdict, record.code, record.failed_check) == (Verdict.REFUSED, "nonce-unknown", Check.NONCE)
    assert (record.stage, record.policies) == (Stage.AUTHENTIC, ())
    assert record.claims is not None
    assert record.claims.vm_id == documents.VM.vm_id
    assert record.cloud is Cloud.PUBLIC
    assert record.signer_serial
    assert record.document_sha256
    assert record.detail
    assert [check for check, _ in record.steps] == list(Check)[:-1]


def test_document_that_a_policy_refused_is_recorded_with_the_rule_and_all_policies(application: Application) -> None:
    application.give_out(documents.NONCE)
    assert post(application, policy="other") == 403
    record = only_record(application)
    assert (record.code, record.failed_check, record.policies) == ("policy-denied", Check.POLICY, ("default", "other"))
    assert record.stage is Stage.FRESH
    assert record.denial == Denial(
        policy="other",
        rule="plan.publisher is allowed",
        found=documents.VM.plan.publisher,
        allowed=("other",),
        allowed_count=1,
    )
    assert record.claims is not None
    assert record.claims.vm_id == documents.VM.vm_id


def test_claims_of_a_forged_document_are_not_recorded(application: Application) -> None:
    forged = bytearray(documents.document())
    forged[-1] ^= 1
    assert application.client.post(PATH, json=documents.imds_answer(bytes(forged))).status_code == 422
    record = only_record(application)
    assert (record.code, record.stage, record.claims) == ("signature-invalid", Stage.UNVERIFIED, None)


def test_malformed_evidence_is_recorded_with_its_digest(application: Application) -> None:
    data = b"\x30\x03\x02\x01\x00"
    assert application.client.post(PATH, json=documents.imds_answer(data)).status_code == 400
    record = only_record(application)
    assert (record.code, record.failed_check) == ("malformed-evidence", Check.FORMAT)
    assert (record.signer_serial, record.issuer, record.cloud) == ("", "", None)
    assert record.document_sha256 == hashlib.sha256(data).hexdigest()


def test_too_large_body_is_recorded(application: Application) -> None:
    assert post(application, signature="A" * 20_000) == 413
    assert (only_record(application).code, only_record(application).document_sha256) == ("too-large", "")


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (StoreUnavailable("The test took it."), "store-unavailable", 503),
        (RuntimeError("a fault"), "internal", 500),
    ],
)
def test_error_is_recorded_as_unavailable(tmp_path: Path, error: Exception, code: str, status: int) -> None:
    application = make_application(tmp_path, nonces=_FailingStore(error))
    assert post(application) == status
    record = only_record(application)
    assert (record.verdict, record.code, record.failed_check) == (Verdict.UNAVAILABLE, code, None)
    assert record.stage is Stage.AUTHENTIC
    assert application.records.problems == []


class TestProblems:
    """A problem without an appraisal is recorded too, once."""

    @pytest.mark.parametrize(
        ("method", "path", "options", "code", "route"),
        [
            ("POST", PATH, {"data": "<p>", "content_type": "text/html"}, "unsupported-media-type", f"POST {PATH}"),
            ("POST", f"{PATH}?a=1", {"json": {}}, "malformed-request", f"POST {PATH}"),
            ("POST", "/v1/nonces", {"json": {"vmid": "x"}}, "malformed-request", "POST /v1/nonces"),
            ("POST", "/v1/nonces", {"json": {"policy": "none-such"}}, "malformed-request", "POST /v1/nonces"),
            ("GET", "/none-such", {}, "not-found", ""),
            ("PUT", PATH, {}, "method-not-allowed", ""),
            ("GET", "/problems/none-such", {}, "not-found", "GET /problems/<code>"),
        ],
    )
    def test_each_is_recorded_as_refused(
        self, application: Application, method: str, path: str, options: dict[str, Any], code: str, route: str
    ) -> None:
        answer = application.client.open(path, method=method, headers={"X-Request-Id": "mine"}, **options)
        record = only_problem(application)
        assert (record.code, record.verdict, record.route) == (code, Verdict.REFUSED, route)
        assert record.request_id == answer.headers["X-Request-Id"] == answer.get_json()["requestId"]
        assert (record.client_request_id, record.tenant, record.stage) == ("mine", "default", Stage.UNVERIFIED)
        assert (record.detail, record.claims, record.at) == ("", None, documents.NOW)
        assert application.records.decisions == []

    def test_unknown_policy_of_an_attestation_is_recorded_once(self, application: Application) -> None:
        assert post(application, policy="none-such") == 400
        assert only_problem(application).code == "malformed-request"
        assert application.records.decisions == []

    def test_failure_of_the_service_is_recorded_as_unavailable(self, tmp_path: Path) -> None:
        application = make_application(tmp_path, nonces=_FailingStore(StoreUnavailable("The test took it.")))
        assert application.client.post("/v1/nonces").status_code == 503
        record = only_problem(application)
        assert (record.code, record.verdict) == ("store-unavailable", Verdict.UNAVAILABLE)

    def test_answers_that_are_no_problem_are_not_recorded(self, application: Application) -> None:
        for path in ("/healthz", "/readyz", "/openapi.json", "/problems/not-found"):
            assert application.client.get(path).status_code == 200
        assert application.client.post("/v1/nonces").status_code == 201
        assert application.records.problems == []

    def test_answers_of_the_metrics_listener_are_not_recorded(self, application: Application) -> None:
        environment = {METRICS_LISTENER: True}
        assert application.client.get("/none-such", environ_overrides=environment).status_code == 404
        assert application.records.problems == []

    @pytest.mark.parametrize(
        ("key", "path", "code", "tenant", "name"),
        [
            ("backend", "/v1/nonces?a", "malformed-request", "north", f"backend:{hash_of('backend')[:8]}"),
            ("agent", "/v1/nonces?a", "malformed-request", "north", f"agent:{hash_of('agent')[:8]}"),
            ("agent", "/none-such", "not-found", "north", f"agent:{hash_of('agent')[:8]}"),
            (ADMIN_KEY, "/v1/nonces", "forbidden", NO_TENANT, f"admin:{hash_of(ADMIN_KEY)[:8]}"),
            ("other", "/v1/nonces", "unauthenticated", NO_TENANT, ""),
            (None, "/v1/nonces", "unauthenticated", NO_TENANT, ""),
        ],
    )
    def test_tenant_and_key_are_recorded_if_the_key_is_valid(
        self, tmp_path: Path, key: str | None, path: str, code: str, tenant: str, name: str
    ) -> None:
        application = make_application(tmp_path, tenants=TENANTS)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = application.client.post(path, headers=headers)
        record = only_problem(application)
        assert answer.get_json()["code"] == record.code == code
        assert (record.tenant, record.key) == (tenant, name)

    def test_rate_of_an_address_is_recorded_without_claims(self, tmp_path: Path) -> None:
        application = make_application(tmp_path, tenants=TENANTS)
        as_agent = {"Authorization": "Bearer agent"}
        codes = [application.client.post("/v1/nonces", headers=as_agent).status_code for _ in range(4)]
        assert codes == [201, 201, 201, 429]
        record = only_problem(application)
        assert (record.code, record.tenant, record.stage) == ("rate-limited", "north", Stage.UNVERIFIED)


def test_document_of_a_vm_over_its_rate_is_recorded_with_its_claims(tmp_path: Path) -> None:
    application = make_application(tmp_path, tenants=TENANTS)
    for status in (200, 429):
        nonce = f"{status:010d}"
        application.give_out(nonce, tenant="north")
        evidence = documents.imds_answer(documents.document(nonce=nonce))
        answer = application.client.post(PATH, json=evidence, headers={"Authorization": "Bearer agent"})
        assert answer.status_code == status
    record = application.records.decisions[-1]
    assert (record.verdict, record.code, record.failed_check) == (Verdict.REFUSED, "rate-limited", None)
    # A caller over its rate cannot push out records of fresh documents.
    assert (record.stage, record.tenant, record.key) == (Stage.AUTHENTIC, "north", f"agent:{hash_of('agent')[:8]}")
    assert record.claims is not None
    assert record.claims.vm_id == documents.VM.vm_id
    assert application.records.problems == []


MARK = "4711004711"
_PEM = f"-----BEGIN {MARK}-----\nMAAA\n-----END {MARK}-----"


class TestSecrets:
    """A record holds no nonce, no document and no key, whatever a caller sends."""

    @pytest.mark.parametrize(
        ("data", "media_type"),
        [
            (json.dumps({MARK: 1, "encoding": "pkcs7", "signature": "MAAA"}), "application/json"),
            (json.dumps({"encoding": MARK, "signature": "MAAA"}), "application/json"),
            (json.dumps({"encoding": "pkcs7", "signature": MARK}), "application/json"),
            (json.dumps({"encoding": "pkcs7", "signature": _PEM}), "application/json"),
            (json.dumps({"encoding": "pkcs7", "signature": "MAAA", "nonce": MARK}), "application/json"),
            (json.dumps({"encoding": "pkcs7", "signature": "MAAA", "policy": MARK}), "application/json"),
            (json.dumps({"error": MARK}), "application/json"),
            (json.dumps({"error": {"message": MARK}}), "application/json"),
            (f'{{"{MARK}": 1, "{MARK}": 2}}', "application/json"),
            (f"{{{MARK}", "application/json"),
            (json.dumps({MARK: 1}), "text/plain"),
            (json.dumps({"encoding": MARK, "signature": "MAAA"}), "text/plain"),
            (_PEM, "text/plain"),
            (MARK, "text/plain"),
            (MARK, MARK),
        ],
    )
    def test_no_record_quotes_a_malformed_request(self, application: Application, data: str, media_type: str) -> None:
        headers = {"Authorization": f"Bearer {MARK}", "X-Request-Id": "mine"}
        answer = application.client.post(PATH, data=data, content_type=media_type, headers=headers)
        assert answer.status_code >= 400
        [record] = application.records.decisions + application.records.problems
        assert MARK not in line_of(record)

    def test_no_record_of_a_document_holds_its_nonce_or_the_document(self, tmp_path: Path) -> None:
        rules = {"other": ClaimIn(ClaimName.PUBLISHER, frozenset({"other"}))}
        application = make_application(tmp_path, policies=Policies(rules))
        document = documents.document(nonce=MARK)
        evidence = documents.imds_answer(document)
        other = documents.imds_answer(documents.document(nonce="0000000001"))
        application.give_out(MARK)
        for fields in (
            {**other, "nonce": MARK},
            {**evidence, "policy": "other"},
            evidence,
            {**evidence, "policy": MARK},
            {**evidence, "signature": str(evidence["signature"])[:-8]},
        ):
            assert application.client.post(PATH, json=fields).status_code >= 400
        lines = "".join(map(line_of, application.records.decisions + application.records.problems))
        assert lines.count("requestId") == 5
        assert MARK not in lines
        assert str(evidence["signature"])[:40] not in lines


class TestLog:
    def test_keeps_the_same_records_as_the_recorder(self, tmp_path: Path) -> None:
        log = KeptLog()
        application = make_application(tmp_path, log=log)
        application.give_out(documents.NONCE)
        assert [post(application), post(application)] == [200, 409]
        assert application.client.get("/none-such").status_code == 404
        assert log.records == application.records.decisions + application.records.problems
        assert documents.NONCE not in "".join(map(line_of, log.records))

    def test_required_log_takes_appraisals_and_the_other_log_takes_problems(self, tmp_path: Path) -> None:
        log, required = KeptLog(), KeptLog()
        application = make_application(tmp_path, log=log, required_log=required)
        application.give_out(documents.NONCE)
        assert [post(application), post(application)] == [200, 409]
        assert application.client.get("/none-such").status_code == 404
        assert required.records == application.records.decisions
        assert log.records == application.records.problems

    @pytest.mark.parametrize("is_issued", [True, False])
    def test_unavailable_required_log_replaces_a_verdict_by_503(self, tmp_path: Path, *, is_issued: bool) -> None:
        log = KeptLog()
        application = make_application(tmp_path, log=log, required_log=FullLog())
        if is_issued:
            application.give_out(documents.NONCE)
        answer = application.client.post(PATH, json=documents.imds_answer(documents.document()))
        assert (answer.status_code, answer.get_json()["code"]) == (503, "store-unavailable")
        record = only_record(application)
        assert (record.verdict, record.code) == (Verdict.UNAVAILABLE, "store-unavailable")
        assert (record.failed_check, record.detail) == (None, "")
        # The request id of the answer leads to this record when the store is available again.
        assert log.records == [record]
        assert application.records.problems == []


class TestTrace:
    def test_response_continues_the_trace_with_a_new_span_id(self, application: Application) -> None:
        answer = application.client.get("/healthz", headers={"traceparent": TRACE})
        version, trace_id, span_id, flags = answer.headers["traceresponse"].split("-")
        assert (version, trace_id, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01")
        assert len(span_id) == 16
        assert span_id != "00f067aa0ba902b7"

    @pytest.mark.parametrize("header", ["", "nonsense", f"{TRACE},{TRACE}"])
    def test_malformed_traceparent_is_ignored(self, application: Application, header: str) -> None:
        answer = application.client.get("/healthz", headers={"traceparent": header})
        assert answer.status_code == 200
        assert "traceresponse" not in answer.headers

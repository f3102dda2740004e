"""Check that each appraisal is recorded exactly once, with its facts, for the operator and the auditor."""

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from support import documents
from support.applications import Application, make_application

from verifier.adapters.records.appraisals import line_of
from verifier.core.nonces import NonceRecord, Redemption
from verifier.core.policy import ClaimIn, ClaimName, Policies
from verifier.core.reasons import Check
from verifier.core.trust.clouds import Cloud
from verifier.ports.stores import DocumentKey, NonceKey, StoreUnavailable
from verifier.ports.telemetry import AppraisalRecord, Verdict

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PATH = "/v1/attestations"


@dataclass(frozen=True, slots=True)
class KeptLog:
    """Implements the AppraisalLog port: keeps each record."""

    records: list[AppraisalRecord] = field(default_factory=list)

    def append(self, record: AppraisalRecord) -> None:
        self.records.append(record)


class FullLog:
    """Implements the AppraisalLog port: keeps no record."""

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


def test_verified_document_is_recorded_with_its_claims(application: Application) -> None:
    application.give_out(documents.NONCE)
    assert post(application) == 200
    record = only_record(application)
    signer = documents.shared_pki().signer.certificate
    assert (record.verdict, record.code, record.failed_check) == (Verdict.VERIFIED, "verified", None)
    assert (record.client_request_id, record.tenant, record.policies) == ("mine", "default", ("default",))
    assert record.request_id == application.records.exchanges[-1].request_id != "mine"
    assert record.at == documents.NOW
    assert (record.vm_id, record.subscription_id) == (documents.VM.vm_id, documents.VM.subscription_id)
    assert (record.cloud, record.signer_serial) == (Cloud.PUBLIC, f"{signer.serial_number:x}")
    assert record.issuer
    assert len(record.document_sha256) == 64
    assert tuple(check for check, _ in record.steps) == tuple(Check)
    assert all(seconds >= 0 for _, seconds in record.steps)
    assert sum(seconds for _, seconds in record.steps) <= record.seconds


def test_refused_document_is_recorded_without_claims_and_with_the_checks_that_started(application: Application) -> None:
    assert post(application) == 422
    record = only_record(application)
    assert (record.verdict, record.code, record.failed_check) == (Verdict.REFUSED, "nonce-unknown", Check.NONCE)
    assert (record.vm_id, record.subscription_id, record.policies) == ("", "", ())
    assert record.cloud is Cloud.PUBLIC
    assert record.signer_serial
    assert record.document_sha256
    assert [check for check, _ in record.steps] == list(Check)[:-1]


def test_document_that_a_policy_refused_is_recorded_with_all_policies(application: Application) -> None:
    application.give_out(documents.NONCE)
    assert post(application, policy="other") == 403
    record = only_record(application)
    assert (record.code, record.failed_check, record.policies) == ("policy-denied", Check.POLICY, ("default", "other"))
    assert record.vm_id == ""


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
    assert record.vm_id == ""


def test_malformed_request_is_not_recorded(application: Application) -> None:
    assert post(application, policy="none-such") == 400
    assert application.client.post(PATH, data="<p>", content_type="text/html").status_code == 415
    assert application.records.decisions == []


class TestAppraisalLog:
    def test_keeps_the_same_records_as_the_recorder(self, tmp_path: Path) -> None:
        log = KeptLog()
        application = make_application(tmp_path, log=log, log_required=True)
        application.give_out(documents.NONCE)
        assert [post(application), post(application)] == [200, 409]
        assert log.records == application.records.decisions
        assert documents.NONCE not in "".join(map(line_of, log.records))

    def test_unavailable_optional_log_does_not_change_the_verdict(self, tmp_path: Path) -> None:
        application = make_application(tmp_path, log=FullLog())
        application.give_out(documents.NONCE)
        assert post(application) == 200
        assert [record.code for record in application.records.unkept] == ["verified"]
        assert only_record(application).verdict is Verdict.VERIFIED

    def test_unavailable_required_log_replaces_an_acceptance_by_503(self, tmp_path: Path) -> None:
        application = make_application(tmp_path, log=FullLog(), log_required=True)
        application.give_out(documents.NONCE)
        answer = application.client.post(PATH, json=documents.imds_answer(documents.document()))
        assert (answer.status_code, answer.get_json()["code"]) == (503, "store-unavailable")
        record = only_record(application)
        assert (record.verdict, record.code, record.vm_id) == (Verdict.UNAVAILABLE, "store-unavailable", "")
        assert [record.code for record in application.records.unkept] == ["verified"]

    def test_unavailable_required_log_replaces_a_refusal_by_503(self, tmp_path: Path) -> None:
        application = make_application(tmp_path, log=FullLog(), log_required=True)
        assert post(application) == 503
        record = only_record(application)
        assert (record.verdict, record.failed_check) == (Verdict.UNAVAILABLE, None)


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

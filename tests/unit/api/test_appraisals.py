"""What the operator and the auditor are told of an appraisal: once each, however it ends."""

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from support import documents
from support.applications import Application, make_application

from verifier.adapters.records.appraisals import line_of
from verifier.core.model import NonceRecord, Redemption
from verifier.core.policy import ClaimIn, ClaimName, Policies
from verifier.core.reasons import Check
from verifier.core.trust.clouds import Cloud
from verifier.ports.stores import DocumentKey, NonceKey, StoreUnavailable
from verifier.ports.telemetry import AppraisalRecord, Verdict

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PATH = "/v1/attestations"


@dataclass(frozen=True, slots=True)
class KeptLog:
    """Implements the DecisionTrail port."""

    decisions: list[AppraisalRecord] = field(default_factory=list)

    def append(self, decision: AppraisalRecord) -> None:
        self.decisions.append(decision)


class FullLog:
    """Implements the DecisionTrail port, and takes nothing."""

    def append(self, decision: AppraisalRecord) -> None:
        del decision
        raise StoreUnavailable("The audit trail is full.")


class _AwayStore:
    """Implements the NonceStore port, and is away, or worse."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: object) -> bool:
        del key, record, keep, now
        raise self._error

    def redeem(self, key: NonceKey, *, now: object) -> Redemption:
        del key, now
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


def only_decision(application: Application) -> AppraisalRecord:
    (decision,) = application.records.decisions
    return decision


def test_a_verified_document_is_told_with_what_it_says(application: Application) -> None:
    application.give_out(documents.NONCE)
    assert post(application) == 200
    told = only_decision(application)
    signer = documents.shared_pki().signer.certificate
    assert (told.verdict, told.code, told.failed_check) == (Verdict.VERIFIED, "verified", None)
    assert (told.client_request_id, told.tenant, told.policies) == ("mine", "default", ("default",))
    assert told.request_id == application.records.exchanges[-1].request_id != "mine"
    assert told.at == documents.NOW
    assert (told.vm_id, told.subscription_id) == (documents.VM.vm_id, documents.VM.subscription_id)
    assert (told.cloud, told.signer_serial) == (Cloud.PUBLIC, f"{signer.serial_number:x}")
    assert told.issuer
    assert len(told.document_sha256) == 64
    assert tuple(check for check, _ in told.steps) == tuple(Check)
    assert all(seconds >= 0 for _, seconds in told.steps)
    assert sum(seconds for _, seconds in told.steps) <= told.seconds


def test_a_refused_one_is_told_without_its_claims_and_only_as_far_as_it_came(application: Application) -> None:
    assert post(application) == 422
    told = only_decision(application)
    assert (told.verdict, told.code, told.failed_check) == (Verdict.REFUSED, "nonce-unknown", Check.NONCE)
    assert (told.vm_id, told.subscription_id, told.policies) == ("", "", ())
    assert told.cloud is Cloud.PUBLIC
    assert told.signer_serial
    assert told.document_sha256
    assert [check for check, _ in told.steps] == list(Check)[:-1]


def test_one_that_a_policy_denied_is_told_with_all_policies(application: Application) -> None:
    application.give_out(documents.NONCE)
    assert post(application, policy="other") == 403
    told = only_decision(application)
    assert (told.code, told.failed_check, told.policies) == ("policy-denied", Check.POLICY, ("default", "other"))
    assert told.vm_id == ""


def test_bytes_that_are_no_document_are_told_by_their_digest(application: Application) -> None:
    data = b"\x30\x03\x02\x01\x00"
    assert application.client.post(PATH, json=documents.imds_answer(data)).status_code == 400
    told = only_decision(application)
    assert (told.code, told.failed_check) == ("malformed-evidence", Check.FORMAT)
    assert (told.signer_serial, told.issuer, told.cloud) == ("", "", None)
    assert told.document_sha256 == hashlib.sha256(data).hexdigest()


def test_a_body_that_is_too_large_is_told_too(application: Application) -> None:
    assert post(application, signature="A" * 20_000) == 413
    assert (only_decision(application).code, only_decision(application).document_sha256) == ("too-large", "")


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (StoreUnavailable("The test took it."), "store-unavailable", 503),
        (RuntimeError("a fault"), "internal", 500),
    ],
)
def test_an_error_is_told_as_no_verdict(tmp_path: Path, error: Exception, code: str, status: int) -> None:
    application = make_application(tmp_path, nonces=_AwayStore(error))
    assert post(application) == status
    told = only_decision(application)
    assert (told.verdict, told.code, told.failed_check) == (Verdict.UNAVAILABLE, code, None)
    assert told.vm_id == ""


def test_a_request_that_asks_for_no_appraisal_is_not_told(application: Application) -> None:
    assert post(application, policy="none-such") == 400
    assert application.client.post(PATH, data="<p>", content_type="text/html").status_code == 415
    assert application.records.decisions == []


class TestTrail:
    def test_keeps_what_is_told(self, tmp_path: Path) -> None:
        trail = KeptLog()
        application = make_application(tmp_path, log=log, log_required=True)
        application.give_out(documents.NONCE)
        assert [post(application), post(application)] == [200, 409]
        assert trail.decisions == application.records.decisions
        assert documents.NONCE not in "".join(map(line_of, trail.decisions))

    def test_that_takes_nothing_changes_no_verdict(self, tmp_path: Path) -> None:
        application = make_application(tmp_path, log=FullLog())
        application.give_out(documents.NONCE)
        assert post(application) == 200
        assert [decision.code for decision in application.records.unkept] == ["verified"]
        assert only_decision(application).verdict is Verdict.VERIFIED

    def test_that_takes_nothing_and_is_required_leaves_no_verdict(self, tmp_path: Path) -> None:
        application = make_application(tmp_path, log=FullLog(), log_required=True)
        application.give_out(documents.NONCE)
        answer = application.client.post(PATH, json=documents.imds_answer(documents.document()))
        assert (answer.status_code, answer.get_json()["code"]) == (503, "store-unavailable")
        told = only_decision(application)
        assert (told.verdict, told.code, told.vm_id) == (Verdict.UNAVAILABLE, "store-unavailable", "")
        assert [decision.code for decision in application.records.unkept] == ["verified"]

    def test_that_is_required_takes_no_refusal_either(self, tmp_path: Path) -> None:
        application = make_application(tmp_path, log=FullLog(), log_required=True)
        assert post(application) == 503
        told = only_decision(application)
        assert (told.verdict, told.failed_check) == (Verdict.UNAVAILABLE, None)


class TestTrace:
    def test_is_answered_with_a_span_of_our_own(self, application: Application) -> None:
        answer = application.client.get("/healthz", headers={"traceparent": TRACE})
        version, trace_id, span_id, flags = answer.headers["traceresponse"].split("-")
        assert (version, trace_id, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01")
        assert len(span_id) == 16
        assert span_id != "00f067aa0ba902b7"

    @pytest.mark.parametrize("header", ["", "nonsense", f"{TRACE},{TRACE}"])
    def test_that_is_malformed_is_as_none(self, application: Application, header: str) -> None:
        answer = application.client.get("/healthz", headers={"traceparent": header})
        assert answer.status_code == 200
        assert "traceresponse" not in answer.headers

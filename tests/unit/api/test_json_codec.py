"""Convert requests to types and types to JSON."""

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from support import documents
from support.documents import VM
from support.results import archived_result

from verifier.api import json_codec, problem_codec
from verifier.api.problems import RequestFault
from verifier.core.reasons import Check, NonceRefused, Outcome, Reason, Refused, Remarks, SignatureRefused, progress
from verifier.core.trust.bundle import Origin, State
from verifier.ports.tokens import PublishedKey
from verifier.usecases.appraise import NonceBinding

DER = b"\x30\x03\x02\x01\x05"
TEXT = base64.b64encode(DER)


def body(**fields: object) -> bytes:
    return json.dumps({"encoding": "pkcs7", "signature": TEXT.decode(), **fields}).encode()


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("application/json", body()),
        ("application/json", body(encoding="PKCS7")),
        ("text/plain", TEXT),
        ("text/plain", b" " + TEXT + b"\r\n"),
        ("text/plain", b"-----BEGIN PKCS7-----\n" + TEXT + b"\n-----END PKCS7-----\n"),
        ("text/plain", b"-----BEGIN CMS-----\n" + TEXT + b"\n-----END CMS-----"),
        ("application/pkcs7-mime", DER),
        ("application/cms", DER),
        ("application/octet-stream", DER),
    ],
)
def test_reads_evidence_in_every_form(media_type: str, data: bytes) -> None:
    asked = json_codec.read_attestation(media_type, data)
    assert asked.document == documents.raw(DER)
    assert (asked.nonce, asked.policy) == (None, None)


def test_reads_nonce_and_policy_of_the_request() -> None:
    asked = json_codec.read_attestation("application/json", body(nonce="4711", policy="gold"))
    assert (asked.nonce, asked.policy) == ("4711", "gold")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"nonce": ""}, "'nonce'"),
        ({"nonce": "1" * 65}, "'nonce'"),
        ({"nonce": 4711}, "'nonce'"),
        ({"policy": ""}, "'policy'"),
        ({"policy": "p" * 65}, "'policy'"),
        ({"policy": ["gold"]}, "'policy'"),
        ({"signature": None}, "'signature'"),
        ({"encoding": 7}, "'encoding'"),
        ({"vmId": "x"}, "Unknown field 'vmId'."),
        ({"Nonce": "x"}, "Unknown field 'Nonce'. Did you mean 'nonce'?"),
    ],
)
def test_invalid_field_is_named_without_its_value(fields: dict[str, object], said: str) -> None:
    with pytest.raises(Refused) as refusal:
        json_codec.read_attestation("application/json", body(**fields))
    assert refusal.value.reason is Reason.MALFORMED_EVIDENCE
    assert said in refusal.value.detail
    for value in fields.values():
        assert not isinstance(value, str) or len(value) < 2 or value not in refusal.value.detail


@pytest.mark.parametrize("media_type", ["", "text/html", "application/jsonx", "application/x-pkcs7-mime"])
def test_other_media_types_are_refused(media_type: str) -> None:
    with pytest.raises(json_codec.RequestError) as refusal:
        json_codec.read_attestation(media_type, body())
    assert refusal.value.fault is RequestFault.UNSUPPORTED_MEDIA_TYPE


def test_reads_a_nonce_request() -> None:
    assert json_codec.read_nonce_request("", b"") == NonceBinding()
    data = json.dumps({"vmId": VM.vm_id.upper(), "policy": "gold", "jkt": "x" * 43}).encode()
    expected = NonceBinding(vm_id=VM.vm_id, policy="gold", jkt="x" * 43)
    assert json_codec.read_nonce_request("application/json", data) == expected


@pytest.mark.parametrize("jkt", ["x" * 42, "x" * 44, "x" * 42 + "=", "x" * 42 + "+", "x" * 43 + "\n", "ä" * 43])
def test_invalid_thumbprint_is_refused(jkt: str) -> None:
    with pytest.raises(json_codec.RequestError) as refusal:
        json_codec.read_nonce_request("application/json", json.dumps({"jkt": jkt}).encode())
    assert refusal.value.fault is RequestFault.MALFORMED_REQUEST


@pytest.mark.parametrize("reason", Reason)
def test_refusal_is_a_problem_with_its_checks(reason: Reason) -> None:
    problem = problem_codec.refusal_json(SignatureRefused(reason, "Why."), request_id="r-1")
    assert (problem["code"], problem["detail"], problem["requestId"]) == (reason.value, "Why.", "r-1")
    assert problem["type"] == f"/problems/{reason.value}"
    assert problem["retryable"] is False
    assert "retryAfterSeconds" not in problem
    assert problem["checks"] == [
        {"name": check.value, "outcome": outcome.value}
        for check, outcome in zip(
            Check, [Outcome.PASS, Outcome.FAIL, *[Outcome.SKIPPED] * (len(Check) - 2)], strict=True
        )
    ]


def test_retryable_refusal_has_retry_after_seconds() -> None:
    refused = NonceRefused(Reason.NONCE_UNKNOWN, "Why.", retry_after=timedelta(seconds=7))
    problem = problem_codec.refusal_json(refused)
    assert (problem["retryable"], problem["retryAfterSeconds"]) == (True, 7)


def test_omitted_check_has_its_reason() -> None:
    checks = json_codec.checks_json(progress(remarks=Remarks(omitted={Check.NONCE: "no challenge"})))
    assert {"name": "nonce", "outcome": "skipped", "detail": "no challenge"} in checks
    assert [check for check in checks if "detail" in check] == [checks[6]]


@pytest.mark.parametrize(
    ("state", "origin", "status"),
    [
        (State.ACTIVE, Origin.LISTED, "active"),
        (State.EXPIRING, Origin.LISTED, "expiring"),
        (State.EXPIRING, Origin.ADMITTED, "admitted"),
    ],
)
def test_a_chain_link_has_the_status_of_its_pin(state: State, origin: Origin, status: str) -> None:
    link = replace(archived_result().content.chain[0], state=state, origin=origin)
    assert json_codec.chain_link_json(link)["pin"] == status


def test_a_chain_over_a_certificate_that_is_not_usable_is_an_error() -> None:
    link = replace(archived_result().content.chain[0], state=State.RETIRED)
    with pytest.raises(ValueError, match="retired"):
        json_codec.chain_link_json(link)


def test_a_key_set_has_no_private_member() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "eA", "kid": "1", "use": "sig", "alg": "EdDSA", "d": "ZA"}
    assert json_codec.key_set_json([PublishedKey(kid="1", jwk=jwk)]) == {
        "keys": [{name: value for name, value in jwk.items() if name != "d"}]
    }

"""The client of the verifier posts the right requests and maps each response to an exit code."""

from pathlib import Path

import pytest
from support.issuers import make_tls_server
from support.scripted_servers import Reply, Script, dead_url, json_reply, problem_reply, serving
from unit.agent.budgets import ManualTime

from verifier.agent.challenge import Binding, Challenge
from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.imds import AttestedDocument
from verifier.agent.service_client import ServiceClient
from verifier.agent.transport import Endpoint
from verifier.agent.verifier_client import VerifierClient
from verifier.api.problems import DOCUMENTATION
from verifier.core.reasons import Reason

NONCE = json_reply(
    {"nonce": "1234567890", "issuedAt": "2026-11-23T08:00:00Z", "expiresAt": "2026-11-23T08:05:00Z"}, status=201
)
VERIFIED = {"verdict": "verified", "claims": {"vmId": "v"}, "cloud": "AzurePublicCloud"}
DOCUMENT = AttestedDocument(raw=b'{"encoding": "pkcs7", "signature": "AAAA"}')
THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"  # RFC 7638 3.1


NO_BINDING = Binding()


def client_of(url: str, key: str | None = None) -> VerifierClient:
    budget = ManualTime().budget()
    return VerifierClient(service=ServiceClient(name="verifier", endpoint=Endpoint.parse(url), key=key, budget=budget))


def client(script: Script, key: str | None = None) -> VerifierClient:
    return client_of(script.url, key)


def test_nonce_is_requested() -> None:
    with serving(NONCE) as script:
        assert client(script).challenge(NO_BINDING) == Challenge(nonce="1234567890")
    (request,) = script.requests
    assert (request.method, request.target) == ("POST", "/v1/nonces")
    assert request.headers["Content-Type"] == "application/json"
    assert request.fields() == {}
    assert "Authorization" not in request.headers


def test_nonce_request_names_the_key_to_bind() -> None:
    with serving(NONCE) as script:
        client(script).challenge(Binding(jkt=THUMBPRINT))
    assert script.requests[0].fields() == {"jkt": THUMBPRINT}


def test_document_is_posted_with_its_nonce() -> None:
    with serving(json_reply(VERIFIED)) as script:
        result = client(script).appraise(DOCUMENT, Challenge(nonce="1234567890"))
    (request,) = script.requests
    assert (request.method, request.target) == ("POST", "/v1/attestations")
    assert request.headers["Content-Type"] == "application/json"
    assert request.fields() == {"encoding": "pkcs7", "signature": "AAAA", "nonce": "1234567890"}
    assert result.claims == {"vmId": "v"}
    assert result.fields == VERIFIED


def test_unknown_fields_of_imds_are_posted_unchanged() -> None:
    document = AttestedDocument(raw=b'{"encoding": "pkcs7", "signature": "AAAA", "later": [1]}')
    with serving(json_reply(VERIFIED)) as script:
        client(script).appraise(document, Challenge(nonce="1"))
    assert script.requests[0].fields()["later"] == [1]


def test_key_is_sent_with_every_request_and_is_not_in_the_repr() -> None:
    with serving(NONCE, json_reply(VERIFIED)) as script:
        verifier = client(script, key="s3cret-key==")
        verifier.challenge(NO_BINDING)
        verifier.appraise(DOCUMENT, Challenge(nonce="1"))
    assert [request.headers["Authorization"] for request in script.requests] == ["Bearer s3cret-key=="] * 2
    assert "s3cret" not in repr(verifier)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "kö"])
def test_key_that_is_not_a_bearer_token_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="bearer token"):
        client_of("http://127.0.0.1", key)


@pytest.mark.parametrize("nonce", ["", "a" * 33, "1&2", "\u0661", 5, None])
def test_nonce_that_imds_does_not_accept_is_refused(nonce: object) -> None:
    reply = json_reply({"nonce": nonce}, status=201)
    with serving(reply) as script, pytest.raises(NotAttested, match="IMDS does not accept") as error:
        client(script).challenge(NO_BINDING)
    assert error.value.exit_code is ExitCode.NOT_A_VERIFIER


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>"])
def test_status_201_without_a_nonce_is_not_from_a_verifier(body: bytes) -> None:
    reply = Reply(status=201, body=body)
    with serving(reply) as script, pytest.raises(NotAttested, match="is not a verifier") as error:
        client(script).challenge(NO_BINDING)
    assert error.value.exit_code is ExitCode.NOT_A_VERIFIER


@pytest.mark.parametrize(
    "fields",
    [{}, [], {"verdict": "verified"}, {"verdict": "verified", "claims": []}, {"verdict": "refused", "claims": {}}],
)
def test_status_200_without_a_verdict_is_not_a_pass(fields: object) -> None:
    with serving(json_reply(fields)) as script, pytest.raises(NotAttested, match="is not a verifier") as error:
        client(script).appraise(DOCUMENT, Challenge(nonce="1"))
    assert error.value.exit_code is ExitCode.NOT_A_VERIFIER


def test_refusal_has_its_reason_and_whether_to_retry() -> None:
    reply = problem_reply(422, "nonce-mismatch", retryable=True, detail="Try again.", headers={"Retry-After": "5"})
    with serving(reply) as script, pytest.raises(NotAttested) as error:
        client(script).appraise(DOCUMENT, Challenge(nonce="1"))
    assert str(error.value) == "refused, but a retry may succeed: Try again. (nonce-mismatch, request r-1)"
    assert (error.value.exit_code, error.value.retryable, error.value.retry_after) == (
        ExitCode.REFUSED_RETRYABLE,
        True,
        5,
    )


@pytest.mark.parametrize(
    ("header", "body", "expected"), [("5", 7, 5), ("", 7, 7), ("", True, None), ("", -1, None), ("", "7", None)]
)
def test_retry_after_comes_from_the_header_or_else_from_the_body(
    header: str, body: object, expected: int | None
) -> None:
    headers = {"Content-Type": "application/problem+json", **({"Retry-After": header} if header else {})}
    fields = {"code": "x", "detail": "y", "retryable": True, "retryAfterSeconds": body}
    with serving(json_reply(fields, status=422, headers=headers)) as script, pytest.raises(NotAttested) as error:
        client(script).challenge(NO_BINDING)
    assert error.value.retry_after == expected


@pytest.mark.parametrize("retryable", [False, None, 1, "true"])
def test_only_json_true_is_retryable(retryable: object) -> None:
    with serving(problem_reply(422, "x", retryable=retryable)) as script, pytest.raises(NotAttested) as error:
        client(script).challenge(NO_BINDING)
    assert (error.value.exit_code, error.value.retryable) == (ExitCode.REFUSED, False)
    assert error.value.retry_after is None


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "sentence"),
    [
        (400, "malformed-evidence", ExitCode.REFUSED, "refused: "),
        (403, "policy-denied", ExitCode.REFUSED, "refused: "),
        (422, "chain-untrusted", ExitCode.REFUSED, "refused: "),
        (401, "unauthenticated", ExitCode.ACCESS_DENIED, "the verifier denied access: "),
        (403, "forbidden", ExitCode.ACCESS_DENIED, "the verifier denied access: "),
        (429, "rate-limited", ExitCode.VERIFIER_RATE_LIMITED, "the verifier limits the request rate: "),
        (500, "internal", ExitCode.VERIFIER_UNAVAILABLE, "the verifier is unavailable: "),
        (503, "store-unavailable", ExitCode.VERIFIER_UNAVAILABLE, "the verifier is unavailable: "),
        (404, "not-found", ExitCode.NOT_A_VERIFIER, "does not support this request: "),
        (400, "malformed-request", ExitCode.NOT_A_VERIFIER, "does not support this request: "),
        (405, "method-not-allowed", ExitCode.NOT_A_VERIFIER, "does not support this request: "),
        (415, "unsupported-media-type", ExitCode.NOT_A_VERIFIER, "does not support this request: "),
    ],
)
def test_each_kind_of_problem_has_its_exit_code(status: int, code: str, exit_code: ExitCode, sentence: str) -> None:
    with serving(problem_reply(status, code)) as script, pytest.raises(NotAttested, match=sentence) as error:
        client(script).appraise(DOCUMENT, Challenge(nonce="1"))
    assert error.value.exit_code is exit_code


@pytest.mark.parametrize(
    "binding",
    [Binding(policy="nosuch"), Binding(vm_id="5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90"), Binding(jkt=THUMBPRINT)],
    ids=str,
)
def test_option_that_the_verifier_does_not_accept_is_no_wrong_url(binding: Binding) -> None:
    sentence = "^the verifier does not accept an option of the agent: "
    with (
        serving(problem_reply(400, "malformed-request")) as script,
        pytest.raises(NotAttested, match=sentence) as error,
    ):
        client(script).challenge(binding)
    assert (error.value.exit_code, "URL" in str(error.value)) == (ExitCode.USAGE, False)


def test_only_reasons_of_the_core_end_with_refused() -> None:
    codes = {}
    for code, documentation in DOCUMENTATION.items():
        with serving(problem_reply(documentation.status, code)) as script, pytest.raises(NotAttested) as error:
            client(script).appraise(DOCUMENT, Challenge(nonce="1"))
        codes[code] = error.value.exit_code
    assert {code for code, exit_code in codes.items() if exit_code is ExitCode.REFUSED} == set(Reason)


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(429, ExitCode.VERIFIER_RATE_LIMITED), (500, ExitCode.VERIFIER_UNAVAILABLE), (502, ExitCode.VERIFIER_UNAVAILABLE)],
)
def test_error_of_a_gateway_is_retryable(status: int, exit_code: ExitCode) -> None:
    reply = Reply(status=status, body=b"<html>", headers={"Content-Type": "text/html", "Retry-After": "3"})
    with serving(reply) as script, pytest.raises(NotAttested, match=f"returned status {status} without") as error:
        client(script).appraise(DOCUMENT, Challenge(nonce="1"))
    assert (error.value.exit_code, error.value.retryable, error.value.retry_after) == (exit_code, True, 3)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=404, body=b"<html>", headers={"Content-Type": "text/html"}),
        Reply(status=204),
        Reply(status=308, headers={"Location": "http://127.0.0.1:1/"}),
        json_reply({"code": "x", "detail": "y"}, status=422),
        json_reply({"code": "x"}, status=422, headers={"Content-Type": "application/problem+json"}),
        Reply(status=422, body=b"{", headers={"Content-Type": "application/problem+json"}),
    ],
    ids=["html", "no-content", "redirect", "plain-json", "no-detail", "broken"],
)
def test_response_without_a_problem_document_is_not_from_a_verifier(reply: Reply) -> None:
    with serving(reply) as script, pytest.raises(NotAttested, match="Check the URL") as error:
        client(script).appraise(DOCUMENT, Challenge(nonce="1"))
    assert (error.value.exit_code, error.value.retryable) == (ExitCode.NOT_A_VERIFIER, False)


def test_media_type_of_a_problem_may_have_a_charset() -> None:
    reply = problem_reply(422, "x", headers={"Content-Type": "Application/Problem+JSON; charset=utf-8"})
    with serving(reply) as script, pytest.raises(NotAttested) as error:
        client(script).appraise(DOCUMENT, Challenge(nonce="1"))
    assert error.value.exit_code is ExitCode.REFUSED


def test_response_over_the_limit_is_refused() -> None:
    with serving(Reply(body=b" " * 300_000)) as script, pytest.raises(NotAttested, match="more than") as error:
        client(script).appraise(DOCUMENT, Challenge(nonce="1"))
    assert error.value.exit_code is ExitCode.VERIFIER_UNREACHABLE


def test_unreachable_verifier_is_retryable() -> None:
    verifier = client_of(dead_url())
    with pytest.raises(NotAttested, match=r"the verifier at http://127\.0\.0\.1:1 did not answer") as error:
        verifier.challenge(NO_BINDING)
    assert (error.value.exit_code, error.value.retryable) == (ExitCode.VERIFIER_UNREACHABLE, True)


def test_server_with_an_untrusted_certificate_is_not_a_verifier(tmp_path: Path) -> None:
    tls, _ = make_tls_server(tmp_path, host="localhost")
    with serving(NONCE, tls=tls) as script, pytest.raises(NotAttested, match="has an untrusted certificate") as error:
        client(script).challenge(NO_BINDING)
    assert (error.value.exit_code, error.value.retryable) == (ExitCode.NOT_A_VERIFIER, False)

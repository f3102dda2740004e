"""The verifier's client: what it posts, and what it takes for an answer."""

import pytest
from unit.agent.servers import Reply, Script, dead_url, json_reply, problem_reply, serving

from verifier.agent.imds import AttestedDocument
from verifier.agent.transport import Endpoint
from verifier.agent.verifier_client import ProblemError, VerifierClient, VerifierUnavailableError

NONCE = json_reply(
    {"nonce": "1234567890", "issuedAt": "2026-11-23T08:00:00Z", "expiresAt": "2026-11-23T08:05:00Z"},
    status=201,
)
VERIFIED = {"verdict": "verified", "claims": {"vmId": "v"}, "cloud": "AzurePublicCloud"}
DOCUMENT = AttestedDocument(raw=b'{"encoding": "pkcs7", "signature": "AAAA"}')


def client(script: Script, token: str | None = None) -> VerifierClient:
    return VerifierClient(endpoint=Endpoint.parse(script.url), token=token)


def test_asks_for_a_nonce() -> None:
    with serving(NONCE) as script:
        assert client(script).issue_nonce() == "1234567890"
    (request,) = script.requests
    assert (request.method, request.target) == ("POST", "/v1/nonces")
    assert request.headers["Content-Type"] == "application/json"
    assert request.fields() == {}
    assert "Authorization" not in request.headers


def test_posts_the_answer_of_imds_and_the_nonce() -> None:
    with serving(json_reply(VERIFIED)) as script:
        result = client(script).appraise(DOCUMENT, "1234567890")
    (request,) = script.requests
    assert (request.method, request.target) == ("POST", "/v1/attestations")
    assert request.headers["Content-Type"] == "application/json"
    assert request.fields() == {"encoding": "pkcs7", "signature": "AAAA", "nonce": "1234567890"}
    assert result.claims == {"vmId": "v"}
    assert result.fields == VERIFIED


def test_posts_further_fields_of_imds_too() -> None:
    document = AttestedDocument(raw=b'{"encoding": "pkcs7", "signature": "AAAA", "later": [1]}')
    with serving(json_reply(VERIFIED)) as script:
        client(script).appraise(document, "1")
    assert script.requests[0].fields()["later"] == [1]


def test_shows_its_key_on_every_request_and_nowhere_else() -> None:
    with serving(NONCE, json_reply(VERIFIED)) as script:
        verifier = client(script, token="s3cret-key==")  # noqa: S106 - a made-up key
        verifier.issue_nonce()
        verifier.appraise(DOCUMENT, "1")
    assert [request.headers["Authorization"] for request in script.requests] == ["Bearer s3cret-key=="] * 2
    assert "s3cret" not in repr(verifier)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "kö"])
def test_refuses_a_key_that_is_no_token(token: str) -> None:
    with pytest.raises(ValueError, match="bearer token"):
        VerifierClient(endpoint=Endpoint.parse("http://127.0.0.1"), token=token)


@pytest.mark.parametrize("nonce", ["", "a" * 33, "1&2", "\u0661", 5, None])
def test_a_nonce_that_imds_does_not_take_goes_no_further(nonce: object) -> None:
    reply = json_reply({"nonce": nonce}, status=201)
    with serving(reply) as script, pytest.raises(VerifierUnavailableError, match="IMDS does not take"):
        client(script).issue_nonce()


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>"])
def test_a_created_that_is_no_nonce_is_no_verifiers(body: bytes) -> None:
    reply = Reply(status=201, body=body)
    with serving(reply) as script, pytest.raises(VerifierUnavailableError, match="as a verifier does"):
        client(script).issue_nonce()


@pytest.mark.parametrize(
    "fields",
    [{}, [], {"verdict": "verified"}, {"verdict": "verified", "claims": []}, {"verdict": "refused", "claims": {}}],
)
def test_a_200_that_is_no_verdict_is_no_pass(fields: object) -> None:
    with serving(json_reply(fields)) as script, pytest.raises(VerifierUnavailableError, match="as a verifier does"):
        client(script).appraise(DOCUMENT, "1")


def test_a_refusal_says_why_and_whether_to_try_again() -> None:
    reply = problem_reply(422, "nonce-mismatch", retryable=True, detail="Try again.", headers={"Retry-After": "5"})
    with serving(reply) as script, pytest.raises(ProblemError) as refused:
        client(script).appraise(DOCUMENT, "1")
    problem = refused.value.problem
    assert (problem.status, problem.code, problem.detail) == (422, "nonce-mismatch", "Try again.")
    assert (problem.retryable, problem.retry_after, problem.request_id) == (True, 5, "r-1")
    assert problem.is_a_refusal()


@pytest.mark.parametrize("retryable", [False, None, 1, "true"])
def test_only_true_is_retryable(retryable: object) -> None:
    with serving(problem_reply(422, "x", retryable=retryable)) as script, pytest.raises(ProblemError) as refused:
        client(script).issue_nonce()
    assert not refused.value.problem.retryable
    assert refused.value.problem.retry_after is None


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
def test_a_judgement_is_a_refusal(status: int) -> None:
    with serving(problem_reply(status, "x")) as script, pytest.raises(ProblemError) as refused:
        client(script).appraise(DOCUMENT, "1")
    assert refused.value.problem.is_a_refusal()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_not_being_able_to_judge_is_no_refusal(status: int) -> None:
    with serving(problem_reply(status, "x")) as script, pytest.raises(ProblemError) as refused:
        client(script).appraise(DOCUMENT, "1")
    assert not refused.value.problem.is_a_refusal()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=404, body=b"<html>", headers={"Content-Type": "text/html"}),
        Reply(status=502),
        Reply(status=204),
        Reply(status=308, headers={"Location": "http://127.0.0.1:1/"}),
        json_reply({"code": "x", "detail": "y"}, status=422),
        json_reply({"code": "x"}, status=422, headers={"Content-Type": "application/problem+json"}),
        Reply(status=422, body=b"{", headers={"Content-Type": "application/problem+json"}),
    ],
    ids=["html", "empty", "no-content", "redirect", "plain-json", "no-detail", "broken"],
)
def test_an_answer_in_another_form_is_no_verifiers(reply: Reply) -> None:
    with serving(reply) as script, pytest.raises(VerifierUnavailableError, match="is the URL right"):
        client(script).appraise(DOCUMENT, "1")


def test_the_form_of_a_problem_may_name_its_charset() -> None:
    reply = problem_reply(422, "x", headers={"Content-Type": "Application/Problem+JSON; charset=utf-8"})
    with serving(reply) as script, pytest.raises(ProblemError):
        client(script).appraise(DOCUMENT, "1")


def test_an_endless_answer_is_cut() -> None:
    with serving(Reply(body=b" " * 300_000)) as script, pytest.raises(VerifierUnavailableError, match="more than"):
        client(script).appraise(DOCUMENT, "1")


def test_an_unreachable_verifier_is_unavailable() -> None:
    verifier = VerifierClient(endpoint=Endpoint.parse(dead_url()))
    with pytest.raises(VerifierUnavailableError, match=r"the verifier at http://127\.0\.0\.1:1 gave no answer"):
        verifier.issue_nonce()

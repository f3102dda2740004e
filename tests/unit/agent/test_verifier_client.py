"""The verifier's client: what it posts, and what it takes for an answer."""

from pathlib import Path

import pytest
from support.issuers import make_tls_server
from support.scripted_servers import Reply, Script, dead_url, json_reply, problem_reply, serving
from unit.agent.budgets import StandingTime

from verifier.agent.ends import End, NotAttested
from verifier.agent.imds import AttestedDocument
from verifier.agent.transport import Endpoint
from verifier.agent.verifier_client import VerifierClient
from verifier.api.problems import DOCUMENTATION
from verifier.core.reasons import Reason

NONCE = json_reply(
    {"nonce": "1234567890", "issuedAt": "2026-11-23T08:00:00Z", "expiresAt": "2026-11-23T08:05:00Z"},
    status=201,
)
VERIFIED = {"verdict": "verified", "claims": {"vmId": "v"}, "cloud": "AzurePublicCloud"}
DOCUMENT = AttestedDocument(raw=b'{"encoding": "pkcs7", "signature": "AAAA"}')


THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"  # RFC 7638 3.1


def client(script: Script, key: str | None = None) -> VerifierClient:
    return VerifierClient(endpoint=Endpoint.parse(script.url), key=key, budget=StandingTime().budget())


def test_asks_for_a_nonce() -> None:
    with serving(NONCE) as script:
        assert client(script).issue_nonce() == "1234567890"
    (request,) = script.requests
    assert (request.method, request.target) == ("POST", "/v1/nonces")
    assert request.headers["Content-Type"] == "application/json"
    assert request.fields() == {}
    assert "Authorization" not in request.headers


def test_asks_for_a_nonce_that_is_bound_to_a_key() -> None:
    with serving(NONCE) as script:
        client(script).issue_nonce(jkt=THUMBPRINT)
    assert script.requests[0].fields() == {"jkt": THUMBPRINT}


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
        verifier = client(script, key="s3cret-key==")
        verifier.issue_nonce()
        verifier.appraise(DOCUMENT, "1")
    assert [request.headers["Authorization"] for request in script.requests] == ["Bearer s3cret-key=="] * 2
    assert "s3cret" not in repr(verifier)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "kö"])
def test_refuses_a_key_that_is_no_token(key: str) -> None:
    with pytest.raises(ValueError, match="bearer token"):
        VerifierClient(endpoint=Endpoint.parse("http://127.0.0.1"), key=key, budget=StandingTime().budget())


@pytest.mark.parametrize("nonce", ["", "a" * 33, "1&2", "\u0661", 5, None])
def test_a_nonce_that_imds_does_not_take_goes_no_further(nonce: object) -> None:
    reply = json_reply({"nonce": nonce}, status=201)
    with serving(reply) as script, pytest.raises(NotAttested, match="IMDS does not take") as ended:
        client(script).issue_nonce()
    assert ended.value.end is End.NOT_A_VERIFIER


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>"])
def test_a_created_that_is_no_nonce_is_no_verifiers(body: bytes) -> None:
    reply = Reply(status=201, body=body)
    with serving(reply) as script, pytest.raises(NotAttested, match="as a verifier does") as ended:
        client(script).issue_nonce()
    assert ended.value.end is End.NOT_A_VERIFIER


@pytest.mark.parametrize(
    "fields",
    [{}, [], {"verdict": "verified"}, {"verdict": "verified", "claims": []}, {"verdict": "refused", "claims": {}}],
)
def test_a_200_that_is_no_verdict_is_no_pass(fields: object) -> None:
    with serving(json_reply(fields)) as script, pytest.raises(NotAttested, match="as a verifier does") as ended:
        client(script).appraise(DOCUMENT, "1")
    assert ended.value.end is End.NOT_A_VERIFIER


def test_a_refusal_says_why_and_whether_to_try_again() -> None:
    reply = problem_reply(422, "nonce-mismatch", retryable=True, detail="Try again.", headers={"Retry-After": "5"})
    with serving(reply) as script, pytest.raises(NotAttested) as ended:
        client(script).appraise(DOCUMENT, "1")
    assert str(ended.value) == "refused for now: Try again. (nonce-mismatch, request r-1)"
    assert (ended.value.end, ended.value.retryable, ended.value.retry_after) == (End.REFUSED_FOR_NOW, True, 5)


@pytest.mark.parametrize(
    ("header", "body", "expected"), [("5", 7, 5), ("", 7, 7), ("", True, None), ("", -1, None), ("", "7", None)]
)
def test_the_seconds_to_wait_are_those_of_the_header_or_else_of_the_body(
    header: str, body: object, expected: int | None
) -> None:
    headers = {"Content-Type": "application/problem+json", **({"Retry-After": header} if header else {})}
    fields = {"code": "x", "detail": "y", "retryable": True, "retryAfterSeconds": body}
    with serving(json_reply(fields, status=422, headers=headers)) as script, pytest.raises(NotAttested) as ended:
        client(script).issue_nonce()
    assert ended.value.retry_after == expected


@pytest.mark.parametrize("retryable", [False, None, 1, "true"])
def test_only_true_is_retryable(retryable: object) -> None:
    with serving(problem_reply(422, "x", retryable=retryable)) as script, pytest.raises(NotAttested) as ended:
        client(script).issue_nonce()
    assert (ended.value.end, ended.value.retryable) == (End.REFUSED, False)
    assert ended.value.retry_after is None


@pytest.mark.parametrize(
    ("status", "code", "end", "sentence"),
    [
        (400, "malformed-evidence", End.REFUSED, "refused: "),
        (403, "policy-denied", End.REFUSED, "refused: "),
        (422, "chain-untrusted", End.REFUSED, "refused: "),
        (401, "unauthenticated", End.NOT_ADMITTED, "the verifier does not let this agent in: "),
        (403, "forbidden", End.NOT_ADMITTED, "the verifier does not let this agent in: "),
        (429, "rate-limited", End.RATE_LIMITED, "the verifier is asked too often: "),
        (500, "internal", End.VERIFIER_UNAVAILABLE, "the verifier cannot answer now: "),
        (503, "store-unavailable", End.VERIFIER_UNAVAILABLE, "the verifier cannot answer now: "),
        (404, "not-found", End.NOT_A_VERIFIER, "does not take this agent's requests: "),
        (400, "malformed-request", End.NOT_A_VERIFIER, "does not take this agent's requests: "),
        (405, "method-not-allowed", End.NOT_A_VERIFIER, "does not take this agent's requests: "),
        (415, "unsupported-media-type", End.NOT_A_VERIFIER, "does not take this agent's requests: "),
    ],
)
def test_each_kind_of_problem_is_an_end_of_its_own(status: int, code: str, end: End, sentence: str) -> None:
    with serving(problem_reply(status, code)) as script, pytest.raises(NotAttested, match=sentence) as ended:
        client(script).appraise(DOCUMENT, "1")
    assert ended.value.end is end


def test_every_code_of_the_service_is_known_for_a_verdict_or_for_none() -> None:
    """A verdict is on a document; a request that was not understood, or not let in, is none."""
    ends = {}
    for code, documentation in DOCUMENTATION.items():
        with serving(problem_reply(documentation.status, code)) as script, pytest.raises(NotAttested) as ended:
            client(script).appraise(DOCUMENT, "1")
        ends[code] = ended.value.end
    assert {code for code, end in ends.items() if end is End.REFUSED} == set(Reason)


@pytest.mark.parametrize(
    ("status", "end"),
    [(429, End.RATE_LIMITED), (500, End.VERIFIER_UNAVAILABLE), (502, End.VERIFIER_UNAVAILABLE)],
)
def test_what_stands_before_a_verifier_may_say_that_it_is_away(status: int, end: End) -> None:
    reply = Reply(status=status, body=b"<html>", headers={"Content-Type": "text/html", "Retry-After": "3"})
    with serving(reply) as script, pytest.raises(NotAttested, match=f"answered {status}, without") as ended:
        client(script).appraise(DOCUMENT, "1")
    assert (ended.value.end, ended.value.retryable, ended.value.retry_after) == (end, True, 3)


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
def test_an_answer_in_another_form_is_no_verifiers(reply: Reply) -> None:
    with serving(reply) as script, pytest.raises(NotAttested, match="is the URL right") as ended:
        client(script).appraise(DOCUMENT, "1")
    assert (ended.value.end, ended.value.retryable) == (End.NOT_A_VERIFIER, False)


def test_the_form_of_a_problem_may_name_its_charset() -> None:
    reply = problem_reply(422, "x", headers={"Content-Type": "Application/Problem+JSON; charset=utf-8"})
    with serving(reply) as script, pytest.raises(NotAttested) as ended:
        client(script).appraise(DOCUMENT, "1")
    assert ended.value.end is End.REFUSED


def test_an_endless_answer_is_cut() -> None:
    with serving(Reply(body=b" " * 300_000)) as script, pytest.raises(NotAttested, match="more than") as ended:
        client(script).appraise(DOCUMENT, "1")
    assert ended.value.end is End.VERIFIER_UNREACHABLE


def test_an_unreachable_verifier_may_be_reached_later() -> None:
    verifier = VerifierClient(endpoint=Endpoint.parse(dead_url()), budget=StandingTime().budget())
    with pytest.raises(NotAttested, match=r"the verifier at http://127\.0\.0\.1:1 gave no answer") as ended:
        verifier.issue_nonce()
    assert (ended.value.end, ended.value.retryable) == (End.VERIFIER_UNREACHABLE, True)


def test_a_verifier_that_shows_nobodys_certificate_is_none(tmp_path: Path) -> None:
    tls, _ = make_tls_server(tmp_path, host="localhost")
    with serving(NONCE, tls=tls) as script, pytest.raises(NotAttested, match="is not who it should be") as ended:
        client(script).issue_nonce()
    assert (ended.value.end, ended.value.retryable) == (End.NOT_A_VERIFIER, False)

"""The flow: fresh nonce, fresh document, at most three rounds."""

from dataclasses import dataclass, field

import pytest
from unit.agent.servers import Reply, json_reply, problem_reply, serving

from verifier.agent.flow import attest
from verifier.agent.imds import AttestedDocument, ImdsClient, ImdsUnavailableError
from verifier.agent.transport import Endpoint
from verifier.agent.verifier_client import AttestationResult, ProblemError, VerifierClient

VERIFIED = json_reply({"verdict": "verified", "claims": {"vmId": "v"}})
MISMATCH = problem_reply(422, "nonce-mismatch", retryable=True)


def nonce(text: str) -> Reply:
    return json_reply({"nonce": text}, status=201)


def document(text: str) -> Reply:
    return json_reply({"encoding": "pkcs7", "signature": text})


@dataclass(kw_only=True)
class Run:
    """What one run of the flow did."""

    waits: list[float] = field(default_factory=list)
    kept: list[AttestedDocument] = field(default_factory=list)
    asked_imds: list[str] = field(default_factory=list)
    asked_verifier: list[str] = field(default_factory=list)
    posted: list[tuple[object, object]] = field(default_factory=list)

    def attest(self, *, imds: list[Reply], verifier: list[Reply]) -> AttestationResult:
        with serving(*imds) as imds_script, serving(*verifier) as verifier_script:
            try:
                return attest(
                    imds=ImdsClient(endpoint=Endpoint.parse(imds_script.url), wait=self.waits.append),
                    verifier=VerifierClient(endpoint=Endpoint.parse(verifier_script.url)),
                    wait=self.waits.append,
                    keep=self.kept.append,
                )
            finally:
                self.asked_imds = [request.target.rpartition("nonce=")[2] for request in imds_script.requests]
                self.asked_verifier = [request.target for request in verifier_script.requests]
                bodies = [r.fields() for r in verifier_script.requests if r.target == "/v1/attestations"]
                self.posted = [(body["signature"], body["nonce"]) for body in bodies]


def test_carries_the_nonce_from_the_verifier_to_imds_and_back() -> None:
    run = Run()
    result = run.attest(imds=[document("AAAA")], verifier=[nonce("4711"), VERIFIED])
    assert result.claims == {"vmId": "v"}
    assert run.asked_imds == ["4711"]
    assert run.posted == [("AAAA", "4711")]
    assert run.waits == []


def test_a_retryable_refusal_starts_a_round_with_a_nonce_and_a_document_of_its_own() -> None:
    run = Run()
    run.attest(imds=[document("AAAA"), document("BBBB")], verifier=[nonce("1"), MISMATCH, nonce("2"), VERIFIED])
    assert run.asked_imds == ["1", "2"]
    assert run.posted == [("AAAA", "1"), ("BBBB", "2")]
    assert run.waits == [1]


def test_ends_after_three_rounds() -> None:
    run = Run()
    verifier = [nonce("1"), MISMATCH, nonce("2"), MISMATCH, nonce("3"), MISMATCH, nonce("4"), VERIFIED]
    with pytest.raises(ProblemError) as refused:
        run.attest(imds=[document("AAAA")], verifier=verifier)
    assert refused.value.problem.code == "nonce-mismatch"
    assert run.asked_imds == ["1", "2", "3"]
    assert run.waits == [1, 1]


def test_a_final_refusal_is_final() -> None:
    run = Run()
    with pytest.raises(ProblemError):
        run.attest(imds=[document("AAAA")], verifier=[nonce("1"), problem_reply(422, "chain-untrusted"), nonce("2")])
    assert run.asked_imds == ["1"]
    assert run.waits == []


@pytest.mark.parametrize(("asked", "waited"), [("0", 0), ("7", 7), ("30", 30), ("31", 30), ("86400", 30), ("soon", 1)])
def test_waits_as_long_as_it_is_asked_to_but_at_most_30_seconds(asked: str, waited: int) -> None:
    run = Run()
    away = problem_reply(503, "store-unavailable", retryable=True, headers={"Retry-After": asked})
    run.attest(imds=[document("AAAA")], verifier=[nonce("1"), away, nonce("2"), VERIFIED])
    assert run.waits == [waited]


def test_a_retryable_problem_with_the_nonce_starts_a_round_too() -> None:
    run = Run()
    busy = problem_reply(429, "rate-limited", retryable=True, headers={"Retry-After": "2"})
    run.attest(imds=[document("AAAA")], verifier=[busy, nonce("2"), VERIFIED])
    assert run.asked_verifier == ["/v1/nonces", "/v1/nonces", "/v1/attestations"]
    assert run.asked_imds == ["2"]


def test_keeps_each_document_before_it_is_posted() -> None:
    run = Run()
    with pytest.raises(ProblemError):
        run.attest(imds=[document("AAAA")], verifier=[nonce("1"), problem_reply(422, "chain-untrusted")])
    assert [kept.raw for kept in run.kept] == [document("AAAA").body]


def test_an_imds_that_fails_is_not_asked_in_another_round() -> None:
    run = Run()
    with pytest.raises(ImdsUnavailableError):
        run.attest(imds=[Reply(status=500)], verifier=[nonce("1"), VERIFIED])
    assert run.asked_verifier == ["/v1/nonces"]
    assert run.kept == []

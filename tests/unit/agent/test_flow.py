"""The flow: fresh nonce, fresh document, at most five rounds, and no more time than there is."""

from dataclasses import dataclass, field

import pytest
from support.scripted_servers import Reply, dead_url, json_reply, problem_reply, serving
from unit.agent.budgets import StandingTime

from verifier.agent.ends import End, NotAttested
from verifier.agent.flow import ROUNDS, attest
from verifier.agent.imds import AttestedDocument, ImdsClient
from verifier.agent.results import AttestationResult
from verifier.agent.transport import Endpoint
from verifier.agent.verifier_client import VerifierClient

VERIFIED = json_reply({"verdict": "verified", "claims": {"vmId": "v"}})
MISMATCH = problem_reply(422, "nonce-mismatch", retryable=True)


def nonce(text: str) -> Reply:
    return json_reply({"nonce": text}, status=201)


def document(text: str) -> Reply:
    return json_reply({"encoding": "pkcs7", "signature": text})


@dataclass(kw_only=True)
class Run:
    """What one run of the flow did."""

    seconds: float = 600
    time: StandingTime = field(default_factory=StandingTime)
    kept: list[AttestedDocument] = field(default_factory=list)
    asked_imds: list[str] = field(default_factory=list)
    asked_verifier: list[str] = field(default_factory=list)
    posted: list[tuple[object, object]] = field(default_factory=list)

    def attest(self, *, imds: list[Reply], verifier: list[Reply]) -> AttestationResult:
        with serving(*imds) as imds_script, serving(*verifier) as verifier_script:
            try:
                budget = self.time.budget(self.seconds)
                return attest(
                    imds=ImdsClient(endpoint=Endpoint.parse(imds_script.url), budget=budget),
                    verifier=VerifierClient(endpoint=Endpoint.parse(verifier_script.url), budget=budget),
                    budget=budget,
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
    assert run.time.waits == []


def test_a_retryable_refusal_starts_a_round_with_a_nonce_and_a_document_of_its_own() -> None:
    run = Run()
    run.attest(imds=[document("AAAA"), document("BBBB")], verifier=[nonce("1"), MISMATCH, nonce("2"), VERIFIED])
    assert run.asked_imds == ["1", "2"]
    assert run.posted == [("AAAA", "1"), ("BBBB", "2")]
    assert run.time.waits == [1]


def test_ends_after_five_rounds() -> None:
    run = Run()
    rounds = [reply for number in range(1, 9) for reply in (nonce(str(number)), MISMATCH)]
    with pytest.raises(NotAttested, match=r"refused for now: .*nonce-mismatch") as ended:
        run.attest(imds=[document("AAAA")], verifier=rounds)
    assert ended.value.end is End.REFUSED_FOR_NOW
    assert run.asked_imds == ["1", "2", "3", "4", "5"]
    assert len(run.asked_imds) == ROUNDS
    assert run.time.waits == [1, 2, 4, 8]


def test_a_final_refusal_is_final() -> None:
    run = Run()
    with pytest.raises(NotAttested):
        run.attest(imds=[document("AAAA")], verifier=[nonce("1"), problem_reply(422, "chain-untrusted"), nonce("2")])
    assert run.asked_imds == ["1"]
    assert run.time.waits == []


@pytest.mark.parametrize(("asked", "waited"), [("0", 0), ("7", 7), ("599", 599), ("soon", 1)])
def test_waits_as_long_as_it_is_asked_to(asked: str, waited: int) -> None:
    run = Run()
    away = problem_reply(503, "store-unavailable", retryable=True, headers={"Retry-After": asked})
    run.attest(imds=[document("AAAA")], verifier=[nonce("1"), away, nonce("2"), VERIFIED])
    assert run.time.waits == [waited]


@pytest.mark.parametrize("asked", ["600", "86400"])
def test_gives_up_at_once_where_it_is_asked_to_wait_longer_than_it_may(asked: str) -> None:
    """And does not come back earlier than it was told to."""
    run = Run()
    away = problem_reply(503, "store-unavailable", retryable=True, headers={"Retry-After": asked})
    with pytest.raises(NotAttested) as ended:
        run.attest(imds=[document("AAAA")], verifier=[nonce("1"), away, nonce("2"), VERIFIED])
    assert (ended.value.end, ended.value.retry_after) == (End.VERIFIER_UNAVAILABLE, int(asked))
    assert run.time.waits == []


def test_a_verifier_that_does_not_answer_is_given_further_rounds() -> None:
    run = Run()
    cut = Reply(body=b"{}", missing=5)
    run.attest(imds=[document("AAAA")], verifier=[cut, nonce("1"), cut, nonce("2"), VERIFIED])
    assert run.asked_imds == ["1", "2"]
    assert run.time.waits == [1, 2]


def test_a_verifier_that_is_not_there_is_given_up_in_the_end() -> None:
    time = StandingTime()
    budget = time.budget()
    kept: list[AttestedDocument] = []
    with pytest.raises(NotAttested) as ended:
        attest(
            imds=ImdsClient(endpoint=Endpoint.parse(dead_url()), budget=budget),
            verifier=VerifierClient(endpoint=Endpoint.parse(dead_url()), budget=budget),
            budget=budget,
            keep=kept.append,
        )
    assert ended.value.end is End.VERIFIER_UNREACHABLE
    assert time.waits == [1, 2, 4, 8]


def test_a_retryable_problem_with_the_nonce_starts_a_round_too() -> None:
    run = Run()
    busy = problem_reply(429, "rate-limited", retryable=True, headers={"Retry-After": "2"})
    run.attest(imds=[document("AAAA")], verifier=[busy, nonce("2"), VERIFIED])
    assert run.asked_verifier == ["/v1/nonces", "/v1/nonces", "/v1/attestations"]
    assert run.asked_imds == ["2"]


def test_keeps_each_document_before_it_is_posted() -> None:
    run = Run()
    with pytest.raises(NotAttested):
        run.attest(imds=[document("AAAA")], verifier=[nonce("1"), problem_reply(422, "chain-untrusted")])
    assert [kept.raw for kept in run.kept] == [document("AAAA").body]


def test_an_imds_that_refuses_is_not_asked_in_another_round() -> None:
    run = Run()
    with pytest.raises(NotAttested) as ended:
        run.attest(imds=[Reply(status=400)], verifier=[nonce("1"), VERIFIED])
    assert ended.value.end is End.IMDS_REFUSES
    assert run.asked_verifier == ["/v1/nonces"]
    assert run.kept == []

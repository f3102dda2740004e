"""Each round uses a new nonce and a new document. There are at most five rounds, all within the budget."""

from dataclasses import dataclass, field

import pytest
from support.scripted_servers import Reply, dead_url, json_reply, problem_reply, serving
from unit.agent.budgets import ManualTime

from verifier.agent.budget import Budget
from verifier.agent.challenge import Binding
from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.flow import MAX_ROUNDS, attest
from verifier.agent.imds import AttestedDocument, ImdsClient
from verifier.agent.results import VerifiedResult
from verifier.agent.service_client import ServiceClient
from verifier.agent.transport import Endpoint
from verifier.agent.verifier_client import VerifierClient

VERIFIED = json_reply({"verdict": "verified", "claims": {"vmId": "v"}})
MISMATCH = problem_reply(422, "nonce-mismatch", retryable=True)


def client(url: str, budget: Budget) -> VerifierClient:
    return VerifierClient(service=ServiceClient(name="verifier", endpoint=Endpoint.parse(url), budget=budget))


def nonce(text: str) -> Reply:
    return json_reply({"nonce": text}, status=201)


def document(text: str) -> Reply:
    return json_reply({"encoding": "pkcs7", "signature": text})


@dataclass(kw_only=True)
class Run:
    """Run the flow against scripted servers and record the requests."""

    seconds: float = 600
    time: ManualTime = field(default_factory=ManualTime)
    documents: list[AttestedDocument] = field(default_factory=list)
    nonces_sent_to_imds: list[str] = field(default_factory=list)
    verifier_paths: list[str] = field(default_factory=list)
    posted: list[tuple[object, object]] = field(default_factory=list)

    def attest(self, *, imds: list[Reply], verifier: list[Reply]) -> VerifiedResult:
        with serving(*imds) as imds_script, serving(*verifier) as verifier_script:
            try:
                budget = self.time.budget(self.seconds)
                return attest(
                    imds=ImdsClient(endpoint=Endpoint.parse(imds_script.url), budget=budget),
                    verifier=client(verifier_script.url, budget),
                    budget=budget,
                    binding=Binding(),
                    on_document=self.documents.append,
                )
            finally:
                self.nonces_sent_to_imds = [request.target.rpartition("nonce=")[2] for request in imds_script.requests]
                self.verifier_paths = [request.target for request in verifier_script.requests]
                bodies = [r.fields() for r in verifier_script.requests if r.target == "/v1/attestations"]
                self.posted = [(body["signature"], body["nonce"]) for body in bodies]


def test_nonce_goes_from_the_verifier_to_imds_and_back() -> None:
    run = Run()
    result = run.attest(imds=[document("AAAA")], verifier=[nonce("4711"), VERIFIED])
    assert result.claims == {"vmId": "v"}
    assert run.nonces_sent_to_imds == ["4711"]
    assert run.posted == [("AAAA", "4711")]
    assert run.time.waits == []


def test_retryable_refusal_starts_a_round_with_a_new_nonce_and_document() -> None:
    run = Run()
    run.attest(imds=[document("AAAA"), document("BBBB")], verifier=[nonce("1"), MISMATCH, nonce("2"), VERIFIED])
    assert run.nonces_sent_to_imds == ["1", "2"]
    assert run.posted == [("AAAA", "1"), ("BBBB", "2")]
    assert run.time.waits == [1]


def test_run_ends_after_five_rounds() -> None:
    run = Run()
    rounds = [reply for number in range(1, 9) for reply in (nonce(str(number)), MISMATCH)]
    with pytest.raises(NotAttested, match=r"refused, but a retry may succeed: .*nonce-mismatch") as error:
        run.attest(imds=[document("AAAA")], verifier=rounds)
    assert error.value.exit_code is ExitCode.REFUSED_RETRYABLE
    assert run.nonces_sent_to_imds == ["1", "2", "3", "4", "5"]
    assert len(run.nonces_sent_to_imds) == MAX_ROUNDS
    assert run.time.waits == [1, 2, 4, 8]


def test_refusal_that_is_not_retryable_ends_the_run() -> None:
    run = Run()
    with pytest.raises(NotAttested):
        run.attest(imds=[document("AAAA")], verifier=[nonce("1"), problem_reply(422, "chain-untrusted"), nonce("2")])
    assert run.nonces_sent_to_imds == ["1"]
    assert run.time.waits == []


@pytest.mark.parametrize(("retry_after", "waited"), [("0", 0), ("7", 7), ("599", 599), ("soon", 1)])
def test_wait_follows_retry_after(retry_after: str, waited: int) -> None:
    run = Run()
    unavailable = problem_reply(503, "store-unavailable", retryable=True, headers={"Retry-After": retry_after})
    run.attest(imds=[document("AAAA")], verifier=[nonce("1"), unavailable, nonce("2"), VERIFIED])
    assert run.time.waits == [waited]


@pytest.mark.parametrize("retry_after", ["600", "86400"])
def test_run_ends_at_once_if_retry_after_exceeds_the_budget(retry_after: str) -> None:
    run = Run()
    unavailable = problem_reply(503, "store-unavailable", retryable=True, headers={"Retry-After": retry_after})
    with pytest.raises(NotAttested) as error:
        run.attest(imds=[document("AAAA")], verifier=[nonce("1"), unavailable, nonce("2"), VERIFIED])
    assert (error.value.exit_code, error.value.retry_after) == (ExitCode.VERIFIER_UNAVAILABLE, int(retry_after))
    assert run.time.waits == []


def test_incomplete_response_of_the_verifier_starts_another_round() -> None:
    run = Run()
    cut = Reply(body=b"{}", missing=5)
    run.attest(imds=[document("AAAA")], verifier=[cut, nonce("1"), cut, nonce("2"), VERIFIED])
    assert run.nonces_sent_to_imds == ["1", "2"]
    assert run.time.waits == [1, 2]


def test_unreachable_verifier_ends_the_run_after_the_last_round() -> None:
    time = ManualTime()
    budget = time.budget()
    with pytest.raises(NotAttested) as error:
        attest(
            imds=ImdsClient(endpoint=Endpoint.parse(dead_url()), budget=budget),
            verifier=client(dead_url(), budget),
            budget=budget,
            binding=Binding(),
            on_document=lambda _: None,
        )
    assert error.value.exit_code is ExitCode.VERIFIER_UNREACHABLE
    assert time.waits == [1, 2, 4, 8]


def test_retryable_problem_for_the_nonce_starts_another_round() -> None:
    run = Run()
    rate_limited = problem_reply(429, "rate-limited", retryable=True, headers={"Retry-After": "2"})
    run.attest(imds=[document("AAAA")], verifier=[rate_limited, nonce("2"), VERIFIED])
    assert run.verifier_paths == ["/v1/nonces", "/v1/nonces", "/v1/attestations"]
    assert run.nonces_sent_to_imds == ["2"]


def test_document_is_handed_over_before_it_is_posted() -> None:
    run = Run()
    with pytest.raises(NotAttested):
        run.attest(imds=[document("AAAA")], verifier=[nonce("1"), problem_reply(422, "chain-untrusted")])
    assert [document.raw for document in run.documents] == [document("AAAA").body]


def test_rejection_by_imds_ends_the_run() -> None:
    run = Run()
    with pytest.raises(NotAttested) as error:
        run.attest(imds=[Reply(status=400)], verifier=[nonce("1"), VERIFIED])
    assert error.value.exit_code is ExitCode.IMDS_REJECTED
    assert run.verifier_paths == ["/v1/nonces"]
    assert run.documents == []

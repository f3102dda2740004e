"""Of any number of simultaneous posts of one valid document, on every store, exactly one is accepted."""

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.documents import imds_answer
from support.live_documents import current_document
from support.problems import read_problem
from support.services import Answer, RunningServer, running_server, running_service

SENDERS = 64


def post_at_once(service: RunningServer, fields: dict[str, object]) -> list[Answer]:
    """The answers to SENDERS posts whose senders wait for each other before they send."""
    barrier = threading.Barrier(SENDERS)

    def post(_: int) -> Answer:
        barrier.wait(timeout=60)
        return service.post_json("/v1/attestations", fields)

    with ThreadPoolExecutor(SENDERS) as senders:
        return list(senders.map(post, range(SENDERS)))


def assert_one_acceptance(answers: list[Answer]) -> None:
    assert Counter(answer.status for answer in answers) == {200: 1, 409: SENDERS - 1}
    for answer in answers:
        if answer.status == 409:
            problem = read_problem(answer.status, answer.headers, answer.body)
            assert problem["code"] == "nonce-replayed"


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return f"sqlite://{tmp_path}/nonces.sqlite3"


def test_accepts_exactly_one_of_64_simultaneous_posts(store_url: str, trust_dir: Path) -> None:
    with running_service(nonce_store=store_url, trust_dir=trust_dir, workers=2) as service:
        fields = imds_answer(current_document(service.issue_nonce()))
        assert_one_acceptance(post_at_once(service, fields))
        # Not even long after the concurrent requests.
        assert service.post_json("/v1/attestations", fields).code == "nonce-replayed"


def test_accepts_exactly_one_of_64_posts_of_a_document_that_answers_no_nonce(store_url: str, trust_dir: Path) -> None:
    with running_service(nonce_store=store_url, trust_dir=trust_dir, VERIFIER_NONCE_MODE="optional") as service:
        fields = imds_answer(current_document(None))
        answers = post_at_once(service, fields)
        assert_one_acceptance(answers)
        [accepted] = [answer for answer in answers if answer.status == 200]
        checks: list[dict[str, str]] = json.loads(accepted.body)["checks"]
        assert [check["name"] for check in checks if "answers no nonce" in check.get("detail", "")] == ["nonce"]


def test_accepts_exactly_one_of_64_posts_to_two_replicas(redis_url: str, trust_dir: Path) -> None:
    with (
        running_service(nonce_store=redis_url, trust_dir=trust_dir, workers=1) as one,
        running_service(nonce_store=redis_url, trust_dir=trust_dir, workers=1) as other,
    ):
        fields = imds_answer(current_document(one.issue_nonce()))
        barrier = threading.Barrier(SENDERS)

        def post(number: int) -> Answer:
            barrier.wait(timeout=60)
            return (one if number % 2 else other).post_json("/v1/attestations", fields)

        with ThreadPoolExecutor(SENDERS) as senders:
            answers = list(senders.map(post, range(SENDERS)))
    assert_one_acceptance(answers)


def test_accepts_exactly_one_post_of_what_the_emulator_answered(tmp_path: Path) -> None:
    trust_dir = tmp_path / "trust"
    with (
        running_server("emulator", "--port", "0", "--trust-dir", str(trust_dir)) as imds,
        running_service(nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir) as service,
    ):
        path = f"/metadata/attested/document?api-version=2020-09-01&nonce={service.issue_nonce()}"
        fields = imds.request("GET", path, headers={"Metadata": "true"}).json
        assert_one_acceptance(post_at_once(service, fields))


def test_remembers_used_and_unused_nonces_over_a_restart(tmp_path: Path, trust_dir: Path) -> None:
    store = f"sqlite://{tmp_path}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir) as before:
        used = imds_answer(current_document(before.issue_nonce()))
        unused = imds_answer(current_document(before.issue_nonce()))
        assert before.post_json("/v1/attestations", used).status == 200
    with running_service(nonce_store=store, trust_dir=trust_dir) as after:
        assert after.post_json("/v1/attestations", used).code == "nonce-replayed"
        assert after.post_json("/v1/attestations", unused).status == 200

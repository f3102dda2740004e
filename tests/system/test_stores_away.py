"""Without its nonce store the service answers 503, and it recovers by itself after the store."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.documents import imds_answer
from support.live_documents import current_document
from support.problems import read_problem
from support.redis_server import RedisServer, running_redis_server
from support.services import Answer, RunningServer, running_service


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """Start a server that keeps its data on the disk, so that a test can kill it."""
    with running_redis_server(appendonly=True) as server:
        yield server


@pytest.fixture(scope="module")
def service_on_redis(redis: RedisServer, trust_dir: Path) -> Iterator[RunningServer]:
    with running_service(nonce_store=redis.url, trust_dir=trust_dir, workers=1) as running:
        yield running


@pytest.fixture
def on_redis(service_on_redis: RunningServer) -> RunningServer:
    """Return the service after it has recovered from the previous test."""
    assert within_a_second(lambda: service_on_redis.request("GET", "/readyz")).status == 200
    return service_on_redis


def within_a_second(post: Callable[[], Answer]) -> Answer:
    """Post again until the service has recovered, which takes a second at most."""
    deadline = time.monotonic() + 1
    answer = post()
    while answer.status == 503 and time.monotonic() < deadline:
        threading.Event().wait(0.02)
        answer = post()
    return answer


def assert_unavailable(answer: Answer) -> None:
    problem = read_problem(answer.status, answer.headers, answer.body)
    assert (answer.status, problem["code"], problem["retryable"]) == (503, "store-unavailable", True)
    assert int(answer.headers["Retry-After"]) >= 1
    assert "verdict" not in problem


def conditions(service: RunningServer) -> tuple[int, dict[str, tuple[bool, str]]]:
    """Return the status of /readyz, and for each condition if it holds and why not."""
    answer = service.request("GET", "/readyz")
    listed: list[dict[str, object]] = json.loads(answer.body)["conditions"]
    found = {str(entry["name"]): (entry["ready"] is True, str(entry["detail"])) for entry in listed}
    return answer.status, found


def test_gives_no_verdict_while_redis_is_unavailable_and_recovers_after_it(
    on_redis: RunningServer, redis: RedisServer
) -> None:
    fields = imds_answer(current_document(on_redis.issue_nonce()))
    redis.kill()
    try:
        assert_unavailable(on_redis.post_json("/v1/nonces"))
        assert_unavailable(on_redis.post_json("/v1/attestations", fields))
    finally:
        redis.restart()
    # The 503 above did not use the nonce: it is still valid, once.
    assert within_a_second(lambda: on_redis.post_json("/v1/attestations", fields)).status == 200
    assert within_a_second(lambda: on_redis.post_json("/v1/attestations", fields)).code == "nonce-replayed"
    assert within_a_second(lambda: on_redis.post_json("/v1/nonces")).status == 201


def test_gives_no_verdict_while_redis_hangs(on_redis: RunningServer, redis: RedisServer) -> None:
    fields = imds_answer(current_document(on_redis.issue_nonce()))
    with redis.hanging():
        assert_unavailable(on_redis.post_json("/v1/nonces"))
        assert_unavailable(on_redis.post_json("/v1/attestations", fields))
        assert on_redis.request("GET", "/healthz").status == 200
    # It is unknown if the redemption acted. In both cases there is one verdict at most.
    assert within_a_second(lambda: on_redis.post_json("/v1/attestations", fields)).code in {None, "nonce-replayed"}
    assert within_a_second(lambda: on_redis.post_json("/v1/attestations", fields)).code == "nonce-replayed"


def test_malformed_evidence_is_refused_without_the_store(on_redis: RunningServer, redis: RedisServer) -> None:
    redis.kill()
    try:
        answer = on_redis.post_json("/v1/attestations", {"encoding": "pkcs7", "signature": "AAAA"})
    finally:
        redis.restart()
    assert (answer.status, answer.code) == (400, "malformed-evidence")


def test_readyz_names_the_condition_that_fails(on_redis: RunningServer, redis: RedisServer) -> None:
    status, found = conditions(on_redis)
    assert (status, found["nonce-store"], found["trust"]) == (200, (True, ""), (True, ""))
    redis.kill()
    try:
        status, found = conditions(on_redis)
        alive = on_redis.request("GET", "/healthz")
    finally:
        redis.restart()
    assert status == 503
    assert found["nonce-store"] == (False, "Redis cannot be reached.")
    assert found["trust"] == (True, "")
    # An orchestrator must not restart a process because its store is unavailable.
    assert alive.status == 200
    assert within_a_second(lambda: on_redis.request("GET", "/readyz")).status == 200


def test_the_service_starts_while_redis_is_unavailable(redis: RedisServer, trust_dir: Path) -> None:
    redis.kill()
    try:
        with running_service(nonce_store=redis.url, trust_dir=trust_dir, workers=1) as service:
            assert_unavailable(service.post_json("/v1/nonces"))
            assert conditions(service)[0] == 503
            redis.restart()
            assert within_a_second(lambda: service.post_json("/v1/nonces")).status == 201
            assert within_a_second(lambda: service.request("GET", "/readyz")).status == 200
    finally:
        redis.restart()


def test_a_refused_password_is_not_shown(trust_dir: Path) -> None:
    with running_redis_server(password="s3cret-right") as guarded:  # noqa: S106 - of this test's own server
        wrong = guarded.url.replace("right", "wrong")
        with running_service(nonce_store=wrong, trust_dir=trust_dir, workers=1) as service:
            answers = [service.post_json("/v1/nonces"), service.request("GET", "/readyz")]
    assert [answer.status for answer in answers] == [503, 503]
    told = b"".join(answer.body for answer in answers).decode() + "".join(service.log)
    assert "s3cret" not in told


def test_gives_no_verdict_while_the_sqlite_file_is_missing(tmp_path: Path, trust_dir: Path) -> None:
    file = tmp_path / "nonces.sqlite3"
    with running_service(nonce_store=f"sqlite://{file}", trust_dir=trust_dir, workers=1) as service:
        fields = imds_answer(current_document(service.issue_nonce()))
        aside = tmp_path / "aside"
        file.rename(aside)
        assert_unavailable(service.post_json("/v1/attestations", fields))
        assert_unavailable(service.post_json("/v1/nonces"))
        status, found = conditions(service)
        assert (status, found["nonce-store"][0]) == (503, False)
        assert str(tmp_path) not in found["nonce-store"][1]
        assert service.request("GET", "/healthz").status == 200
        aside.rename(file)
        assert service.post_json("/v1/attestations", fields).status == 200


def test_gives_no_nonce_and_no_verdict_while_the_rate_file_is_missing(tmp_path: Path, trust_dir: Path) -> None:
    """The nonces are there, but the rate cannot be checked."""
    key = "the-key-of-north"
    tenants = {"north": {"keys": [hashlib.sha256(key.encode()).hexdigest()], "rate": "100/hour"}}
    authorized = {"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"}
    counters, aside = tmp_path / "nonces-rates.sqlite3", tmp_path / "aside"
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir, VERIFIER_TENANTS=json.dumps(tenants)
    ) as service:
        issued = service.request("POST", "/v1/nonces", headers={"Authorization": f"Bearer {key}"})
        assert issued.headers["RateLimit"].startswith('"nonces";r=99;t=')
        document = current_document(str(issued.json["nonce"]))
        counters.rename(aside)
        for path, body in (("/v1/nonces", None), ("/v1/attestations", document)):
            answer = service.request("POST", path, body, headers=authorized)
            assert (answer.status, answer.code) == (503, "store-unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        aside.rename(counters)
        answer = service.request("POST", "/v1/attestations", document, headers=authorized)
        assert (answer.status, answer.json["verdict"]) == (200, "verified")

"""Test that decisions are kept, and that a dead, slow or full store of them changes no verdict and delays no answer."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from support.documents import imds_answer
from support.kept_decisions import decisions_in
from support.live_documents import current_document
from support.processes import await_that, children_of
from support.redis_server import RedisServer, running_redis_server
from support.services import Answer, RunningServer, running_service
from support.tcp_proxy import Network, running_tcp_proxy

from verifier.adapters.redis.decision_store import RedisDecisionStore
from verifier.adapters.redis.link import RedisLink
from verifier.ports.decisions import Selection

MEBIBYTE = 2**20
#: No answer took longer in the tests, where a call of an unavailable Redis takes 2 s.
_SWIFT_SECONDS = 1.0


def sqlite(directory: Path) -> str:
    return f"sqlite://{directory}/nonces.sqlite3"


def attest(service: RunningServer) -> Answer:
    return service.post_json("/v1/attestations", imds_answer(current_document(service.issue_nonce())))


def timed(call: Callable[[], Answer]) -> tuple[Answer, float]:
    started = time.monotonic()
    return call(), time.monotonic() - started


def assert_verdicts_are_given_at_once(service: RunningServer, *, seconds: float) -> None:
    """Post for some time. The first writes of decisions run into the timeouts of their store meanwhile."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        fields = imds_answer(current_document(service.issue_nonce()))
        for expected in (200, 409):
            answer, took = timed(lambda: service.post_json("/v1/attestations", fields))  # noqa: B023 - called at once
            assert (answer.status, took < _SWIFT_SECONDS) == (expected, True), took
        assert service.request("GET", "/none-such").status == 404


def in_redis(server: RedisServer, *, tenant: str = "default") -> list[Mapping[str, object]]:
    with closing(RedisLink.open(server.url)) as link:
        store = RedisDecisionStore(link, bytes_per_tenant=64 * MEBIBYTE)
        scan = store.scan(Selection(), tenant=tenant, before=None, limit=10_000, most=10_000)
        return [decision.fields for decision in scan.decisions]


def events_of(service: RunningServer) -> list[dict[str, object]]:
    return [json.loads(line) for line in service.log]


def outages_of(service: RunningServer) -> list[object]:
    return [line["event"] for line in events_of(service) if str(line["event"]).startswith("decisions ")]


def test_the_request_id_of_every_problem_leads_to_its_decision(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(nonce_store=sqlite(tmp_path), trust_dir=trust_dir) as service:
        fields = imds_answer(current_document(service.issue_nonce()))
        answers = [
            service.post_json("/v1/attestations", fields),
            service.post_json("/v1/attestations", fields),
            service.post_json("/v1/attestations", {"encoding": "pkcs7", "signature": "MAAA"}),
            service.post_json("/v1/attestations", {**fields, "policy": "none-such"}),
            service.post_json("/v1/nonces", {"vmid": "x"}),
            service.request("GET", "/none-such"),
            service.request("PUT", "/v1/nonces"),
            service.request("GET", "/v1/trust"),
            service.request("GET", "/healthz"),
        ]
    file = tmp_path / "nonces-decisions.sqlite3"
    kept = {str(fields["requestId"]): fields for fields in decisions_in(file, tenant="default")}
    codes = {answer.headers["X-Request-Id"]: answer.code or "verified" for answer in answers[:-1]}
    assert {request_id: fields["code"] for request_id, fields in kept.items()} == codes
    # Anyone can guess a nonce of 10 digits, but no decision holds one.
    assert "nonce" not in {name for fields in kept.values() for name in fields}


def test_a_request_that_is_no_http_leads_to_its_decision(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(nonce_store=sqlite(tmp_path), trust_dir=trust_dir) as service:
        answer = service.request("GET", "/healthz", headers={"Host": "a", "Content-Length": "x"})
        assert answer.status == 400
    [kept] = decisions_in(tmp_path / "nonces-decisions.sqlite3", tenant="")
    assert (kept["requestId"], kept["code"], kept["tenant"]) == (answer.headers["X-Request-Id"], answer.code, "")


def test_sigterm_loses_no_decision(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(nonce_store=sqlite(tmp_path), trust_dir=trust_dir) as service:
        answered = [attest(service).headers["X-Request-Id"] for _ in range(5)]
        service.process.terminate()
        service.process.wait(30)
    kept = decisions_in(tmp_path / "nonces-decisions.sqlite3", tenant="default")
    assert {fields["requestId"] for fields in kept} == {*answered}


def test_sigkill_loses_at_most_the_last_second(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(nonce_store=sqlite(tmp_path), trust_dir=trust_dir) as service:
        answered = [attest(service).headers["X-Request-Id"] for _ in range(5)]
        threading.Event().wait(1)
        for worker in children_of(service.process.pid):
            os.kill(worker, signal.SIGKILL)
        kept = decisions_in(tmp_path / "nonces-decisions.sqlite3", tenant="default")
    assert {fields["requestId"] for fields in kept} >= {*answered}


def test_no_store_keeps_no_decisions(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(nonce_store=sqlite(tmp_path), trust_dir=trust_dir, VERIFIER_DECISION_STORE="none") as service:
        assert attest(service).status == 200
    assert not (tmp_path / "nonces-decisions.sqlite3").exists()


@pytest.mark.parametrize("nonces", ["sqlite", "the same redis"])
def test_decisions_are_in_the_redis_that_the_settings_name(tmp_path: Path, trust_dir: Path, nonces: str) -> None:
    with running_redis_server() as server:
        settings: dict[str, Any] = {"VERIFIER_DECISION_STORE": server.url} if nonces == "sqlite" else {}
        nonce_store = sqlite(tmp_path) if nonces == "sqlite" else server.url
        with running_service(nonce_store=nonce_store, trust_dir=trust_dir, **settings) as service:
            answered = attest(service).headers["X-Request-Id"]
        [kept] = in_redis(server)
    assert (kept["requestId"], kept["verdict"]) == (answered, "verified")


def test_a_dead_store_changes_no_verdict_and_gets_the_decisions_afterwards(tmp_path: Path, trust_dir: Path) -> None:
    with (
        running_redis_server(appendonly=True) as server,
        running_service(
            nonce_store=sqlite(tmp_path), trust_dir=trust_dir, workers=1, VERIFIER_DECISION_STORE=server.url
        ) as service,
    ):
        first = attest(service).headers["X-Request-Id"]
        await_that(lambda: bool(in_redis(server)))
        server.kill()
        assert_verdicts_are_given_at_once(service, seconds=3)
        last = attest(service).headers["X-Request-Id"]
        server.restart()
        await_that(lambda: {first, last} <= {fields["requestId"] for fields in in_redis(server)})
    assert outages_of(service) == ["decisions not kept", "decisions kept again"]


def test_a_service_starts_and_gives_verdicts_although_its_decision_store_is_dead(
    tmp_path: Path, trust_dir: Path
) -> None:
    with running_redis_server() as server:
        url = server.url
    file = tmp_path / "a file" / "decisions.sqlite3"
    file.parent.touch()
    for store in (url, f"sqlite://{file}"):
        with running_service(
            nonce_store=sqlite(tmp_path), trust_dir=trust_dir, VERIFIER_DECISION_STORE=store
        ) as service:
            assert_verdicts_are_given_at_once(service, seconds=1)
        events = events_of(service)
        assert {line["detail"] for line in events if line["event"] == "decisions not kept"}
        stops = [line for line in events if line["event"] == "decisions lost at the stop"]
        assert stops
        assert 0 not in [line["lost"] for line in stops]
        assert "decisions kept again" not in [line["event"] for line in events]


@pytest.mark.parametrize("network", [Network.SWALLOWS, Network.CUTS_ANSWERS])
def test_a_slow_or_broken_network_changes_no_verdict_and_delays_none(
    tmp_path: Path, trust_dir: Path, network: Network
) -> None:
    with running_redis_server() as server, running_tcp_proxy(server.port) as proxy:
        url = server.url.replace(f":{server.port}/", f":{proxy.port}/")
        with running_service(
            nonce_store=sqlite(tmp_path), trust_dir=trust_dir, workers=1, VERIFIER_DECISION_STORE=url
        ) as service:
            first = attest(service).headers["X-Request-Id"]
            await_that(lambda: bool(in_redis(server)))
            proxy.cuts = 2
            proxy.network = network
            proxy.cut()
            assert_verdicts_are_given_at_once(service, seconds=4)
            last = attest(service).headers["X-Request-Id"]
            proxy.network = Network.WORKS
            await_that(lambda: last in {fields["requestId"] for fields in in_redis(server)})
        ids = [fields["requestId"] for fields in in_redis(server)]
    assert first in ids
    assert len(ids) == len(set(ids))


def test_a_full_store_changes_no_verdict(tmp_path: Path, trust_dir: Path) -> None:
    with (
        running_redis_server(arguments=("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")) as server,
        running_service(
            nonce_store=sqlite(tmp_path), trust_dir=trust_dir, workers=1, VERIFIER_DECISION_STORE=server.url
        ) as service,
    ):
        assert_verdicts_are_given_at_once(service, seconds=2)
    [began] = [line for line in events_of(service) if line["event"] == "decisions not kept"]
    assert "memory" in str(began["detail"])


class TestRequired:
    @pytest.mark.parametrize("failure", ["dead", "slow", "full"])
    def test_no_verdict_is_given_that_the_store_does_not_take(
        self, tmp_path: Path, trust_dir: Path, failure: str
    ) -> None:
        with ExitStack() as stack:
            memory = ("--maxmemory", "1mb", "--maxmemory-policy", "noeviction") if failure == "full" else ()
            server = stack.enter_context(running_redis_server(appendonly=True, arguments=memory))
            proxy = stack.enter_context(running_tcp_proxy(server.port))
            service = stack.enter_context(
                running_service(
                    nonce_store=sqlite(tmp_path),
                    trust_dir=trust_dir,
                    workers=1,
                    VERIFIER_DECISION_STORE=server.url.replace(f":{server.port}/", f":{proxy.port}/"),
                    VERIFIER_AUDIT_REQUIRED="true",
                )
            )
            if failure != "full":
                assert attest(service).status == 200
            if failure == "dead":
                server.kill()
            if failure == "slow":
                proxy.network = Network.SWALLOWS
            fields = imds_answer(current_document(service.issue_nonce()))
            refused = service.post_json("/v1/attestations", fields)
            assert (refused.status, refused.code) == (503, "store-unavailable")
            # A problem before an appraisal is no verdict.
            assert service.request("GET", "/none-such").status == 404
            if failure == "full":
                return
            if failure == "dead":
                server.restart()
            proxy.network = Network.WORKS
            await_that(lambda: attest(service).status == 200)
            request_id = refused.headers["X-Request-Id"]
            await_that(lambda: request_id in {fields["requestId"] for fields in in_redis(server)})
            [kept] = [fields for fields in in_redis(server) if fields["requestId"] == request_id]
            assert (kept["verdict"], kept["code"]) == ("unavailable", "store-unavailable")

    def test_a_verdict_is_in_the_store_before_its_answer(self, tmp_path: Path, trust_dir: Path) -> None:
        with running_service(
            nonce_store=sqlite(tmp_path), trust_dir=trust_dir, VERIFIER_AUDIT_REQUIRED="true"
        ) as service:
            for _ in range(3):
                answered = attest(service).headers["X-Request-Id"]
                kept = decisions_in(tmp_path / "nonces-decisions.sqlite3", tenant="default")
                assert kept[0]["requestId"] == answered

    def test_a_service_does_not_start_without_its_store(self, tmp_path: Path, trust_dir: Path) -> None:
        file = tmp_path / "a file" / "decisions.sqlite3"
        file.parent.touch()
        with (
            pytest.raises(AssertionError, match="VERIFIER_DECISION_STORE"),
            running_service(
                nonce_store=sqlite(tmp_path),
                trust_dir=trust_dir,
                VERIFIER_DECISION_STORE=f"sqlite://{file}",
                VERIFIER_AUDIT_REQUIRED="true",
            ),
        ):
            pass

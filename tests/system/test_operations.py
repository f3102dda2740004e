"""What an operator is given by a service of several workers: metrics on their own port, decisions in log and trail."""

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import documents, raw_http
from support.documents import imds_answer
from support.kept_decisions import decisions_in
from support.live_documents import current_document
from support.services import Answer, RunningServer, metrics_of, running_service

from verifier.adapters.settings.settings import SettingsError, load_settings

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


def samples_of(answer: Answer) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def test_metrics_have_a_port_of_their_own_and_are_those_of_all_workers(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir, workers=2, VERIFIER_METRICS_PORT="0"
    ) as service:
        metrics = metrics_of(service)
        answers = [imds_answer(current_document(service.issue_nonce())) for _ in range(20)]
        for fields in (*answers, answers[0]):
            service.post_json("/v1/attestations", fields)
        scrapes = [samples_of(metrics.request("GET", "/metrics")) for _ in range(6)]
    name, cloud = "verifier_attestations_total", "AzurePublicCloud"
    for scrape in scrapes:
        assert scrape[name, frozenset({"outcome": "verified", "code": "verified", "cloud": cloud}.items())] == 20
        assert scrape[name, frozenset({"outcome": "refused", "code": "nonce-replayed", "cloud": cloud}.items())] == 1
        # One appraisal in 16 of each worker.
        assert 1 <= scrape["verifier_check_duration_seconds_count", frozenset({("check", "chain")})] <= 3
        stored = frozenset({("store", "nonces"), ("operation", "redeem")})
        assert scrape["verifier_store_duration_seconds_count", stored] == 21
        assert ("verifier_trust_horizon_seconds", frozenset({("cloud", cloud)})) in scrape


def test_neither_port_answers_for_the_other(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir, VERIFIER_METRICS_PORT="0"
    ) as service:
        metrics = metrics_of(service)
        port = metrics.url.rpartition(":")[2]
        assert service.request("GET", "/metrics").status == 404
        for path in ("/openapi.json", "/problems/internal", "/.well-known/jwks.json", "/none"):
            assert metrics.request("GET", path).status == 404
        # Health is on both: a balancer asks one, and a liveness probe the other.
        for path in ("/healthz", "/readyz"):
            assert metrics.request("GET", path).status == service.request("GET", path).status == 200
        assert metrics.request("POST", "/v1/nonces").status == 404
        # Nothing that a caller says makes one listener the other.
        for header in ("Host", "X-Forwarded-Host", "Server-Port", "X-Forwarded-Port", "verifier.metrics_listener"):
            data = raw_http.request(method="GET", path="/metrics", headers=[(header, f"127.0.0.1:{port}")])
            assert raw_http.exchange(service.url, data).status in {400, 404}
        assert metrics.request("GET", "/metrics").status == 200


def test_metrics_are_on_the_services_port_where_nothing_is_set(service: RunningServer) -> None:
    assert service.request("GET", "/metrics").status == 200


def test_every_decision_is_in_the_log_and_in_the_store_once(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir) as service:
        body = json.dumps(imds_answer(current_document(service.issue_nonce()))).encode()
        headers = {"Content-Type": "application/json", "traceparent": TRACE}
        verified = service.request("POST", "/v1/attestations", body, headers=headers)
        assert verified.status == 200
        assert verified.headers["traceresponse"].startswith(f"00-{TRACE_ID}-")
        assert service.request("POST", "/v1/attestations", body, headers=headers).status == 409
    log = [json.loads(line) for line in service.log]
    told = [line for line in log if line["event"] == "decided"]
    kept = decisions_in(tmp_path / "nonces-decisions.sqlite3", tenant="default")[::-1]
    assert [(line["verdict"], line["code"]) for line in kept] == [
        ("verified", "verified"),
        ("refused", "nonce-replayed"),
    ]
    assert [line["vmId"] for line in kept] == [documents.VM.vm_id] * 2
    for in_log, in_store in zip(told, kept, strict=True):
        assert str(in_store["time"]) <= in_log["time"]
        facts = in_store.keys() - {"time", "version"}
        assert {name: in_log[name] for name in facts} == {name: in_store[name] for name in facts}
    traced = [line for line in log if line.get("traceId") == TRACE_ID]
    assert [line["event"] for line in traced] == ["decided", "answered"] * 2
    assert verified.headers["X-Request-Id"] in {line["requestId"] for line in told}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"VERIFIER_AUDIT_REQUIRED": "true", "VERIFIER_DECISION_STORE": "none"},
            "VERIFIER_DECISION_STORE must name a store, not none",
        ),
        ({"VERIFIER_AUDIT": "store"}, "unknown setting VERIFIER_AUDIT"),
        ({"VERIFIER_DECISION_BYTES": "1"}, "decision_bytes"),
        ({"VERIFIER_METRICS_PORT": "8080", "VERIFIER_PORT": "8080"}, "VERIFIER_METRICS_PORT"),
        ({"VERIFIER_METRICS_PORT": "70000"}, "metrics_port"),
    ],
)
def test_does_not_start_with_settings_that_cannot_work(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        load_settings()

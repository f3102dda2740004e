"""The process: how it starts, what it logs, how it stops."""

import base64
import json
import os
import signal
from pathlib import Path

import pytest
from support import documents, raw_http
from support.bad_input import bad_inputs
from support.command_line import call, run
from support.documents import imds_answer
from support.kept_decisions import decisions_in
from support.live_documents import current_document, write_current_trust
from support.processes import await_that, children_of
from support.services import RunningServer, running_service

STOP_SECONDS = 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_finishes_the_request_in_flight_before_it_stops(
    tmp_path: Path, trust_dir: Path, number: signal.Signals
) -> None:
    with running_service(nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir) as service:
        body = json.dumps(imds_answer(current_document(service.issue_nonce()))).encode()
        with raw_http.Connection(service.url) as connection:
            # The server answers this when the application begins to read: from then on the request is in flight.
            head = raw_http.request(body, headers=[("Content-Type", "application/json"), ("Expect", "100-continue")])
            connection.send(head.removesuffix(body))
            assert connection.receive_line() == b"HTTP/1.1 100 Continue\r\n"
            assert connection.receive_line() == b"\r\n"
            connection.send(body[:100])
            service.process.send_signal(number)
            connection.send(body[100:])
            answer = connection.receive()
        assert (answer.status, answer.json["verdict"]) == (200, "verified")
        assert service.process.wait(STOP_SECONDS) == 0


def test_stops_though_a_request_stalls(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
        trust_dir=trust_dir,
        workers=1,
        VERIFIER_GRACEFUL_STOP_SECONDS="1",
    ) as service:
        head = raw_http.request().replace(b"Content-Length: 0", b"Content-Length: 100")
        with raw_http.Connection(service.url) as connection:
            connection.send(head)
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(STOP_SECONDS) == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"VERIFIER_PROT": "8080"}, "unknown setting VERIFIER_PROT"),
        ({"VERIFIER_PORT": "http"}, "port: Input should be a valid integer"),
        ({"VERIFIER_PORT": "65536"}, "port: Input should be less than or equal to 65535"),
        ({"VERIFIER_WORKERS": "0"}, "workers: "),
        ({"VERIFIER_NONCE_FORM": "uuid"}, "nonce_form: "),
        ({"VERIFIER_NONCE_LIFETIME_SECONDS": "-1"}, "nonce_lifetime_seconds: "),
        ({"VERIFIER_MAXIMUM_BODY_BYTES": "1"}, "maximum_body_bytes: "),
        ({"VERIFIER_HOST": "0.0.0.0"}, "VERIFIER_ALLOW_OPEN_LISTENING"),  # noqa: S104 - refused
        ({"VERIFIER_HOST": "::"}, "VERIFIER_ALLOW_OPEN_LISTENING"),
        ({"VERIFIER_HOST": "verifier.example"}, "VERIFIER_ALLOW_OPEN_LISTENING"),
        ({"VERIFIER_POLICIES": "{"}, "policies"),
        ({"VERIFIER_POLICIES": '{"gold": {}}'}, "policies.gold"),
        ({"VERIFIER_POLICIES": '{"gold": {"sku": ["x"]}}'}, "policies.gold.sku"),
        ({"VERIFIER_CONFIG": "/nowhere/verifier.toml"}, "VERIFIER_CONFIG: there is no file /nowhere/verifier.toml"),
        ({"VERIFIER_TRUST_DIR": "/nowhere/trust"}, "/nowhere/trust"),
        ({"VERIFIER_NONCE_STORE": "mysql://user:s3cret@host/db"}, "nonce_store: expected sqlite:///path"),
        ({"VERIFIER_NONCE_STORE": "redis://user:s3cret@host:port/0"}, "nonce_store"),
        ({"VERIFIER_NONCE_STORE": "redis://user:s3cret@host/0?timeout=1"}, "nonce_store"),
        ({"VERIFIER_NONCE_STORE": "redis://:s3cret#x@host/0"}, "nonce_store"),
        ({"VERIFIER_NONCE_STORE": "sqlite://s3cret/relative"}, "nonce_store: expected sqlite:///path"),
    ],
)
def test_does_not_start_with_settings_that_cannot_work(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    """Exit status 2, one line that names the setting, no traceback, and no secret."""
    working = {"VERIFIER_PORT": "0", "VERIFIER_NONCE_STORE": f"sqlite://{tmp_path}/nonces.sqlite3"}
    ended = call("serve", environment={**working, **settings})
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.startswith("imds-verifier: ")
    assert ended.err.count("\n") == 1
    assert "s3cret" not in ended.err


def test_ends_as_a_process_with_2_where_a_setting_is_unknown() -> None:
    ended = run("serve", environment={"VERIFIER_PROT": "8080"})
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("imds-verifier: unknown setting VERIFIER_PROT; expected one of ")


def test_does_not_start_without_the_file_of_its_nonces(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = f"sqlite://{tmp_path}/file/nonces.sqlite3"
    ended = call("serve", environment={"VERIFIER_PORT": "0", "VERIFIER_NONCE_STORE": store})
    assert (ended.status, ended.out) == (3, "")
    assert ended.err.startswith("imds-verifier: The nonce database")
    assert ended.err.count("\n") == 1


def test_does_not_start_on_a_port_that_is_taken(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir, workers=1) as first:
        port = first.url.rpartition(":")[2]
        store = f"sqlite://{tmp_path}/others.sqlite3"
        ended = run("serve", environment={"VERIFIER_PORT": port, "VERIFIER_NONCE_STORE": store})
    assert ended.status != 0
    assert ended.out == ""


def test_logs_neither_nonce_nor_document_nor_signature(tmp_path: Path, trust_dir: Path) -> None:
    """Of a whole session: an acceptance, a replay, refusals of every kind, what is not HTTP, and a store that fails."""
    file = tmp_path / "nonces.sqlite3"
    secrets: set[str] = set()

    def keep(der: bytes) -> bytes:
        """`der` is not to be found in the log, however it is written, nor is a part of it."""
        text = base64.b64encode(der).decode()
        secrets.update({text[:24], text[400:424], text[-24:], der.hex()[:40], der[-32:].hex(), repr(der[-16:])[2:-1]})
        return der

    with running_service(nonce_store=f"sqlite://{file}", trust_dir=trust_dir) as service:
        nonces = [service.issue_nonce() for _ in range(3)]
        fields = imds_answer(keep(current_document(nonces[0])))
        assert service.post_json("/v1/attestations", fields).status == 200
        assert service.post_json("/v1/attestations", fields).status == 409
        other = imds_answer(keep(current_document(nonces[1])))
        assert service.post_json("/v1/attestations", {**other, "nonce": nonces[2]}).status == 422
        assert service.request("POST", f"/v1/attestations?nonce={nonces[1]}").status == 400
        assert service.request("GET", f"/v1/{nonces[1]}").status == 404
        for kind in bad_inputs():
            service.request("POST", "/v1/attestations", kind.body, headers={"Content-Type": kind.media_type})
        for data in (
            f"GET /{nonces[1]} HTTP/9.9\r\n\r\n".encode(),
            f"POST /{fields['signature']} HTTP/1.1\r\n\r\n".encode(),
            f"GET / HTTP/1.1\r\nNonce {nonces[1]}\r\n\r\n".encode(),
            f"{nonces[1]} / HTTP/1.1\r\n\r\n".encode(),
            raw_http.chunked_head() + f"{nonces[1]}zz\r\n\r\n".encode(),
        ):
            assert raw_http.exchange(service.url, data).status in {400, 404}
        file.rename(tmp_path / "aside")
        assert service.post_json("/v1/attestations", other).status == 503
    log = "".join(service.log)
    decisions = tmp_path / "nonces-decisions.sqlite3"
    kept = json.dumps([*decisions_in(decisions, tenant="default"), *decisions_in(decisions, tenant="")])
    assert kept.count("requestId") > len(list(bad_inputs()))
    for secret in {*nonces, *secrets}:
        assert secret not in log
        assert secret not in kept
    lines = [json.loads(line) for line in service.log]
    # Claims are told of authentic documents only.
    told = [line for line in lines if documents.VM.vm_id in str(line) or documents.VM.subscription_id in str(line)]
    assert {(line["event"], line["vmId"]) for line in told} == {("decided", documents.VM.vm_id)}
    assert {line["code"] for line in told} == {"verified", "nonce-replayed", "nonce-mismatch", "store-unavailable"}
    assert {line["code"] for line in lines if line["event"] == "answered"} >= {
        "",
        "nonce-replayed",
        "store-unavailable",
    }
    (failure,) = [line for line in lines if line["event"] == "failed"]
    assert failure["detail"].startswith("The nonce database")


def test_every_line_of_the_log_is_json_and_every_answer_is_one(tmp_path: Path, trust_dir: Path) -> None:
    asked = [f"request-{number}" for number in range(20)]
    with running_service(nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir) as service:
        for name in asked:
            service.request("GET", "/healthz", headers={"X-Request-Id": name})
    lines = [json.loads(line) for line in service.log]
    answered = [line for line in lines if line["event"] == "answered"]
    assert [line["clientRequestId"] for line in answered] == asked
    assert len({line["requestId"] for line in answered} - set(asked)) == len(asked)
    for line in answered:
        assert (line["route"], line["status"], line["code"]) == ("GET /healthz", 200, "")
        assert line["milliseconds"] >= 0
        assert line["level"] == "info"
        assert line["time"].endswith("Z")


@pytest.mark.parametrize("asked", ["a" * 65, "a b", "ä", "a\tb", "<script>", "", "a,b"])
def test_a_request_id_of_bad_form_changes_nothing(service: RunningServer, asked: str) -> None:
    data = raw_http.request(method="GET", path="/healthz", headers=[("X-Request-Id", asked)])
    given = raw_http.exchange(service.url, data).headers["X-Request-Id"]
    assert len(given) == 32
    assert given != asked


def test_answers_with_a_request_id_of_its_own(service: RunningServer) -> None:
    answers = [service.request("GET", "/none", headers={"X-Request-Id": "mine-1.2_3"}) for _ in range(2)]
    ids = {answer.headers["X-Request-Id"] for answer in answers}
    assert ids == {answer.json["requestId"] for answer in answers}
    assert len(ids - {"mine-1.2_3"}) == 2


def test_a_worker_that_starts_while_the_trust_directory_is_broken_serves_on(tmp_path: Path) -> None:
    """The directory was good when the service started: breaking it later is refused, and ends nothing."""
    trust_dir = write_current_trust(tmp_path / "trust")
    store = f"sqlite://{tmp_path}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=1) as service:
        before = service.issue_nonce()
        (trust_dir / "manifest.toml").write_text("broken", "utf-8")
        [worker] = children_of(service.process.pid)
        os.kill(worker, signal.SIGKILL)
        await_that(lambda: bool(set(children_of(service.process.pid)) - {worker}))
        answer = service.post_json("/v1/attestations", imds_answer(current_document(before)))
        assert answer.status == 200, answer.body

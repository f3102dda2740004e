"""Spans of a running service, at a collector."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.local_servers import serving_in_thread
from support.services import running_service

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"


class _Collector(BaseHTTPRequestHandler):
    """Takes what is posted, and keeps it with its path."""

    kept: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.kept.append((self.path, self.rfile.read(length)))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature is the library's
        """Nothing: the test reads what came."""


@contextmanager
def running_collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    kept: list[tuple[str, bytes]] = []
    handler = type("Collector", (_Collector,), {"kept": kept})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, serving_in_thread(server):
        yield f"http://127.0.0.1:{server.server_port}", kept


def spans_in(kept: list[tuple[str, bytes]]) -> list[Span]:
    requests = [ExportTraceServiceRequest.FromString(body) for _, body in kept]
    return [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_a_request_of_a_trace_is_a_span_at_the_collector_with_the_id_that_its_answer_tells(
    tmp_path: Path, trust_dir: Path
) -> None:
    with (
        running_collector() as (url, kept),
        running_service(
            nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir, VERIFIER_OTLP_ENDPOINT=url
        ) as service,
    ):
        answer = service.request("POST", "/v1/nonces", headers={"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"})
        assert answer.status == 201
    # The service has stopped, and then the collector: what waited was exported at the workers' exit.
    assert {path for path, _ in kept} == {"/v1/traces"}
    [span] = spans_in(kept)
    assert span.name == "POST /v1/nonces"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert answer.headers["traceresponse"] == f"00-{TRACE_ID}-{span.span_id.hex()}-01"
    assert span.start_time_unix_nano < span.end_time_unix_nano
    nonce = str(answer.json["nonce"]).encode()
    assert [body for _, body in kept if nonce in body] == []


def test_does_not_start_without_the_extra_that_an_endpoint_needs(tmp_path: Path, trust_dir: Path) -> None:
    code = "import sys; sys.modules['opentelemetry.sdk'] = None; from verifier.wiring import main; sys.exit(main())"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, "serve"],
        env={
            **inherited,
            "VERIFIER_NONCE_STORE": f"sqlite://{tmp_path}/nonces.sqlite3",
            "VERIFIER_TRUST_DIR": str(trust_dir),
            "VERIFIER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 2
    assert "imds-verifier[otel]" in ran.stderr

"""Check the spans of responses: their trace, their attributes, and the optional dependency."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from support.clocks import ManualClock

from verifier.adapters.settings.settings import SettingsError, load_settings
from verifier.adapters.telemetry.spans import SpanRecorder
from verifier.core.tracing import TraceContext
from verifier.ports.telemetry import CURRENT_TRACE, RequestFailed, ResponseSent
from verifier.startup import load_spans

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
SPAN_ID = "0283e9d28d868f6f"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW_NANOSECONDS = 1_795_435_200 * 10**9


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def recorder(exporter: InMemorySpanExporter) -> Iterator[SpanRecorder]:
    recorder = SpanRecorder(SimpleSpanProcessor(exporter), clock=ManualClock(NOW), version="1.2.3")
    yield recorder
    recorder.close()


@pytest.fixture(autouse=True)
def _no_trace() -> Iterator[None]:
    token = CURRENT_TRACE.set(None)
    yield
    CURRENT_TRACE.reset(token)


def response(*, route: str = "POST /v1/attestations", status: int = 200, code: str = "") -> ResponseSent:
    return ResponseSent(request_id="asked-for", route=route, status=status, code=code, seconds=0.25)


def join_trace(*, flags: str = "01") -> None:
    CURRENT_TRACE.set(TraceContext(trace_id=TRACE_ID, parent_id=PARENT_ID, span_id=SPAN_ID, flags=flags))


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    [span] = exporter.get_finished_spans()
    return span


def test_response_becomes_one_server_span(recorder: SpanRecorder, exporter: InMemorySpanExporter) -> None:
    recorder.record(response())
    span = only(exporter)
    assert (span.name, span.kind) == ("POST /v1/attestations", SpanKind.SERVER)
    assert (span.start_time, span.end_time) == (NOW_NANOSECONDS - 250_000_000, NOW_NANOSECONDS)
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/v1/attestations",
        "http.response.status_code": 200,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.resource.attributes["service.name"] == "imds-verifier"
    assert span.resource.attributes["service.version"] == "1.2.3"


def test_span_joins_the_callers_trace_under_the_logged_span_id(
    recorder: SpanRecorder, exporter: InMemorySpanExporter
) -> None:
    join_trace()
    recorder.record(response())
    span = only(exporter)
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert f"{span.context.span_id:016x}" == SPAN_ID
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT_ID
    assert span.parent.is_remote


def test_response_without_a_trace_starts_a_new_one(recorder: SpanRecorder, exporter: InMemorySpanExporter) -> None:
    recorder.record(response())
    recorder.record(response())
    contexts = [span.context for span in exporter.get_finished_spans()]
    assert [span.parent for span in exporter.get_finished_spans()] == [None, None]
    assert len({context.trace_id for context in contexts if context is not None}) == 2
    assert len({context.span_id for context in contexts if context is not None}) == 2


def test_unsampled_trace_gets_no_span(recorder: SpanRecorder, exporter: InMemorySpanExporter) -> None:
    join_trace(flags="00")
    recorder.record(response())
    assert exporter.get_finished_spans() == ()


def test_server_error_is_an_error_span_with_its_code(recorder: SpanRecorder, exporter: InMemorySpanExporter) -> None:
    recorder.record(response(status=503, code="store-unavailable"))
    span = only(exporter)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["verifier.code"] == span.attributes["error.type"] == "store-unavailable"


def test_refusal_is_no_error_span_and_has_its_code(recorder: SpanRecorder, exporter: InMemorySpanExporter) -> None:
    recorder.record(response(status=409, code="nonce-replayed"))
    span = only(exporter)
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes is not None
    assert span.attributes["verifier.code"] == "nonce-replayed"
    assert "error.type" not in span.attributes


def test_span_of_an_unknown_route_has_no_path(recorder: SpanRecorder, exporter: InMemorySpanExporter) -> None:
    recorder.record(response(route="", status=404, code="not-found"))
    span = only(exporter)
    assert span.name == "HTTP"
    assert span.attributes is not None
    assert span.attributes["http.request.method"] == "_OTHER"
    assert "http.route" not in span.attributes


def test_span_has_no_text_that_a_caller_chose(recorder: SpanRecorder, exporter: InMemorySpanExporter) -> None:
    recorder.record(response())
    recorder.record(RequestFailed(request_id="asked-for", error=ValueError("the document was MIIB")))
    span = only(exporter).to_json()
    assert "asked-for" not in span
    assert "MIIB" not in span


def test_no_endpoint_opens_no_recorder() -> None:
    assert load_spans(None)(ManualClock(NOW), "1.2.3") == ()


def test_no_endpoint_imports_no_opentelemetry() -> None:
    """Use a separate process, because this one has imported OpenTelemetry."""
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; import verifier.wiring.service as w; "
        "w.load_spans(None); assert 'verifier.adapters.telemetry.spans' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)


def test_missing_extra_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "verifier.adapters.telemetry.spans")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"otlp_endpoint: .*imds-verifier\[otel\]"):
        load_spans("http://127.0.0.1:4318")


@pytest.mark.parametrize("endpoint", ["http://collector:4318", "https://[::1]:4318/v1", "http://[::1]"])
def test_endpoint_is_a_base_url(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("VERIFIER_OTLP_ENDPOINT", endpoint)
    assert load_settings().otlp_endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "127.0.0.1:4318",
        "http://user:secret@collector",
        "ftp://collector",
        "http://",
        "http://::1:4318",
        "http://fe80::1/v1",
        "http://collector:secret",
        "http://collector\n",
    ],
)
def test_endpoint_must_be_a_base_url_without_a_password(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("VERIFIER_OTLP_ENDPOINT", endpoint)
    with pytest.raises(SettingsError, match="otlp_endpoint") as refused:
        load_settings()
    assert "secret" not in str(refused.value)

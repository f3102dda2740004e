"""Export responses as OpenTelemetry spans by OTLP over HTTP.

This module needs the optional extra `imds-verifier[otel]`. It is imported only if an endpoint is set.
"""

from datetime import timedelta
from typing import Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace import set_span_in_context as set_parent

from verifier.adapters.records.nonces import microseconds
from verifier.core.tracing import TraceContext
from verifier.ports.clock import Clock
from verifier.ports.telemetry import CURRENT_TRACE, Event, ResponseSent

#: The path for spans, below the base URL (OTLP 1.x, "OTLP/HTTP Request").
_PATH = "/v1/traces"
#: The time limit for one batch, including retries. An unavailable collector delays the exit of a worker by this much.
_EXPORT_SECONDS = 2
_FIRST_SERVER_ERROR = 500


class SpanRecorder:
    """Create one server span for each response. Implements the Recorder port.

    A span has the request's method, route, status and problem code. It has no path, no request id and no part of a
    document, because callers choose those. If the caller sent a trace context, the span joins that trace, under the
    span id that the log and the `traceresponse` header show. If the caller does not sample the trace, there is no span.

    The processor starts a thread and exports its waiting spans when the process exits. Create the recorder after the
    fork.
    """

    def __init__(self, processor: SpanProcessor, *, clock: Clock, version: str) -> None:
        self._clock = clock
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "imds-verifier", "service.version": version}),
            sampler=ParentBased(ALWAYS_ON),
            id_generator=_CallerTraceIds(),
            shutdown_on_exit=True,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("verifier", version)

    @classmethod
    def exporting(cls, endpoint: str, *, clock: Clock, version: str) -> Self:
        """Send spans in batches to the collector at the base URL `endpoint`.

        The exporter drops spans that the collector does not accept, and logs that.
        Not checked: that the collector is reachable.
        """
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH, timeout=_EXPORT_SECONDS)
        return cls(BatchSpanProcessor(exporter), clock=clock, version=version)

    def close(self) -> None:
        """Export the waiting spans and stop."""
        self._provider.shutdown()

    def record(self, event: Event) -> None:
        # Only a response becomes a span: the message of an exception may quote a document.
        if isinstance(event, ResponseSent):
            self._export(event)

    def _export(self, response: ResponseSent) -> None:
        ended = self._clock.now()
        # OpenTelemetry's semantic conventions for HTTP spans define these names for a request without a route.
        method, _, route = response.route.partition(" ") if response.route else ("_OTHER", "", "")
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "http.response.status_code": response.status,
        }
        if route:
            attributes["http.route"] = route
        if response.code:
            attributes["verifier.code"] = response.code
        span = self._tracer.start_span(
            response.route or "HTTP",
            context=_parent_in(CURRENT_TRACE.get()),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=microseconds(ended - timedelta(seconds=response.seconds)) * 1000,
        )
        # The semantic conventions count only 5xx as errors of a server's span. A refusal is a valid answer.
        if response.status >= _FIRST_SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("error.type", response.code or str(response.status))
        span.end(microseconds(ended) * 1000)


class _CallerTraceIds(RandomIdGenerator):
    """Use the span id that the log and `traceresponse` show, if the request belongs to a caller's trace."""

    def generate_span_id(self) -> int:
        trace = CURRENT_TRACE.get()
        return super().generate_span_id() if trace is None else int(trace.span_id, 16)


def _parent_in(trace: TraceContext | None) -> Context:
    """Return the caller's span as the parent. Without one, return an empty context, which starts a new trace."""
    if trace is None:
        return Context()
    caller = SpanContext(
        trace_id=int(trace.trace_id, 16),
        span_id=int(trace.parent_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(trace.flags, 16)),
    )
    return set_parent(NonRecordingSpan(caller), Context())

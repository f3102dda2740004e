"""Answered requests as OpenTelemetry spans, exported by OTLP over HTTP: the optional extra `imds-verifier[otel]`.

Imported only where an endpoint is set: without one nothing of OpenTelemetry is needed.
"""

from datetime import UTC, datetime, timedelta
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

from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.tracing import TraceContext
from verifier.ports.clock import Clock
from verifier.ports.stores import Unavailable
from verifier.ports.telemetry import CURRENT_TRACE, AppraisalRecord, Exchange, ReloadOutcome
from verifier.ports.trust import TrustAuditEvent

#: OTLP 1.x, "OTLP/HTTP Request": what is appended to a base URL for spans.
_PATH = "/v1/traces"
#: How long one batch may take, repetitions included: a collector that is away delays the end of a worker by no more.
_EXPORT_SECONDS = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SERVER_ERROR = 500


class SpanRecorder:
    """Tells a span processor: one server span for each answer, and nothing else. Implements the Recorder port.

    A span has the request's method, route, status and problem code, never what a caller made up: no path, no request
    id, nothing of a document. Where the caller named a trace, the span is the part of it that the log and
    `traceresponse` tell, and is left out where the caller's part is not sampled. At the exit of the process, what
    waits is exported. To be made after the fork: the processor has a thread.
    """

    def __init__(self, processor: SpanProcessor, *, clock: Clock, version: str) -> None:
        self._clock = clock
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "imds-verifier", "service.version": version}),
            sampler=ParentBased(ALWAYS_ON),
            id_generator=_ToldIds(),
            shutdown_on_exit=True,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("verifier", version)

    @classmethod
    def exporting(cls, endpoint: str, *, clock: Clock, version: str) -> Self:
        """Spans go in batches to the collector at `endpoint`, a base URL. Not checked: that it is there. What it does
        not take is given up, and the log says so."""
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH, timeout=_EXPORT_SECONDS)
        return cls(BatchSpanProcessor(exporter), clock=clock, version=version)

    def close(self) -> None:
        """What waits is exported, and no more is taken."""
        self._provider.shutdown()

    def answered(self, exchange: Exchange) -> None:
        ended = self._clock.now()
        # Semantic conventions for HTTP spans: these names where no route was found.
        method, _, route = exchange.route.partition(" ") if exchange.route else ("_OTHER", "", "")
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "http.response.status_code": exchange.status,
        }
        if route:
            attributes["http.route"] = route
        if exchange.code:
            attributes["verifier.code"] = exchange.code
        span = self._tracer.start_span(
            exchange.route or "HTTP",
            context=_parent_in(CURRENT_TRACE.get()),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=_nanoseconds(ended - timedelta(seconds=exchange.seconds)),
        )
        # A refusal is an answer: of a server's span, only 5xx are errors.
        if exchange.status >= _FIRST_SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("error.type", exchange.code or str(exchange.status))
        span.end(_nanoseconds(ended))

    def failed(self, request_id: str, error: Exception) -> None:
        """Nothing: an exception's message is not trusted with a span."""

    def decided(self, decision: AppraisalRecord) -> None:
        """Nothing: the log and the audit trail keep decisions."""

    def trail_failed(self, decision: AppraisalRecord, error: Unavailable) -> None:
        """Nothing."""

    def issuer_sighted(self, sighting: IssuerObservation, *, authorities: int) -> None:
        """Nothing."""

    def nonconforming_genuine(self, document: NonconformingDocument) -> None:
        """Record no span: the log and a metric tell it."""

    def trust_changed(self, event: TrustAuditEvent) -> None:
        """Nothing."""

    def trust_reloaded(self, outcome: ReloadOutcome, *, generation: str, detail: str) -> None:
        """Nothing."""

    def token_keys_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        """Nothing."""

    def settings_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        """Nothing."""


class _ToldIds(RandomIdGenerator):
    """The id that the log and `traceresponse` tell, for the one span of a request that is part of a trace."""

    def generate_span_id(self) -> int:
        trace = CURRENT_TRACE.get()
        return super().generate_span_id() if trace is None else int(trace.span_id, 16)


def _parent_in(trace: TraceContext | None) -> Context:
    """With the caller's part as the parent, where there is one; else empty, for a trace of its own."""
    if trace is None:
        return Context()
    caller = SpanContext(
        trace_id=int(trace.trace_id, 16),
        span_id=int(trace.parent_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(trace.flags, 16)),
    )
    return set_parent(NonRecordingSpan(caller), Context())


def _nanoseconds(at: datetime) -> int:
    """Since the epoch, exact to the microsecond."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000

"""Write the log to standard error, one JSON object on each line. It never holds a document, a nonce or a secret."""

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, assert_never

import structlog

from verifier.adapters.records.appraisals import appraisal_fields
from verifier.core.encoding.json_text import encode_json
from verifier.core.result_claims import TENANT_KEY
from verifier.ports import telemetry as events
from verifier.ports.decisions import Verdict
from verifier.ports.stores import Unavailable


def configure_logging() -> None:
    """Format every log line of the process, including gunicorn's, as one JSON object on standard error."""
    shared: list[structlog.typing.Processor] = [
        _add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    rendering: list[structlog.typing.Processor] = [
        structlog.processors.ExceptionRenderer(_trace),
        structlog.processors.JSONRenderer(_encode),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *rendering,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # python-tuf tells each key that has not signed, also if the others reach the threshold.
    logging.getLogger("tuf").setLevel(logging.WARNING)
    # Otherwise the warnings of libraries are lines of plain text.
    logging.captureWarnings(capture=True)
    # Lines of this package go to the stream without the standard library's logging: each request has two.
    structlog.configure(
        processors=[*shared, *rendering],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def _encode(line: object, default: Callable[[Any], object]) -> str:
    """Encode a line. Libraries log values of any type."""
    try:
        return encode_json(line).decode("ascii")
    except TypeError:
        return json.dumps(line, default=default)


def _add_trace(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the caller's trace to each line of a request, including the lines of libraries."""
    trace = events.CURRENT_TRACE.get()
    if trace is not None:
        event.update(traceId=trace.trace_id, spanId=trace.span_id, parentSpanId=trace.parent_id)
    return event


def _trace(exc_info: structlog.typing.ExcInfo) -> list[dict[str, object]]:
    """Return the types and frames of an exception. Its message and variables may hold a document and are omitted."""
    stacks = structlog.tracebacks.extract(*exc_info, show_locals=False).stacks
    return [
        {
            "type": stack.exc_type,
            "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in stack.frames],
        }
        for stack in stacks
    ]


class LogRecorder:
    """Write events to the log. Implements the Recorder port."""

    def __init__(self) -> None:
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("verifier")

    def record(self, event: events.Event) -> None:  # noqa: C901, PLR0912 - one case for each event
        match event:
            case events.ResponseSent():
                self._log.info(
                    "answered",
                    requestId=event.request_id,
                    clientRequestId=event.client_request_id,
                    route=event.route,
                    status=event.status,
                    code=event.code,
                    milliseconds=round(event.seconds * 1000, 3),
                )
            case events.RequestFailed():
                self._log_failure(event.error, request_id=event.request_id)
            case events.RefreshFailed():
                self._log_failure(event.error, request_id="")
            case events.DocumentAppraised(record=record):
                level = logging.ERROR if record.verdict is Verdict.UNAVAILABLE else logging.INFO
                self._log.log(level, "decided", **appraisal_fields(record))
            case events.DecisionOutageChanged():
                self._log_decision_outage(event)
            case events.IssuerObserved(observation=observation):
                self._log.warning(
                    "unknown issuer",
                    cloud=observation.cloud.value,
                    issuer=observation.issuer,
                    authorityKeyIdentifier=observation.authority_key_identifier,
                    issuerUrls=list(observation.issuer_urls),
                    signerSha256=observation.signer_sha256,
                    authoritiesFound=event.authorities,
                )
            case events.NonconformingGenuine(document=document):
                self._log.warning(
                    "nonconforming-genuine",
                    issuer=document.issuer,
                    pinSha256=document.pin_sha256,
                    clouds=sorted(document.clouds),
                    signerSha256=document.signer_sha256,
                    documentSha256=document.document_sha256,
                    detail=document.detail,
                )
            case events.TrustChanged(change=change):
                self._log.warning(
                    "trust changed",
                    by=change.by,
                    what=change.what,
                    subject=change.subject,
                    before=change.before,
                    after=change.after,
                )
            case events.TrustReloaded():
                self._log_reload("trust reloaded", event.outcome, generation=event.generation, detail=event.detail)
            case events.FeedChecked():
                if event.is_news:
                    level = logging.INFO if event.outcome is events.FeedOutcome.VERIFIED else logging.ERROR
                    self._log.log(level, "trust feed", outcome=event.outcome.value, detail=event.detail)
            case events.TrustOddityFound():
                self._log.warning("trust oddity", detail=event.detail)
            case events.TokenKeysReloaded():
                self._log_reload("token keys reloaded", event.outcome, detail=event.detail)
            case events.TokenAudienceShared():
                self._log.warning(
                    "shared token audience",
                    audience=event.audience,
                    tenants=list(event.tenants),
                    detail=f"Backends must compare the claim {TENANT_KEY} with their own tenant; "
                    "or unset VERIFIER_TOKEN_AUDIENCE.",
                )
            case events.ForwardingMismatched():
                self._log.warning("forwarding mismatch", detail=event.detail)
            case events.SettingsReloaded():
                self._log_reload("settings reloaded", event.outcome, detail=event.detail)
            case (
                events.StoreCallMeasured()
                | events.StoreCircuitsChanged()
                | events.RequestRefused()
                | events.DecisionsKept()
                | events.DecisionsLost()
            ):
                pass  # metrics count them; a line for each would flood the log
            case _:
                assert_never(event)

    def _log_failure(self, error: Exception, *, request_id: str) -> None:
        # Our own exceptions carry a sentence without secrets. The message of any other exception may quote a document.
        detail = error.detail if isinstance(error, Unavailable) else ""
        self._log.error("failed", requestId=request_id, detail=detail, exc_info=error)

    def _log_decision_outage(self, event: events.DecisionOutageChanged) -> None:
        if event.error is None:
            level = logging.ERROR if event.lost else logging.INFO
            self._log.log(level, "decisions kept again", lost=event.lost)
            return
        detail = event.error.detail if isinstance(event.error, Unavailable) else ""
        self._log.error("decisions not kept", detail=detail, lost=event.lost, exc_info=event.error)

    def _log_reload(self, name: str, outcome: events.ReloadOutcome, **fields: str) -> None:
        level = logging.INFO if outcome is events.ReloadOutcome.LOADED else logging.ERROR
        self._log.log(level, name, outcome=outcome.value, **fields)

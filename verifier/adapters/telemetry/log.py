"""The log: JSON, one line an answer and one a decision, on standard error. No document, no nonce, no secret is ever
given to it."""

import logging
import sys
from collections.abc import Sequence

import structlog

from verifier.adapters.records.appraisals import appraisal_fields
from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.result_claims import TENANT_KEY
from verifier.ports.stores import Unavailable
from verifier.ports.telemetry import CURRENT_TRACE, AppraisalRecord, Exchange, ReloadOutcome, Verdict
from verifier.ports.trust import TrustAuditEvent


def configure_logging() -> None:
    """From now on every log line of the process, gunicorn's too, is one JSON object on standard error."""
    shared: list[structlog.typing.Processor] = [
        _add_trace,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_trace),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # What the libraries warn of would be lines of plain text among the others.
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _add_trace(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The trace that the request is part of, on each of its lines, whoever writes them."""
    trace = CURRENT_TRACE.get()
    if trace is not None:
        event.update(traceId=trace.trace_id, spanId=trace.span_id, parentSpanId=trace.parent_id)
    return event


def _trace(exc_info: structlog.typing.ExcInfo) -> list[dict[str, object]]:
    """Where an exception came from, without its message or any variable: those may hold a document."""
    stacks = structlog.tracebacks.extract(*exc_info, show_locals=False).stacks
    return [
        {
            "type": stack.exc_type,
            "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in stack.frames],
        }
        for stack in stacks
    ]


def warn_of_shared_audience(audience: str, tenants: Sequence[str]) -> None:
    """Log that tokens of several tenants have one `aud`: a backend that checks no more accepts all of them."""
    structlog.get_logger("verifier").warning(
        "shared token audience",
        audience=audience,
        tenants=list(tenants),
        detail=f"Backends must compare the claim {TENANT_KEY} with their own tenant; or unset VERIFIER_TOKEN_AUDIENCE.",
    )


class LogRecorder:
    """Tells the log. Implements the Recorder port."""

    def __init__(self) -> None:
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger("verifier")

    def answered(self, exchange: Exchange) -> None:
        self._log.info(
            "answered",
            requestId=exchange.request_id,
            clientRequestId=exchange.client_request_id,
            route=exchange.route,
            status=exchange.status,
            code=exchange.code,
            milliseconds=round(exchange.seconds * 1000, 3),
        )

    def failed(self, request_id: str, error: Exception) -> None:
        # What is away says so in a sentence of our own; any other exception's message is not trusted with the log.
        detail = error.detail if isinstance(error, Unavailable) else ""
        self._log.error("failed", requestId=request_id, detail=detail, exc_info=error)

    def decided(self, decision: AppraisalRecord) -> None:
        level = logging.ERROR if decision.verdict is Verdict.UNAVAILABLE else logging.INFO
        self._log.log(level, "decided", **appraisal_fields(decision))

    def trail_failed(self, decision: AppraisalRecord, error: Unavailable) -> None:
        self._log.error("decision not kept", requestId=decision.request_id, code=decision.code, detail=error.detail)

    def issuer_sighted(self, sighting: IssuerObservation, *, authorities: int) -> None:
        self._log.warning(
            "unknown issuer",
            cloud=sighting.cloud.value,
            issuer=sighting.issuer,
            authorityKeyIdentifier=sighting.authority_key_identifier,
            issuerUrls=list(sighting.issuer_urls),
            signerSha256=sighting.signer_sha256,
            authoritiesFound=authorities,
        )

    def nonconforming_genuine(self, document: NonconformingDocument) -> None:
        self._log.warning(
            "nonconforming-genuine",
            issuer=document.issuer,
            pinSha256=document.pin_sha256,
            clouds=sorted(document.clouds),
            signerSha256=document.signer_sha256,
            documentSha256=document.document_sha256,
            detail=document.detail,
        )

    def trust_changed(self, event: TrustAuditEvent) -> None:
        self._log.warning(
            "trust changed",
            by=event.by,
            what=event.what,
            subject=event.subject,
            before=event.before,
            after=event.after,
        )

    def trust_reloaded(self, outcome: ReloadOutcome, *, generation: str, detail: str) -> None:
        self._log.log(
            logging.INFO if outcome is ReloadOutcome.LOADED else logging.ERROR,
            "trust reloaded",
            outcome=outcome.value,
            generation=generation,
            detail=detail,
        )

    def trust_is_odd(self, oddities: Sequence[str]) -> None:
        """Log the formal oddities of the trusted certificates at the start of the service."""
        for oddity in oddities:
            self._log.warning("trust oddity", detail=oddity)

    def token_keys_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        self._log.log(
            logging.INFO if outcome is ReloadOutcome.LOADED else logging.ERROR,
            "token keys reloaded",
            outcome=outcome.value,
            detail=detail,
        )

    def settings_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        self._log.log(
            logging.INFO if outcome is ReloadOutcome.LOADED else logging.ERROR,
            "settings reloaded",
            outcome=outcome.value,
            detail=detail,
        )

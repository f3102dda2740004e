"""Write the log to standard error, one JSON object on each line. It never holds a document, a nonce or a secret."""

import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import assert_never

from verifier.core.encoding.json_text import encode_json
from verifier.core.encoding.moments import milliseconds, moment_json
from verifier.core.result_claims import TENANT_KEY
from verifier.ports import telemetry as events
from verifier.ports.decisions import Verdict
from verifier.ports.stores import Unavailable


def configure_logging(lowest: str = "info") -> None:
    """Format what libraries log, including gunicorn, as one JSON object a line on standard error.

    `lowest` is the lowest level of these lines.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(lowest.upper())
    handler.setFormatter(_Lines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # python-tuf tells each key that has not signed, also if the others reach the threshold.
    logging.getLogger("tuf").setLevel(logging.WARNING)
    # Otherwise the warnings of libraries are lines of plain text.
    logging.captureWarnings(capture=True)


class _Lines(logging.Formatter):
    """Format what libraries log with the standard library."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return _line(record.levelname.lower(), record.getMessage(), error=error)


def _line(level: str, event: str, members: str = "", *, error: BaseException | None = None) -> str:
    """Return one JSON object: the members of the event, and then those of every line."""
    own: dict[str, object] = {"event": event}
    trace = events.CURRENT_TRACE.get()
    if trace is not None:
        own.update(traceId=trace.trace_id, spanId=trace.span_id, parentSpanId=trace.parent_id)
    own.update(level=level, time=moment_json(datetime.now(UTC)))
    if error is not None:
        own["exception"] = _stacks(error)
    line = encode_json(own).decode("ascii")
    return f"{{{members},{line[1:]}" if members else line


def _stacks(raised: BaseException) -> list[dict[str, object]]:
    """Return the types and frames of an exception and of its causes.

    The messages and variables may hold a document and are omitted.
    """
    stacks: list[dict[str, object]] = []
    error: BaseException | None = raised
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = traceback.walk_tb(error.__traceback__)
        stacks.append(
            {
                "type": type(error).__name__,
                "frames": [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}" for frame, line in frames],
            }
        )
        causes = (error.__cause__, None if error.__suppress_context__ else error.__context__)
        error = next((cause for cause in causes if cause is not None and cause.__traceback__ is not None), None)
    return stacks


def _write(level: str, event: str, members: str, *, error: BaseException | None = None) -> None:
    """Write a line without the standard library's logging: each request has two, and each is one write."""
    sys.stderr.write(_line(level, event, members, error=error) + "\n")


def _members(fields: Mapping[str, object]) -> str:
    return encode_json(fields)[1:-1].decode("ascii")


def _log_failure(error: Exception, *, request_id: str) -> None:
    # Our own exceptions carry a sentence without secrets. The message of any other exception may quote a document.
    detail = error.detail if isinstance(error, Unavailable) else ""
    _write("error", "failed", _members({"requestId": request_id, "detail": detail}), error=error)


class LogRecorder:
    """Write events to the log. Implements the Recorder port.

    If `lowest` is `warning`, lines with the level `info` are omitted. Lines of decisions are always written: they are
    an audit trail.
    """

    def __init__(self, lowest: str = "info") -> None:
        self._writes_info = lowest == "info"

    def record(self, event: events.Event) -> None:  # noqa: C901, PLR0912 - one case for each event
        # The most frequent events come first: each case costs time.
        match event:
            case (
                events.StoreCallMeasured()
                | events.StoreCircuitsChanged()
                | events.RequestRefused()
                | events.DecisionsKept()
                | events.DecisionsLost()
            ):
                pass  # metrics count them; a line for each would flood the log
            case events.ResponseSent():
                self._log(
                    "info",
                    "answered",
                    requestId=event.request_id,
                    clientRequestId=event.client_request_id,
                    route=event.route,
                    status=event.status,
                    code=event.code,
                    milliseconds=milliseconds(event.seconds),
                )
            case events.RequestFailed():
                _log_failure(event.error, request_id=event.request_id)
            case events.RefreshFailed():
                _log_failure(event.error, request_id="")
            case events.DocumentAppraised(record=record):
                level = "error" if record.verdict is Verdict.UNAVAILABLE else "info"
                _write(level, "decided", record.members)
            case events.DecisionOutageChanged():
                self._log_decision_outage(event)
            case events.IssuerObserved(observation=observation):
                self._log(
                    "warning",
                    "unknown issuer",
                    cloud=observation.cloud.value,
                    issuer=observation.issuer,
                    authorityKeyIdentifier=observation.authority_key_identifier,
                    issuerUrls=list(observation.issuer_urls),
                    signerSha256=observation.signer_sha256,
                    authoritiesFound=event.authorities,
                )
            case events.NonconformingGenuine(document=document):
                self._log(
                    "warning",
                    "nonconforming-genuine",
                    issuer=document.issuer,
                    pinSha256=document.pin_sha256,
                    clouds=sorted(document.clouds),
                    signerSha256=document.signer_sha256,
                    documentSha256=document.document_sha256,
                    detail=document.detail,
                )
            case events.TrustChanged(change=change):
                self._log(
                    "warning",
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
                    level = "info" if event.outcome is events.FeedOutcome.VERIFIED else "error"
                    self._log(level, "trust feed", outcome=event.outcome.value, detail=event.detail)
            case events.TrustOddityFound():
                self._log("warning", "trust oddity", detail=event.detail)
            case events.TokenKeysReloaded():
                self._log_reload("token keys reloaded", event.outcome, detail=event.detail)
            case events.SigningKeyChanged(detail=""):
                self._log("info", "signing key available")
            case events.SigningKeyChanged():
                self._log("error", "signing key unavailable", detail=event.detail)
            case events.TokenAudienceShared():
                self._log(
                    "warning",
                    "shared token audience",
                    audience=event.audience,
                    tenants=list(event.tenants),
                    detail=f"Backends must compare the claim {TENANT_KEY} with their own tenant; "
                    "or unset VERIFIER_TOKEN_AUDIENCE.",
                )
            case events.ForwardingMismatched():
                self._log("warning", "forwarding mismatch", detail=event.detail)
            case events.SettingsReloaded():
                self._log_reload("settings reloaded", event.outcome, detail=event.detail)
            case _:
                assert_never(event)

    def _log(self, level: str, event: str, /, **fields: object) -> None:
        if self._writes_info or level != "info":
            _write(level, event, _members(fields))

    def _log_decision_outage(self, event: events.DecisionOutageChanged) -> None:
        if event.error is None:
            level = "error" if event.lost else "info"
            self._log(
                level, "decisions lost at the stop" if event.is_stopping else "decisions kept again", lost=event.lost
            )
            return
        detail = event.error.detail if isinstance(event.error, Unavailable) else ""
        _write("error", "decisions not kept", _members({"detail": detail, "lost": event.lost}), error=event.error)

    def _log_reload(self, name: str, outcome: events.ReloadOutcome, **fields: str) -> None:
        level = "info" if outcome is events.ReloadOutcome.LOADED else "error"
        self._log(level, name, outcome=outcome.value, **fields)

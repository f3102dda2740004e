"""Check that each log line is one JSON object and holds no text that a sender chose."""

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from verifier.adapters.telemetry.log import LogRecorder, configure_logging
from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.reasons import Check
from verifier.core.tracing import TraceContext
from verifier.core.trust.clouds import Cloud
from verifier.ports.decisions import AppraisalRecord, Verdict
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import (
    CURRENT_TRACE,
    DecisionOutageChanged,
    DocumentAppraised,
    Event,
    FeedChecked,
    FeedOutcome,
    ForwardingMismatched,
    IssuerObserved,
    NonconformingGenuine,
    RefreshFailed,
    ReloadOutcome,
    RequestFailed,
    ResponseSent,
    SettingsReloaded,
    SigningKeyChanged,
    StoreCallMeasured,
    StoreCircuitsChanged,
    TokenAudienceShared,
    TokenKeysReloaded,
    TrustOddityFound,
    TrustReloaded,
)

SECRET = "4711-of-a-document"  # noqa: S105 - an example of text that must not be logged


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """Restore the logging of the process, because other tests run in it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def raised(error: Exception) -> Exception:
    """Return `error` with a traceback through frames that hold the secret."""

    def fail(held: str) -> None:
        assert held
        raise error

    try:
        fail(SECRET)
    except Exception as caught:  # noqa: BLE001 - callers pass any exception
        return caught
    raise AssertionError("unreachable")


def test_response_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    response = ResponseSent(
        request_id="r-1", client_request_id="theirs", route="GET /healthz", status=200, code="", seconds=0.00123
    )
    LogRecorder().record(response)
    (line,) = lines(capsys)
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "event": "answered",
        "level": "info",
        "requestId": "r-1",
        "clientRequestId": "theirs",
        "route": "GET /healthz",
        "status": 200,
        "code": "",
        "milliseconds": 1.23,
    }


def appraised(verdict: Verdict, code: str) -> DocumentAppraised:
    record = AppraisalRecord(
        at=datetime(2026, 11, 23, 8, tzinfo=UTC),
        request_id="r-1",
        client_request_id="theirs",
        tenant="contoso",
        key="agent:3f2a91bc",
        route="POST /v1/attestations",
        verdict=verdict,
        code=code,
        detail="Why.",
        failed_check=Check.CHAIN if verdict is Verdict.REFUSED else None,
        cloud=Cloud.PUBLIC,
        signer_serial="1a2b",
        issuer="CN=Unknown CA",
        policies=("gold", "silver"),
        document_sha256="ab" * 32,
        seconds=0.0123456,
        steps=((Check.FORMAT, 0.0001), (Check.CHAIN, 0.002)),
    )
    return DocumentAppraised(record=record)


def test_level_warning_keeps_decisions_and_omits_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of libraries have the same limit."""
    configure_logging("warning")
    recorder = LogRecorder("warning")
    recorder.record(
        ResponseSent(request_id="r-1", client_request_id="", route="GET /healthz", status=200, code="", seconds=0.1)
    )
    recorder.record(appraised(Verdict.REFUSED, "issuer-unpinned"))
    recorder.record(appraised(Verdict.VERIFIED, ""))
    recorder.record(TrustOddityFound(detail="odd"))
    logging.getLogger("gunicorn.error").info("Booting worker")
    logging.getLogger("gunicorn.error").warning("Worker exited")
    told = [(line["event"], line["level"]) for line in lines(capsys)]
    assert told == [
        ("decided", "info"),
        ("decided", "info"),
        ("trust oddity", "warning"),
        ("Worker exited", "warning"),
    ]


def test_keys_that_have_not_signed_a_feed_are_no_events(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger("tuf.api._payload").info("No signature for keyid %s", "aa")
    assert lines(capsys) == []


def test_appraisal_is_one_line_with_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    LogRecorder().record(appraised(Verdict.REFUSED, "issuer-unpinned"))
    (line,) = lines(capsys)
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "event": "decided",
        "level": "info",
        "requestId": "r-1",
        "clientRequestId": "theirs",
        "tenant": "contoso",
        "key": "agent:3f2a91bc",
        "route": "POST /v1/attestations",
        "verdict": "refused",
        "code": "issuer-unpinned",
        "detail": "Why.",
        "failedCheck": "chain",
        "vmId": "",
        "subscriptionId": "",
        "plan": {"publisher": "", "product": "", "name": ""},
        "sku": "",
        "licenseType": "",
        "cloud": "AzurePublicCloud",
        "signerSerial": "1a2b",
        "issuer": "CN=Unknown CA",
        "policies": ["gold", "silver"],
        "denial": None,
        "documentSha256": "ab" * 32,
        "milliseconds": 12.346,
        "steps": {"format": 0.1, "chain": 2.0},
    }


def test_members_of_a_line_have_a_fixed_order(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    trace = TraceContext.read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", span_id="b283e9d28d868f6f")
    before = CURRENT_TRACE.set(trace)
    LogRecorder().record(appraised(Verdict.VERIFIED, "verified"))
    LogRecorder().record(RequestFailed(request_id="r-1", error=raised(ValueError(SECRET))))
    CURRENT_TRACE.reset(before)
    logging.getLogger("any").warning("of a library")
    decided, failed, foreign = map(list, lines(capsys))
    every = ["event", "traceId", "spanId", "parentSpanId", "level", "time"]
    assert (decided[:2], decided[-8:]) == (["requestId", "clientRequestId"], ["milliseconds", "steps", *every])
    assert failed == ["requestId", "detail", *every, "exception"]
    assert foreign == ["event", "level", "time"]


def test_each_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []
    monkeypatch.setattr(sys.stderr, "write", writes.append)
    LogRecorder().record(appraised(Verdict.VERIFIED, "verified"))
    LogRecorder().record(StoreCircuitsChanged(open_circuits=1))
    LogRecorder().record(ForwardingMismatched(detail="Überlauf"))
    assert [json.loads(line)["event"] for line in writes] == ["decided", "forwarding mismatch"]
    assert all(line.isascii() and line.index("\n") == len(line) - 1 for line in writes)


def test_exceptions_that_cause_each_other_end(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    first, second = raised(ValueError(SECRET)), raised(KeyError(SECRET))
    first.__cause__, second.__cause__ = second, first
    LogRecorder().record(RefreshFailed(error=first))
    (line,) = lines(capsys)
    assert [stack["type"] for stack in line["exception"]] == ["ValueError", "KeyError"]  # type: ignore[attr-defined]  # JSON of our own


def test_unavailable_appraisals_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    LogRecorder().record(appraised(Verdict.UNAVAILABLE, "store-unavailable"))
    (decided,) = lines(capsys)
    assert (decided["level"], decided["verdict"]) == ("error", "unavailable")


def test_outage_of_the_decision_store_is_an_error_and_its_end_names_the_losses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging()
    for error, lost in ((StoreUnavailable("The disk is full."), 0), (ValueError("secret"), 0), (None, 0), (None, 3)):
        LogRecorder().record(DecisionOutageChanged(error=error, lost=lost))
    LogRecorder().record(DecisionOutageChanged(error=None, lost=2, is_stopping=True))
    full, fault, ended, ended_with_loss, stopped = lines(capsys)
    assert (full["event"], full["level"], full["detail"]) == ("decisions not kept", "error", "The disk is full.")
    assert (fault["event"], fault["detail"]) == ("decisions not kept", "")
    assert "secret" not in json.dumps(fault)
    assert (ended["event"], ended["level"], ended["lost"]) == ("decisions kept again", "info", 0)
    assert (ended_with_loss["level"], ended_with_loss["lost"]) == ("error", 3)
    assert (stopped["event"], stopped["level"], stopped["lost"]) == ("decisions lost at the stop", "error", 2)


def test_only_lines_of_a_traced_request_name_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    trace = TraceContext.read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", span_id="b283e9d28d868f6f")
    before = CURRENT_TRACE.set(trace)
    LogRecorder().record(appraised(Verdict.VERIFIED, "verified"))
    logging.getLogger("any").warning("of a library")
    CURRENT_TRACE.reset(before)
    logging.getLogger("any").warning("afterwards")
    *inside, after = lines(capsys)
    for line in inside:
        assert line["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert (line["spanId"], line["parentSpanId"]) == ("b283e9d28d868f6f", "00f067aa0ba902b7")
    assert "traceId" not in after


def test_unexpected_error_is_logged_with_its_frames_and_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    cause = raised(KeyError(SECRET))
    error = ValueError(SECRET)
    error.__cause__ = cause
    LogRecorder().record(RequestFailed(request_id="r-1", error=raised(error)))
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["requestId"], line["detail"]) == ("failed", "error", "r-1", "")
    trace = line["exception"]
    assert isinstance(trace, list)
    assert [part["type"] for part in trace] == ["ValueError", "KeyError"]
    assert trace[0]["frames"][-1].endswith(" fail")
    assert SECRET not in json.dumps(line)


def test_unavailable_store_is_logged_with_its_detail(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    error = StoreUnavailable("Redis is unavailable.")
    error.__cause__ = ConnectionError(SECRET)
    LogRecorder().record(RequestFailed(request_id="r-1", error=raised(error)))
    (line,) = lines(capsys)
    assert line["detail"] == "Redis is unavailable."
    assert SECRET not in json.dumps(line)


def test_nonconforming_document_is_logged_with_its_digests(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    document = NonconformingDocument(
        issuer="CN=Pinned",
        pin_sha256="aa" * 32,
        clouds=frozenset({Cloud.US_GOVERNMENT, Cloud.PUBLIC}),
        signer_sha256="bb" * 32,
        document_sha256="cc" * 32,
        detail="Two of an element.",
        seen_at=datetime(2026, 11, 23, tzinfo=UTC),
    )
    LogRecorder().record(NonconformingGenuine(document=document))
    [line] = lines(capsys)
    assert line.pop("time")
    assert line == {
        "event": "nonconforming-genuine",
        "level": "warning",
        "issuer": "CN=Pinned",
        "pinSha256": "aa" * 32,
        "clouds": ["AzurePublicCloud", "AzureUSGovernmentCloud"],
        "signerSha256": "bb" * 32,
        "documentSha256": "cc" * 32,
        "detail": "Two of an element.",
    }


def test_a_look_at_the_feed_is_a_line_if_it_is_news(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    for outcome in FeedOutcome:
        for is_news in (True, False):
            LogRecorder().record(FeedChecked(outcome=outcome, detail="version 2 in force", is_news=is_news))
    assert [(line["event"], line["level"], line["outcome"], line["detail"]) for line in lines(capsys)] == [
        ("trust feed", "info", "verified", "version 2 in force"),
        ("trust feed", "error", "refused", "version 2 in force"),
    ]


def test_trust_oddity_is_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    for oddity in ("CN=A: no subject key identifier", "CN=B: an RSA key of 2047 bits"):
        LogRecorder().record(TrustOddityFound(detail=oddity))
    assert [(line["event"], line["detail"]) for line in lines(capsys)] == [
        ("trust oddity", "CN=A: no subject key identifier"),
        ("trust oddity", "CN=B: an RSA key of 2047 bits"),
    ]


@pytest.mark.parametrize(
    ("event", "name", "level"),
    [
        (RefreshFailed(error=ValueError(SECRET)), "failed", "error"),
        (
            IssuerObserved(
                observation=IssuerObservation(
                    cloud=Cloud.PUBLIC,
                    issuer="CN=Unknown",
                    authority_key_identifier="aa",
                    issuer_urls=(),
                    signer_sha256="bb" * 32,
                    seen_at=datetime(2026, 11, 23, tzinfo=UTC),
                ),
                authorities=1,
            ),
            "unknown issuer",
            "warning",
        ),
        (
            TrustReloaded(outcome=ReloadOutcome.LOADED, generation="g", are_files_refused=False, detail=""),
            "trust reloaded",
            "info",
        ),
        (
            TrustReloaded(outcome=ReloadOutcome.REFUSED, generation="g", are_files_refused=False, detail=""),
            "trust reloaded",
            "error",
        ),
        (TokenKeysReloaded(outcome=ReloadOutcome.LOADED, detail=""), "token keys reloaded", "info"),
        (TokenKeysReloaded(outcome=ReloadOutcome.REFUSED, detail=""), "token keys reloaded", "error"),
        (SettingsReloaded(outcome=ReloadOutcome.LOADED, detail=""), "settings reloaded", "info"),
        (SettingsReloaded(outcome=ReloadOutcome.REFUSED, detail=""), "settings reloaded", "error"),
        (SigningKeyChanged(detail="the HSM is lost"), "signing key unavailable", "error"),
        (SigningKeyChanged(detail=""), "signing key available", "info"),
        (TokenAudienceShared(audience="a", tenants=("one", "two")), "shared token audience", "warning"),
        (ForwardingMismatched(detail="more headers than proxies"), "forwarding mismatch", "warning"),
    ],
)
def test_events_keep_their_names_and_levels(
    event: Event, name: str, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging()
    LogRecorder().record(event)
    [line] = lines(capsys)
    assert (line["event"], line["level"]) == (name, level)
    assert SECRET not in json.dumps(line)


def test_store_calls_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    LogRecorder().record(StoreCallMeasured(store="nonces", operation="redeem", seconds=0.1, failed=True))
    LogRecorder().record(StoreCircuitsChanged(open_circuits=1))
    assert lines(capsys) == []


def test_log_lines_of_libraries_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger("gunicorn.error").info("Booting worker with pid: %s", 5)
    logging.getLogger("any").debug("below the level")
    try:
        int(SECRET)
    except ValueError:
        logging.getLogger("any").exception("failed")
    first, second = lines(capsys)
    assert first["event"] == "Booting worker with pid: 5"
    assert second["event"] == "failed"
    assert SECRET not in json.dumps(second)


def test_warnings_of_libraries_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("an attribute is too long", UserWarning, stacklevel=1)
    (line,) = lines(capsys)
    assert "an attribute is too long" in str(line["event"])
    assert line["level"] == "warning"


def test_second_configuration_does_not_duplicate_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    logging.getLogger("any").warning("once")
    assert [line["event"] for line in lines(capsys)] == ["once"]
    assert sys.stderr

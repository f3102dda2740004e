"""The log: one JSON object a line, and nothing in it that a sender wrote."""

import json
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest
import structlog

from verifier.edge.telemetry import LogRecorder, configure_logging
from verifier.ports import Exchange, StoreUnavailable

SECRET = "4711-of-a-document"  # noqa: S105 - stands for one


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Configuring the log is for the whole process; here the process goes on to other tests."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def raised(error: Exception) -> Exception:
    """`error`, with a traceback through frames that hold the secret."""

    def fail(held: str) -> None:
        assert held
        raise error

    try:
        fail(SECRET)
    except Exception as caught:  # noqa: BLE001 - whichever it is
        return caught
    raise AssertionError("unreachable")


def test_tells_an_answer_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    exchange = Exchange(request_id="r-1", route="GET /healthz", status=200, code="", seconds=0.00123)
    LogRecorder().answered(exchange)
    (line,) = lines(capsys)
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "event": "answered",
        "level": "info",
        "requestId": "r-1",
        "route": "GET /healthz",
        "status": 200,
        "code": "",
        "milliseconds": 1.23,
    }


def test_tells_where_an_unexpected_error_came_from_and_not_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    cause = raised(KeyError(SECRET))
    error = ValueError(SECRET)
    error.__cause__ = cause
    LogRecorder().failed("r-1", raised(error))
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["requestId"], line["detail"]) == ("failed", "error", "r-1", "")
    trace = line["exception"]
    assert isinstance(trace, list)
    assert [part["type"] for part in trace] == ["ValueError", "KeyError"]
    assert trace[0]["frames"][-1].endswith(" fail")
    assert SECRET not in json.dumps(line)


def test_tells_what_is_away_in_its_own_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    error = StoreUnavailable("Redis is away.")
    error.__cause__ = ConnectionError(SECRET)
    LogRecorder().failed("r-1", raised(error))
    (line,) = lines(capsys)
    assert line["detail"] == "Redis is away."
    assert SECRET not in json.dumps(line)


def test_the_log_of_libraries_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger("gunicorn.error").info("Booting worker with pid: %s", 5)
    logging.getLogger("any").debug("not told")
    try:
        int(SECRET)
    except ValueError:
        logging.getLogger("any").exception("failed")
    first, second = lines(capsys)
    assert first["event"] == "Booting worker with pid: 5"
    assert second["event"] == "failed"
    assert SECRET not in json.dumps(second)


def test_what_libraries_warn_of_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("an attribute is too long", UserWarning, stacklevel=1)
    (line,) = lines(capsys)
    assert "an attribute is too long" in str(line["event"])
    assert line["level"] == "warning"


def test_configures_once_more_without_telling_twice(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    logging.getLogger("any").warning("once")
    assert [line["event"] for line in lines(capsys)] == ["once"]
    assert sys.stderr

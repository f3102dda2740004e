"""Every log line of a run of the suite, held against every nonce and document of it: a pytest plugin.

Lines come from the services that tests start (support.services) and from what is logged in the process of the tests.
Nonces are those that a service issued, or that a document was made with; documents are those that were made here, or
posted. Not seen: what the agent's own process was given, and what a test sends over a bare socket.
"""

import base64
import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from verifier.usecases.appraise import IssuedNonce, Verifier

_NONCE = re.compile(r"\d{10}|[0-9A-Za-z]{32}")
# A run of exactly this form: a part of a longer number is another number.
_DIGITS = re.compile(r"(?<!\d)\d{10}(?!\d)")
_ALPHANUMERIC = re.compile(r"(?<![0-9A-Za-z])[0-9A-Za-z]{32}(?![0-9A-Za-z])")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}")
_HEX = re.compile(r"[0-9a-f]{48,}")
#: What signed content says, and how the DER around it begins, however often escaped.
_DECODED = re.compile(r"timeStamp\W+createdOn|0\\+(?:x82|u0082)")
#: Characters of a document that give it away. In hex, more than a serial number or a key identifier has (40), which
#: are in documents and are to be told.
_BASE64_WINDOW = 24
_HEX_WINDOW = 48
#: A whole one; what tests post instead of a document is shorter.
_SHORTEST_DOCUMENT = 400
_STRIDE = 8
#: Under which a process of pytest-xdist tells what it found.
_OUTPUT = "session_log"


@dataclass(frozen=True, slots=True)
class SessionLog:
    lines: list[str] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)
    documents: set[bytes] = field(default_factory=set, repr=False)

    def keep_nonce(self, nonce: object) -> None:
        if isinstance(nonce, str) and _NONCE.fullmatch(nonce):
            self.nonces.add(nonce)

    def keep_document(self, der: bytes) -> None:
        if len(der) >= _SHORTEST_DOCUMENT:
            self.documents.add(der)

    def keep_exchange(self, path: str, body: bytes | None, answer: bytes) -> None:
        """What one request to a service, and its answer, hold."""
        with suppress(ValueError, AttributeError, RecursionError):  # tests send anything
            match path.partition("?")[0]:
                case "/v1/nonces":
                    self.keep_nonce(json.loads(answer).get("nonce"))
                case "/v1/attestations" if body:
                    signature = json.loads(body).get("signature")
                    self.keep_document(base64.b64decode(signature if isinstance(signature, str) else ""))

    def leaks(self) -> list[str]:
        """A sentence for each line in which a nonce, or a part of a document, is found."""
        windows = {window for der in self.documents for window in _windows_of(der)}
        return [f"{kind}: {line.strip()[:400]}" for line in self.lines for kind in self._found(line, windows)]

    def _found(self, line: str, windows: set[str]) -> Iterator[str]:
        if not self.nonces.isdisjoint((*_DIGITS.findall(line), *_ALPHANUMERIC.findall(line))):
            yield "a nonce"
        if _DECODED.search(line) or any(window in windows for window in _shingles(line)):
            yield "a part of a document"


def _windows_of(der: bytes) -> Iterator[str]:
    text = base64.b64encode(der).decode()
    for start in range(0, len(text) - _BASE64_WINDOW, _STRIDE):
        yield text[start : start + _BASE64_WINDOW]
    digits = der.hex()
    for start in range(0, len(digits) - _HEX_WINDOW, _STRIDE):
        yield digits[start : start + _HEX_WINDOW]


def _shingles(line: str) -> Iterator[str]:
    for pattern, size in ((_BASE64, _BASE64_WINDOW), (_HEX, _HEX_WINDOW)):
        for run in pattern.findall(line):
            plain = run.replace("-", "+").replace("_", "/")
            for start in range(len(plain) - size + 1):
                yield plain[start : start + size]


#: That of this process.
SESSION_LOG = SessionLog()


@dataclass(slots=True)
class _Summary:
    """What the run found, over all processes that ran tests."""

    lines: int = 0
    nonces: int = 0
    documents: int = 0
    leaks: list[str] = field(default_factory=list)

    def add(self, lines: int, nonces: int, documents: int, leaks: list[str]) -> None:
        self.lines += lines
        self.nonces += nonces
        self.documents += documents
        self.leaks += leaks


_SUMMARY = pytest.StashKey[_Summary]()


def pytest_configure() -> None:
    """From now on, what is logged in this process is kept, as are the nonces that it issues."""
    make_record = logging.getLogRecordFactory()
    issue = Verifier.issue_nonce

    def keep_record(*args: object, **more: object) -> logging.LogRecord:
        record: logging.LogRecord = make_record(*args, **more)
        SESSION_LOG.lines.append(f"{record.msg} {record.args}")
        return record

    def keep_issued(self: Verifier, **more: object) -> IssuedNonce:
        issued = issue(self, **more)  # type: ignore[arg-type]  # as they came
        SESSION_LOG.keep_nonce(issued.nonce)
        return issued

    logging.setLogRecordFactory(keep_record)
    Verifier.issue_nonce = keep_issued  # type: ignore[method-assign]  # the same, but for the keeping


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """In the process that leads the others of pytest-xdist: what one of them found. One that crashed fails the run
    by that."""
    found = getattr(node, "workeroutput", {}).get(_OUTPUT)
    if found is not None:
        _summary_of(node.config).add(*found)  # type: ignore[attr-defined]  # a WorkerController


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The run fails where a line tells a secret. Each process holds its own lines against its own secrets: nothing
    else was given to the services that it started."""
    log, config = SESSION_LOG, session.config
    found = (len(log.lines), len(log.nonces), len(log.documents), log.leaks())
    if hasattr(config, "workeroutput"):
        config.workeroutput[_OUTPUT] = found
    summary = _summary_of(config)
    summary.add(*found)
    if summary.leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    summary = _summary_of(config)
    terminalreporter.line(f"log: {summary.lines} lines, {summary.nonces} nonces, {summary.documents} documents")
    for leak in summary.leaks:
        terminalreporter.line(f"LOG LEAK: {leak}", red=True)


def _summary_of(config: pytest.Config) -> _Summary:
    return config.stash.setdefault(_SUMMARY, _Summary())

"""Verify many files: one line for each, a progress bar, a summary, and the worst exit status."""

import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import field

from verifier.api import json_codec
from verifier.cli.commands import ExitStatus, read_bounded
from verifier.cli.document_files import DocumentFile, DocumentFiles
from verifier.cli.progress import ProgressBar
from verifier.core.encoding.printable import printable
from verifier.core.model import AttestationResult
from verifier.core.reasons import FormatRefused, Refused
from verifier.core.values import dataclass

#: Appraises the content of a file. Raises Refused.
Appraise = Callable[[bytes], AttestationResult]
#: Builds the problem of a refusal.
Problem = Callable[[Refused], json_codec.Json]

#: The code of a file that was not read. It is no problem of the HTTP API, because no document was appraised.
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """Say what became of one file: `code` is empty if it is verified, and `answer` is what HTTP answers for it."""

    status: ExitStatus
    answer: json_codec.Json
    sentence: str
    code: str = ""


@dataclasses.dataclass(slots=True, kw_only=True)
class _Tally:
    total: int
    skipped: int
    verified: int = 0
    unreadable: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    worst: ExitStatus = ExitStatus.DONE

    def count(self, outcome: _Outcome) -> None:
        self.worst = max(self.worst, outcome.status)
        if not outcome.code:
            self.verified += 1
        elif outcome.code == UNREADABLE:
            self.unreadable += 1
        else:
            self.refused[outcome.code] += 1

    @property
    def done(self) -> int:
        return self.verified + self.refused.total() + self.unreadable

    def text(self, seconds: float) -> str:
        codes = ", ".join(f"{code} {count:,}" for code, count in sorted(self.refused.items()))
        return (
            f"{self.done:,} of {self.total:,} files in {seconds:.1f} seconds: verified {self.verified:,}, "
            f"refused {self.refused.total():,}{f' ({codes})' if codes else ''}, unreadable {self.unreadable:,}"
            + (f"; skipped {self.skipped:,} hidden names and links to directories" if self.skipped else "")
        )


def verify_many(found: DocumentFiles, appraise: Appraise, problem: Problem, *, as_json: bool) -> ExitStatus:
    """Verify each file, print one line for it, and return the worst status. A file that cannot be read stops no run.

    The summary is on standard error, also after an interruption.
    """
    tally = _Tally(total=len(found.files), skipped=found.skipped)
    bar = ProgressBar(sys.stderr, tally.total)
    started = time.monotonic()
    try:
        for file in found.files:
            outcome = _verify(file, appraise, problem)
            if sys.stdout.isatty():
                bar.clear()
            sys.stdout.write(_json_line(file.name, outcome) if as_json else _text_line(file.name, outcome))
            tally.count(outcome)
            bar.draw(tally.done, f"not verified {tally.done - tally.verified:,}")
    finally:
        bar.clear()
        sys.stderr.write(f"{tally.text(time.monotonic() - started)}\n")
    return tally.worst


def _verify(file: DocumentFile, appraise: Appraise, problem: Problem) -> _Outcome:
    try:
        result = appraise(_read(file))
    except OSError as error:
        fault = error.strerror or type(error).__name__
        return _Outcome(
            status=ExitStatus.USAGE,
            answer={"code": UNREADABLE, "detail": fault},
            sentence=f"{UNREADABLE}: {fault}",
            code=UNREADABLE,
        )
    except Refused as refused:
        answer = problem(refused)
        return _Outcome(
            status=status_of(refused),
            answer=answer,
            sentence=f"refused, {refused.code}: {answer['detail']}",
            code=refused.code,
        )
    return _Outcome(
        status=ExitStatus.DONE,
        answer=json_codec.result_json(result),
        sentence=f"verified: {result.content.cloud}, vmId {result.claims.vm_id}",
    )


def status_of(refused: Refused) -> ExitStatus:
    return ExitStatus.USAGE if isinstance(refused, FormatRefused) else ExitStatus.REFUSED


def _read(file: DocumentFile) -> bytes:
    """Return the content. Raises OSError."""
    if file.fault:
        raise OSError(0, file.fault)
    return read_bounded(file.name)


def _text_line(name: str, outcome: _Outcome) -> str:
    return f"{printable(name)}: {printable(outcome.sentence)}\n"


def _json_line(name: str, outcome: _Outcome) -> str:
    # A name whose bytes are not UTF-8 would make the line invalid as JSON text.
    shown = name.encode("utf-8", "backslashreplace").decode()
    return json.dumps({"file": shown, **outcome.answer}) + "\n"

"""Find a vector that detects the removal of each check: `make vectors` writes tests/vectors/detectors.toml.

A vector that detected a removal before is tried first. The exit status is 1 if no vector detects a removal that
tests/vectors/equivalent.toml does not list.
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

from support.check_removals import Removal, removals, removed, source_lines, without_caches
from support.vectors import DETECTORS, VECTORS, conformance_service, read_detectors, read_equivalent

from verifier.cli.conformance import Answer, differences
from verifier.cli.conformance_cases import Case, read_cases
from verifier.wiring.conformance import ConformanceService

_SECONDS = 5
HEADING = "# `make vectors` writes this file: for the removal of each check, the vector whose answer changes.\n"
_Lines = dict[str, set[tuple[str, int]]]


def observe(cases: list[Case], service: ConformanceService) -> tuple[_Lines, dict[str, str]]:
    """Return the lines of the checked modules that each case executes, and the sentence of its refusal."""
    files = source_lines()
    found: _Lines = {}
    details: dict[str, str] = {}
    for case in cases:
        lines: set[tuple[str, int]] = set()
        sys.settrace(_tracer(files, lines))
        try:
            answer = service.respond(case)
        finally:
            sys.settrace(None)
        if differences(case, answer):
            raise SystemExit(f"{case.name} differs without a removal")
        found[case.name] = lines
        details[case.name] = detail_of(answer)
    return found, details


def _tracer(files: dict[str, str], lines: set[tuple[str, int]]) -> Callable[[FrameType, str, object], object]:
    def trace_lines(frame: FrameType, event: str, _: object) -> object:
        if event == "line":
            lines.add((files[frame.f_code.co_filename], frame.f_lineno))
        return trace_lines

    def trace(frame: FrameType, event: str, _: object) -> object:
        return trace_lines if event == "call" and frame.f_code.co_filename in files else None

    return trace


def candidates(removal: Removal, cases: list[Case], lines: _Lines, known: str | None) -> Iterator[Case]:
    """Yield the cases that may detect the removal, the most promising ones first."""
    yield from (case for case in cases if case.name == known)
    reached = [case for case in cases if removal.rule or (removal.module, removal.line) in lines[case.name]]
    yield from sorted(reached, key=lambda case: (case.expected.code is None, *_distance(removal, lines[case.name])))


def _distance(removal: Removal, lines: set[tuple[str, int]]) -> tuple[bool, int, int]:
    """Return a key that is the lower, the nearer to the check a case seems to be refused."""
    own = {line for module, line in lines if module == removal.module}
    after = sum(removal.line < line <= removal.last_line for line in own)
    return (not own & removal.refusals, after, len(lines))


def compare(case: Case, service: ConformanceService, usual: str) -> str:
    """Return `detected` if the answer differs, and `backed_up` if only the sentence of the refusal differs.

    No answer within some seconds differs too.
    """
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        answer = service.respond(case)
    except TimeoutError:
        return "detected"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if differences(case, answer):
        return "detected"
    return "" if detail_of(answer) == usual else "backed_up"


def detail_of(answer: Answer) -> str:
    return str(answer.body.get("detail"))


def _give_up(*_: object) -> None:
    raise TimeoutError


def main() -> int:
    signal.signal(signal.SIGALRM, _give_up)
    cases = read_cases(VECTORS)
    known = read_detectors()
    found: dict[str, dict[str, str]] = {"detected": {}, "backed_up": {}}
    undetected: list[str] = []
    with without_caches(), conformance_service() as service:
        lines, details = observe(cases, service)
        for removal in removals():
            best = ("", "")
            with removed(removal):
                for case in candidates(removal, cases, lines, known.get(removal.name)):
                    kind = compare(case, service, details[case.name])
                    best = (kind, case.name) if kind == "detected" or not best[0] else best
                    if kind == "detected":
                        break
            if best[0]:
                found[best[0]][removal.name] = best[1]
            else:
                undetected.append(removal.name)
            sys.stderr.write(f"{best[0] or 'not detected'}: {removal.name}\n")
            sys.stderr.flush()
    DETECTORS.write_text(HEADING + "".join(map(table, found.items())), "utf-8")
    missing = [name for name in undetected if name not in read_equivalent()]
    sys.stdout.write("".join(f"not detected: {name}\n" for name in missing))
    counts = ", ".join(f"{len(names)} {kind}" for kind, names in found.items())
    sys.stdout.write(f"{counts}, {len(undetected)} without a vector\n")
    return 1 if missing else 0


def table(item: tuple[str, dict[str, str]]) -> str:
    kind, names = item
    return "".join((f"\n[{kind}]\n", *(f"{json.dumps(name)} = {json.dumps(case)}\n" for name, case in names.items())))


if __name__ == "__main__":
    sys.exit(main())

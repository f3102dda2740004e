"""Implement `imds-verifier conformance`: compare the answers of a verifier with those that the vectors expect."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from verifier.api.problems import DOCUMENTATION
from verifier.cli.commands import CommandParts, ExitStatus, UsageError
from verifier.cli.conformance_cases import Case, outcomes, read_cases, read_version
from verifier.cli.progress import ProgressBar
from verifier.core.encoding.printable import printable
from verifier.core.values import dataclass

_MAX_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to a post: the status, the Retry-After header, and the JSON body, or {} if the body is not JSON."""

    status: int
    retry_after: str | None
    body: Mapping[str, object]


class UnreachableError(Exception):
    """Report that the verifier under test did not answer. The message is a sentence."""


#: Brings a verifier into the state of a case, posts, and returns the last answer. Raises UnreachableError.
Respond = Callable[[Case], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Open a verifier under test: this one with a trust directory, or the one at a URL with an optional state URL.

    `check_policies` raises UsageError if a policy of a case is invalid.
    """

    own: Callable[[Path], AbstractContextManager[Respond]]
    remote: Callable[[str, str | None], AbstractContextManager[Respond]]
    check_policies: Callable[[Case], object]


def conformance_command(targets: Targets) -> CommandParts:
    def run(arguments: argparse.Namespace) -> int:
        version = read_version(arguments.directory)
        cases = read_cases(arguments.directory)
        for case in cases:
            targets.check_policies(case)
        if arguments.state_url and not arguments.url:
            raise UsageError("--state-url is the state of the verifier at --url; give both")
        chosen = [case for case in cases if arguments.state_url or not arguments.url or not case.needs_state]
        target = (
            targets.remote(arguments.url, arguments.state_url) if arguments.url else targets.own(arguments.directory)
        )
        try:
            with target as respond:
                different = _compare_all(chosen, respond, as_json=arguments.json)
        except UnreachableError as error:
            sys.stderr.write(f"imds-verifier conformance: {printable(str(error))}\n")
            return ExitStatus.UNAVAILABLE
        left_out = (
            f", {len(cases) - len(chosen)} left out because they need a state" if len(chosen) < len(cases) else ""
        )
        sys.stderr.write(f"vectors {printable(version)}: {len(chosen)} cases, {different} differ{left_out}\n")
        return ExitStatus.REFUSED if different else ExitStatus.DONE

    return CommandParts(configure=_configure, run=run)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Without --url, each case runs on this verifier in this process, with the clock, the nonces, the policies and "
        "the trust directory of the case. Exit status: 0 all answers are as expected, 1 some differ, 2 usage or an "
        "invalid vector, 3 the verifier at --url did not answer."
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="the directory of the vectors, with vectors.toml")
    parser.add_argument("--json", action="store_true", help="print each difference as one line of JSON")
    parser.add_argument(
        "--url",
        help="post to the verifier at this URL, e.g. http://127.0.0.1:8080/v1/attestations. Only the cases that need "
        "no state run",
    )
    parser.add_argument(
        "--state-url", metavar="URL", help="put the state of each case to this URL before its post, and run all cases"
    )


def _compare_all(cases: list[Case], respond: Respond, *, as_json: bool) -> int:
    """Run the cases, write one line for each that differs, and return their number."""
    bar = ProgressBar(sys.stderr, len(cases))
    different = 0
    for done, case in enumerate(cases):
        bar.draw(done, f"{different} differ")
        found = differences(case, respond(case))
        if found:
            different += 1
            bar.clear()
            sys.stdout.write(f"{_as_json(case, found) if as_json else _as_text(case, found)}\n")
    bar.clear()
    return different


def differences(case: Case, answer: Answer) -> dict[str, tuple[object, object]]:
    """Return the expected and the actual value of each part of the answer that differs.

    Compared are the status, the verdict or code, the outcome of each check, the cloud, and what a refusal says about
    another try.
    Not compared: sentences, claims and the chain.
    """
    actual = dict(_actual(answer, is_refusal=case.expected.code is not None))
    compared = ((name, value, actual.get(name)) for name, value in _expected(case))
    # In Python, 1 equals True and 1.0. In JSON, they are different values.
    return {name: (value, found) for name, value, found in compared if type(found) is not type(value) or found != value}


def _expected(case: Case) -> Iterator[tuple[str, object]]:
    expected = case.expected
    yield "checks", [list(outcome) for outcome in outcomes(expected.failing_check)]
    if expected.code is None:
        yield "status", 200
        yield "verdict", "verified"
        yield "cloud", expected.cloud and expected.cloud.value
    else:
        yield "status", DOCUMENTATION[expected.code].status
        yield "code", expected.code.value
        yield "retryable", expected.retryable
        seconds = expected.retry_after_seconds
        yield "retryAfterSeconds", seconds
        yield "Retry-After", None if seconds is None else str(seconds)


def _actual(answer: Answer, *, is_refusal: bool) -> Iterator[tuple[str, object]]:
    body = answer.body
    yield "status", answer.status
    yield "Retry-After", answer.retry_after
    yield "checks", _outcomes(body.get("checks"))
    names = ("code", "retryable", "retryAfterSeconds") if is_refusal else ("verdict", "cloud")
    yield from ((name, _scalar(body.get(name))) for name in names)


def _outcomes(checks: object) -> object:
    """Return the name and the outcome of each check. An answer may have a value of any form in their place."""
    if not isinstance(checks, list) or not all(isinstance(check, dict) for check in checks):
        return _scalar(checks)
    return [[_scalar(check.get("name")), _scalar(check.get("outcome"))] for check in checks]


def _scalar(value: object) -> object:
    """Return a value of JSON that can be shown. A stranger can nest lists and objects too deeply."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value[:_MAX_SHOWN]
    return f"a value of the type {type(value).__name__}"


def _as_json(case: Case, found: Mapping[str, tuple[object, object]]) -> str:
    shown = {name: {"expected": expected, "actual": actual} for name, (expected, actual) in found.items()}
    return json.dumps({"case": case.name, "differences": shown})


def _as_text(case: Case, found: Mapping[str, tuple[object, object]]) -> str:
    parts = [f"{name} {_short(actual)}, expected {_short(expected)}" for name, (expected, actual) in found.items()]
    return f"{printable(case.name)}: {'; '.join(parts)}"


def _short(value: object) -> str:
    """Return the value as text. Of a list of checks, only the failing one is shown."""
    if isinstance(value, list):
        value = _short_checks(value)
    return printable(str(value))[:_MAX_SHOWN]


def _short_checks(checks: list[list[object]]) -> str:
    failing = next((name for name, outcome in checks if outcome == "fail"), None)
    if failing is not None:
        return f"failing {failing}"
    return "all pass" if checks == [list(outcome) for outcome in outcomes(None)] else "of another form"

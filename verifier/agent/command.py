"""The command `attest`: prints the verified claims of this machine, or one sentence that says why it has none."""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from pathlib import Path
from typing import Final

from verifier.agent import files
from verifier.agent.budget import Budget
from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.flow import attest
from verifier.agent.imds import DEFAULT_API_VERSION, DEFAULT_ENDPOINT, AttestedDocument, ImdsClient
from verifier.agent.results import OutputFormat, VerifiedResult, printable
from verifier.agent.transport import Endpoint
from verifier.agent.verifier_client import VerifierClient
from verifier.agent.watch import StoppedError, stopped_by_signals, watch

_DEFAULT_TIMEOUT_SECONDS: Final = 180.0
_MAX_TIMEOUT_SECONDS: Final = 3600.0
# RFC 7638 3: SHA-256 in base64url.
_THUMBPRINT: Final = re.compile(r"[0-9A-Za-z_-]{43}", re.ASCII)
_API_VERSION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit status: {}.".format(
        ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in ExitCode)
    )
    add = parser.add_argument
    add("--verifier", type=_endpoint, required=True, metavar="URL", help="base URL of the verifier")
    add(
        "--imds", type=_endpoint, default=DEFAULT_ENDPOINT, metavar="URL", help="base URL of IMDS (default %(default)s)"
    )
    add(
        "--api-version",
        type=_api_version,
        default=DEFAULT_API_VERSION,
        metavar="YYYY-MM-DD",
        help="api-version of IMDS (default %(default)s)",
    )
    add("--key-file", type=Path, metavar="FILE", help="file with the API key for the verifier")
    add(
        "--jkt",
        type=_thumbprint,
        metavar="THUMBPRINT",
        help="bind the result token to the key with this RFC 7638 thumbprint (claim cnf)",
    )
    add(
        "--timeout",
        type=_seconds,
        default=_DEFAULT_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="limit for the whole run, including waits and retries (default %(default)g)",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--json",
        dest="output_format",
        action="store_const",
        const=OutputFormat.JSON,
        default=OutputFormat.CLAIMS,
        help="print the whole result instead of the claims",
    )
    output.add_argument(
        "--token",
        dest="output_format",
        action="store_const",
        const=OutputFormat.TOKEN,
        help="print only the result token",
    )
    add("--output", type=Path, metavar="FILE", help="write to FILE instead of standard output, atomically, mode 0600")
    add(
        "--watch",
        action="store_true",
        help="keep running and renew the result before it expires; stop on SIGTERM or SIGINT; "
        "--timeout then limits each attempt",
    )
    add("--save-document", type=Path, metavar="FILE", help="write the document of IMDS to FILE before it is posted")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return an `ExitCode`. Unless it is VERIFIED, one sentence is on stderr."""
    try:
        if arguments.watch:
            _watch(arguments)
        else:
            _attest(arguments)
    except NotAttested as error:
        _report(error)
        return error.exit_code
    except KeyboardInterrupt:
        _report(NotAttested(ExitCode.INTERRUPTED, "interrupted"))
        return ExitCode.INTERRUPTED
    return ExitCode.VERIFIED


def _watch(arguments: argparse.Namespace) -> None:
    with stopped_by_signals():
        try:
            watch(
                attempt=lambda: _attest(arguments).lifetime(arguments.output_format),
                report=_report,
                sleep=time.sleep,
                random=random.SystemRandom().random,
            )
        except StoppedError:
            return


def _attest(arguments: argparse.Namespace) -> VerifiedResult:
    """Attest once, and print the result or write it to the output file. Raises `NotAttested`."""
    budget = Budget.start(arguments.timeout, monotonic=time.monotonic, sleep=time.sleep)
    try:
        result = attest(
            imds=ImdsClient(endpoint=arguments.imds, api_version=arguments.api_version, budget=budget),
            verifier=VerifierClient(
                endpoint=arguments.verifier,
                # Read for each attempt, so that a watch uses a rotated key.
                key=None if arguments.key_file is None else files.read_key(arguments.key_file),
                budget=budget,
            ),
            budget=budget,
            jkt=arguments.jkt,
            on_document=lambda document: _save(document, arguments.save_document),
        )
        text = result.render(arguments.output_format)
        if arguments.output is not None:
            files.write(arguments.output, text.encode())
            return result
    except (ValueError, OSError) as error:
        raise NotAttested(ExitCode.USAGE, str(error)) from error
    _print(text)
    return result


def _print(text: str) -> None:
    """Write to standard output. Raises `NotAttested` if it is closed or its disk is full: that is no refusal."""
    if sys.stdout is None:
        raise NotAttested(ExitCode.USAGE, "standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotAttested(ExitCode.USAGE, f"cannot write standard output: {error.strerror}") from error


def _save(document: AttestedDocument, file: Path | None) -> None:
    if file is not None:
        files.write(file, document.raw)


def _report(error: NotAttested) -> None:
    sys.stderr.write(f"attest: {printable(str(error))}\n")
    sys.stderr.flush()


def _endpoint(text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _api_version(text: str) -> str:
    if not _API_VERSION.fullmatch(text):
        raise argparse.ArgumentTypeError("expected a date such as 2020-09-01")
    return text


def _thumbprint(text: str) -> str:
    if not _THUMBPRINT.fullmatch(text):
        raise argparse.ArgumentTypeError("expected 43 characters of base64url")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _MAX_TIMEOUT_SECONDS:
        raise argparse.ArgumentTypeError(f"expected more than 0 and at most {_MAX_TIMEOUT_SECONDS:g} seconds")
    return seconds

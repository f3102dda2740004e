"""The command `attest`: this machine's claims, verified, or a sentence that says why not."""

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
from verifier.agent.ends import End, NotAttested
from verifier.agent.flow import attest
from verifier.agent.imds import DEFAULT_API_VERSION, DEFAULT_ENDPOINT, AttestedDocument, ImdsClient
from verifier.agent.results import AttestationResult, Form, printable
from verifier.agent.transport import Endpoint
from verifier.agent.verifier_client import VerifierClient, is_thumbprint
from verifier.agent.watch import StoppedError, stopped_by_signals, watch

_DEFAULT_TIMEOUT_SECONDS: Final = 180.0
_LONGEST_TIMEOUT_SECONDS: Final = 3600.0
_API_VERSION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit status: {}.".format(
        ", ".join(f"{end.value} {end.name.lower().replace('_', ' ')}" for end in End)
    )
    add = parser.add_argument
    add("--verifier", type=_endpoint, required=True, metavar="URL", help="the verifier to ask")
    add(
        "--imds",
        type=_endpoint,
        default=DEFAULT_ENDPOINT,
        metavar="URL",
        help="where IMDS answers (default %(default)s)",
    )
    add(
        "--api-version",
        type=_api_version,
        default=DEFAULT_API_VERSION,
        metavar="YYYY-MM-DD",
        help="of IMDS (default %(default)s)",
    )
    add("--key-file", type=Path, metavar="FILE", help="holds the API key for the verifier")
    add("--jkt", type=_thumbprint, metavar="THUMBPRINT", help="RFC 7638 thumbprint of a key, for the token's cnf")
    add(
        "--timeout",
        type=_seconds,
        default=_DEFAULT_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="for all of it, waits and retries included (default %(default)g)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json",
        dest="form",
        action="store_const",
        const=Form.JSON,
        default=Form.CLAIMS,
        help="print the whole result instead of the claims",
    )
    form.add_argument(
        "--token", dest="form", action="store_const", const=Form.TOKEN, help="print the result token and nothing else"
    )
    add("--output", type=Path, metavar="FILE", help="write there instead of to standard output, atomically, mode 0600")
    add(
        "--watch",
        action="store_true",
        help="go on: renew before what was got ends, until SIGTERM or SIGINT; --timeout is then for each time",
    )
    add(
        "--save-document",
        type=Path,
        metavar="FILE",
        help="write IMDS's answer there, as it was posted, whatever the verdict",
    )


def run(arguments: argparse.Namespace) -> int:
    """The exit status is one of `End`. Unless it is VERIFIED, one sentence is on stderr."""
    try:
        if arguments.watch:
            _watch(arguments)
        else:
            _attest(arguments)
    except NotAttested as ending:
        _tell(ending)
        return ending.end
    except KeyboardInterrupt:
        _tell(NotAttested(End.INTERRUPTED, "interrupted"))
        return End.INTERRUPTED
    return End.VERIFIED


def _watch(arguments: argparse.Namespace) -> None:
    with stopped_by_signals():
        try:
            watch(
                attempt=lambda: _attest(arguments).lifetime(arguments.form),
                tell=_tell,
                sleep=time.sleep,
                random=random.SystemRandom().random,
            )
        except StoppedError:
            return


def _attest(arguments: argparse.Namespace) -> AttestationResult:
    """The result was printed, or is in the file. Raises `NotAttested`."""
    budget = Budget.start(arguments.timeout, monotonic=time.monotonic, sleep=time.sleep)
    try:
        result = attest(
            imds=ImdsClient(endpoint=arguments.imds, api_version=arguments.api_version, budget=budget),
            verifier=VerifierClient(
                endpoint=arguments.verifier,
                # Read each time: a key that is changed is used from the next time on.
                key=None if arguments.key_file is None else files.read_key(arguments.key_file),
                budget=budget,
            ),
            budget=budget,
            jkt=arguments.jkt,
            keep=lambda document: _save(document, arguments.save_document),
        )
        text = result.text(arguments.form)
        if arguments.output is not None:
            files.write(arguments.output, text.encode())
            return result
    except (ValueError, OSError) as error:
        raise NotAttested(End.USAGE, str(error)) from error
    sys.stdout.write(text)
    sys.stdout.flush()
    return result


def _save(document: AttestedDocument, file: Path | None) -> None:
    """An unused nonce is worth something: so the file is its owner's alone."""
    if file is not None:
        files.write(file, document.raw)


def _tell(ending: NotAttested) -> None:
    sys.stderr.write(f"attest: {printable(str(ending))}\n")
    sys.stderr.flush()


def _endpoint(text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _api_version(text: str) -> str:
    if not _API_VERSION.fullmatch(text):
        raise argparse.ArgumentTypeError("an api-version looks like 2020-09-01")
    return text


def _thumbprint(text: str) -> str:
    if not is_thumbprint(text):
        raise argparse.ArgumentTypeError("a thumbprint has 43 characters of base64url")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _LONGEST_TIMEOUT_SECONDS:
        raise argparse.ArgumentTypeError(f"a time is more than 0 and at most {_LONGEST_TIMEOUT_SECONDS:g} seconds")
    return seconds

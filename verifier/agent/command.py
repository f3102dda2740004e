"""The command `attest`: this machine's claims, verified, or a sentence that says why not."""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from verifier.agent.flow import attest
from verifier.agent.imds import (
    DEFAULT_API_VERSION,
    DEFAULT_ENDPOINT,
    AttestedDocument,
    ImdsClient,
    ImdsRefusedError,
    ImdsUnavailableError,
)
from verifier.agent.transport import Endpoint
from verifier.agent.verifier_client import (
    AttestationResult,
    Problem,
    ProblemError,
    VerifierClient,
    VerifierUnavailableError,
)

_VERIFIED: Final = 0
_REFUSED: Final = 1
_USAGE: Final = 2
_UNAVAILABLE: Final = 3

_API_VERSION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--verifier", type=_endpoint, required=True, metavar="URL", help="the verifier to ask")
    parser.add_argument(
        "--imds",
        type=_endpoint,
        default=DEFAULT_ENDPOINT,
        metavar="URL",
        help="where IMDS answers (default %(default)s)",
    )
    parser.add_argument(
        "--api-version",
        type=_api_version,
        default=DEFAULT_API_VERSION,
        metavar="YYYY-MM-DD",
        help="of IMDS (default %(default)s)",
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the API key for the verifier")
    parser.add_argument(
        "--save-document",
        type=Path,
        metavar="FILE",
        help="write IMDS's answer there, as it was posted, whatever the verdict",
    )
    parser.add_argument("--json", action="store_true", help="print the whole result instead of the claims")


def run(arguments: argparse.Namespace) -> int:
    """0: verified, the claims are on stdout. Otherwise a sentence is on stderr, and 1: refused; 2: the arguments do not
    work; 3: IMDS or the verifier is missing, or could not answer now.
    """
    try:
        result = attest(
            imds=ImdsClient(endpoint=arguments.imds, api_version=arguments.api_version, wait=time.sleep),
            verifier=VerifierClient(endpoint=arguments.verifier, token=_read_token(arguments.token_file)),
            wait=time.sleep,
            keep=lambda document: _save(document, arguments.save_document),
        )
    except ProblemError as error:
        return _tell_problem(error.problem)
    except (VerifierUnavailableError, ImdsUnavailableError) as error:
        return _fail(_UNAVAILABLE, str(error))
    except (ImdsRefusedError, ValueError, OSError) as error:
        return _fail(_USAGE, str(error))
    sys.stdout.writelines(f"{line}\n" for line in _describe(result, whole=arguments.json))
    return _VERIFIED


def _endpoint(text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _api_version(text: str) -> str:
    if not _API_VERSION.fullmatch(text):
        raise argparse.ArgumentTypeError("an api-version looks like 2020-09-01")
    return text


def _read_token(file: Path | None) -> str | None:
    return None if file is None else file.read_text(encoding="ascii").strip()


def _save(document: AttestedDocument, file: Path | None) -> None:
    """The answer is in `file`, which, where it is new, is its owner's alone: an unused nonce is worth something."""
    if file is None:
        return
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(document.raw)


def _describe(result: AttestationResult, *, whole: bool) -> Iterable[str]:
    if whole:
        yield json.dumps(result.fields, indent=2)
    else:
        yield from _describe_claims(result.claims, prefix="")


def _describe_claims(claims: Mapping[str, object], *, prefix: str) -> Iterable[str]:
    for name, value in claims.items():
        if isinstance(value, dict):
            yield from _describe_claims(value, prefix=f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{_printable(prefix + name)}: {_printable(text)}"


def _tell_problem(problem: Problem) -> int:
    request = f", request {problem.request_id}" if problem.request_id else ""
    if problem.is_a_refusal():
        return _fail(_REFUSED, f"refused: {problem.detail} ({problem.code}{request})")
    return _fail(_UNAVAILABLE, f"the verifier cannot answer now: {problem.detail} ({problem.code}{request})")


def _fail(status: int, sentence: str) -> int:
    sys.stderr.write(f"attest: {_printable(sentence)}\n")
    return status


def _printable(text: str) -> str:
    """One line of plain ASCII, the rest escaped: it comes from elsewhere, and goes to any terminal and any locale."""
    return "".join(c if c.isascii() and c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

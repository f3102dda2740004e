"""The options that the commands of the agent share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Final

from verifier.agent.exit_codes import ExitCode
from verifier.agent.imds import DEFAULT_API_VERSION, DEFAULT_ENDPOINT
from verifier.agent.transport import Endpoint

_DEFAULT_TIMEOUT_SECONDS: Final = 180.0
_MAX_TIMEOUT_SECONDS: Final = 3600.0
_API_VERSION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def add_imds_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that asks IMDS for a document."""
    parser.epilog = "Exit status: {}.".format(
        ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in ExitCode)
    )
    add = parser.add_argument
    add(
        "--imds",
        type=read_endpoint,
        default=DEFAULT_ENDPOINT,
        metavar="URL",
        help="base URL of IMDS (default %(default)s)",
    )
    add(
        "--api-version",
        type=_api_version,
        default=DEFAULT_API_VERSION,
        metavar="YYYY-MM-DD",
        help="api-version of IMDS (default %(default)s)",
    )
    add(
        "--timeout",
        type=_seconds,
        default=_DEFAULT_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="limit for the whole run, including waits and retries (default %(default)g)",
    )
    add("--output", type=Path, metavar="FILE", help="write to FILE instead of standard output, atomically, mode 0600")


def as_argument(text: str, form: re.Pattern[str], expected: str) -> str:
    """Return the text if it has the form. Raises ArgumentTypeError."""
    if not form.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected {expected}")
    return text


def read_endpoint(text: str) -> Endpoint:
    """Parse a base URL. Raises ArgumentTypeError."""
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _api_version(text: str) -> str:
    return as_argument(text, _API_VERSION, "a date such as 2020-09-01")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _MAX_TIMEOUT_SECONDS:
        raise argparse.ArgumentTypeError(f"expected more than 0 and at most {_MAX_TIMEOUT_SECONDS:g} seconds")
    return seconds

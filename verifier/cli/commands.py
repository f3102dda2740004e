"""Define commands, and run the one that the command line names. The composition root lists the commands."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.encoding import moments
from verifier.core.encoding.printable import printable
from verifier.core.values import dataclass


class ExitStatus(IntEnum):
    """The statuses of every command. A higher one is worse, and the run of many files ends with the worst."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3
    # 128 plus the number of SIGPIPE, as in shells.
    OUTPUT_CLOSED = 141


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandParts:
    """The parts of a subcommand: `configure` adds its arguments, `run` executes it and returns the exit status."""

    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Describe one subcommand. `load` imports the modules that it needs, so that no other command pays for them."""

    name: str
    summary: str
    load: Callable[[], CommandParts]


#: Documents exist since 2018, and their two-digit years end with 2099.
FIRST_YEAR, LAST_YEAR = 2000, 2099


class UsageError(Exception):
    """Report a command line or an input file that cannot be used. The exit status is ExitStatus.USAGE."""


def run_command(commands: Sequence[Command], arguments: Sequence[str], *, version: str) -> int:
    """Load and run the command that `arguments` name, and return its exit status.

    Results go to standard output, everything else to standard error.
    """
    parser = argparse.ArgumentParser(
        prog="imds-verifier",
        description="Verify the identity of an Azure virtual machine with its IMDS attested document.",
        epilog="Exit status: 0 verified or done, 1 refused, 2 usage or malformed input, 3 a dependency is unavailable, "
        "130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"imds-verifier {version}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # The options before a command take no value, so the first other argument is the command.
    named = next((argument for argument in arguments if not argument.startswith("-")), "")
    for command in commands:
        subparser = subparsers.add_parser(command.name, help=command.summary, description=command.summary)
        if command.name == named:
            parts = command.load()
            parts.configure(subparser)
            subparser.set_defaults(run=parts.run)
    parsed = parser.parse_args(arguments)
    # The status of a command that could not finish, because the reader closed the output.
    status: int = ExitStatus.OUTPUT_CLOSED
    try:
        status = parsed.run(parsed)
        sys.stdout.flush()
    except UsageError as error:
        # The message may name a file that a stranger named.
        sys.stderr.write(f"imds-verifier {parsed.command}: {printable(str(error))}\n")
        return ExitStatus.USAGE
    except BrokenPipeError:
        # Discard the rest of the output, so that the final flush does not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def read_moment(option: str, text: str) -> datetime:
    """Parse the RFC 3339 time of an option. Raises UsageError."""
    try:
        moment = moments.read_moment(text)
    except ValueError as error:
        raise UsageError(f"{option}: {text!r} is not a time such as 2026-07-28T13:24:00Z") from error
    if moment.utcoffset() is None:
        raise UsageError(f"{option}: {text!r} has no time zone; write a time in UTC as 2026-07-28T13:24:00Z")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise UsageError(f"{option}: {text!r} is not between {FIRST_YEAR} and {LAST_YEAR}")
    return moment.astimezone(UTC)


def read_document_file(name: str, *, limit: int = MAX_EVIDENCE_BYTES) -> bytes:
    """Do the same as `read_bounded`. Raises UsageError, which names the file."""
    try:
        return read_bounded(name, limit=limit)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error


def read_bounded(name: str, *, limit: int = MAX_EVIDENCE_BYTES) -> bytes:
    """Read a file, or standard input for `-`. Return at most `limit` + 1 bytes, so that the caller can refuse them.

    Raises OSError.
    """
    if name == "-":
        return sys.stdin.buffer.read(limit + 1)
    with Path(name).open("rb") as file:
        return file.read(limit + 1)

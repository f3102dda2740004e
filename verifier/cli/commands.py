"""What a command is, and how one is found and run. The composition root decides which there are."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from verifier.core.bounds import MAX_EVIDENCE_BYTES


class ExitStatus(IntEnum):
    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One subcommand: `configure` adds its arguments, `run` does it and returns the exit status."""

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class UsageError(Exception):
    """What was typed cannot be done; the message says why. Ends with ExitStatus.USAGE."""


def run_command(commands: Sequence[Command], arguments: Sequence[str]) -> int:
    """Runs the command that `arguments` name, and returns its exit status. Results go to standard output,
    everything else to standard error."""
    parser = argparse.ArgumentParser(
        prog="imds-verifier",
        description="Decides whether a virtual machine is what it says it is, by its Azure IMDS attested document.",
        epilog="Exit status: 0 verified or done, 1 refused, 2 usage or malformed input, 3 a dependency is missing.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands:
        subparser = subparsers.add_parser(command.name, help=command.summary, description=command.summary)
        command.configure(subparser)
        subparser.set_defaults(run=command.run)
    parsed = parser.parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except UsageError as error:
        sys.stderr.write(f"imds-verifier {parsed.command}: {error}\n")
        return ExitStatus.USAGE
    except BrokenPipeError:
        # Whoever read the output has read enough; nothing more may be written on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.DONE
    return status


def read_moment(option: str, text: str) -> datetime:
    """The RFC 3339 time that an option was given. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option}: {text!r} is not a time such as 2026-07-28T13:24:00Z") from error
    if moment.utcoffset() is None:
        raise UsageError(f"{option}: {text!r} has no time zone; write Z for UTC")
    return moment.astimezone(UTC)


def read_document_file(name: str, *, limit: int = MAX_EVIDENCE_BYTES) -> bytes:
    """The bytes of a file, or of standard input for `-`; one more than `limit` at most, for it to be refused.

    Raises UsageError.
    """
    try:
        if name == "-":
            return sys.stdin.buffer.read(limit + 1)
        with Path(name).open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error

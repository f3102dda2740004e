"""Implement `imds-verifier config`: write a settings file to start with, and check one."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from verifier.cli.commands import CommandParts, ExitStatus, UsageError
from verifier.core.encoding.printable import printable

#: Returns one line for each fault of a settings file.
SettingsCheck = Callable[[Path], Sequence[str]]


def config_command(write_starter: Callable[[], str], check: SettingsCheck) -> CommandParts:
    def run(arguments: argparse.Namespace) -> int:
        return _init(write_starter(), arguments.file) if arguments.action == "init" else _check(check, arguments.file)

    return CommandParts(configure=_configure, run=run)


def _configure(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    summary = "Write a commented settings file with every setting and its default. It never overwrites a file."
    init = subparsers.add_parser("init", help=summary, description=summary)
    init.add_argument("file", metavar="FILE", nargs="?", type=Path, help="the new file (default: standard output)")
    summary = "Check a settings file as `serve` loads it, together with the VERIFIER_ variables of the environment."
    check = subparsers.add_parser("check", help=summary, description=summary)
    check.epilog = "Exit status: 0 the settings are valid, 2 they are not. No store and no trust directory is opened."
    check.add_argument("file", metavar="FILE", type=Path, help="a settings file (TOML)")


def _init(text: str, file: Path | None) -> int:
    if file is None:
        sys.stdout.write(text)
        return ExitStatus.DONE
    try:
        # Only for the owner: a URL of a store may contain a password. O_EXCL follows no symbolic link.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{file}: the file exists, and `config init` overwrites no file; name another one") from error
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
    sys.stderr.write(printable(f"wrote {file}; check it with: imds-verifier config check {file}") + "\n")
    return ExitStatus.DONE


def _check(check: SettingsCheck, file: Path) -> int:
    faults = check(file)
    for fault in faults:
        sys.stderr.write(f"{printable(fault)}\n")
    if faults:
        return ExitStatus.USAGE
    sys.stdout.write(printable(f"{file}: the settings are valid") + "\n")
    return ExitStatus.DONE

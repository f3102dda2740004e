"""How commands are found and run, and how each end of one becomes an exit status."""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from verifier.cli.commands import (
    Command,
    CommandParts,
    ExitStatus,
    UsageError,
    read_document_file,
    read_moment,
    run_command,
)


def command(name: str, status: int = 0, *, error: Exception | None = None) -> Command:
    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--said")

    def run(arguments: argparse.Namespace) -> int:
        if error is not None:
            raise error
        sys.stdout.write(f"{name} {arguments.said}")
        return status

    return Command(name=name, summary=f"Does {name}.", load=lambda: CommandParts(configure=configure, run=run))


def run_one(commands: Sequence[Command], arguments: Sequence[str]) -> int:
    return run_command(commands, arguments, version="1.2.3")


def test_runs_the_command_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    commands = (command("one"), command("two", ExitStatus.REFUSED))
    assert run_one(commands, ["two", "--said", "x"]) == ExitStatus.REFUSED
    assert capsys.readouterr().out == "two x"


@pytest.mark.parametrize("arguments", [[], ["three"], ["one", "--unsaid"], ["on"], ["--said", "x", "one"]])
def test_exits_with_2_without_a_command(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        run_one((command("one"),), arguments)
    assert ending.value.code == ExitStatus.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: imds-verifier" in err


def test_loads_only_the_command_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def load() -> CommandParts:
        raise AssertionError

    other = Command(name="other", summary="Is not loaded.", load=load)
    assert run_one((other, command("one")), ["one"]) == ExitStatus.DONE
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit):
            run_one((other,), [option])
    capsys.readouterr()


def test_lists_the_commands_with_their_summaries(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        run_one((command("one"), command("two")), ["--help"])
    assert ending.value.code == 0
    out = capsys.readouterr().out
    assert "Does one." in out
    assert "Does two." in out


def test_says_what_cannot_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_one((command("one", error=UsageError("no such file")),), ["one"]) == ExitStatus.USAGE
    assert capsys.readouterr().err == "imds-verifier one: no such file\n"


def test_escapes_what_a_message_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    run_one((command("one", error=UsageError("\x1b[2J\nfile")),), ["one"])
    assert capsys.readouterr().err == "imds-verifier one: \\x1b[2J\\nfile\n"


def test_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        run_one((command("one"),), ["--version"])
    assert ending.value.code == 0
    assert capsys.readouterr().out == "imds-verifier 1.2.3\n"


def test_reads_one_byte_more_than_the_limit_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "document"
    file.write_bytes(b"x" * 100)
    assert read_document_file(str(file), limit=10) == b"x" * 11
    assert read_document_file(str(file), limit=100) == b"x" * 100


def test_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff" * 100)))
    assert read_document_file("-", limit=10) == b"\xff" * 11


@pytest.mark.parametrize("name", ["/nowhere/document", "/"])
def test_says_which_file_cannot_be_read(name: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: "):
        read_document_file(name)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "2100-01-01T00:00:00Z"])
def test_a_moment_outside_the_years_of_documents_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is not between 2000 and 2099"):
        read_moment("--at", text)

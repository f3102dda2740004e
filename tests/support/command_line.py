"""The command line, as a process of its own or within this one; without the settings of whoever runs the tests."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from unittest import mock

from verifier.wiring import main

_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    status: int
    out: str
    err: str


def run(*arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Ended:
    """What the command printed as a process of its own, and its exit status."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "verifier", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=_SECONDS,
        env={**_inherited(), **(environment or {})},
    )
    return Ended(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


def call(*arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Ended:
    """The same within this process, which spares the second that starting one takes."""
    # Commands may write bytes to standard output.
    printed, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(printed, "utf-8", write_through=True)
    with (
        mock.patch.dict(os.environ, {**_inherited(), **(environment or {})}, clear=True),
        mock.patch.object(sys, "argv", ["imds-verifier", *arguments]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            status = main()
        except SystemExit as ending:
            # argparse ends so, with a number, for --help and for arguments that it cannot read.
            status = int(ending.code or 0)
    return Ended(status=status, out=printed.getvalue().decode(), err=err.getvalue())


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}

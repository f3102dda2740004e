"""A reader that has read enough is no error of the command."""

import os
import subprocess
import sys

from support import documents


def test_exits_with_0_if_the_reader_closes_the_output() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "verifier",
                "inspect",
                str(documents.SAMPLES / "public-eastus-2026-07-28.json"),
            ],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, b"")

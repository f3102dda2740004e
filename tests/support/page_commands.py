"""Run the commands that a page of docs/ shows, as a reader does."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs"
_SECONDS = 120


def commands_of(page: str, section: str, number: int = 0) -> str:
    """Return the commands of one console block in a section of docs/`page`, counted from 0. Each begins with `$ `."""
    text = (_DOCS / page).read_text("utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    block = re.findall(r"```console\n(.*?)```", text, re.DOTALL)[number]
    return "\n".join(line.removeprefix("$ ") for line in block.splitlines())


def run_commands(
    script: str, *, directory: Path, environment: Mapping[str, str], statuses: frozenset[int] = frozenset({0})
) -> str:
    """Run commands in a shell that ends at the first failure, and return their standard output.

    The command `imds-verifier` is the installed one. Raises AssertionError if the status is not one of `statuses`.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={**inherited, "PATH": path, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode not in statuses:
        raise AssertionError(f"status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout

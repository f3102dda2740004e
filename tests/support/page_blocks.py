"""Find the code blocks of the documentation, and run their commands as a reader does.

A module that runs blocks declares them: `RUNS_BLOCKS = {"docs/operate/backup.md": {"Redis": 3, "SQLite": 2}}` has the
number of blocks in each section. `tests/pages/test_every_block.py` requires that each block of each page is declared.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import socket

ROOT = Path(__file__).parents[2]
#: Languages of what a reader copies. `text` and `http` blocks are drawings, outputs and messages.
RUNNABLE = ("bash", "console", "js", "json", "powershell", "python", "sh", "toml", "yaml")
_SECONDS = 240
_LINE = re.compile(r"^(?P<marks>#{1,6}) +(?P<title>.+?) *$|^(?P<indent> *)```(?P<language>\S*)$")
_VOLATILE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|[0-9a-f]{16,}|\b\d[\d,.]*\b")
_MARK = "----- the next block -----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: its page (from the root of the repository), the heading above it, and its text."""

    page: str
    section: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page} ({self.section}): {self.text.strip().splitlines()[0][:60]}"

    @property
    def commands(self) -> str:
        """The commands. In a `console` block they begin with `$ `, and continue in indented lines."""
        if self.language != "console":
            return self.text
        return "\n".join(line.removeprefix("$ ") for line in self.text.splitlines() if line[:2] in {"$ ", "  "})

    @property
    def output(self) -> list[str]:
        """The lines of a `console` block that the commands print."""
        lines = self.text.splitlines() if self.language == "console" else []
        return [line for line in lines if line[:2] not in {"$ ", "  "}]


def pages() -> list[str]:
    """Return the pages that a reader reads, and not the records of the project and the notes beside test data."""
    found = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.md"))
    apart = ("tests/", "docs/adr/", ".", "build/", "node_modules/")
    return sorted(page for page in found if not page.startswith(apart) and "node_modules" not in page)


def blocks_of(page: str, section: str | None = None, *languages: str) -> list[Block]:
    """Return the blocks of a page or of one of its sections, optionally of these languages alone."""
    title, language, indent = "", None, ""
    text: list[str] = []
    found: list[Block] = []
    for line in (ROOT / page).read_text("utf-8").splitlines():
        match = _LINE.match(line)
        if language is None and match and match["title"]:
            title = match["title"]
        elif language is None and match:
            language, indent, text = match["language"], match["indent"], []
        elif language is not None and line.strip() == "```":
            found.append(Block(page=page, section=title, language=language, text="\n".join([*text, ""])))
            language = None
        elif language is not None:
            text.append(line.removeprefix(indent))
    chosen = [one for one in found if section in {None, one.section}]
    return [one for one in chosen if not languages or one.language in languages]


def commands_of(page: str, section: str, number: int = 0) -> str:
    """Return the commands of one block of commands in a section, counted from 0."""
    return blocks_of(page, section, "sh", "console")[number].commands


def run_commands(
    script: str, *, directory: Path, environment: Mapping[str, str], statuses: frozenset[int] = frozenset({0})
) -> str:
    """Run commands in a shell that ends at the first failure, and return their standard output.

    The command `imds-verifier` is the installed one. Processes that the commands leave running are killed. Raises
    AssertionError if the status is not one of `statuses`.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={**inherited, "PATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            output, errors = shell.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"not done after {_SECONDS} s: {(error.output or b'').decode()}") from None
        finally:
            _end_group(shell.pid)
    if shell.returncode not in statuses:
        raise AssertionError(f"status {shell.returncode}: {output}{errors}")
    return output


def run_in_order(
    blocks: Iterable[Block],
    *,
    directory: Path,
    environment: Mapping[str, str],
    stand_ins: Mapping[str, str] | None = None,
    before: Mapping[str, str] | None = None,
) -> list[str]:
    """Run blocks in one shell, and return what each printed, with its standard errors.

    `stand_ins` are texts of the page that a test replaces, such as a port and a host name. `before` are commands that
    run before the first block with a text, for what the page says in words.
    """
    waiting = dict(before or {})
    parts = ["exec 2>&1"]
    for one in blocks:
        text = one.commands
        parts.extend(f"{{ {waiting.pop(sign).strip()}\n}} >/dev/null" for sign in [*waiting] if sign in text)
        for shown, used in (stand_ins or {}).items():
            text = text.replace(shown, used)
        parts += [f"echo '{_MARK}'", text]
    assert not waiting, f"no block has the texts {sorted(waiting)}"
    output = run_commands("\n".join(parts), directory=directory, environment=environment)
    return output.split(f"{_MARK}\n")[1:]


def free_port() -> str:
    """Return a port of loopback that no server uses at present."""
    with socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def steady(line: str) -> str:
    """Return a line of output without what differs between two runs: times, hashes and numbers."""
    return _VOLATILE.sub("#", line).strip()


def _end_group(process: int) -> None:
    try:
        os.killpg(process, signal.SIGTERM)
    except ProcessLookupError:
        return

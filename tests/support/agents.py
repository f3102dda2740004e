"""Run each agent as on a VM: in an empty directory, and with proxy settings that it must ignore."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.command_line import Ended
from support.scripted_servers import dead_url

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "tools" / "build_agent.py"
EXAMPLES = ROOT / "examples"
_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent that `command` runs. Its options are those of `imds-verifier attest`."""

    name: str
    command: tuple[str, ...]
    prints_claims: bool = False
    powershell: bool = False

    def run(self, directory: Path, *options: str) -> Ended:
        """Run the agent in `directory`, which is also its home. Write options as `--key-file`, for every agent."""
        home = directory / "home"
        home.mkdir()
        # curl reads this file unless it is told not to.
        (home / ".curlrc").write_text(f'proxy = "{dead_url()}"\nheader = "X-Forwarded-For: 1.2.3.4"\n', "ascii")
        spelled = [_powershell(option) if self.powershell else option for option in options]
        done = subprocess.run(
            [*self.command, *spelled],
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(home), **dict(_dead_proxies())},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
        return Ended(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


def build(file: Path) -> Path:
    """Build the zipapp as `make agent` does, at another path."""
    subprocess.run([sys.executable, BUILD, file], check=True, timeout=_SECONDS)
    return file


def make_agents(zipapp: Path) -> dict[str, Agent]:
    """Return the agents that this machine can run. The tests cannot install PowerShell: no registry has it."""
    made = [
        Agent(name="module", command=(sys.executable, "-P", "-m", "verifier.agent"), prints_claims=True),
        # Isolated and without site-packages, so that it can import only the file and the standard library.
        Agent(name="zipapp", command=(sys.executable, "-I", "-S", str(zipapp)), prints_claims=True),
        *(
            Agent(name=name, command=(name, str(EXAMPLES / "agent.sh")))
            for name in ("dash", "bash")
            if shutil.which(name)
        ),
    ]
    if shutil.which("pwsh"):
        command = ("pwsh", "-NoProfile", "-NonInteractive", "-File", str(EXAMPLES / "agent.ps1"))
        made.append(Agent(name="pwsh", command=command, powershell=True))
    return {agent.name: agent for agent in made}


def _dead_proxies() -> Iterator[tuple[str, str]]:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        yield name, dead_url()
    for name in ("no_proxy", "NO_PROXY"):
        yield name, ""


def _powershell(option: str) -> str:
    """Spell `--key-file` as `-KeyFile`."""
    if not option.startswith("--"):
        return option
    return "-" + "".join(word.title() for word in option.removeprefix("--").split("-"))

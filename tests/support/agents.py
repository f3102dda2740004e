"""The agents, each as whoever runs it on a VM does: in an empty directory, and in an environment that misleads."""

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
    """`command` runs it; its options are those of `imds-verifier attest`, spelled as its own shell spells options."""

    name: str
    command: tuple[str, ...]
    prints_claims: bool = False
    powershell: bool = False

    def run(self, directory: Path, *options: str) -> Ended:
        """What it printed in `directory`, which is its home too."""
        home = directory / "home"
        home.mkdir()
        # curl would take these from whoever runs it.
        (home / ".curlrc").write_text(f'proxy = "{dead_url()}"\nheader = "X-Forwarded-For: 1.2.3.4"\n', "ascii")
        spelled = [_powershell(option) if self.powershell else option for option in options]
        done = subprocess.run(
            [*self.command, *spelled],
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(home), **dict(_misleading())},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
        return Ended(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


def build(file: Path) -> Path:
    """`make agent`, to another place."""
    subprocess.run([sys.executable, BUILD, file], check=True, timeout=_SECONDS)
    return file


def make_agents(zipapp: Path) -> dict[str, Agent]:
    """Those that can be run here. The shells are those that are there; PowerShell is in no registry that the tests
    install from."""
    made = [
        Agent(name="module", command=(sys.executable, "-P", "-m", "verifier.agent"), prints_claims=True),
        # Isolated and without site-packages: nothing but the file and the standard library is there to be imported.
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


def _misleading() -> Iterator[tuple[str, str]]:
    """Proxies that are dead, for everything."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        yield name, dead_url()
    for name in ("no_proxy", "NO_PROXY"):
        yield name, ""


def _powershell(option: str) -> str:
    """`--key-file` as `-KeyFile`."""
    if not option.startswith("--"):
        return option
    return "-" + "".join(word.title() for word in option.removeprefix("--").split("-"))

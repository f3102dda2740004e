"""Run the commands of a page that start servers, and what its text asks to have beside them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from support.page_blocks import ROOT, Block
from support.services import Client, running_server, running_service
from support.token_load import keys

#: The issuer in the pages. The backends of the pages fetch its keys from the service that runs.
ISSUER = "https://verifier.example.com"
EXAMPLES = ROOT / "examples"
_MARKETPLACE_VM = EXAMPLES / "emulator" / "public-marketplace.toml"
_TENTHS = 300
_COMMENT = re.compile(r" +# .*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An emulator, and a service that trusts it and signs its results."""

    imds: str
    service: Client
    trust_dir: Path

    @property
    def key_set(self) -> str:
        return f"{self.service.url}/.well-known/jwks.json"


@contextmanager
def running_scene(directory: Path, **settings: str) -> Iterator[Scene]:
    """Run both, with the VM of examples/emulator/public-marketplace.toml."""
    trust_dir = directory / "emulator-trust"
    keys(directory / "keys", "generate")
    signing = {"VERIFIER_TOKEN_KEYS_DIR": str(directory / "keys"), "VERIFIER_TOKEN_ISSUER": ISSUER}
    store = f"sqlite://{directory}/nonces.sqlite3"
    emulator = ("emulator", "--port", "0", "--trust-dir", str(trust_dir), "--vm", str(_MARKETPLACE_VM))
    with (
        running_server(*emulator) as imds,
        running_service(nonce_store=store, trust_dir=trust_dir, workers=1, **signing, **settings) as service,
    ):
        yield Scene(imds=imds.url, service=service, trust_dir=trust_dir)


def in_terminals(block: Block, *, servers: int) -> Block:
    """Return the block with its first commands in terminals of their own: each listens before the next one starts."""
    commands = _lines(block.commands)
    started = [start_server(one) for one in commands[:servers]]
    return replace(block, language="sh", text="\n".join([*started, *commands[servers:], ""]))


def one_after_the_other(block: Block, *, servers: int) -> Block:
    """Return the block with its last commands as servers, of which each ends before the next one starts."""
    commands = _lines(block.commands)
    others = len(commands) - servers
    ended = [f"{start_server(one)}\nkill $!\nwait $!" for one in commands[others:]]
    return replace(block, language="sh", text="\n".join([*commands[:others], *ended, ""]))


def until_signalled(block: Block, *, file: str) -> Block:
    """Return the block with a signal for its only command, once that has written `file`. Its output is in `printed`."""
    (command,) = _lines(block.commands)
    written = wait_until(f"[ -s {file} ]")
    return replace(block, language="sh", text=f"{command} > printed &\n{written}\nkill $!\nwait $!\n")


def start_server(command: str) -> str:
    """Return shell commands that start a server of ours, and print the line in which it says that it listens."""
    log = "terminal-$((terminals = ${terminals:-0} + 1))"
    listens = wait_until('grep "listening on" "$log"')
    return f'log={log}\n{command} > "$log" 2>&1 &\n{listens}'


def start_backend(command: str, url: str, environment: Mapping[str, str]) -> str:
    """Return shell commands that start a licensing backend, and wait until it answers."""
    names = " ".join(f"{name}={value}" for name, value in environment.items())
    answers = wait_until(f"curl --silent --output backend.answer {url}")
    return f"{names} {command} > backend.log 2>&1 &\n{answers}"


def wait_until(condition: str) -> str:
    """Return shell commands that end when the condition is true, and fail if the last process ends, or after 30 s."""
    ended = "kill -0 $! || break; sleep 0.1"
    return f"for _ in $(seq {_TENTHS}); do {condition} && break; {ended}; done; {condition} > /dev/null"


def _lines(commands: str) -> list[str]:
    """Return the commands of a block without comments. Each is one line, or continues after a backslash."""
    lines = commands.replace("\\\n", "\0").splitlines()
    return [_COMMENT.sub("", line).replace("\0", "\\\n") for line in lines if line]

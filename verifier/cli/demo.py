"""`imds-verifier demo`: the main job on this machine, with an emulated IMDS, and two attempts to cheat."""

import base64
import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from verifier.cli.commands import Command, ExitStatus

_START_SECONDS = 30
_STOP_SECONDS = 15
_ANNOUNCEMENT = "listening on "


class DemoError(Exception):
    """Something did not happen as it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    body: dict[str, object]


def demo_command() -> Command:
    def configure(parser: ArgumentParser) -> None:
        parser.add_argument(
            "--vm", metavar="FILE", help="describes the machine that is shown, as for the command `emulator`"
        )

    def run(arguments: Namespace) -> int:
        try:
            with tempfile.TemporaryDirectory(prefix="imds-verifier-demo-") as directory:
                _demonstrate(Path(directory), () if arguments.vm is None else ("--vm", arguments.vm))
        except DemoError as error:
            sys.stderr.write(f"demo: {error}\n")
            return ExitStatus.REFUSED
        return ExitStatus.DONE

    return Command(
        name="demo",
        summary="Show the main job on this machine: emulated IMDS, service, agent, and two attempts to cheat.",
        configure=configure,
        run=run,
    )


def _demonstrate(directory: Path, machine: Sequence[str]) -> None:
    """Every step happened, or DemoError; in either case nothing that was started still runs."""
    trust, document = directory / "trust", directory / "document.json"
    with ExitStack() as running:
        imds = running.enter_context(_server("emulator", "--port", "0", "--trust-dir", str(trust), *machine))
        _say(f"An emulated IMDS answers at {imds}, signing with a throw-away PKI.")
        service = running.enter_context(
            _server(
                "serve",
                environment={
                    "VERIFIER_HOST": "127.0.0.1",
                    "VERIFIER_PORT": "0",
                    "VERIFIER_TRUST_DIR": str(trust),
                    "VERIFIER_NONCE_STORE": f"sqlite://{directory}/nonces.sqlite3",
                },
            )
        )
        _say(f"The service answers at {service}, with its nonces in SQLite.")
        _say("The agent asks the service for a nonce, IMDS for a document with it, and posts that:")
        agent = subprocess.run(  # noqa: S603 - our own command line
            _command("attest", "--verifier", service, "--imds", imds, "--save-document", str(document)),
            check=False,
            capture_output=True,
            text=True,
        )
        if agent.returncode != 0:
            raise DemoError(f"the agent was not verified: {agent.stderr.strip()}")
        _say(agent.stdout.rstrip(), indent="    ")
        answer = json.loads(document.read_bytes())
        _say("The same document, posted again:")
        _expect(_post(service, answer), code="nonce-replayed", status=409)
        _say("One byte of its signed content changed:")
        _expect(_post(service, _change_one_byte(answer)), code="signature-invalid", status=422)
    _say("Verified once, and cheated never. Everything is stopped.")


def _change_one_byte(answer: Mapping[str, str]) -> dict[str, str]:
    document = base64.b64decode(answer["signature"])
    # The value of vmId stands in the clear in the signed content.
    place = document.index(b'"vmId":"') + len(b'"vmId":"')
    changed = b"0" if document[place : place + 1] != b"0" else b"1"
    tampered = document[:place] + changed + document[place + 1 :]
    return {**answer, "signature": base64.b64encode(tampered).decode("ascii")}


def _post(service: str, body: Mapping[str, str]) -> _Answer:
    parts = urlsplit(service)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_START_SECONDS)
    try:
        connection.request(
            "POST", "/v1/attestations", json.dumps(dict(body)), headers={"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        return _Answer(status=response.status, body=json.loads(response.read()))
    finally:
        connection.close()


def _expect(answer: _Answer, *, code: str, status: int) -> None:
    if (answer.status, answer.body.get("code")) != (status, code):
        raise DemoError(f"expected {status} {code}, got {answer.status} {answer.body.get('code')}")
    _say(f"refused, {answer.status} {code}: {answer.body['detail']}", indent="    ")


@contextmanager
def _server(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """A command of ours that serves, by its base URL; stopped by its own process id on the way out."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}
    process = subprocess.Popen(  # noqa: S603 - our own command line
        _command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, **(environment or {})},
    )
    try:
        yield _await_announcement(process)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _await_announcement(process: subprocess.Popen[str]) -> str:
    """The URL in the first line that the server prints, which it does when it accepts connections."""
    if process.stdout is None:
        raise DemoError("a server without standard output")
    line = process.stdout.readline()
    if _ANNOUNCEMENT not in line:
        _, complaint = process.communicate(timeout=_STOP_SECONDS)
        raise DemoError(f"a server did not start: {complaint.strip()}")
    return line.split(_ANNOUNCEMENT, 1)[1].strip()


def _command(*arguments: str) -> list[str]:
    # -P: what is installed runs, not what happens to stand in the current directory.
    return [sys.executable, "-P", "-m", "verifier", *arguments]


def _say(text: str, *, indent: str = "") -> None:
    sys.stdout.write("".join(f"{indent}{line}\n" for line in text.splitlines()))
    sys.stdout.flush()

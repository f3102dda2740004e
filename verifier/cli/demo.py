"""Implement `imds-verifier demo`: one attestation on this machine with an emulated IMDS, and two attacks."""

import base64
import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from verifier.cli.commands import CommandParts, ExitStatus

_START_SECONDS = 30
_STOP_SECONDS = 15
_ANNOUNCEMENT = "listening on "


class DemoError(Exception):
    """Report a step of the demo with an unexpected result."""


def demo_command() -> CommandParts:
    def configure(parser: ArgumentParser) -> None:
        parser.add_argument("--vm", metavar="FILE", help="a file that describes the VM, as for the command `emulator`")

    def run(arguments: Namespace) -> int:
        try:
            with tempfile.TemporaryDirectory(prefix="imds-verifier-demo-") as directory:
                _demonstrate(Path(directory), () if arguments.vm is None else ("--vm", arguments.vm))
        except DemoError as error:
            sys.stderr.write(f"demo: {error}\n")
            return ExitStatus.REFUSED
        return ExitStatus.DONE

    return CommandParts(
        configure=configure,
        run=run,
    )


def _demonstrate(directory: Path, machine: Sequence[str]) -> None:
    """Run every step, and stop all servers at the end. Raises DemoError."""
    trust, document = directory / "trust", directory / "document.json"
    with ExitStack() as running:
        imds = running.enter_context(_server("emulator", "--port", "0", "--trust-dir", str(trust), *machine))
        _say(f"An emulated IMDS listens at {imds}. It signs with a temporary PKI.")
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
        _say(f"The service listens at {service}. It stores its nonces in SQLite.")
        _say("The agent gets a nonce from the service and a document from IMDS, and posts the document:")
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
        _say("Attack 1: post the same document again:")
        _expect_refusal(service, answer, code="nonce-replayed", status=409)
        _say("Attack 2: change one byte of the signed content:")
        _expect_refusal(service, _change_one_byte(answer), code="signature-invalid", status=422)
    _say("1 document accepted, 2 attacks rejected. All servers are stopped.")


def _change_one_byte(answer: Mapping[str, str]) -> dict[str, str]:
    document = base64.b64decode(answer["signature"])
    # The signed content is not encrypted, so the value of vmId can be found in it.
    place = document.index(b'"vmId":"') + len(b'"vmId":"')
    changed = b"0" if document[place : place + 1] != b"0" else b"1"
    tampered = document[:place] + changed + document[place + 1 :]
    return {**answer, "signature": base64.b64encode(tampered).decode("ascii")}


def _expect_refusal(service: str, body: Mapping[str, str], *, code: str, status: int) -> None:
    """Post the body, and show the refusal. Raises DemoError for another answer."""
    parts = urlsplit(service)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_START_SECONDS)
    try:
        connection.request(
            "POST", "/v1/attestations", json.dumps(dict(body)), headers={"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        answer: dict[str, object] = json.loads(response.read())
    finally:
        connection.close()
    if (response.status, answer.get("code")) != (status, code):
        raise DemoError(f"expected {status} {code}, got {response.status} {answer.get('code')}")
    _say(f"refused, {status} {code}: {answer['detail']}", indent="    ")


@contextmanager
def _server(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start a server command, yield its base URL, and stop the process at the end."""
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
    """Return the URL in the first line that the server prints as soon as it accepts connections."""
    if process.stdout is None:
        raise DemoError("the server has no standard output")
    line = process.stdout.readline()
    if _ANNOUNCEMENT not in line:
        _, complaint = process.communicate(timeout=_STOP_SECONDS)
        raise DemoError(f"the server did not start: {complaint.strip()}")
    return line.split(_ANNOUNCEMENT, 1)[1].strip()


def _command(*arguments: str) -> list[str]:
    # -P: run the installed package, not a `verifier` in the current directory.
    return [sys.executable, "-P", "-m", "verifier", *arguments]


def _say(text: str, *, indent: str = "") -> None:
    sys.stdout.write("".join(f"{indent}{line}\n" for line in text.splitlines()))
    sys.stdout.flush()

"""Implement `imds-verifier demo`: one attestation on this machine with an emulated IMDS, and two attacks.

With `--keep`, the servers run on, so that a person can look at the pages.
"""

import base64
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from verifier.cli.commands import CommandParts, ExitStatus

_START_SECONDS = 30
_STOP_SECONDS = 15
_POLL_SECONDS = 0.05
_KEY_BYTES = 32
_ANNOUNCEMENT = "listening on "


class DemoError(Exception):
    """Report a step of the demo with an unexpected result."""


def demo_command() -> CommandParts:
    def configure(parser: ArgumentParser) -> None:
        parser.add_argument("--vm", metavar="FILE", help="a file that describes the VM, as for the command `emulator`")
        parser.add_argument(
            "--keep", action="store_true", help="keep the servers running until Ctrl-C, and show where the pages are"
        )

    def run(arguments: Namespace) -> int:
        machine = () if arguments.vm is None else ("--vm", arguments.vm)
        try:
            with tempfile.TemporaryDirectory(prefix="imds-verifier-demo-") as directory:
                _demonstrate(Path(directory), machine, keep=arguments.keep)
        except DemoError as error:
            sys.stderr.write(f"demo: {error}\n")
            return ExitStatus.REFUSED
        return ExitStatus.DONE

    return CommandParts(
        configure=configure,
        run=run,
    )


def _demonstrate(directory: Path, machine: Sequence[str], *, keep: bool) -> None:
    """Run every step, and stop all servers at the end. With `keep`, wait for a signal before. Raises DemoError."""
    trust, document = directory / "trust", directory / "document.json"
    admin_key = secrets.token_urlsafe(_KEY_BYTES)
    with ExitStack() as running:
        # Documents of Azure, such as the examples of the inspector, are verified too.
        options = ("--port", "0", "--trust-dir", str(trust), "--trust-mode", "add", *machine)
        imds = running.enter_context(_server(directory / "imds.log", "emulator", *options))
        _say(f"An emulated IMDS listens at {imds}. It signs with a temporary PKI.")
        service = running.enter_context(
            _server(
                directory / "service.log",
                "serve",
                environment={
                    "VERIFIER_HOST": "127.0.0.1",
                    "VERIFIER_PORT": "0",
                    "VERIFIER_TRUST_DIR": str(trust),
                    "VERIFIER_NONCE_STORE": f"sqlite://{directory}/nonces.sqlite3",
                    "VERIFIER_ADMIN_KEYS": json.dumps({"demo": hashlib.sha256(admin_key.encode()).hexdigest()}),
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
        if keep:
            _show_pages(service, document, admin_key)
            _wait_for_signal()
    _say("1 document accepted, 2 attacks rejected. All servers are stopped.")


def _show_pages(service: str, document: Path, admin_key: str) -> None:
    """Print what a person can look at while the servers run. Raises DemoError."""
    _say(f"\nInspector:      {service}/")
    _say(f"Decisions:      {service}/decisions")
    _say(f"Trust:          {service}/trust")
    _say(f"Admin key:      {admin_key}")
    _say(f"Document:       {document}")
    record = _find_decision(service, admin_key)
    _say(f"Tenant:         {record['tenant']}")
    _say(f"The decision on this document, from {service}/v1/decisions/{record['requestId']}:")
    _say(json.dumps(record, indent=2), indent="    ")
    _say("Drop the document on the inspector. The other pages need the admin key. Press Ctrl-C to stop.")


def _find_decision(service: str, admin_key: str) -> Mapping[str, object]:
    """Return the record of the accepted document. The service keeps it shortly after its answer. Raises DemoError."""
    headers = {"Authorization": f"Bearer {admin_key}"}
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        status, answer = _request(service, "GET", "/v1/decisions?verdict=verified", headers=headers)
        decisions = answer.get("decisions")
        if status != HTTPStatus.OK or not isinstance(decisions, list):
            raise DemoError(f"the decisions cannot be read: {status} {answer.get('code')}")
        if decisions:
            record: Mapping[str, object] = decisions[0]
            return record
        time.sleep(_POLL_SECONDS)
    raise DemoError("there is no decision on the accepted document")


def _wait_for_signal() -> None:
    """Wait for Ctrl-C or SIGTERM. The servers of a terminal get Ctrl-C too, and stop by themselves."""
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ended.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _change_one_byte(answer: Mapping[str, str]) -> dict[str, str]:
    document = base64.b64decode(answer["signature"])
    # The signed content is not encrypted, so the value of vmId can be found in it.
    place = document.index(b'"vmId":"') + len(b'"vmId":"')
    changed = b"0" if document[place : place + 1] != b"0" else b"1"
    tampered = document[:place] + changed + document[place + 1 :]
    return {**answer, "signature": base64.b64encode(tampered).decode("ascii")}


def _expect_refusal(service: str, body: Mapping[str, str], *, code: str, status: int) -> None:
    """Post the body, and show the refusal. Raises DemoError for another answer."""
    found, answer = _request(
        service, "POST", "/v1/attestations", json.dumps(dict(body)), headers={"Content-Type": "application/json"}
    )
    if (found, answer.get("code")) != (status, code):
        raise DemoError(f"expected {status} {code}, got {found} {answer.get('code')}")
    _say(f"refused, {status} {code}: {answer['detail']}", indent="    ")


def _request(
    service: str, method: str, path: str, body: str | None = None, *, headers: Mapping[str, str]
) -> tuple[int, Mapping[str, object]]:
    """Send a request, and return the status and the JSON of its answer."""
    parts = urlsplit(service)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_START_SECONDS)
    try:
        connection.request(method, path, body, headers=dict(headers))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@contextmanager
def _server(log: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start a server command, yield its base URL, and stop the process at the end. It writes its log to a file."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}
    with log.open("wb") as written:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            _command(*arguments),
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
            env={**inherited, **(environment or {})},
        )
    try:
        yield _await_announcement(process, log)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _await_announcement(process: subprocess.Popen[str], log: Path) -> str:
    """Return the URL in the first line that the server prints as soon as it accepts connections."""
    if process.stdout is None:
        raise DemoError("the server has no standard output")
    line = process.stdout.readline()
    if _ANNOUNCEMENT not in line:
        process.communicate(timeout=_STOP_SECONDS)
        raise DemoError(f"the server did not start: {log.read_text('utf-8', 'replace').strip()}")
    return line.split(_ANNOUNCEMENT, 1)[1].strip()


def _command(*arguments: str) -> list[str]:
    # -P: run the installed package, not a `verifier` in the current directory.
    return [sys.executable, "-P", "-m", "verifier", *arguments]


def _say(text: str, *, indent: str = "") -> None:
    sys.stdout.write("".join(f"{indent}{line}\n" for line in text.splitlines()))
    sys.stdout.flush()

"""The service as it runs: the installed command, its workers and its stores, on loopback, stopped by its own id."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from support.openapi_checks import check_answer, check_request
from support.session_log import SESSION_LOG

#: An admin key, the header that sends it, and the setting with its hash: /readyz then shows its details.
ADMIN_KEY = "a-reader-of-details-0123456789-abcdefghijkl"
AS_ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
ADMIN_KEYS = json.dumps({"reader": hashlib.sha256(ADMIN_KEY.encode()).hexdigest()})

_START_SECONDS = 30
_STOP_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        fields: dict[str, object] = json.loads(self.body)
        return fields

    @property
    def code(self) -> object:
        return self.json.get("code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Asks a service, wherever it runs; each request on a connection of its own."""

    url: str
    #: Whether each answer is held against the OpenAPI description.
    described: bool = False

    def request(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_START_SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            answer = Answer(status=response.status, headers=dict(response.getheaders()), body=response.read())
        finally:
            connection.close()
        SESSION_LOG.keep_exchange(path, body, answer.body)
        if self.described:
            check_answer(method, path, answer.status, answer.headers, answer.body)
            named = {name.lower(): value for name, value in (headers or {}).items()}
            check_request(method, path, answer.status, named.get("content-type", ""), body or b"")
        return answer

    def post_json(self, path: str, fields: Mapping[str, object] | None = None) -> Answer:
        body = None if fields is None else json.dumps(fields).encode()
        return self.request("POST", path, body, headers={"Content-Type": "application/json"} if body else {})

    def issue_nonce(self, **binding: str) -> str:
        answer = self.post_json("/v1/nonces", binding or None)
        if answer.status != 201:
            raise AssertionError(f"no nonce: {answer.status} {answer.body!r}")
        return str(answer.json["nonce"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer(Client):
    """A server of ours; `log` is all of its standard error, once it has stopped."""

    process: subprocess.Popen[str]
    log: list[str]


@contextmanager
def running_server(
    *arguments: str, environment: Mapping[str, str] | None = None, under: Sequence[str] = ()
) -> Iterator[RunningServer]:
    """The command, once it says that it listens; run by the command `under`, where there is one."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}
    process = subprocess.Popen(
        [*under, sys.executable, "-P", "-m", "verifier", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, **(environment or {})},
    )
    log: list[str] = []
    reader = threading.Thread(target=_read_lines, args=(process, log))
    reader.start()
    try:
        if process.stdout is None:
            raise AssertionError("a server without standard output")
        line = process.stdout.readline()
        if "listening on " not in line:
            process.wait(_STOP_SECONDS)
            reader.join(_STOP_SECONDS)
            raise AssertionError(f"the server did not start: {''.join(log)}")
        yield RunningServer(url=line.split("listening on ", 1)[1].strip(), process=process, log=log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)
        reader.join(_STOP_SECONDS)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def running_service(
    *, nonce_store: str, trust_dir: Path, workers: int = 2, under: Sequence[str] = (), **settings: str
) -> Iterator[RunningServer]:
    """The service on a port of its own, with the settings given by their names in the environment."""
    environment = {
        "VERIFIER_HOST": "127.0.0.1",
        "VERIFIER_PORT": "0",
        "VERIFIER_TRUST_DIR": str(trust_dir),
        "VERIFIER_NONCE_STORE": nonce_store,
        "VERIFIER_WORKERS": str(workers),
        **settings,
    }
    with running_server("serve", environment=environment, under=under) as server:
        yield replace(server, described=True)


def metrics_of(service: RunningServer) -> RunningServer:
    """The other listener, which the service names in its second line."""
    assert service.process.stdout is not None
    line = service.process.stdout.readline()
    url = line.removeprefix("service: metrics on ").strip()
    assert url.endswith("/metrics")
    return RunningServer(url=url.removesuffix("/metrics"), process=service.process, log=service.log)


def _read_lines(process: subprocess.Popen[str], log: list[str]) -> None:
    """Keeps the pipe empty, so that the server never waits for a reader."""
    for line in process.stderr or ():
        log.append(line)
        SESSION_LOG.lines.append(line)

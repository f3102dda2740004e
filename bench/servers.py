"""Start the installed service and the empty application with equal settings, and read what the kernel says of them."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from support.live_documents import write_current_trust
from support.processes import await_that, children_of
from support.redis_server import running_redis_server

from verifier.adapters.clock import SystemClock
from verifier.adapters.tokens.key_directory import TokenKeyDirectory
from verifier.ports.tokens import TokenAlgorithm

#: The key of the one tenant.
KEY = "a-key-of-the-bench-0123456789-abcdefghijkl"
WORKERS = 2
#: The Python that runs what is measured. `make bench` names one that has no packages of the tests.
PYTHON = os.environ.get("BENCH_PYTHON", sys.executable)
SERVICE = ("-P", "-m", "verifier", "serve")
EMPTY = ("-P", str(Path(__file__).with_name("empty_app.py")))
#: Longer than a writer of decisions waits until it writes.
_WRITTEN_SECONDS = 1.2
_STOP_SECONDS = 20
_NANOSECONDS = 1e9
_KIB_OF_A_MB = 1000 / 1024 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that listens. `seconds` are those from its start until it said so."""

    process_id: int
    host: str
    port: int
    seconds: float

    @property
    def workers(self) -> list[int]:
        return children_of(self.process_id)

    def status_of(self, path: str) -> int:
        """Return the status of a GET, on a connection of its own."""
        connection = HTTPConnection(self.host, self.port, timeout=_STOP_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the servers of a bench share: settings, a Redis, and a directory for their logs."""

    directory: Path
    settings: Mapping[str, str]
    redis_process_id: int

    @contextmanager
    def running(self, arguments: Sequence[str]) -> Iterator[Server]:
        """Run a server. Its log goes to a file, so that no reader of it takes CPU time. Raises RuntimeError."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}
        with (self.directory / "log").open("ab") as log:
            started = time.monotonic()
            process = subprocess.Popen(  # noqa: S603 - the installed service, or the empty application
                [PYTHON, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**environment, **self.settings},
            )
        try:
            line = process.stdout.readline() if process.stdout else ""
            parts = urlsplit(line.partition("listening on ")[2].strip())
            if not parts.hostname or not parts.port:
                raise RuntimeError(f"the server did not start: {(self.directory / 'log').read_text()[-2000:]}")
            seconds = time.monotonic() - started
            yield Server(process_id=process.pid, host=parts.hostname, port=parts.port, seconds=seconds)
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)
            if process.stdout:
                process.stdout.close()

    @contextmanager
    def both(self) -> Iterator[tuple[Server, Server]]:
        """Run the service and the empty application. Both are ready."""
        with ExitStack() as stack:
            service = stack.enter_context(self.running(SERVICE))
            empty = stack.enter_context(self.running(EMPTY))
            await_that(lambda: len(service.workers) == len(empty.workers) == WORKERS)
            await_that(lambda: service.status_of("/readyz") == HTTPStatus.OK)
            await_that(lambda: empty.status_of("/") == HTTPStatus.METHOD_NOT_ALLOWED)
            yield service, empty


@contextmanager
def make_site() -> Iterator[Site]:
    """Make the settings of a service in production: tokens, a tenant with a rate, and all stores on a Redis."""
    with TemporaryDirectory(prefix="bench-") as name, running_redis_server() as redis:
        directory = Path(name)
        minute = timedelta(minutes=1)
        keys = TokenKeyDirectory(directory / "keys", clock=SystemClock(), token_lifetime=minute, refresh=minute)
        keys.generate(TokenAlgorithm.ES256)
        tenant = {"keys": [hashlib.sha256(KEY.encode()).hexdigest()], "rate": "1000000/minute"}
        settings = {
            "VERIFIER_HOST": "127.0.0.1",
            "VERIFIER_PORT": "0",
            "VERIFIER_WORKERS": str(WORKERS),
            "VERIFIER_TRUST_DIR": str(write_current_trust(directory / "trust")),
            "VERIFIER_NONCE_STORE": redis.url,
            "VERIFIER_TOKEN_KEYS_DIR": str(directory / "keys"),
            "VERIFIER_TOKEN_ISSUER": "https://verifier.example",
            "VERIFIER_TENANTS": json.dumps({"bench": tenant}),
        }
        yield Site(directory=directory, settings=settings, redis_process_id=redis.process_id)


def wait_for_decisions() -> None:
    """Wait until the workers have written the records of their decisions, whose cost counts too."""
    time.sleep(_WRITTEN_SECONDS)  # a request that asks for them would cost CPU time that is measured


def cpu_seconds(process_id: int) -> float:
    """Return the CPU time of all threads of the process (proc_pid_schedstat: nanoseconds on a CPU)."""
    tasks = Path(f"/proc/{process_id}/task").iterdir()
    return sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks) / _NANOSECONDS


def pss_megabytes(process_id: int) -> float:
    """Return the memory of the process, in which each shared page counts for its share (proc_pid_smaps: Pss)."""
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text("ascii").splitlines()
    (kibibytes,) = [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
    return kibibytes / _KIB_OF_A_MB

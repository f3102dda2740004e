"""Run an emulator on a socket, in threads of this process."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from verifier.emulator.control_api import ROOT, create_control_api
from verifier.emulator.controls import Conditions, Controls
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.http_connections import OpenConnections, handler_of
from verifier.emulator.imds import create_imds
from verifier.emulator.rules import RequestLimiter
from verifier.emulator.scenarios import Authorities
from verifier.emulator.trust_directory import write_trust_directory

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEmulator:
    """An emulator of `vm` at `url`. `put` and `reset` apply to all further requests."""

    url: str
    vm: VirtualMachine
    controls: Controls
    limiter: RequestLimiter

    def put(self, conditions: Conditions) -> None:
        """Replace the conditions, or raise ValueError and keep the earlier ones."""
        self.controls.put(conditions)

    def reset(self) -> None:
        """Restore the conditions of the start and reset the rate limit. The cached document stays."""
        self.controls.reset()
        self.limiter.reset()

    def write_trust(self, directory: Path) -> None:
        """Write the trust directory for a verifier. Raises as `write_trust_directory` does."""
        write_trust_directory(directory, cloud=self.vm.cloud, certificates=self.controls.authorities.trusted)


@contextmanager
def running_emulator(
    listener: socket.socket,
    *,
    vm: VirtualMachine,
    authorities: Authorities,
    start: Conditions | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    observe: Callable[[str], object] | None = None,
) -> Iterator[RunningEmulator]:
    """Serve on `listener`, which must listen already. The caller closes it. `monotonic` is the clock of the rate limit.

    `observe` gets the method and the target of each request to IMDS, such as `GET /metadata/versions`. A target can
    contain a nonce. Leaving the context aborts running responses.
    """
    host, port = listener.getsockname()[:2]
    # The issuer URL in certificates needs an address that clients can connect to.
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - replaced by loopback
    controls = Controls(
        authorities=authorities,
        clock=lambda: datetime.now(UTC),
        base_url=_url(reachable, port),
        start=start,
    )
    limiter = RequestLimiter(monotonic=monotonic)
    emulator = RunningEmulator(url=_url(host, port), vm=vm, controls=controls, limiter=limiter)
    stopping = threading.Event()
    connections = OpenConnections()
    imds = create_imds(vm=vm, controls=controls, limiter=limiter, wait=stopping.wait)
    server = make_server(
        host,
        port,
        DispatcherMiddleware(
            imds.wsgi_app if observe is None else _observed(imds.wsgi_app, observe),
            {ROOT: create_control_api(controls, reset=emulator.reset)},
        ),
        threaded=True,
        request_handler=handler_of(connections),
        # Without `fd`, werkzeug prints a message and exits if the port is taken.
        fd=listener.fileno(),
    )
    # A short poll interval makes the shutdown quick.
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="emulator")
    thread.start()
    try:
        yield emulator
    finally:
        stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
        connections.close()


def _observed(app: "WSGIApplication", observe: Callable[[str], object]) -> "WSGIApplication":
    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        observe(f"{environ['REQUEST_METHOD']} {environ['REQUEST_URI']}")
        return app(environ, start_response)

    return answer


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def loopback_emulator(
    vm: VirtualMachine,
    *,
    start: Conditions | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[RunningEmulator]:
    """Run an emulator on a free port of 127.0.0.1, with a temporary PKI."""
    authorities = Authorities.generate(now=datetime.now(UTC), cloud=vm.cloud, region=vm.region)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_emulator(listener, vm=vm, authorities=authorities, start=start, monotonic=monotonic) as emulator,
    ):
        yield emulator

"""An emulator that runs: on a socket of its own, in threads of this process, until it is left."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server

from verifier.emulator.control import ROOT, create_control
from verifier.emulator.controls import Conditions, Controls
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.imds import create_imds
from verifier.emulator.rules import Admission
from verifier.emulator.scenarios import Authorities


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEmulator:
    """Answers at `url`, for `vm`; `put` and `reset` change what happens, for every request from then on."""

    url: str
    vm: VirtualMachine
    controls: Controls
    admission: Admission

    def put(self, conditions: Conditions) -> None:
        """These conditions in place of the earlier ones. Raises ValueError, and then nothing changed."""
        self.controls.put(conditions)

    def reset(self) -> None:
        """As at the start; the rate limit has forgotten what was asked. The cached document stays the last one."""
        self.controls.reset()
        self.admission.reset()

    def write_trust(self, directory: Path) -> None:
        """What makes a verifier accept these documents, as `write_trust_directory` writes it, and raises."""
        self.controls.authorities.write_trust(directory, cloud=self.vm.cloud)


class _SilentHandler(WSGIRequestHandler):
    """Logs nothing: a request line carries the nonce."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name for it
        del type, message, args


@contextmanager
def running_emulator(
    listener: socket.socket,
    *,
    vm: VirtualMachine,
    authorities: Authorities,
    start: Conditions | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[RunningEmulator]:
    """Serves on `listener`, which listens already and stays its owner's to close: a connection made from now on is
    accepted. Answers under way when it is left are cut off. `monotonic` is for the rate limit."""
    host, port = listener.getsockname()[:2]
    # The issuer's address is a certificate's to carry: "every address" is none that leads anywhere.
    reached_at = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to be told from others
    controls = Controls(
        authorities=authorities,
        clock=lambda: datetime.now(UTC),
        base_url=_url(reached_at, port),
        start=start,
    )
    admission = Admission(monotonic=monotonic)
    emulator = RunningEmulator(url=_url(host, port), vm=vm, controls=controls, admission=admission)
    is_over = threading.Event()
    imds = create_imds(vm=vm, circumstances=controls, admission=admission, wait=is_over.wait)
    server = make_server(
        host,
        port,
        DispatcherMiddleware(imds, {ROOT: create_control(controls, reset=emulator.reset)}),
        threaded=True,
        request_handler=_SilentHandler,
        # With a socket of ours, a port that is taken is an OSError; werkzeug itself would print and exit.
        fd=listener.fileno(),
    )
    # Polling often only makes the shutdown quick.
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="emulator")
    thread.start()
    try:
        yield emulator
    finally:
        is_over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def loopback_emulator(
    vm: VirtualMachine,
    *,
    start: Conditions | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[RunningEmulator]:
    """On a free port of 127.0.0.1, with a throw-away PKI."""
    authorities = Authorities.throw_away(now=datetime.now(UTC), cloud=vm.cloud, region=vm.region)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_emulator(listener, vm=vm, authorities=authorities, start=start, monotonic=monotonic) as emulator,
    ):
        yield emulator

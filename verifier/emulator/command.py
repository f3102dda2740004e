"""The command `emulator`: an IMDS on a loopback address, until it is told to stop."""

import argparse
import ipaddress
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from verifier.emulator.authority import UnusableAuthorityError, read_authority
from verifier.emulator.documents import Plan, VirtualMachine
from verifier.emulator.imds import create_app
from verifier.emulator.pki import Identity, make_cloud_signer, make_pki
from verifier.emulator.trust_directory import (
    ForeignDirectoryError,
    TrustedCertificate,
    TrustedCloud,
    write_trust_directory,
)

_DONE: Final = 0
_USAGE: Final = 2
_CLOUD: Final = TrustedCloud(name="AzurePublicCloud", domain="metadata.azure.com")
_DEFAULT: Final = VirtualMachine()


class _SilentHandler(WSGIRequestHandler):
    """Logs nothing: a request line carries the nonce."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name for it
        del type, message, args


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--allow-open-listening",
        action="store_true",
        help="permit another host than loopback, where whoever reaches the emulator can be this machine",
    )
    parser.add_argument("--port", type=_port, default=8254, help="port, 0 for any free one (default %(default)s)")
    parser.add_argument(
        "--trust-dir",
        type=Path,
        metavar="DIR",
        help="where to write the trust that makes a verifier accept these documents; optional with --authority",
    )
    parser.add_argument(
        "--authority",
        type=Path,
        metavar="DIR",
        help="a CA that signs the signers, instead of a throw-away PKI: tls.crt and tls.key, as of a TLS secret",
    )
    parser.add_argument("--region", default=_DEFAULT.region, help="of the signer's name (default %(default)s)")
    parser.add_argument("--vm-id", default=_DEFAULT.vm_id, help="(default %(default)s)")
    parser.add_argument("--subscription-id", default=_DEFAULT.subscription_id, help="(default %(default)s)")
    parser.add_argument("--publisher", default=_DEFAULT.plan.publisher, help="of the plan (default %(default)s)")
    parser.add_argument("--product", default=_DEFAULT.plan.product, help="of the plan (default %(default)s)")
    parser.add_argument("--plan", default=_DEFAULT.plan.name, help="the plan's name (default %(default)s)")
    parser.add_argument("--sku", default=_DEFAULT.sku, help="(default %(default)s)")
    parser.add_argument("--license-type", default=_DEFAULT.license_type, help="(default: empty)")


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT, then 0; 2, with a sentence on stderr, where the arguments allow no start.

    Must be called in the main thread, which is the one that Python gives signals to.
    """
    if arguments.trust_dir is None and arguments.authority is None:
        sys.stderr.write("emulator: --trust-dir is needed where there is no --authority\n")
        return _USAGE
    try:
        vm = _virtual_machine(arguments)
        with _listen(arguments.host, arguments.port, is_open=arguments.allow_open_listening) as listener:
            signer, authorities = _make_chain(arguments.authority, vm)
            if arguments.trust_dir is not None:
                write_trust_directory(arguments.trust_dir, cloud=_CLOUD, certificates=authorities)
            app = create_app(
                signer=signer,
                vm=vm,
                clock=lambda: datetime.now(UTC),
                monotonic=time.monotonic,
            )
            _serve(app, listener)
    except (ValueError, OSError, ForeignDirectoryError, UnusableAuthorityError) as error:
        sys.stderr.write(f"emulator: {error}\n")
        return _USAGE
    return _DONE


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:  # noqa: PLR2004 - RFC 9293 3.1: 16 bits
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _virtual_machine(arguments: argparse.Namespace) -> VirtualMachine:
    return VirtualMachine(
        vm_id=arguments.vm_id,
        subscription_id=arguments.subscription_id,
        plan=Plan(publisher=arguments.publisher, product=arguments.product, name=arguments.plan),
        sku=arguments.sku,
        license_type=arguments.license_type,
        region=arguments.region,
    )


def _listen(host: str, port: int, *, is_open: bool) -> socket.socket:
    """A listening socket; on loopback, unless `is_open`: whoever reaches the emulator can be this VM."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"--host {host} is not an IP address") from None
    if not address.is_loopback and not is_open:
        raise ValueError(f"--host {host} is not a loopback address; --allow-open-listening permits it")
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IP version
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}") from error


def _make_chain(authority: Path | None, vm: VirtualMachine) -> tuple[Identity, tuple[TrustedCertificate, ...]]:
    """The signer, and what a verifier has to trust for it."""
    now = datetime.now(UTC)
    if authority is None:
        pki = make_pki(now=now, domain=_CLOUD.domain, region=vm.region)
        return pki.signer, (
            TrustedCertificate(name="emulator-root", role="root", certificate=pki.root.certificate),
            TrustedCertificate(
                name="emulator-issuing-ca",
                role="intermediate",
                certificate=pki.issuing_ca.certificate,
            ),
        )
    issuer = read_authority(authority, now=now)
    signer = make_cloud_signer(issuer=issuer, now=now, domain=_CLOUD.domain, region=vm.region)
    return signer, (TrustedCertificate(name="emulator-authority", role="root", certificate=issuer.certificate),)


def _serve(app: Flask, listener: socket.socket) -> None:
    """Answers on `listener`, in threads, until SIGTERM or SIGINT; the signals' earlier handlers are back afterwards."""
    host, port = listener.getsockname()[:2]
    server = make_server(
        host,
        port,
        app,
        threaded=True,
        request_handler=_SilentHandler,
        # With a socket of ours, a port that is taken is an OSError; werkzeug itself would print and exit.
        fd=listener.fileno(),
    )
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    earlier = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _serve_until(stop, server, f"http://{f'[{host}]' if ':' in host else host}:{port}")
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _serve_until(stop: threading.Event, server: BaseWSGIServer, url: str) -> None:
    thread = threading.Thread(target=server.serve_forever, name="emulator")
    thread.start()
    try:
        # The socket listens since before the thread: a connection made from now on is accepted.
        sys.stdout.write(f"emulator: listening on {url}\n")
        sys.stdout.flush()
        stop.wait()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""The command `emulator`: an IMDS on an address of this machine, until it is told to stop."""

import argparse
import ipaddress
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Final

from verifier.emulator.authority import UnusableAuthorityError, read_authority
from verifier.emulator.controls import Conditions
from verifier.emulator.documents import Plan, VirtualMachine
from verifier.emulator.scenarios import Authorities
from verifier.emulator.server import running_emulator
from verifier.emulator.trust_directory import ForeignDirectoryError
from verifier.emulator.virtual_machines import VirtualMachineError, read_virtual_machine

_DONE: Final = 0
_USAGE: Final = 2
_DEFAULT: Final = VirtualMachine()
#: A machine without a file: each option, what it is, and what holds without it.
_MACHINE_OPTIONS: Final = {
    "region": ("of the signer's name", _DEFAULT.region),
    "vm-id": ("the machine's vmId", _DEFAULT.vm_id),
    "subscription-id": ("of the machine", _DEFAULT.subscription_id),
    "publisher": ("of the plan", _DEFAULT.plan.publisher),
    "product": ("of the plan", _DEFAULT.plan.product),
    "plan": ("the plan's name", _DEFAULT.plan.name),
    "sku": ("of the image", _DEFAULT.sku),
    "license-type": ("of the Azure Hybrid Benefit", _DEFAULT.license_type),
}


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
    parser.add_argument("--vm", type=Path, metavar="FILE", help="describes the machine, instead of the options below")
    parser.add_argument(
        "--clock-offset",
        type=_seconds,
        default=timedelta(0),
        metavar="SECONDS",
        help="what the documents' times are ahead of the true ones, or behind (default 0)",
    )
    for option, (what, default) in _MACHINE_OPTIONS.items():
        parser.add_argument(f"--{option}", help=f"{what} (default: {default or 'empty'})")


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT, then 0; 2, with a sentence on stderr, where the arguments allow no start.

    Must be called in the main thread, which is the one that Python gives signals to.
    """
    if arguments.trust_dir is None and arguments.authority is None:
        sys.stderr.write("emulator: --trust-dir is needed where there is no --authority\n")
        return _USAGE
    try:
        vm = _virtual_machine(arguments)
        start = Conditions(clock_offset=arguments.clock_offset)
        with _bind(arguments.host, arguments.port, is_open=arguments.allow_open_listening) as listener:
            authorities = _authorities(arguments.authority, vm)
            if arguments.trust_dir is not None:
                authorities.write_trust(arguments.trust_dir, cloud=vm.cloud)
            # Only now: whoever gets a connection finds the trust directory.
            listener.listen()
            _serve(listener, vm=vm, authorities=authorities, start=start)
    except (ValueError, OSError, ForeignDirectoryError, UnusableAuthorityError, VirtualMachineError) as error:
        sys.stderr.write(f"emulator: {error}\n")
        return _USAGE
    return _DONE


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:  # noqa: PLR2004 - RFC 9293 3.1: 16 bits
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _seconds(text: str) -> timedelta:
    try:
        return timedelta(seconds=float(text))
    except OverflowError:
        raise argparse.ArgumentTypeError("no clock is that far off") from None


def _virtual_machine(arguments: argparse.Namespace) -> VirtualMachine:
    """Of the file, or of the options: one place says what the machine is."""
    given = {option: getattr(arguments, option.replace("-", "_")) for option in _MACHINE_OPTIONS}
    if arguments.vm is not None:
        beside = ", ".join(f"--{option}" for option, value in given.items() if value is not None)
        if beside:
            raise VirtualMachineError(f"{beside} cannot stand beside --vm, whose file says it")
        return read_virtual_machine(arguments.vm)
    told = {
        option: default if given[option] is None else given[option] for option, (_, default) in _MACHINE_OPTIONS.items()
    }
    return VirtualMachine(
        vm_id=told["vm-id"],
        subscription_id=told["subscription-id"],
        plan=Plan(publisher=told["publisher"], product=told["product"], name=told["plan"]),
        sku=told["sku"],
        license_type=told["license-type"],
        region=told["region"],
    )


def _authorities(directory: Path | None, vm: VirtualMachine) -> Authorities:
    now = datetime.now(UTC)
    if directory is None:
        return Authorities.throw_away(now=now, cloud=vm.cloud, region=vm.region)
    return Authorities.kept(read_authority(directory, now=now), cloud=vm.cloud, region=vm.region)


def _bind(host: str, port: int, *, is_open: bool) -> socket.socket:
    """A socket that does not listen yet; on loopback, unless `is_open`: whoever reaches the emulator can be this VM."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"--host {host} is not an IP address") from None
    if not address.is_loopback and not is_open:
        raise ValueError(f"--host {host} is not a loopback address; --allow-open-listening permits it")
    bound = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)  # noqa: PLR2004 - IP version
    try:
        # As socket.create_server does: a port that closed a moment ago can be had again.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return bound


def _serve(listener: socket.socket, *, vm: VirtualMachine, authorities: Authorities, start: Conditions) -> None:
    with (
        running_emulator(listener, vm=vm, authorities=authorities, start=start) as emulator,
        _told_to_stop() as stop,
    ):
        sys.stdout.write(f"emulator: listening on {emulator.url}\n")
        sys.stdout.flush()
        stop.wait()


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets; the signals' earlier handlers are back afterwards."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    earlier = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)

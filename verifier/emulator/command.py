"""The command `emulator`: serves an emulated IMDS on this machine until it receives a signal."""

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
from typing import Final, get_args

from verifier.emulator.authority import UnusableAuthorityError, read_authority
from verifier.emulator.controls import Conditions
from verifier.emulator.documents import REGION_RULE, MarketplacePlan, VirtualMachine, is_region
from verifier.emulator.printable import printable
from verifier.emulator.scenarios import Authorities
from verifier.emulator.schema import is_encodable
from verifier.emulator.server import running_emulator
from verifier.emulator.trust_directory import ForeignDirectoryError, TrustMode, write_trust_directory
from verifier.emulator.virtual_machines import VirtualMachineError, read_virtual_machine

_DONE: Final = 0
_USAGE: Final = 2
_DEFAULT: Final = VirtualMachine()
#: The options that describe a machine without a file: help text and default.
_MACHINE_OPTIONS: Final = {
    "region": ("region in the name of the signer", _DEFAULT.region),
    "vm-id": ("vmId of the machine", _DEFAULT.vm_id),
    "subscription-id": ("subscription of the machine", _DEFAULT.subscription_id),
    "publisher": ("publisher of the plan", _DEFAULT.plan.publisher),
    "product": ("product of the plan", _DEFAULT.plan.product),
    "plan": ("name of the plan", _DEFAULT.plan.name),
    "sku": ("SKU of the image", _DEFAULT.sku),
    "license-type": ("licenseType of the Azure Hybrid Benefit", _DEFAULT.license_type),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--allow-open-listening",
        action="store_true",
        help="allow other hosts than loopback; every client that can connect then gets documents of this machine",
    )
    parser.add_argument(
        "--port", type=_port, default=8254, help="port to listen on, 0 for a free one (default %(default)s)"
    )
    parser.add_argument(
        "--trust-dir",
        type=Path,
        metavar="DIR",
        help="directory to write, which makes a verifier trust these documents; optional with --authority",
    )
    parser.add_argument(
        "--trust-mode",
        choices=get_args(TrustMode),
        default="replace",
        help="whether the verifier then trusts this emulator alone, or its shipped CAs too (default %(default)s)",
    )
    parser.add_argument(
        "--authority",
        type=Path,
        metavar="DIR",
        help="directory with tls.crt and tls.key of the CA that signs the signers (default: a temporary PKI)",
    )
    parser.add_argument(
        "--vm",
        type=Path,
        metavar="FILE",
        help="TOML file that describes the machine, or a recorded JSON answer of /metadata/instance, instead of the "
        "options below",
    )
    parser.add_argument(
        "--clock-offset",
        type=_seconds,
        default=timedelta(0),
        metavar="SECONDS",
        help="seconds to add to the times in documents, negative for a slow clock (default 0)",
    )
    for option, (description, default) in _MACHINE_OPTIONS.items():
        parser.add_argument(f"--{option}", help=f"{description} (default: {default or 'empty'})")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT and return 0, or write one sentence to stderr and return 2 if it cannot start.

    Call it in the main thread: Python delivers signals only there.
    """
    if arguments.trust_dir is None and arguments.authority is None:
        _say("--trust-dir is required without --authority")
        return _USAGE
    try:
        vm = _virtual_machine(arguments)
        start = Conditions(clock_offset=arguments.clock_offset)
        with _bind(arguments.host, arguments.port, is_open=arguments.allow_open_listening) as listener:
            authorities = _authorities(arguments.authority, vm)
            if arguments.trust_dir is not None:
                write_trust_directory(
                    arguments.trust_dir,
                    cloud=vm.cloud,
                    certificates=authorities.trusted,
                    mode=arguments.trust_mode,
                )
            # Listen last, so that every client that connects finds the trust directory.
            listener.listen()
            _serve(listener, vm=vm, authorities=authorities, start=start)
    except (ValueError, OSError, ForeignDirectoryError, UnusableAuthorityError, VirtualMachineError) as error:
        _say(str(error))
        return _USAGE
    return _DONE


def _say(text: str) -> None:
    sys.stderr.write(f"emulator: {printable(text)}\n")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:  # noqa: PLR2004 - RFC 9293 3.1: 16 bits
        raise argparse.ArgumentTypeError("expected a port from 0 to 65535")
    return port


def _seconds(text: str) -> timedelta:
    try:
        return timedelta(seconds=float(text))
    except OverflowError:
        raise argparse.ArgumentTypeError("the offset is too large") from None


def _virtual_machine(arguments: argparse.Namespace) -> VirtualMachine:
    """Read the machine from the file or from the options, but not from both."""
    given = {option: getattr(arguments, option.replace("-", "_")) for option in _MACHINE_OPTIONS}
    if arguments.vm is not None:
        conflicting = ", ".join(f"--{option}" for option, value in given.items() if value is not None)
        if conflicting:
            raise VirtualMachineError(f"{conflicting} cannot be combined with --vm: set it in the file")
        return read_virtual_machine(arguments.vm, note=lambda text: _say(f"note: {text}"))
    values = {
        option: default if given[option] is None else given[option] for option, (_, default) in _MACHINE_OPTIONS.items()
    }
    for option, value in values.items():
        if not is_encodable(value):
            raise VirtualMachineError(f"--{option} has bytes that are not text")
    if not is_region(values["region"]):
        raise VirtualMachineError(f"--region {REGION_RULE}")
    return VirtualMachine(
        vm_id=values["vm-id"],
        subscription_id=values["subscription-id"],
        plan=MarketplacePlan(publisher=values["publisher"], product=values["product"], name=values["plan"]),
        sku=values["sku"],
        license_type=values["license-type"],
        region=values["region"],
    )


def _authorities(directory: Path | None, vm: VirtualMachine) -> Authorities:
    now = datetime.now(UTC)
    if directory is None:
        return Authorities.generate(now=now, cloud=vm.cloud, region=vm.region)
    return Authorities.from_ca(read_authority(directory, now=now), cloud=vm.cloud, region=vm.region)


def _bind(host: str, port: int, *, is_open: bool) -> socket.socket:
    """Bind a socket that does not listen yet. Raises ValueError for a host other than loopback unless `is_open`."""
    try:
        # URLs write IPv6 addresses in brackets.
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(f"--host {host} is not an IP address") from None
    # Python 3.13 changed `is_loopback` of IPv4-mapped addresses.
    mapped = getattr(address, "ipv4_mapped", None)
    if not (mapped or address).is_loopback and not is_open:
        raise ValueError(f"--host {host} is not a loopback address; --allow-open-listening allows it")
    bound = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)  # noqa: PLR2004 - IP version
    try:
        # As socket.create_server does: reuse a port that closed a moment ago.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((str(address), port))
    except OSError as error:
        bound.close()
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return bound


def _serve(listener: socket.socket, *, vm: VirtualMachine, authorities: Authorities, start: Conditions) -> None:
    with (
        running_emulator(listener, vm=vm, authorities=authorities, start=start) as emulator,
        _stopped_by_signals() as stop,
    ):
        sys.stdout.write(f"emulator: listening on {emulator.url}\n")
        sys.stdout.flush()
        stop.wait()


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM or SIGINT sets. Restore the earlier handlers afterwards."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    earlier = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)

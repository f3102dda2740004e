"""Network namespaces for threads: each has the address of IMDS on its loopback interface, and reaches nothing else.

A thread that enters one has it until it ends, with its child processes. Sockets stay in the namespace that they were
made in, so another thread can serve them.
"""

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from typing import Final, TypeVar

IMDS_ADDRESS: Final = "169.254.169.254"
_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_Result = TypeVar("_Result")


class NamespaceRefused(Exception):
    """The machine does not permit a network namespace. The text says why."""


def in_new_namespace(call: Callable[[], _Result]) -> _Result:
    """Run `call` in a thread with a network namespace of its own. Raises NamespaceRefused, or what `call` raises."""
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _enter()
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the caller
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in errors:
        raise error
    return results[0]


def _enter() -> None:
    if shutil.which("ip") is None:
        raise NamespaceRefused("ip not found: install iproute2")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise NamespaceRefused(f"network namespaces are not permitted here: {os.strerror(ctypes.get_errno())}")
    for command in ("ip link set lo up", f"ip address add {IMDS_ADDRESS}/32 dev lo"):
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NamespaceRefused(f"{command}: {done.stderr.strip()}")

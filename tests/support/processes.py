"""What the kernel says of the processes of a running service."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE_SECONDS = 60
_POLL_SECONDS = 0.02
_IN_A_ROW = 16


def children_of(process_id: int) -> list[int]:
    text = Path(f"/proc/{process_id}/task/{process_id}/children").read_text("ascii")
    return [int(child) for child in text.split()]


def is_stopped(process_id: int) -> bool:
    """Whether SIGSTOP has taken effect: until then, a signal of a lower number that comes later is handled before."""
    return _status(process_id)["State"].split()[0] == "T"


def is_pending(number: int, process_id: int) -> bool:
    """Whether the signal waits for the process, as it does while that is stopped (proc(5): ShdPnd is a mask)."""
    return bool(int(_status(process_id)["ShdPnd"], 16) & 1 << (number - 1))


def _status(process_id: int) -> dict[str, str]:
    lines = Path(f"/proc/{process_id}/status").read_text("ascii").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


def await_that(
    condition: Callable[[], bool], *, seconds: float = DEADLINE_SECONDS, told: Callable[[], object] = lambda: ""
) -> None:
    """Wait until the condition holds. If it does not within `seconds`, fail with what `told` returns."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, told()
        threading.Event().wait(_POLL_SECONDS)


def await_everywhere(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds in all workers of a service.

    No answer says which worker gives it. If the condition holds so many times in a row, it holds in each.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    in_a_row = 0
    while in_a_row < _IN_A_ROW:
        in_a_row = in_a_row + 1 if condition() else 0
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)

"""Keep a result current: renew it before it expires, and retry failures with growing pauses."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from verifier.agent.exit_codes import ExitCode, NotAttested

_MIN_SECONDS: Final = 5.0
_MAX_SECONDS: Final = 6 * 3600.0
_UNKNOWN_LIFETIME_SECONDS: Final = 300.0
_FIRST_RETRY_SECONDS: Final = 5.0
_MAX_RETRY_SECONDS: Final = 300.0


class StoppedError(Exception):
    """SIGTERM or SIGINT arrived."""


def watch(
    *,
    attempt: Callable[[], float | None],
    report: Callable[[NotAttested], None],
    sleep: Callable[[float], None],
    random: Callable[[], float],
) -> None:
    """Attest again and again, until `attempt` or `sleep` raises `StoppedError`.

    `attempt` returns the lifetime of its result in seconds, or None if unknown. `random` (0 to 1) spreads the pauses,
    so that machines that started together do not send their requests together. Raises `NotAttested` only if the first
    attempt ends with USAGE, because no retry can succeed then.
    """
    failures = 0
    first = True
    while True:
        try:
            lifetime = attempt()
        except NotAttested as error:
            if first and error.exit_code is ExitCode.USAGE:
                raise
            report(error)
            pause = retry_pause(failures, chance=random(), retry_after=error.retry_after)
            failures += 1
        else:
            pause = renewal_pause(lifetime, chance=random())
            failures = 0
        first = False
        sleep(pause)


def renewal_pause(lifetime: float | None, *, chance: float) -> float:
    """Return half to three quarters of the lifetime, but at least 5 s and at most 6 h."""
    seconds = _UNKNOWN_LIFETIME_SECONDS if lifetime is None else lifetime
    return min(max(seconds * (0.5 + chance / 4), _MIN_SECONDS), _MAX_SECONDS)


def retry_pause(failures: int, *, chance: float, retry_after: int | None) -> float:
    """Return 5 s, 10 s and so on up to 300 s, less up to a half, but at least `retry_after` (up to 6 h).

    `failures` counts the failures in a row before this one.
    """
    backoff = min(_FIRST_RETRY_SECONDS * 2.0 ** min(failures, 16), _MAX_RETRY_SECONDS) * (1 - chance / 2)
    return max(backoff, min(retry_after or 0, _MAX_SECONDS))


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `StoppedError` in the main thread on SIGTERM or SIGINT. Restore the earlier handlers afterwards."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        # Ignore further signals, so that they do not interrupt the clean-up.
        for number in earlier:
            signal.signal(number, signal.SIG_IGN)
        raise StoppedError

    earlier = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in earlier:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)

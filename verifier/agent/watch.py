"""Attest again and again: before what was got ends, and after a failure with growing patience."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from verifier.agent.ends import End, NotAttested

_SHORTEST_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 6 * 3600.0
_UNKNOWN_LIFETIME_SECONDS: Final = 300.0
_FIRST_RETRY_SECONDS: Final = 5.0
_LONGEST_RETRY_SECONDS: Final = 300.0


class StoppedError(Exception):
    """SIGTERM or SIGINT came."""


def watch(
    *,
    attempt: Callable[[], float | None],
    tell: Callable[[NotAttested], None],
    sleep: Callable[[float], None],
    random: Callable[[], float],
) -> None:
    """Runs until `StoppedError`, which `attempt` or `sleep` raise; or raises `NotAttested` where the very first attempt
    ends with USAGE, which no patience mends.

    `attempt` gives the seconds that its result lasts. The next one begins at half to three quarters of them, by chance
    (`random`, 0 to 1), so that machines that started together do not come together; 5 s at least, 6 h at most. A
    failure is told, and tried again after 5 s, then 10, up to 300, less up to a half by chance, or later if asked to.
    """
    failures = 0
    first = True
    while True:
        try:
            lifetime = attempt()
        except NotAttested as trouble:
            if first and trouble.end is End.USAGE:
                raise
            tell(trouble)
            pause = retry_pause(failures, chance=random(), asked=trouble.retry_after)
            failures += 1
        else:
            pause = renewal_pause(lifetime, chance=random())
            failures = 0
        first = False
        sleep(pause)


def renewal_pause(lifetime: float | None, *, chance: float) -> float:
    seconds = _UNKNOWN_LIFETIME_SECONDS if lifetime is None else lifetime
    return min(max(seconds * (0.5 + chance / 4), _SHORTEST_SECONDS), _LONGEST_SECONDS)


def retry_pause(failures: int, *, chance: float, asked: int | None) -> float:
    """`failures`: how many there were before in a row."""
    backoff = min(_FIRST_RETRY_SECONDS * 2.0 ** min(failures, 16), _LONGEST_RETRY_SECONDS) * (1 - chance / 2)
    return max(backoff, min(asked or 0, _LONGEST_SECONDS))


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGINT raise `StoppedError` in the main thread. Their earlier handlers are back afterwards."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        # One is enough: another one, while files are tidied up, must not interrupt that.
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

"""Ordinary callers, and how long each of them waits for its answers."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Measured:
    """Which requests of ordinary callers failed, and how long each request took."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(self.wrong)} wrong {self.wrong[:3]}"]
        for name, each in self.seconds.items():
            ordered = sorted(each)
            marks = (ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])
            parts.append(f"{name}: {len(each)}, p50 p99 max {'/'.join(f'{mark * 1000:.0f}' for mark in marks)} ms")
        return "; ".join(parts)


@contextmanager
def measured(calls: Mapping[str, Callable[[], object]], *, pause: float = 0.05) -> Iterator[Measured]:
    """Make each of `calls` again and again inside, in a thread of its own.

    A call that raises was not answered as it should be.
    """
    result = Measured()
    over = threading.Event()

    def repeat(name: str, call: Callable[[], object]) -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                call()
            except Exception as error:  # noqa: BLE001 - of any kind: a caller was not answered
                result.wrong.append(f"{name}: {error!r}")
            result.seconds.setdefault(name, []).append(time.monotonic() - began)
            over.wait(pause)

    threads = [threading.Thread(target=repeat, args=call) for call in calls.items()]
    for thread in threads:
        thread.start()
    try:
        yield result
    finally:
        over.set()
        for thread in threads:
            thread.join()

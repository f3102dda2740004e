"""Send requests in the background for as long as a test likes, and keep the errors."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

#: Between two requests of a thread. A load without pauses takes every processor for as long as servers start and stop.
_PAUSE_SECONDS = 0.02


@contextmanager
def repeated(works: Sequence[Callable[[], None]], faults: list[Exception]) -> Iterator[None]:
    """Repeat each of `works` in a thread of its own, with short pauses, until the context ends.

    A work that raises, for example because its request was dropped, stops and leaves its error in `faults`. Each work
    that has begun ends before the context does.
    """
    over = threading.Event()

    def repeat(work: Callable[[], None]) -> None:
        try:
            while not over.wait(_PAUSE_SECONDS):
                work()
        except Exception as error:  # noqa: BLE001 - of any kind: the test looks at them
            faults.append(error)

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()

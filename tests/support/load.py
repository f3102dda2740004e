"""Load for as long as a test likes: callers who go on until they are told, and remember what went wrong."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def repeated(works: Sequence[Callable[[], None]], faults: list[Exception]) -> Iterator[None]:
    """Inside, each of `works` is done again and again, in a thread of its own. What one raises, such as a request that
    was dropped, is in `faults`, and it is done no more. Afterwards all have ended what they had begun."""
    over = threading.Event()

    def repeat(work: Callable[[], None]) -> None:
        try:
            while not over.is_set():
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

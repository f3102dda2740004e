"""Prepare the process of a server before it imports other modules."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from gevent import monkey

import verifier.adapters.native_lock  # noqa: F401 - it keeps what is patched next


def prepare_process() -> None:
    """Patch the standard library, and disable the garbage collector until `server.serve` starts its workers.

    A lock or socket that was created before the patch would block a whole worker. Everything that is imported at the
    start lives as long as the process, and the collector would look through it several times.
    """
    gc.disable()
    with _entry_points_read_once():
        monkey.patch_all()


@contextmanager
def _entry_points_read_once() -> Iterator[None]:
    """Read the entry points of the installed distributions once. gevent asks for them at each of its 25 events."""
    read, found = metadata.entry_points, metadata.entry_points()
    metadata.entry_points = found.select
    try:
        yield
    finally:
        metadata.entry_points = read

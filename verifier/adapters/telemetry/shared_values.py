"""Share the values of metrics between the processes of a service."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

#: The environment variable that tells prometheus_client the directory of the shared files.
DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_values() -> Iterator[Path]:
    """Add up the metrics of this process and of the processes that it forks.

    Each process counts in its own files, in a private directory under $TMPDIR. The process that created the directory
    deletes it. Create recorders inside this context.
    Not checked: that workers exit. Call `forget_worker` for each worker that did.
    """
    owner = os.getpid()
    directory = Path(tempfile.mkdtemp(prefix="imds-verifier-metrics-"))
    before = values.ValueClass
    os.environ[DIRECTORY_VARIABLE] = str(directory)
    # The library reads the variable only on import, before the directory exists.
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]  # untyped in the library
    try:
        yield directory
    finally:
        # A forked worker also runs this block when it exits. It must not delete the files of the other workers.
        if os.getpid() == owner:
            values.ValueClass = before
            del os.environ[DIRECTORY_VARIABLE]
            shutil.rmtree(directory, ignore_errors=True)


def forget_worker(process_id: int) -> None:
    """Remove the gauges of a worker that exited, and keep its counters. Call it in gunicorn's `child_exit` hook."""
    mark_process_dead(process_id)  # type: ignore[no-untyped-call]  # untyped in the library

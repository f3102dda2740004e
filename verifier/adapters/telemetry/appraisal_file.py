"""Keep appraisal records in a file of JSON lines."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from verifier.adapters.records.appraisals import line_of
from verifier.ports.decisions import AppraisalRecord
from verifier.ports.stores import StoreUnavailable

#: O_NONBLOCK has no effect on regular files. Without it, opening a named pipe waits until a process reads from it.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FileAppraisalLog:
    """Append each record as one line, for all workers of one host. Implements the DecisionLog port.

    - Each appended line is flushed to disk (fdatasync), so that it survives a crash and a power failure.
    - If a line would make the file longer than `maximum_bytes`, the file is renamed to `NAME.1`, which replaces the
      previous `NAME.1`. The two files are never longer than twice `maximum_bytes`.
    - Files have mode 0600. Workers take turns by a lock on `NAME.lock`.

    A named pipe in place of a file is refused instead of waited for.

    Not checked: that the file is on a local file system. Locks on network file systems are unreliable.
    """

    def __init__(self, path: Path, *, maximum_bytes: int) -> None:
        self._path = path.absolute()
        self._older = self._path.with_name(f"{self._path.name}.1")
        self._lock = self._path.with_name(f"{self._path.name}.lock")
        self._maximum_bytes = maximum_bytes

    def append(self, record: AppraisalRecord) -> None:
        """Append the record. Raises StoreUnavailable, and leaves no partial line, if the disk is full."""
        line = f"{line_of(record)}\n".encode()
        with self._turn("written"):
            self._write(line)

    def check(self) -> None:
        """Create the file if it does not exist, and open it to append. Raises StoreUnavailable."""
        with self._turn("opened"):
            os.close(self._open())

    def _write(self, line: bytes) -> None:
        descriptor = self._open()
        try:
            length = os.fstat(descriptor).st_size
            if length and length + len(line) > self._maximum_bytes:
                self._path.replace(self._older)
                os.close(descriptor)
                descriptor = -1
                descriptor, length = self._open(), 0
            _write_whole(descriptor, line, length)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _open(self) -> int:
        return os.open(self._path, _FLAGS | os.O_APPEND, 0o600)

    @contextmanager
    def _turn(self, action: str) -> Iterator[None]:
        """Hold the lock. It belongs to the open file, so that it also excludes the other threads of this worker."""
        try:
            descriptor = os.open(self._lock, _FLAGS, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            detail = f"The decision log cannot be {action}: {os.strerror(error.errno or 0)}."
            raise StoreUnavailable(detail).located(f"{self._path}, VERIFIER_AUDIT") from error


def _write_whole(descriptor: int, line: bytes, length: int) -> None:
    """Write the whole line to disk, or restore the previous `length` in bytes and raise OSError."""
    try:
        written = os.write(descriptor, line)
        getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has no fdatasync
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, length)
        raise
    if written < len(line):
        # A write to a regular file is short only if the disk is full.
        os.ftruncate(descriptor, length)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

"""Where decisions are kept: a file of JSON lines, a stream in Redis, or a table in SQLite. Each is bounded."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from verifier.adapters.records.appraisals import line_of
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import AppraisalRecord


class FileAppraisalLog:
    """A file of one line a decision, for all workers of one host. Implements the DecisionTrail port.

    What was appended is on the disk (fdatasync): neither a crash nor a power failure takes it back. Where a line would
    make the file longer than `maximum_bytes`, the file becomes `NAME.1`, in the place of the one before, and another
    is begun: the trail is never more than twice as long. Modes are 0600. A lock in `NAME.lock` keeps the workers
    apart. Not for a network file system.
    """

    def __init__(self, path: Path, *, maximum_bytes: int) -> None:
        self._path = path.absolute()
        self._older = self._path.with_name(f"{self._path.name}.1")
        self._lock = self._path.with_name(f"{self._path.name}.lock")
        self._maximum_bytes = maximum_bytes

    def append(self, decision: AppraisalRecord) -> None:
        """As the port says. A part of a line is not left behind where the disk is full."""
        line = f"{line_of(decision)}\n".encode()
        try:
            with self._turn():
                self._write(line)
        except OSError as error:
            detail = f"The audit trail cannot be written ({os.strerror(error.errno or 0)})."
            raise StoreUnavailable(detail) from error

    def check(self) -> None:
        """The file is there, and can be opened to append. Raises StoreUnavailable."""
        try:
            with self._turn():
                os.close(self._open())
        except OSError as error:
            detail = f"The audit trail cannot be opened ({os.strerror(error.errno or 0)})."
            raise StoreUnavailable(detail) from error

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
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Of one thread of one worker. A lock belongs to what was opened, so threads that open it anew wait too."""
        descriptor = os.open(self._lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _write_whole(descriptor: int, line: bytes, length: int) -> None:
    """The file ends with the line, on the disk; or, and OSError is raised, as it was, `length` bytes long."""
    try:
        written = os.write(descriptor, line)
        os.fdatasync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, length)
        raise
    if written < len(line):
        # A regular file takes less where it is full, and then alone.
        os.ftruncate(descriptor, length)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

"""Where decisions are kept: a file of JSON lines, a stream in Redis, or a table in SQLite. Each is bounded."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from verifier.edge.decision_fields import decision_fields
from verifier.edge.redis_client import RedisLink
from verifier.edge.sqlite_files import BUSY_TIMEOUT, Layout, SqliteFile
from verifier.ports import Decision, DecisionTrail, StoreUnavailable

#: The trail's name in Redis, a hash tag (Redis Cluster specification) of its own: one key, one node.
STREAM = "imds-verifier:{audit}"
_FIELD = "decision"

_LAYOUT = Layout(
    name="audit",
    version=1,
    application_id=0x494D5641,  # IMVA
    statements=("CREATE TABLE decisions (id INTEGER PRIMARY KEY AUTOINCREMENT, decision TEXT NOT NULL) STRICT",),
)
_APPEND = "INSERT INTO decisions (decision) VALUES (:decision)"
# The rows' numbers have no gaps but where the oldest were: what is beyond the bound is found without counting.
_FORGET = "DELETE FROM decisions WHERE id <= (SELECT max(id) FROM decisions) - :most"


def line_of(decision: Decision) -> str:
    """One JSON object, with its moment first (RFC 3339, UTC), and no line break."""
    moment = decision.at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"time": moment, **decision_fields(decision)}, separators=(",", ":"))


class FileTrail:
    """A file of one line a decision, for all workers of one host. Implements the DecisionTrail port.

    What was appended is on the disk (fdatasync): neither a crash nor a power failure takes it back. Where a line would
    make the file longer than `maximum_octets`, the file becomes `NAME.1`, in the place of the one before, and another
    is begun: the trail is never more than twice as long. Modes are 0600. A lock in `NAME.lock` keeps the workers
    apart. Not for a network file system.
    """

    def __init__(self, path: Path, *, maximum_octets: int) -> None:
        self._path = path.absolute()
        self._older = self._path.with_name(f"{self._path.name}.1")
        self._lock = self._path.with_name(f"{self._path.name}.lock")
        self._maximum_octets = maximum_octets

    def append(self, decision: Decision) -> None:
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
            if length and length + len(line) > self._maximum_octets:
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
    """The file ends with the line, on the disk; or, and OSError is raised, as it was, `length` octets long."""
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


class RedisTrail:
    """A stream in Redis, of about `maximum_entries` (the server trims whole nodes, so there may be some more): for all
    replicas. Implements the DecisionTrail port. How soon it is on a disk is the server's `appendfsync`."""

    def __init__(self, link: RedisLink, *, maximum_entries: int) -> None:
        self._link = link
        self._maximum_entries = maximum_entries

    def append(self, decision: Decision) -> None:
        self._link.once("XADD", STREAM, "MAXLEN", "~", self._maximum_entries, "*", _FIELD, line_of(decision))


class SqliteTrail:
    """A table of the last `maximum_entries`, in a file of its own. Implements the DecisionTrail port. What was appended
    is on the disk as what else is in our files (sqlite_files)."""

    def __init__(self, path: Path, *, maximum_entries: int, busy_timeout: timedelta = BUSY_TIMEOUT) -> None:
        self._file = SqliteFile(path, _LAYOUT, busy_timeout=busy_timeout)
        self._maximum_entries = maximum_entries

    def append(self, decision: Decision) -> None:
        with self._file.transaction() as connection:
            connection.execute(_APPEND, {"decision": line_of(decision)})
            connection.execute(_FORGET, {"most": self._maximum_entries})

    def close(self) -> None:
        """Closes the connection of this process. The next call opens another."""
        self._file.close()


def open_trail(
    audit: str, *, store_url: str, link: RedisLink | None, maximum_octets: int, maximum_entries: int
) -> DecisionTrail | None:
    """The trail that the setting names: `none`, `store` (beside the nonces: on Redis, by their `link`), or the absolute
    path of a file.
    Raises StoreUnavailable where a file cannot be made; ValueError where the setting is neither."""
    if audit == "none":
        return None
    if audit == "store":
        if link is not None:
            return RedisTrail(link, maximum_entries=maximum_entries)
        path = Path(unquote(urlsplit(store_url).path))
        return SqliteTrail(path.with_name(f"{path.stem}-audit{path.suffix}"), maximum_entries=maximum_entries)
    path = Path(audit)
    if not path.is_absolute():
        raise ValueError("expected none, store or the absolute path of a file")
    trail = FileTrail(path, maximum_octets=maximum_octets)
    trail.check()
    return trail

"""Where decisions are kept: a file of JSON lines, a stream in Redis, or a table in SQLite. Each is bounded."""

from datetime import timedelta
from pathlib import Path

from verifier.adapters.records.appraisals import line_of
from verifier.adapters.sqlite.files import BUSY_TIMEOUT, Layout, SqliteFile
from verifier.ports.telemetry import AppraisalRecord

_LAYOUT = Layout(
    name="audit",
    version=1,
    application_id=0x494D5641,  # IMVA
    statements=("CREATE TABLE decisions (id INTEGER PRIMARY KEY AUTOINCREMENT, decision TEXT NOT NULL) STRICT",),
)
_APPEND = "INSERT INTO decisions (decision) VALUES (:decision)"
# The rows' numbers have no gaps but where the oldest were: what is beyond the bound is found without counting.
_FORGET = "DELETE FROM decisions WHERE id <= (SELECT max(id) FROM decisions) - :most"


class SqliteAppraisalLog:
    """A table of the last `maximum_entries`, in a file of its own. Implements the DecisionTrail port. What was appended
    is on the disk as what else is in our files (sqlite_files)."""

    def __init__(self, path: Path, *, maximum_entries: int, busy_timeout: timedelta = BUSY_TIMEOUT) -> None:
        self._file = SqliteFile(path, _LAYOUT, busy_timeout=busy_timeout)
        self._maximum_entries = maximum_entries

    def append(self, decision: AppraisalRecord) -> None:
        with self._file.transaction() as connection:
            connection.execute(_APPEND, {"decision": line_of(decision)})
            connection.execute(_FORGET, {"most": self._maximum_entries})

    def close(self) -> None:
        """Closes the connection of this process. The next call opens another."""
        self._file.close()

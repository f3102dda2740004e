"""Keep appraisal records in a SQLite table."""

from datetime import timedelta
from pathlib import Path

from verifier.adapters.records.appraisals import line_of
from verifier.adapters.sqlite.files import BUSY_TIMEOUT, Layout, SqliteFile
from verifier.ports.decisions import AppraisalRecord

_LAYOUT = Layout(
    name="decision",
    version=1,
    application_id=0x494D5641,  # IMVA
    statements=("CREATE TABLE decisions (id INTEGER PRIMARY KEY AUTOINCREMENT, decision TEXT NOT NULL) STRICT",),
)
_APPEND = "INSERT INTO decisions (decision) VALUES (:decision)"
# Only the oldest rows are deleted, so the ids of the others are consecutive: no count of the rows is needed.
_FORGET = "DELETE FROM decisions WHERE id <= (SELECT max(id) FROM decisions) - :most"


class SqliteAppraisalLog:
    """Keep the last `maximum_entries` records in a separate file. Implements the DecisionLog port.

    An appended record is as durable as the other SQLite files (adapters.sqlite.files).
    """

    def __init__(self, path: Path, *, maximum_entries: int, busy_timeout: timedelta = BUSY_TIMEOUT) -> None:
        self._file = SqliteFile(path, _LAYOUT, busy_timeout=busy_timeout)
        self._maximum_entries = maximum_entries

    def append(self, record: AppraisalRecord) -> None:
        with self._file.transaction() as connection:
            connection.execute(_APPEND, {"decision": line_of(record)})
            connection.execute(_FORGET, {"most": self._maximum_entries})

    def close(self) -> None:
        self._file.close()

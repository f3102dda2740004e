"""Open the appraisal log: a file of JSON lines, a stream in Redis, or a table in SQLite. Each has a size limit."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from verifier.adapters.redis.appraisal_log import RedisAppraisalLog
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.sqlite.appraisal_log import SqliteAppraisalLog
from verifier.adapters.telemetry.appraisal_file import FileAppraisalLog
from verifier.ports.telemetry import AppraisalLog


def open_appraisal_log(
    audit: str, *, store_url: str, link: RedisLink | None, maximum_bytes: int, maximum_entries: int
) -> AppraisalLog | None:
    """Open the log that the setting `audit` names: `none`, `store`, or the absolute path of a file.

    `store` keeps the log beside the nonces; on Redis, it uses their `link`.
    Raises StoreUnavailable if the file cannot be created, and ValueError if the setting is invalid.
    """
    if audit == "none":
        return None
    if audit == "store":
        if link is not None:
            return RedisAppraisalLog(link, maximum_entries=maximum_entries)
        path = Path(unquote(urlsplit(store_url).path))
        return SqliteAppraisalLog(path.with_name(f"{path.stem}-audit{path.suffix}"), maximum_entries=maximum_entries)
    path = Path(audit)
    if not path.is_absolute():
        raise ValueError("expected none, store or the absolute path of a file")
    trail = FileAppraisalLog(path, maximum_bytes=maximum_bytes)
    trail.check()
    return trail

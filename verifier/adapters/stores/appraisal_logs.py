"""Where decisions are kept: a file of JSON lines, a stream in Redis, or a table in SQLite. Each is bounded."""

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
    """The trail that the setting names: `none`, `store` (beside the nonces: on Redis, by their `link`), or the absolute
    path of a file.
    Raises StoreUnavailable where a file cannot be made; ValueError where the setting is neither."""
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

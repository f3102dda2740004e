"""Open the appraisal log that the settings name."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from verifier.adapters.redis.appraisal_log import RedisAppraisalLog
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.sqlite.appraisal_log import SqliteAppraisalLog
from verifier.ports.decisions import DecisionLog


def open_appraisal_log(
    audit: str, *, store_url: str, link: RedisLink | None, maximum_bytes: int, maximum_entries: int
) -> DecisionLog | None:
    """Open the appraisal log that the setting `audit` names.

    `none` gives None. `store` gives the store of the nonces: Redis through `link`, or a SQLite file beside theirs.
    An absolute path gives a file of JSON lines.
    Raises StoreUnavailable if the file cannot be opened, and ValueError for any other value.
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
    from verifier.adapters.telemetry.appraisal_file import FileAppraisalLog  # noqa: PLC0415 - Windows has no fcntl

    log = FileAppraisalLog(path, maximum_bytes=maximum_bytes)
    log.check()
    return log

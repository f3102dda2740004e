"""Check that each appraisal log keeps records in order, up to a bound, and reports that it is unavailable."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.documents import NOW
from support.redis_server import running_redis_server

from verifier.adapters.redis.appraisal_log import STREAM, RedisAppraisalLog
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.sqlite.appraisal_log import SqliteAppraisalLog
from verifier.adapters.stores.appraisal_logs import open_appraisal_log
from verifier.adapters.telemetry.appraisal_file import FileAppraisalLog
from verifier.ports.stores import StoreUnavailable
from verifier.ports.decisions import AppraisalRecord, DecisionLog, Verdict

MOST = 100


def record(number: int = 0) -> AppraisalRecord:
    return AppraisalRecord(
        at=NOW, request_id=f"request-{number}", tenant="default", verdict=Verdict.VERIFIED, code="verified"
    )


def ids(lines: list[str]) -> list[str]:
    return [json.loads(line)["requestId"] for line in lines]


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def rows_of(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [line for (line,) in connection.execute("SELECT decision FROM decisions ORDER BY id")]
    finally:
        connection.close()


class TestFile:
    def test_file_has_one_line_for_each_record_in_order(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        log = FileAppraisalLog(path, maximum_bytes=1_000_000)
        for number in range(3):
            log.append(record(number))
        assert ids(lines_of(path)) == ["request-0", "request-1", "request-2"]
        assert json.loads(lines_of(path)[0])["time"] == "2026-11-23T08:00:00.000000Z"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_existing_file_is_continued(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        for number in range(2):
            FileAppraisalLog(path, maximum_bytes=1_000_000).append(record(number))
        assert ids(lines_of(path)) == ["request-0", "request-1"]

    def test_file_is_rotated_at_its_bound_and_the_previous_one_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        log = FileAppraisalLog(path, maximum_bytes=2_000)
        for number in range(20):
            log.append(record(number))
            assert path.stat().st_size <= 2_000
        kept = ids(lines_of(tmp_path / "audit.jsonl.1")) + ids(lines_of(path))
        assert kept == [f"request-{number}" for number in range(20 - len(kept), 20)]
        assert sorted(entry.name for entry in tmp_path.iterdir()) == [
            "audit.jsonl",
            "audit.jsonl.1",
            "audit.jsonl.lock",
        ]

    def test_concurrent_threads_and_processes_lose_and_mix_no_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        program = (
            "import sys; from pathlib import Path; from datetime import UTC, datetime;"
            "from verifier.adapters.telemetry.appraisal_file import FileAppraisalLog;"
            "from verifier.ports.decisions import AppraisalRecord
from verifier.ports.telemetry import Verdict;"
            "log = FileAppraisalLog(Path(sys.argv[1]), maximum_bytes=20_000);"
            "[log.append(AppraisalRecord(at=datetime.now(UTC), request_id=f'other-{n}', tenant='t',"
            " verdict=Verdict.REFUSED, code='c')) for n in range(40)]"
        )
        other = subprocess.Popen([sys.executable, "-c", program, str(path)], env=dict(os.environ))
        log = FileAppraisalLog(path, maximum_bytes=20_000)

        def append(start: int) -> None:
            for number in range(start, start + 10):
                log.append(record(number))

        threads = [threading.Thread(target=append, args=(start,)) for start in (0, 100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert other.wait(60) == 0
        older = tmp_path / "audit.jsonl.1"
        kept = (ids(lines_of(older)) if older.exists() else []) + ids(lines_of(path))
        assert len(kept) == len(set(kept)) == 60

    @pytest.mark.parametrize("kind", ["directory", "missing", "link"])
    def test_unwritable_file_raises_store_unavailable(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "audit.jsonl"
        match kind:
            case "directory":
                path.mkdir()
            case "missing":
                path = tmp_path / "none" / "audit.jsonl"
            case _:
                path.symlink_to(tmp_path / "elsewhere")
        log = FileAppraisalLog(path, maximum_bytes=2_000)
        with pytest.raises(StoreUnavailable, match="The decision log cannot be written"):
            log.append(record())
        with pytest.raises(StoreUnavailable, match="The decision log cannot be opened"):
            open_appraisal_log(str(path), store_url="", link=None, maximum_bytes=2_000, maximum_entries=MOST)

    def test_full_disk_leaves_no_partial_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "audit.jsonl"
        log = FileAppraisalLog(path, maximum_bytes=1_000_000)
        log.append(record())
        write = os.write
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
            with pytest.raises(StoreUnavailable, match="No space left"):
                log.append(record(1))
        log.append(record(2))
        assert ids(lines_of(path)) == ["request-0", "request-2"]

    @pytest.mark.parametrize("name", ["audit.jsonl", "audit.jsonl.lock"])
    def test_named_pipe_is_refused_and_never_waited_for(self, tmp_path: Path, name: str) -> None:
        log = FileAppraisalLog(tmp_path / "audit.jsonl", maximum_bytes=1_000_000)
        os.mkfifo(tmp_path / name)
        with pytest.raises(StoreUnavailable, match="cannot be opened"):
            log.check()
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            log.append(record())


class TestStore:
    def test_sqlite_log_is_beside_the_nonces_and_keeps_the_latest_records(self, tmp_path: Path) -> None:
        log = open_appraisal_log(
            "store", store_url=f"sqlite://{tmp_path}/n.sqlite3", link=None, maximum_bytes=1, maximum_entries=MOST
        )
        assert isinstance(log, SqliteAppraisalLog)
        for number in range(MOST + 20):
            log.append(record(number))
        log.close()
        assert ids(rows_of(tmp_path / "n-audit.sqlite3")) == [f"request-{n}" for n in range(20, MOST + 20)]

    def test_deleted_sqlite_file_raises_store_unavailable(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.sqlite3"
        log = SqliteAppraisalLog(path, maximum_entries=MOST)
        path.unlink()
        with pytest.raises(StoreUnavailable, match="The decision database"):
            log.append(record())

    def test_redis_log_is_a_bounded_stream(self) -> None:
        with running_redis_server() as server:
            link = RedisLink.open(server.url)
            log = open_appraisal_log("store", store_url=server.url, link=link, maximum_bytes=1, maximum_entries=MOST)
            assert isinstance(log, RedisAppraisalLog)
            for number in range(MOST * 4):
                log.append(record(number))
            entries: Any = link.once("XRANGE", STREAM, "-", "+")
            kept = ids([line.decode() for _, (_, line) in entries])
            link.close()
        assert MOST <= len(kept) < MOST * 3
        assert kept == [f"request-{number}" for number in range(MOST * 4 - len(kept), MOST * 4)]

    def test_stopped_redis_raises_store_unavailable(self) -> None:
        with running_redis_server() as server:
            log = RedisAppraisalLog(RedisLink.open(server.url), maximum_entries=MOST)
        with pytest.raises(StoreUnavailable):
            log.append(record())


def test_setting_none_opens_no_log() -> None:
    opened: Callable[..., DecisionLog | None] = open_appraisal_log
    assert opened("none", store_url="", link=None, maximum_bytes=1, maximum_entries=1) is None


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(ValueError, match="absolute path"):
        open_appraisal_log("audit.jsonl", store_url="", link=None, maximum_bytes=1, maximum_entries=1)

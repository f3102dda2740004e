"""The embedded store under a service that runs: its disk is full, its file is locked or forbidden. Always 503 with the
cause in the log, never a verdict, and on by itself when it is over."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.documents import imds_answer
from support.live_documents import current_document
from support.problems import read_problem
from support.processes import await_that, children_of
from support.services import Answer, RunningServer, running_service

#: Root, whom modes do not bind, without what makes it so.
BOUND_BY_MODES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


def assert_unavailable(answer: Answer) -> None:
    problem = read_problem(answer.status, answer.headers, answer.body)
    assert (answer.status, problem["code"], problem["retryable"]) == (503, "store-unavailable", True)
    assert int(answer.headers["Retry-After"]) >= 1
    assert "verdict" not in problem


def causes(service: RunningServer) -> set[str]:
    """What the log tells of the answers that were no verdict, as far as it has been read."""
    lines = [json.loads(line) for line in list(service.log)]
    return {line["detail"] for line in lines if line["event"] == "failed"}


def replace_workers(service: RunningServer) -> None:
    """Every worker that there was is gone, and another one in its place."""
    before = set(children_of(service.process.pid))
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    await_that(lambda: len(set(children_of(service.process.pid)) - before) == len(before))


class TmpfsDisk:
    """A file system of 1 MiB in memory, which a file fills."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._filling = directory / "filling"

    def fill(self, service: RunningServer) -> None:
        del service
        with self._filling.open("wb", buffering=0) as file:
            for size in (4096, 1):
                try:
                    while file.write(b"\0" * size):
                        pass
                except OSError:
                    continue

    def free(self, service: RunningServer) -> None:
        del service
        self._filling.unlink()


class LimitedDisk:
    """Any directory, and a limit to how long the files of the workers may get."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def fill(self, service: RunningServer) -> None:
        self._limit(service, 4096)

    def free(self, service: RunningServer) -> None:
        self._limit(service, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(service: RunningServer, data: int) -> None:
        for worker in children_of(service.process.pid):
            resource.prlimit(worker, resource.RLIMIT_FSIZE, (data, resource.RLIM_INFINITY))


@contextmanager
def mounted(directory: Path) -> Iterator[bool]:
    """Whether a file system of 1 MiB is at `directory`: whoever may not mount one has none."""
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)]
    done = subprocess.run(["/usr/bin/mount", *options], capture_output=True, check=False).returncode == 0
    try:
        yield done
    finally:
        if done:
            subprocess.run(["/usr/bin/umount", "--lazy", str(directory)], capture_output=True, check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[TmpfsDisk | LimitedDisk]:
    """One that takes no more when it is told so: a full one or, where none may be mounted, a limited one."""
    directory = tmp_path / "disk"
    directory.mkdir()
    with mounted(directory) as is_small:
        yield TmpfsDisk(directory) if is_small else LimitedDisk(directory)


def test_a_full_disk_gives_no_verdict_and_loses_nothing(disk: TmpfsDisk | LimitedDisk, trust_dir: Path) -> None:
    file = disk.directory / "nonces.sqlite3"
    with (
        running_service(
            nonce_store=f"sqlite://{file}", trust_dir=trust_dir, workers=1, VERIFIER_NONCE_MODE="optional"
        ) as service,
        # As another worker would: it keeps the log from being emptied, which would make room.
        closing(sqlite3.connect(file)) as other,
    ):
        used, unused = (imds_answer(current_document(service.issue_nonce())) for _ in range(2))
        unasked = imds_answer(current_document(None))
        assert service.post_json("/v1/attestations", used).status == 200
        other.execute("SELECT count(*) FROM nonces").fetchall()
        disk.fill(service)
        for fields in (used, unused, unasked):
            assert_unavailable(service.post_json("/v1/attestations", fields))
        assert_unavailable(service.post_json("/v1/nonces"))
        assert service.request("GET", "/healthz").status == 200
        if isinstance(disk, TmpfsDisk):
            replace_workers(service)  # who starts now does not end the service
            assert_unavailable(service.post_json("/v1/attestations", unused))
        disk.free(service)
        assert service.post_json("/v1/attestations", used).code == "nonce-replayed"
        assert service.post_json("/v1/attestations", unused).status == 200
        assert service.post_json("/v1/attestations", unasked).status == 200
        assert service.post_json("/v1/attestations", unasked).code == "nonce-replayed"
        assert service.request("GET", "/readyz").status == 200
    assert causes(service) <= {
        f"The disk of the nonce database {what} ({file}, VERIFIER_NONCE_STORE)."
        for what in ("is full", "fails to read or write")
    }
    assert causes(service)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("away") / "state" / "nonces.sqlite3"


@pytest.fixture(scope="module")
def service(file: Path, trust_dir: Path) -> Iterator[RunningServer]:
    """One worker, whose store each test takes away and gives back."""
    with running_service(
        nonce_store=f"sqlite://{file}", trust_dir=trust_dir, workers=1, under=BOUND_BY_MODES
    ) as running:
        yield running


@pytest.mark.parametrize(
    ("mode", "cause"),
    [
        (0o400, "The nonce database is read-only"),
        (0o000, "The nonce database cannot be opened: it is missing, or permission is denied"),
    ],
)
def test_a_file_that_may_not_be_written_gives_no_verdict(
    service: RunningServer, file: Path, mode: int, cause: str
) -> None:
    """Modes count when a file is opened: the workers that have it open go on, those that start later do not get it."""
    fields = imds_answer(current_document(service.issue_nonce()))
    file.chmod(mode)
    try:
        replace_workers(service)
        assert_unavailable(service.post_json("/v1/attestations", fields))
        await_that(lambda: f"{cause} ({file}, VERIFIER_NONCE_STORE)." in causes(service))
        assert service.request("GET", "/readyz").status == 503
    finally:
        file.chmod(0o600)
    assert service.post_json("/v1/attestations", fields).status == 200
    assert service.post_json("/v1/attestations", fields).code == "nonce-replayed"


def test_a_worker_that_starts_while_the_file_is_away_makes_no_other(
    service: RunningServer, file: Path, tmp_path: Path
) -> None:
    """A new one would know no used nonce, and no denied certificate."""
    fields = imds_answer(current_document(service.issue_nonce()))
    assert service.post_json("/v1/attestations", fields).status == 200
    aside = file.parent.rename(tmp_path / "aside")
    try:
        replace_workers(service)
        assert_unavailable(service.post_json("/v1/attestations", fields))
        assert not file.parent.exists()
    finally:
        aside.rename(file.parent)
    assert service.post_json("/v1/attestations", fields).code == "nonce-replayed"


def test_a_lock_is_waited_for_and_then_named(service: RunningServer, file: Path) -> None:
    fields = imds_answer(current_document(service.issue_nonce()))
    with closing(sqlite3.connect(file, isolation_level=None)) as other, ThreadPoolExecutor(2) as callers:
        other.execute("BEGIN IMMEDIATE")
        waiting = callers.submit(service.post_json, "/v1/attestations", fields)
        assert service.request("GET", "/healthz").status == 200
        assert_unavailable(waiting.result())
        other.execute("ROLLBACK")
        locked = f"The nonce database is locked by another writer ({file}, VERIFIER_NONCE_STORE)."
        await_that(lambda: locked in causes(service))
        # A short one costs nobody an answer.
        other.execute("BEGIN IMMEDIATE")
        waiting = callers.submit(service.post_json, "/v1/attestations", fields)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        other.execute("ROLLBACK")
        assert waiting.result().status == 200

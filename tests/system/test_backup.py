"""Run the commands of docs/operate/backup.md: a store is lost and restored, and no document is accepted twice."""

import shlex
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.concurrent_clients import make_bodies, post_all
from support.page_blocks import commands_of, run_commands
from support.processes import await_that
from support.redis_server import RedisServer
from support.services import ADMIN_KEYS, AS_ADMIN, RunningServer, running_service

PAGE = "docs/operate/backup.md"
RUNS_BLOCKS = {"docs/operate/backup.md": {"Redis": 3, "SQLite": 2}}
NUMBER = 30
OUTSTANDING = 20
DENIED = "fedcba9876543210"

needs = {
    tool: pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed: .ci/run installs it")
    for tool in ("redis-cli", "sqlite3")
}


class RedisPlace:
    """A Redis with an append-only file, restored as the page says."""

    def __init__(self, directory: Path, *, forgets: bool = True) -> None:
        self.directory = directory
        self._forgets = forgets
        (directory / "data").mkdir()
        self._redis = RedisServer.start(directory / "data", appendonly=True)
        self._environment = {"REDIS_URL": self._redis.url}
        self.url = self._redis.url

    def back_up(self) -> None:
        self._run(0)

    def lose(self) -> None:
        self._redis.kill()
        shutil.rmtree(self.directory / "data")

    def restore(self) -> None:
        (self.directory / "data").mkdir()
        shutil.copy(self.directory / "imds-verifier.rdb", self.directory / "data" / "dump.rdb")
        self._redis.restart("--appendonly", "no")
        if self._forgets:
            self._run(1)
        self._run(2)

    def close(self) -> None:
        self._redis.stop()

    def _run(self, number: int) -> None:
        run_commands(commands_of(PAGE, "Redis", number), directory=self.directory, environment=self._environment)


class SqlitePlace:
    """The files of a service, restored as the page says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"sqlite:///{directory}/nonces.sqlite3"

    def back_up(self) -> None:
        self._run(0)

    def lose(self) -> None:
        for file in self.directory.glob("nonces*"):
            file.write_bytes(b"\0" * 100)

    def restore(self) -> None:
        self._run(1)
        files = [*self.directory.glob("backup-*"), *self.directory.glob("nonces-*.sqlite3")]
        assert len(files) == 4
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    def close(self) -> None:
        pass

    def _run(self, number: int) -> None:
        run_commands(commands_of(PAGE, "SQLite", number), directory=self.directory, environment={})


Place = RedisPlace | SqlitePlace


@contextmanager
def service_on(place: Place, trust_dir: Path) -> Iterator[RunningServer]:
    with running_service(nonce_store=place.url, trust_dir=trust_dir, VERIFIER_ADMIN_KEYS=ADMIN_KEYS) as service:
        await_that(lambda: service.request("GET", "/readyz").status == 200)
        yield service


def accepted(service: RunningServer, bodies: list[bytes]) -> Counter[int]:
    return Counter(told.status for told in post_all([service.url], bodies, copies=1, callers=4))


def verified(service: RunningServer) -> int:
    """Return how many decisions of the verdict `verified` the service keeps."""
    answer = service.request("GET", "/v1/decisions?verdict=verified&limit=100", headers=AS_ADMIN)
    decisions = answer.json["decisions"]
    assert isinstance(decisions, list)
    return len(decisions)


def decide(place: Place, trust_dir: Path, *arguments: str) -> str:
    """Return what a command about trust prints."""
    settings = {"VERIFIER_NONCE_STORE": place.url, "VERIFIER_TRUST_DIR": str(trust_dir)}
    # `status` ends with 1 if a chain ends soon, as those of the tests do.
    return run_commands(
        shlex.join(["imds-verifier", "trust", *arguments]),
        directory=place.directory,
        environment=settings,
        statuses=frozenset({0, 1}),
    )


def lose_and_restore(place: Place, trust_dir: Path) -> tuple[Counter[int], Counter[int]]:
    """Return the statuses of all documents after a loss: of those accepted before it, and of the outstanding ones."""
    with service_on(place, trust_dir) as service:
        early = make_bodies(service.url, NUMBER)
        outstanding = make_bodies(service.url, OUTSTANDING)
        late = make_bodies(service.url, NUMBER)
        assert accepted(service, early) == {200: NUMBER}
        decide(place, trust_dir, "deny", DENIED)
        await_that(lambda: verified(service) == NUMBER)
        place.back_up()
        assert accepted(service, late) == {200: NUMBER}
        assert accepted(service, early + late) == {409: 2 * NUMBER}
    place.lose()
    place.restore()
    with service_on(place, trust_dir) as service:
        assert DENIED in decide(place, trust_dir, "status", "--json")
        assert verified(service) == NUMBER
        again = accepted(service, early + late)
        unknown = accepted(service, outstanding)
        assert accepted(service, make_bodies(service.url, 1)) == {200: 1}
    return again, unknown


@pytest.mark.parametrize(
    "make", [pytest.param(RedisPlace, marks=needs["redis-cli"]), pytest.param(SqlitePlace, marks=needs["sqlite3"])]
)
def test_restored_store_accepts_no_document_twice(
    tmp_path: Path, trust_dir: Path, make: Callable[[Path], Place]
) -> None:
    place = make(tmp_path)
    try:
        again, unknown = lose_and_restore(place, trust_dir)
    finally:
        place.close()
    assert again == {422: 2 * NUMBER}  # nonce-unknown
    assert unknown == {422: OUTSTANDING}


@needs["redis-cli"]
def test_restored_nonces_would_accept_documents_twice(tmp_path: Path, trust_dir: Path) -> None:
    """Show that the page's step 3 is needed."""
    place = RedisPlace(tmp_path, forgets=False)
    try:
        again, unknown = lose_and_restore(place, trust_dir)
    finally:
        place.close()
    assert again == {200: NUMBER, 409: NUMBER}
    assert unknown == {200: OUTSTANDING}

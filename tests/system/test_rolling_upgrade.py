"""A rolling upgrade from the last release to this one, and back, on one Redis while agents attest all the time."""

import hashlib
import itertools
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import last_release
from support.documents import imds_answer
from support.last_release import LAST_RELEASE, WHEEL_VARIABLE, LastReleaseMissing, unpack_last_release
from support.live_documents import current_document
from support.processes import await_that
from support.redis_server import running_redis_server
from support.services import Answer, Client, RunningServer, running_service

BACKEND_KEY, AGENT_KEY = "b" * 43, "a" * 43
AS_BACKEND = {"Authorization": f"Bearer {BACKEND_KEY}"}
AS_AGENT = {"Authorization": f"Bearer {AGENT_KEY}"}
TENANTS = {
    "contoso": {
        "keys": [hashlib.sha256(BACKEND_KEY.encode()).hexdigest()],
        "agent_keys": [hashlib.sha256(AGENT_KEY.encode()).hexdigest()],
        # Counted over all services on one Redis, and beyond what the agents here need.
        "agent_address_rate": "600000/minute",
        "agent_vm_rate": "600000/minute",
    }
}
AGENTS = 3
#: The attestations that each step of the upgrade waits for.
EACH_STEP = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release that a service runs; `settings` are those that make it run."""

    name: str
    settings: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replica:
    release: Release
    server: RunningServer
    stack: ExitStack


@dataclass(slots=True)
class Agents:
    """Agents that alternate between the replicas in `pool`, and post each document to two of them at once."""

    pool: list[Replica] = field(default_factory=list)
    #: The releases that issued the nonce, that accepted the document, and that refused its copy.
    accepted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    request_ids: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    _turn: Iterator[int] = field(default_factory=itertools.count)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def attesting(self) -> Iterator[None]:
        with ThreadPoolExecutor(2 * AGENTS) as posts, ThreadPoolExecutor(AGENTS) as agents:
            running = [agents.submit(self._attest, posts) for _ in range(AGENTS)]
            try:
                yield
            finally:
                self._stopping.set()
        self._stopping.clear()
        for agent in running:
            agent.result()

    def _attest(self, posts: ThreadPoolExecutor) -> None:
        while not self._stopping.is_set():
            issued_by, issued = self._send("/v1/nonces", None)
            if issued.status != 201:
                self.dropped.append(f"a nonce from {issued_by}: {issued.status} {issued.body!r}")
                continue
            body = json.dumps(imds_answer(current_document(str(issued.json["nonce"])))).encode()
            sent: Sequence[Future[tuple[str, Answer]]] = [
                posts.submit(self._send, "/v1/attestations", body) for _ in range(2)
            ]
            answers = {answer.result()[1].status: answer.result() for answer in sent}
            if answers.keys() != {200, 409}:
                self.dropped.append(f"a document for a nonce of {issued_by}: {sorted(answers)}")
                continue
            self.accepted[issued_by, answers[200][0], answers[409][0]] += 1
            self.request_ids.append(answers[200][1].headers["X-Request-Id"])

    def _send(self, path: str, body: bytes | None) -> tuple[str, Answer]:
        """The release that answered, and its answer. A replica that takes no connection is passed over."""
        headers = {**AS_AGENT, **({"Content-Type": "application/json"} if body else {})}
        while True:
            pool = list(self.pool)
            replica = pool[next(self._turn) % len(pool)]
            try:
                return replica.release.name, Client(url=replica.server.url).request("POST", path, body, headers=headers)
            except ConnectionRefusedError:
                continue


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    agents: Agents
    redis_url: str
    trust_dir: Path

    def start(self, release: Release) -> list[Replica]:
        """Two replicas, which are not in the pool yet."""

        def start(_: int) -> Replica:
            stack = ExitStack()
            service = running_service(
                nonce_store=self.redis_url,
                trust_dir=self.trust_dir,
                workers=1,
                VERIFIER_TENANTS=json.dumps(TENANTS),
                **release.settings,
            )
            return Replica(release=release, server=stack.enter_context(service), stack=stack)

        with ThreadPoolExecutor(2) as starts:
            return list(starts.map(start, range(2)))

    def replace_one_by_one(self, old: list[Replica], new: list[Replica]) -> None:
        """Each new replica joins before an old one leaves. Then that one stops, and answers what it has taken."""
        for leaving, joining in zip(old, new, strict=True):
            self.agents.pool.append(joining)
            self.wait_for_more()
            self.agents.pool.remove(leaving)
            leaving.stack.close()
            assert leaving.server.process.returncode == 0
            self.wait_for_more()

    def wait_for_more(self) -> None:
        goal = self.agents.accepted.total() + EACH_STEP
        await_that(lambda: self.agents.accepted.total() >= goal or bool(self.agents.dropped))
        assert self.agents.dropped == []

    def assert_all_decisions_are_readable(self, replica: Replica) -> None:
        """The replica finds each decision, also those of the other release."""
        client = Client(url=replica.server.url)
        expected = Counter(self.agents.request_ids)
        assert expected.total() == self.agents.accepted.total()

        def verified() -> Counter[str]:
            kept: Counter[str] = Counter()
            path, cursor = "/v1/decisions?verdict=verified&limit=100", ""
            while True:
                answer = client.request("GET", path + cursor, headers=AS_BACKEND)
                assert answer.status == 200, answer.body
                page = json.loads(answer.body)
                kept.update(decision["requestId"] for decision in page["decisions"])
                if page["cursor"] is None:
                    return kept
                cursor = f"&cursor={page['cursor']}"

        await_that(lambda: verified() == expected)


@pytest.fixture
def last(tmp_path: Path) -> Release:
    package = unpack_last_release(tmp_path)
    settings = {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, "-m", "compileall", "-q", package], check=True, timeout=120)
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import verifier; print(verifier.__file__)"],
        env=settings,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert where.stdout.strip() == str(package / "verifier" / "__init__.py")
    return Release(name="last", settings=settings)


def test_an_upgrade_and_a_rollback_drop_no_request_and_accept_no_nonce_twice(last: Release, trust_dir: Path) -> None:
    this = Release(name="this", settings={})
    with running_redis_server(appendonly=True) as redis, ExitStack() as stopping:
        agents = Agents()
        rollout = Rollout(agents=agents, redis_url=redis.url, trust_dir=trust_dir)

        def start(release: Release) -> list[Replica]:
            replicas = rollout.start(release)
            for replica in replicas:
                stopping.push(replica.stack)
            return replicas

        before = start(last)
        agents.pool += before
        with agents.attesting():
            rollout.wait_for_more()
            after = start(this)
            rollout.replace_one_by_one(before, after)
        assert agents.pool == after
        rollout.assert_all_decisions_are_readable(after[0])
        upgraded = agents.accepted.copy()
        with agents.attesting():
            back = start(last)
            rollout.replace_one_by_one(after, back)
        assert agents.pool == back
        assert agents.dropped == []
        # A nonce of each release was accepted by the other one, and its copy refused by the other one.
        for counts in (upgraded, agents.accepted - upgraded):
            for one, other in itertools.permutations(("last", "this")):
                assert any((issuer, acceptor) == (one, other) for issuer, acceptor, _ in counts)
                assert any((acceptor, refuser) == (one, other) for _, acceptor, refuser in counts)
        rollout.assert_all_decisions_are_readable(back[0])
        for replica in back:
            replica.server.process.terminate()  # at once: each takes its second
        sys.stdout.write(f"accepted once, by issuer, acceptor and refuser: {dict(agents.accepted)}; dropped: 0\n")


def test_a_clone_without_the_last_release_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_release, "LAST_RELEASE", "0" * 40)
    monkeypatch.delenv(WHEEL_VARIABLE, raising=False)
    with pytest.raises(LastReleaseMissing, match=f"git fetch --unshallow.* {WHEEL_VARIABLE}"):
        unpack_last_release(tmp_path)
    monkeypatch.setenv(WHEEL_VARIABLE, str(tmp_path / "none.whl"))
    with pytest.raises(LastReleaseMissing, match=f"{WHEEL_VARIABLE}: there is no file"):
        unpack_last_release(tmp_path / "other")
    assert len(LAST_RELEASE) == 40

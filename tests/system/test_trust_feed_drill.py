"""The drill: Azure signs under a new authority, maintainers sign a bundle, and two replicas follow the feed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.feeds import entry, published
from support.live_documents import write_current_trust
from support.processes import await_that
from support.redis_server import running_redis_server
from support.rollovers import Rollover, Traffic
from support.services import Answer, RunningServer, running_service
from support.tuf_feeds import Feed

from verifier.adapters.trust.published import write_bundle


@dataclass(frozen=True, slots=True)
class Drill:
    replicas: tuple[RunningServer, RunningServer]
    environment: dict[str, str]
    feed: Feed
    rollover: Rollover

    def publish(self, version: int) -> None:
        bundle = published(entry(self.rollover.authority), version=version, at=datetime.now(UTC))
        self.feed.publish(write_bundle(bundle))

    def attest(self, replica: RunningServer) -> Answer:
        return replica.post_json("/v1/attestations", self.rollover.document(replica.issue_nonce()))

    def all_accept(self) -> bool:
        """Return whether both replicas accept. Each has two workers: several documents in a row reach both."""
        return all(self.attest(replica).status == 200 for replica in self.replicas for _ in range(6))

    def trust(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "verifier", "trust", *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def until(self, holds: Callable[[], bool]) -> None:
        await_that(holds, told=lambda: self.trust("status"))

    def lines(self, event: str) -> list[str]:
        return [line for replica in self.replicas for line in replica.log if f'"event":"{event}"' in line]


@contextmanager
def drill(directory: Path, *, mode: str) -> Iterator[Drill]:
    feed = Feed.make(directory / "feed")
    root = directory / "root.json"
    root.write_bytes(feed.first_root)
    trust = directory / "trust"
    write_current_trust(trust)
    with ExitStack() as stack:
        server = stack.enter_context(running_redis_server())
        settings = {
            "VERIFIER_TRUST_FEED": str(feed.public),
            "VERIFIER_TRUST_FEED_ROOT": str(root),
            "VERIFIER_TRUST_FEED_MODE": mode,
            "VERIFIER_TRUST_FEED_SECONDS": "1",
        }
        replicas = [
            stack.enter_context(running_service(nonce_store=server.url, trust_dir=trust, workers=2, **settings))
            for _ in range(2)
        ]
        environment = {**settings, "VERIFIER_NONCE_STORE": server.url, "VERIFIER_TRUST_DIR": str(trust)}
        yield Drill((replicas[0], replicas[1]), environment, feed, Rollover.happen())


def test_both_replicas_accept_the_new_issuer_after_one_signature_and_drop_no_request(tmp_path: Path) -> None:
    with drill(tmp_path, mode="apply") as exercise:
        traffic = Traffic(exercise.replicas)
        with traffic.flowing():
            assert {exercise.attest(replica).code for replica in exercise.replicas} == {"issuer-unpinned"}
            exercise.publish(1)
            exercise.until(exercise.all_accept)
        assert traffic.faults == []
        assert {answer.status for answer in traffic.answers} == {200}
        assert len(traffic.answers) > 10
        assert "version 1 is in force" in exercise.trust("status")


def test_an_operator_approves_with_one_command(tmp_path: Path) -> None:
    with drill(tmp_path, mode="propose") as exercise:
        exercise.publish(1)
        exercise.until(lambda: "version 1 waits for approval" in exercise.trust("status"))
        assert "imds-verifier trust update --approve 1" in exercise.trust("status")
        assert {exercise.attest(replica).code for replica in exercise.replicas} == {"issuer-unpinned"}
        exercise.trust("update", "--approve", "1")
        exercise.until(exercise.all_accept)


@pytest.mark.parametrize("mode", ["propose", "apply"])
def test_a_feed_that_fails_changes_no_verdict_and_is_told_once(tmp_path: Path, mode: str) -> None:
    with drill(tmp_path, mode=mode) as exercise:
        exercise.publish(1)
        exercise.until(lambda: "last successful look: 20" in exercise.trust("status"))
        exercise.trust("update", "--approve", "1")
        (exercise.feed.public / "timestamp.json").write_bytes(b"{}")
        exercise.until(lambda: "the last look failed" in exercise.trust("status"))
        asked = exercise.replicas[0].request("GET", "/metrics").body.decode()
        assert "verifier_trust_feed_version 1.0" in asked
        looks = time.monotonic() + 4
        while time.monotonic() < looks:
            assert {exercise.attest(replica).status for replica in exercise.replicas} == {200}
        # The feed was empty at first, so that the first looks may have been refused for another reason.
        refused = [line for line in exercise.lines("trust feed") if "Failed to deserialize" in line]
        assert len(refused) == 1, refused
        assert exercise.lines("failed") == []


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"ROOT": "/absent/root.json"}, "trust_feed_root: /absent/root.json cannot be read: No such file"),
        (
            {"URL": "http://feed.example/"},
            "trust_feed: expected an https URL or an absolute path of a directory",
        ),
        ({"URL": "https://a:b@feed.example/"}, "the feed must be https://HOST/PATH without user"),
        ({"URL": "https://feed.example/", "CA_FILE": "/absent/ca.pem"}, "the CA file /absent/ca.pem cannot be read"),
        ({"SECONDS": "0"}, "trust_feed_seconds: Input should be greater than or equal to 1"),
        ({"MODE": "always"}, "trust_feed_mode: Input should be 'propose' or 'apply'"),
        ({"CLOUDS": "AzureMoonCloud"}, "trust_feed_clouds"),
    ],
)
def test_the_service_does_not_start_with_a_feed_that_cannot_be_followed(
    tmp_path: Path, changed: dict[str, str], fault: str
) -> None:
    feed = Feed.make(tmp_path / "feed", keys=1, threshold=1)
    root = tmp_path / "root.json"
    root.write_bytes(feed.first_root)
    write_current_trust(tmp_path / "trust")
    settings = {f"VERIFIER_TRUST_FEED_{name}": value for name, value in {"ROOT": str(root), **changed}.items()}
    settings["VERIFIER_TRUST_FEED"] = settings.pop("VERIFIER_TRUST_FEED_URL", str(feed.public))
    store = f"sqlite:///{tmp_path / 'nonces.sqlite3'}"
    with (
        pytest.raises(AssertionError, match="the server did not start") as refused,
        running_service(nonce_store=store, trust_dir=tmp_path / "trust", workers=1, under=(), **settings),
    ):
        pass
    assert fault in str(refused.value)

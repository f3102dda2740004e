"""Real processes that follow a feed: over https from a server that attacks, after a year, and of another format."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from support.documents import imds_answer
from support.feeds import entry, published
from support.live_documents import current_document, write_current_trust
from support.processes import await_that
from support.redis_server import running_redis_server
from support.rollovers import Rollover
from support.scripted_servers import Reply, serving
from support.services import RunningServer, running_service
from support.tuf_feeds import WEEK, YEAR, Feed, server_tls, serving_feed

from verifier.adapters.feed.sources import MAX_FILE_BYTES
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.trust_registry import RedisTrustRegistry
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.stores.factory import file_beside
from verifier.adapters.trust.published import write_bundle
from verifier.core.trust.operator_decisions import FollowedBundle, OperatorDecisions
from verifier.ports.feed_publishing import Rotation
from verifier.ports.trust import FeedState, TrustAuditEvent

_WITHIN_SECONDS = 20.0


@dataclass(slots=True)
class Attacks:
    """What the server of the feed gives instead of each file."""

    reply: Reply | None = None

    def instead(self, name: str) -> Reply | None:
        return None if name.endswith(".root.json") else self.reply


@dataclass(frozen=True, slots=True)
class Installation:
    """A trust directory, the root of a feed and a store, as commands of an operator see them."""

    settings: dict[str, str]

    @classmethod
    def make(cls, directory: Path, feed: Feed, *, store: str = "", **settings: str) -> "Installation":
        root = directory / "root.json"
        root.write_bytes(feed.first_root)
        write_current_trust(directory / "trust")
        return cls(
            {
                "VERIFIER_TRUST_FEED": str(feed.public),
                "VERIFIER_TRUST_FEED_ROOT": str(root),
                "VERIFIER_TRUST_FEED_MODE": "apply",
                "VERIFIER_TRUST_FEED_SECONDS": "1",
                "VERIFIER_TRUST_DIR": str(directory / "trust"),
                "VERIFIER_NONCE_STORE": store or f"sqlite:///{directory / 'state.sqlite3'}",
                **settings,
            }
        )

    @contextmanager
    def service(self) -> Iterator[RunningServer]:
        settings = dict(self.settings)
        store, trust = settings.pop("VERIFIER_NONCE_STORE"), Path(settings.pop("VERIFIER_TRUST_DIR"))
        with running_service(nonce_store=store, trust_dir=trust, workers=1, **settings) as server:
            yield server

    def trust(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "verifier", "trust", *arguments],
            env={**os.environ, **self.settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout + done.stderr


def test_a_service_follows_a_feed_over_https_whose_server_attacks(tmp_path: Path) -> None:
    """Each attack is told, no verdict changes, and requests are answered while the server says nothing."""
    rollover, attacks = Rollover.happen(), Attacks()
    feed = Feed.make(tmp_path / "feed", keys=1, threshold=1)
    feed.publish(write_bundle(published(entry(rollover.authority), at=datetime.now(UTC))), by=(1,))
    with serving(Reply(body=b"secret")) as private, serving_feed(feed, tmp_path, instead=attacks.instead) as server:
        ca_file = tmp_path / "follower-ca.pem"
        ca_file.write_bytes(server.ca_file.read_bytes())
        follows = {"VERIFIER_TRUST_FEED": server.url, "VERIFIER_TRUST_FEED_CA_FILE": str(ca_file)}
        with Installation.make(tmp_path, feed, **follows).service() as service:

            def accepts() -> bool:
                return service.post_json("/v1/attestations", rollover.document(service.issue_nonce())).status == 200

            def is_told(sentence: str) -> bool:
                return any(sentence in line for line in service.log if '"trust feed"' in line)

            await_that(accepts, told=lambda: service.log)
            attacks.reply = Reply(body=b" " * (2 * MAX_FILE_BYTES))
            await_that(lambda: is_told(f"has more than {MAX_FILE_BYTES} bytes"), told=lambda: service.log)
            attacks.reply = Reply(status=302, headers={"Location": private.url})
            await_that(lambda: is_told("a feed may not redirect"), told=lambda: service.log)
            (tmp_path / "other").mkdir()
            _, other_authority = server_tls(tmp_path / "other")
            right = ca_file.read_bytes()
            ca_file.write_bytes(other_authority.read_bytes())
            await_that(lambda: is_told("its CA is not trusted"), told=lambda: service.log)
            ca_file.write_bytes(right)
            attacks.reply = Reply(never=True)
            asked = len(server.script.requests)
            await_that(lambda: len(server.script.requests) >= asked + 2, told=lambda: service.log)
            began = time.monotonic()
            old = imds_answer(current_document(service.issue_nonce()))
            assert service.post_json("/v1/attestations", old).status == 200
            assert accepts()
            # A look may take a minute.
            assert time.monotonic() - began < _WITHIN_SECONDS
    assert private.requests == []


def test_a_replica_that_was_off_for_a_year_follows_again(tmp_path: Path) -> None:
    """The registry has the metadata of a year ago, all of them expired, and the root was renewed since."""
    feed = Feed.make(tmp_path / "feed", ago=YEAR + WEEK, keys=1, threshold=1)
    feed.publish(write_bundle(published(version=1, at=feed.clock.now())), by=(1,))
    seen = {
        "root_history/1.root.json": feed.first_root,
        "timestamp.json": (feed.public / "timestamp.json").read_bytes(),
        "snapshot.json": (feed.public / "1.snapshot.json").read_bytes(),
        "targets.json": (feed.public / "1.targets.json").read_bytes(),
    }
    with running_redis_server() as redis:
        installation = Installation.make(tmp_path, feed, store=redis.url)
        with closing(RedisTrustRegistry(RedisLink.open(redis.url))) as registry:
            root_sha256 = hashlib.sha256(feed.first_root).hexdigest()
            state = FeedState(metadata=seen, checked_at=feed.clock.now(), root_sha256=root_sha256)
            assert registry.keep_feed(state, expected=registry.feed()[1])
        # The feed did not renew either: what is expired is refused, also if it was seen before.
        assert "The feed's metadata have expired" in installation.trust("update", "--create")
        for _ in range(2):
            feed.clock.advance((YEAR + WEEK) / 2)
            feed.publisher.rotate(feed.directory, Rotation(), lasting=YEAR)
            feed.sign(1)
        new = entry(Rollover.happen().authority)
        feed.publish(write_bundle(published(new, version=2, at=datetime.now(UTC))), by=(1,))
        told = installation.trust("update")
        assert "version 2 is in force" in told
        with closing(RedisTrustRegistry(RedisLink.open(redis.url))) as registry:
            assert "root_history/3.root.json" in registry.feed()[0].metadata


def test_a_bundle_of_a_later_release_is_told_clearly(tmp_path: Path) -> None:
    """From the feed, and in the registry, where a replica of another release put it in force."""
    feed = Feed.make(tmp_path / "feed", keys=1, threshold=1)
    other = write_bundle(published(at=datetime.now(UTC))).replace(b'"format": 1', b'"format": 2')
    feed.publish(other, by=(1,))
    installation = Installation.make(tmp_path, feed)
    sentence = "the bundle has format 2, and this release knows format 1: update imds-verifier"
    assert f"The bundle is refused: {sentence}" in installation.trust("update", "--create")
    with closing(SqliteTrustRegistry(file_beside(tmp_path / "state.sqlite3", "trust"))) as registry:
        now = datetime.now(UTC)
        followed = FollowedBundle(raw=other, version=1, decided_by="ann", decided_at=now)
        event = TrustAuditEvent(at=now, by="ann", what="follow feed", subject="version 1", before="", after="")
        assert registry.decide(OperatorDecisions(followed=followed), event, expected=registry.revision())
    assert f"version 1: {sentence}" in installation.trust("status")
    with installation.service() as service:
        document = imds_answer(current_document(service.issue_nonce()))
        assert service.post_json("/v1/attestations", document).status == 200
        assert any(sentence in line for line in service.log)

"""Follow a real feed over both registries: replicas that race, and one that was off for a year."""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.clocks import ManualClock
from support.feeds import entry, feed_of, published
from support.trust_operations import KeptTrustEvents, new_authority, read, write_trust
from support.tuf_feeds import DAY, WEEK, YEAR, Feed

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.trust_registry import RedisTrustRegistry
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.trust.live_trust import LiveTrust
from verifier.adapters.trust.published import write_bundle
from verifier.core.trust.published import FeedMode
from verifier.ports.feed_publishing import Rotation
from verifier.ports.trust import FeedState
from verifier.usecases.trust_administration import TrustAdministration
from verifier.usecases.trust_feed import TrustFeed

Make = Callable[[Feed, ManualClock], TrustFeed]


@pytest.fixture(params=["sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes replicas with the mode `apply`, which share one registry."""
    overlay = tmp_path / "trust"
    write_trust(overlay)
    prefix = f"imds-verifier:{{trust-{uuid.uuid4()}}}:"
    with ExitStack() as stack:

        def make(feed: Feed, clock: ManualClock) -> TrustFeed:
            registry: SqliteTrustRegistry | RedisTrustRegistry
            if request.param == "sqlite":
                registry = stack.enter_context(closing(SqliteTrustRegistry(tmp_path / "trust.sqlite3")))
            else:
                link = RedisLink.open(request.getfixturevalue("redis_url"), connections=2)
                registry = stack.enter_context(closing(RedisTrustRegistry(link, prefix=prefix)))
            events = KeptTrustEvents()
            trust = LiveTrust(overlay, registry, admit=False, recorder=events)
            administration = TrustAdministration(trust=trust, registry=registry, recorder=events, clock=clock)
            return feed_of(administration, feed.client(), mode=FeedMode.APPLY)

        yield make


def bundle(version: int, at: datetime) -> bytes:
    return write_bundle(published(entry(new_authority()), version=version, at=at))


def test_replicas_that_look_at_once_put_a_bundle_in_force_once(make: Make, tmp_path: Path) -> None:
    feed, now = Feed.make(tmp_path / "feed", keys=1, threshold=1), datetime.now(UTC)
    feed.publish(bundle(1, now), by=(1,))
    replicas = [make(feed, ManualClock(now)) for _ in range(3)]
    with ThreadPoolExecutor(len(replicas)) as threads:
        found = list(threads.map(lambda replica: replica.look(), replicas))
    assert {status.in_force and status.in_force.version for status in found} == {1}
    assert {status.problem for status in found} == {""}
    assert len(replicas[0].registry.audit_log(most=9)) == 1


def test_replicas_leave_a_rejected_bundle_alone_and_follow_a_later_one(make: Make, tmp_path: Path) -> None:
    """One replica gets the bundle offered. After the rejection, no replica in the mode `apply` puts it in force."""
    feed, now = Feed.make(tmp_path / "feed", keys=1, threshold=1), datetime.now(UTC)
    feed.publish(bundle(1, now), by=(1,))
    first, second = make(feed, ManualClock(now)), make(feed, ManualClock(now))
    assert replace(first, mode=FeedMode.PROPOSE).look().offer is not None
    first.reject(1, by="ann")
    for status in (second.look(), first.look(), second.status()):
        assert (status.in_force, status.offer, status.problem) == (None, None, "")
        assert status.rejected is not None
        assert (status.rejected.version, status.rejected.decided_by) == (1, "ann")
    feed.publish(bundle(2, now), by=(1,))
    status = second.look()
    assert status.in_force is not None
    assert (status.in_force.version, status.rejected) == (2, None)
    assert [event.what for event in first.registry.audit_log(most=9)] == ["follow feed", "reject feed"]


def test_a_replica_that_was_off_for_a_year_follows_again(make: Make, tmp_path: Path) -> None:
    """All that the registry holds has expired, and the root changed twice since."""
    feed = Feed.make(tmp_path / "feed", ago=YEAR + WEEK, keys=1, threshold=1)
    clock = ManualClock(feed.clock.now())
    old = bundle(1, clock.now())
    feed.publish(old, by=(1,))
    replica = make(feed, clock)
    seen = FeedState(
        metadata={
            "root_history/1.root.json": feed.first_root,
            "timestamp.json": (feed.public / "timestamp.json").read_bytes(),
            "snapshot.json": (feed.public / "1.snapshot.json").read_bytes(),
            "targets.json": (feed.public / "1.targets.json").read_bytes(),
        },
        offered=old,
        checked_at=clock.now(),
        root_sha256=hashlib.sha256(feed.first_root).hexdigest(),
    )
    assert replica.registry.keep_feed(seen, expected=0)
    replica.approve(1, by="ann")
    clock.advance(YEAR + WEEK)
    # The feed had stopped, too: what is in force stays in force.
    status = replica.look()
    assert status.problem == "The feed's metadata have expired: Final root.json is expired."
    assert status.in_force is not None
    assert status.checked_at == seen.checked_at
    assert read(new_authority()).sha256 in {one.certificate.sha256 for one in replica.administration.bundle().entries}

    feed.clock.advance(180 * DAY)
    for _ in range(2):
        feed.publisher.rotate(feed.directory, Rotation(), lasting=YEAR)
        feed.sign(1)
        feed.clock.advance((YEAR + WEEK - 180 * DAY) / 2)
    feed.publish(bundle(2, clock.now()), by=(1,), lasting=timedelta(days=30))
    status = make(feed, clock).look()
    assert status.problem == ""
    assert status.in_force is not None
    assert status.in_force.version == 2
    assert "root_history/3.root.json" in replica.registry.feed()[0].metadata

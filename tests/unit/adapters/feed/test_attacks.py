"""Attacks on a trust feed by who controls its server, or has some of its keys: each is refused with a sentence."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from support.tuf_feeds import DAY, WEEK, YEAR, Feed
from tuf.api.metadata import Metadata, MetaFile, Root

from verifier.adapters.feed.client import MAX_ROOT_ROTATIONS, TARGET, open_feed
from verifier.ports.feed_publishing import Rotation
from verifier.ports.trust import FeedClient, FeedFailed, FetchedFeed

OLD, NEW = b'{"bundle": 1}', b'{"bundle": 2}'
PAST = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    feed = Feed.make(tmp_path / "feed")
    feed.publish(OLD)
    return feed


def refusal(feed: Feed, metadata: Mapping[str, bytes] | None = None, *, root: bytes | None = None) -> str:
    client = open_feed(str(feed.public), root=root or feed.first_root)
    with pytest.raises(FeedFailed) as caught:
        client.fetch(metadata or {})
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def look(feed: Feed, metadata: Mapping[str, bytes] | None = None) -> FetchedFeed:
    port: FeedClient = feed.client()
    return port.fetch(metadata or {})


def test_follows_each_publication(feed: Feed) -> None:
    first = look(feed)
    assert first.bundle == OLD
    feed.publish(NEW, by=(2, 3))
    second = look(feed, first.metadata)
    assert second.bundle == NEW
    assert look(feed, second.metadata) == second
    # The online key renews daily, so that the proof lasts.
    feed.clock.advance(DAY)
    feed.renew()
    assert look(feed, second.metadata).fresh_until == first.fresh_until + DAY


def test_refuses_all_files_of_an_earlier_time(feed: Feed) -> None:
    before = feed.files()
    feed.publish(NEW)
    seen = look(feed)
    feed.put(before)
    assert "version" in refusal(feed, seen.metadata)


def test_refuses_a_replayed_timestamp(feed: Feed) -> None:
    before = feed.files()["timestamp.json"]
    feed.publish(NEW)
    seen = look(feed)
    (feed.public / "timestamp.json").write_bytes(before)
    assert refusal(feed, seen.metadata) == (
        "The feed offers another version than the metadata before require: New timestamp version 1 must be >= 2."
    )


def test_refuses_a_replayed_snapshot(feed: Feed) -> None:
    feed.publish(NEW)
    (feed.public / "2.snapshot.json").write_bytes((feed.public / "1.snapshot.json").read_bytes())
    assert "not the signed one" in refusal(feed)


def test_refuses_a_snapshot_version_that_goes_back_under_a_stolen_online_key(feed: Feed) -> None:
    feed.publish(NEW)
    seen = look(feed)
    feed.forge(snapshot=lambda snapshot: setattr(snapshot, "version", 1))
    assert "snapshot version must be >= 2" in refusal(feed, seen.metadata)


def test_refuses_replayed_targets(feed: Feed) -> None:
    feed.publish(NEW)
    (feed.public / "2.targets.json").write_bytes((feed.public / "1.targets.json").read_bytes())
    assert "not the signed one" in refusal(feed)


def test_refuses_replayed_targets_under_a_stolen_online_key(feed: Feed) -> None:
    old = (feed.public / "1.targets.json").read_bytes()
    feed.publish(NEW)
    seen = look(feed)
    feed.forge(targets=old)
    assert "targets.json version" in refusal(feed, seen.metadata)


def test_refuses_a_replayed_root(feed: Feed) -> None:
    (feed.public / "2.root.json").write_bytes(feed.first_root)
    assert refusal(feed) == (
        "The feed offers another version than the metadata before require: "
        "Expected root version 2 instead got version 1."
    )


def test_goes_to_no_root_before_the_one_of_the_last_look(feed: Feed) -> None:
    """The server hides the root that revoked the stolen online key."""
    before = feed.files()
    feed.publisher.new_key(feed.key("fresh"))
    feed.publisher.rotate(feed.directory, Rotation(online=feed.key("fresh").with_suffix(".pem.pub")), lasting=YEAR)
    for number in (1, 2):
        feed.publisher.sign(feed.directory, feed.key(number))
    assert feed.publisher.complete(feed.directory, online_key=feed.key("fresh"), lasting=WEEK)
    seen = look(feed)
    assert seen.bundle == OLD
    feed.put(before)
    feed.forge()
    assert "0/1 keys" in refusal(feed, seen.metadata)


def test_refuses_metadata_of_another_moment_together(feed: Feed) -> None:
    """Mix and match: the newest timestamp and snapshot with other targets of the same version."""
    other = feed.make_targets(NEW, 1, feed.signer(1), feed.signer(3))
    assert other != b""
    assert "not the signed one" in refusal(feed)


def test_refuses_a_swapped_bundle(feed: Feed) -> None:
    [bundle] = feed.public.glob(f"*.{TARGET}")
    bundle.write_bytes(NEW)
    assert "not the signed one" in refusal(feed)
    bundle.write_bytes(OLD + b" ")
    assert "too long" in refusal(feed)
    bundle.write_bytes(OLD[:-1])
    assert "not the signed one" in refusal(feed)
    bundle.unlink()
    assert "incomplete" in refusal(feed)


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 10_000, b"{}", b'{"signatures": [], "signed": {}}', b"1" * 10_000, b"null"],
    ids=["empty", "cut", "binary", "deep", "no fields", "no type", "digits", "null"],
)
def test_refuses_what_is_no_metadata(feed: Feed, name: str, content: bytes) -> None:
    (feed.public / name).write_bytes(content)
    assert refusal(feed)


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
def test_refuses_truncated_metadata(feed: Feed, name: str) -> None:
    content = (feed.public / name).read_bytes()
    (feed.public / name).write_bytes(content[:-10])
    assert refusal(feed)
    (feed.public / name).unlink()
    assert "incomplete" in refusal(feed)


# Expired metadata


def test_refuses_an_expired_root(tmp_path: Path) -> None:
    feed = Feed.make(tmp_path / "feed", ago=2 * DAY, lasting=DAY)
    feed.publish(OLD)
    assert refusal(feed) == "The feed's metadata have expired: Final root.json is expired."


def test_refuses_expired_targets(tmp_path: Path) -> None:
    feed = Feed.make(tmp_path / "feed", ago=2 * DAY)
    feed.publish(OLD, lasting=DAY)
    feed.clock.advance(2 * DAY)
    feed.renew()
    assert refusal(feed) == "The feed's metadata have expired: New targets is expired."


def test_refuses_an_expired_snapshot(feed: Feed) -> None:
    feed.forge(snapshot=lambda snapshot: setattr(snapshot, "expires", PAST))
    assert refusal(feed) == "The feed's metadata have expired: snapshot.json is expired."


def test_refuses_an_expired_timestamp(feed: Feed) -> None:
    """A server that freezes the feed at an earlier state can do so until the timestamp expires."""
    feed.forge(timestamp=lambda timestamp: setattr(timestamp, "expires", PAST))
    assert refusal(feed) == "The feed's metadata have expired: timestamp.json is expired."


def test_refuses_an_expired_timestamp_that_it_has_seen_fresh(tmp_path: Path) -> None:
    feed = Feed.make(tmp_path / "feed", ago=8 * DAY)
    feed.publish(OLD)
    assert "timestamp.json is expired" in refusal(feed)
    feed.clock.advance(8 * DAY)
    feed.renew()
    assert look(feed).bundle == OLD


# Signatures


def test_refuses_targets_below_the_threshold(feed: Feed) -> None:
    feed.forge(targets=feed.make_targets(NEW, 2, feed.signer(1)))
    assert refusal(feed) == (
        "The signatures do not reach the threshold of the trusted keys: targets was signed by 1/2 keys."
    )


@pytest.mark.parametrize("name", ["same", "other"])
def test_one_key_twice_is_one_signature(feed: Feed, name: str) -> None:
    """Under its own identifier, or under that of another maintainer."""
    fields = json.loads(feed.make_targets(NEW, 2, feed.signer(1)))
    [signature] = fields["signatures"]
    keyid = signature["keyid"] if name == "same" else feed.signer(2).public_key.keyid
    fields["signatures"].append({**signature, "keyid": keyid})
    content = json.dumps(fields).encode()
    (feed.public / "2.targets.json").write_bytes(content)
    feed.forge(snapshot=lambda snapshot: snapshot.meta.update({"targets.json": MetaFile(2)}))
    assert ("1/2 keys" if name == "other" else "Failed to deserialize") in refusal(feed)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_refuses_a_wrong_key(feed: Feed, role: str) -> None:
    stranger = CryptoSigner.generate_ed25519()
    if role == "timestamp":
        feed.forge(timestamp_signer=stranger)
    elif role == "snapshot":
        feed.forge(signer=stranger, timestamp_signer=feed.signer("online"))
    elif role == "targets":
        feed.forge(targets=feed.make_targets(NEW, 2, stranger, CryptoSigner.generate_ed25519()))
    else:
        root: Metadata[Root] = Metadata.from_bytes(feed.first_root)
        root.signed.version = 2
        root.signatures.clear()
        root.sign(stranger)
        (feed.public / "2.root.json").write_bytes(root.to_bytes())
    assert f"{role} was signed by 0/" in refusal(feed)


def test_the_online_key_signs_no_targets(feed: Feed) -> None:
    feed.forge(targets=feed.make_targets(NEW, 2, feed.signer("online")))
    assert "targets was signed by 0/2 keys" in refusal(feed)


def test_a_maintainer_signs_no_timestamp(feed: Feed) -> None:
    feed.forge(timestamp_signer=feed.signer(1))
    assert "timestamp was signed by 0/1 keys" in refusal(feed)


def test_refuses_the_root_of_another_feed(feed: Feed, tmp_path: Path) -> None:
    other = Feed.make(tmp_path / "other")
    assert "0/1 keys" in refusal(feed, root=other.first_root)
    # What it has seen of one feed proves nothing for another.
    assert "0/1 keys" in refusal(feed, look(feed).metadata, root=other.first_root)


def test_follows_another_feed_with_its_root(feed: Feed, tmp_path: Path) -> None:
    """The metadata of the feed before neither block the new one nor stay."""
    rotate(feed, 4, 2, 3, 4, remove=1)
    seen = look(feed).metadata
    other = Feed.make(tmp_path / "other")
    other.publish(NEW)
    found = look(other, seen)
    assert found.bundle == NEW
    assert found == look(other)


@pytest.mark.parametrize("root", [b"", b"{}", b"not json"])
def test_refuses_a_root_that_is_none(tmp_path: Path, root: bytes) -> None:
    with pytest.raises(ValueError, match="root metadata"):
        open_feed(str(tmp_path), root=root)


def test_refuses_a_root_that_was_changed(feed: Feed) -> None:
    root = feed.first_root.replace(b'"threshold":2', b'"threshold":1')
    assert root != feed.first_root
    with pytest.raises(ValueError, match="its own keys"):
        open_feed(str(feed.public), root=root)
    with pytest.raises(ValueError, match="root metadata"):
        open_feed(str(feed.public), root=(feed.public / "1.targets.json").read_bytes())


# Roots


def rotate(feed: Feed, number: int, *by: int, remove: int) -> None:
    """Replace one maintainer by a new one."""
    feed.publisher.new_key(feed.key(number))
    change = Rotation(add=[feed.key(number).with_suffix(".pem.pub")], remove=[feed.signer(remove).public_key.keyid])
    feed.publisher.rotate(feed.directory, change, lasting=YEAR)
    feed.sign(*by)


def test_follows_two_rotations_of_the_root(feed: Feed) -> None:
    seen = look(feed)
    rotate(feed, 4, 2, 3, 4, remove=1)
    rotate(feed, 5, 3, 4, 5, remove=2)
    feed.publish(NEW, by=(4, 5))
    assert look(feed, seen.metadata).bundle == NEW
    assert look(feed).bundle == NEW
    assert {"root_history/2.root.json", "root_history/3.root.json"} <= look(feed).metadata.keys()
    # The keys that were removed sign no more.
    feed.forge(targets=feed.make_targets(OLD, 9, feed.signer(1), feed.signer(2)))
    assert "targets was signed by 0/2 keys" in refusal(feed)


def test_refuses_a_root_that_the_old_keys_did_not_sign(feed: Feed) -> None:
    root: Metadata[Root] = Metadata.from_bytes(feed.first_root)
    strangers = [CryptoSigner.generate_ed25519() for _ in range(2)]
    root.signed.version = 2
    root.signed.roles["root"].keyids = []
    for stranger in strangers:
        root.signed.add_key(stranger.public_key, "root")
    root.signatures.clear()
    for signer in (*strangers, feed.signer(1)):
        root.sign(signer, append=True)
    (feed.public / "2.root.json").write_bytes(root.to_bytes())
    assert "root was signed by 1/2 keys" in refusal(feed)


def test_refuses_a_root_that_the_new_keys_did_not_sign(feed: Feed) -> None:
    root: Metadata[Root] = Metadata.from_bytes(feed.first_root)
    root.signed.version = 2
    root.signed.roles["root"].keyids = []
    for _ in range(2):
        root.signed.add_key(CryptoSigner.generate_ed25519().public_key, "root")
    root.signatures.clear()
    for signer in (feed.signer(1), feed.signer(2)):
        root.sign(signer, append=True)
    (feed.public / "2.root.json").write_bytes(root.to_bytes())
    assert "root was signed by 0/2 keys" in refusal(feed)


def test_a_follower_that_was_off_for_a_year_follows_again(tmp_path: Path) -> None:
    """All that it has seen expired, also the root, and every key changed twice since."""
    feed = Feed.make(tmp_path / "feed", ago=YEAR + WEEK, threshold=1)
    feed.publish(OLD, by=(1,))
    metadata = {
        "root_history/1.root.json": feed.first_root,
        "timestamp.json": (feed.public / "timestamp.json").read_bytes(),
        "snapshot.json": (feed.public / "1.snapshot.json").read_bytes(),
        "targets.json": (feed.public / "1.targets.json").read_bytes(),
    }
    for month in range(1, 13):
        feed.clock.advance(30 * DAY)
        rotate(feed, 3 + month, month, 3 + month, remove=month)
    feed.clock.advance(12 * DAY)
    feed.publish(NEW, by=(15,))
    found = look(feed, metadata)
    assert found.bundle == NEW
    assert "root_history/13.root.json" in found.metadata


def test_recovers_from_versions_that_a_stolen_online_key_advanced(feed: Feed) -> None:
    """Fast-forward: after the rotation of the online key, lower versions are accepted again."""
    feed.forge(timestamp=lambda timestamp: setattr(timestamp, "version", 2**31))
    seen = look(feed)
    feed.forge(timestamp=lambda timestamp: setattr(timestamp, "version", 7))
    assert "timestamp version 7" in refusal(feed, seen.metadata)
    feed.publisher.new_key(feed.key("fresh"))
    feed.publisher.rotate(feed.directory, Rotation(online=feed.key("fresh").with_suffix(".pem.pub")), lasting=YEAR)
    for number in (1, 2):
        feed.publisher.sign(feed.directory, feed.key(number))
    assert feed.publisher.complete(feed.directory, online_key=feed.key("fresh"), lasting=WEEK)
    assert look(feed, seen.metadata).bundle == OLD


def test_stops_at_the_greatest_number_of_rotations(tmp_path: Path) -> None:
    feed = Feed.make(tmp_path / "feed", keys=1, threshold=1)
    feed.publish(OLD, by=(1,))
    root: Metadata[Root] = Metadata.from_bytes(feed.first_root)
    signer = feed.signer(1)
    for version in range(2, MAX_ROOT_ROTATIONS + 10):
        root.signed.version = version
        root.sign(signer)
        (feed.public / f"{version}.root.json").write_bytes(root.to_bytes())
    roots = [name for name in look(feed).metadata if "root" in name]
    assert len(roots) == MAX_ROOT_ROTATIONS + 1


# Bounds and forms


def test_refuses_metadata_that_are_too_long(feed: Feed) -> None:
    padded = (feed.public / "timestamp.json").read_bytes() + b" " * 20_000
    (feed.public / "timestamp.json").write_bytes(padded)
    assert "too long" in refusal(feed)


def test_follows_no_delegation(feed: Feed) -> None:
    targets = feed.load("1.targets.json")
    targets.signed.targets.clear()
    targets.signed.version = 2
    targets.signatures.clear()
    for number in (1, 2):
        targets.sign(feed.signer(number), append=True)
    content = targets.to_bytes()
    (feed.public / "2.targets.json").write_bytes(content)
    feed.forge(targets=content)
    assert refusal(feed) == f"The feed publishes no {TARGET}."


def test_ignores_other_files_among_the_shared_metadata(feed: Feed, tmp_path: Path) -> None:
    escape = {"../../escape.json": b"{}", "/escape.json": b"{}", "root.json": b"{}", "timestamp.json": b"garbage"}
    assert look(feed, escape).bundle == OLD
    assert not (tmp_path / "escape.json").exists()


def test_a_link_out_of_the_directory_is_not_followed(feed: Feed, tmp_path: Path) -> None:
    timestamp = feed.public / "timestamp.json"
    elsewhere = tmp_path / "elsewhere.json"
    timestamp.rename(elsewhere)
    timestamp.symlink_to(elsewhere)
    assert "leads out of the directory" in refusal(feed)
    timestamp.unlink()
    # As Kubernetes mounts a volume.
    elsewhere.rename(feed.public / "..data.json")
    timestamp.symlink_to("..data.json")
    assert look(feed).bundle == OLD
    timestamp.unlink()
    timestamp.symlink_to("timestamp.json")
    assert "cannot be read" in refusal(feed)


def test_reads_only_regular_files(feed: Feed) -> None:
    timestamp = feed.public / "timestamp.json"
    timestamp.unlink()
    os.mkfifo(timestamp)
    assert "not a regular file" in refusal(feed)
    timestamp.unlink()
    timestamp.mkdir()
    assert "timestamp.json" in refusal(feed)


def test_names_a_directory_that_does_not_exist(feed: Feed, tmp_path: Path) -> None:
    client = open_feed(str(tmp_path / "absent"), root=feed.first_root)
    with pytest.raises(FeedFailed, match="does not exist"):
        client.fetch({})


def test_a_feed_without_a_bundle_says_so(tmp_path: Path) -> None:
    feed = Feed.make(tmp_path / "feed")
    assert refusal(feed) == "The feed is incomplete, or this is not a feed: timestamp.json does not exist."

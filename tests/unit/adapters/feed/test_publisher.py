"""Making a feed: keys, signatures, rotation, and what is refused."""

import shutil
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from support.tuf_feeds import DAY, QUARTER, WEEK, YEAR, Feed
from tuf.api.metadata import Delegations, Metadata, TargetFile, Targets

from verifier.adapters.feed.client import TARGET
from verifier.ports.feed_publishing import FeedPublisher, PublishingRefused, Rotation

OLD, NEW = b'{"bundle": 1}', b'{"bundle": 2}'


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    return Feed.make(tmp_path / "feed")


def test_is_a_publisher(feed: Feed) -> None:
    port: FeedPublisher = feed.publisher
    assert port.published(feed.directory) is None


def test_one_signature_is_enough_with_a_threshold_of_one(tmp_path: Path) -> None:
    feed = Feed.make(tmp_path / "feed", keys=2, threshold=1)
    for number, bundle in ((1, OLD), (2, NEW)):
        feed.publish(bundle, by=(number,))
        assert feed.client().fetch({}).bundle == bundle
        assert feed.publisher.published(feed.directory) == bundle


def test_publishes_nothing_below_the_threshold(feed: Feed) -> None:
    feed.publish(OLD)
    before = feed.files()
    feed.publisher.propose(feed.directory, NEW, lasting=QUARTER)
    for _ in range(2):
        # A second signature of one key counts once.
        feed.publisher.sign(feed.directory, feed.key(1))
        assert not feed.publisher.complete(feed.directory, online_key=None, lasting=WEEK)
    [pending] = feed.publisher.overview(feed.directory).pending
    assert (pending.missing, pending.version) == (1, 2)
    assert pending.signed_by == (feed.signer(1).public_key.keyid,)
    assert feed.files() == before
    feed.publisher.renew(feed.directory, online_key=None, lasting=WEEK)
    assert feed.client().fetch({}).bundle == OLD
    feed.sign(3)
    assert feed.client().fetch({}).bundle == NEW


def test_a_copy_of_the_pending_file_can_be_signed_elsewhere(feed: Feed, tmp_path: Path) -> None:
    feed.publisher.propose(feed.directory, OLD, lasting=QUARTER)
    feed.publisher.sign(feed.directory, feed.key(1))
    away = tmp_path / "away"
    away.mkdir()
    copy = Path(shutil.copy(feed.directory / "pending" / "targets.json", away))
    with pytest.raises(PublishingRefused, match="in the same folder"):
        feed.publisher.sign(copy, feed.key(2))
    (away / TARGET).write_bytes(NEW)
    with pytest.raises(PublishingRefused, match="not the bundle that the signatures name"):
        feed.publisher.sign(copy, feed.key(2))
    (away / TARGET).write_bytes(OLD)
    key = Path(shutil.copy(feed.key(2), away))
    key.chmod(0o600)
    assert feed.publisher.sign(copy, key) == (copy,)
    shutil.copy(copy, feed.directory / "pending" / "targets.json")
    assert feed.publisher.complete(feed.directory, online_key=None, lasting=WEEK)
    assert feed.client().fetch({}).bundle == OLD


def test_private_keys_are_for_their_owner_and_never_overwritten(feed: Feed) -> None:
    for name in (1, 2, 3, "online"):
        assert stat.S_IMODE(feed.key(name).stat().st_mode) == 0o600
    with pytest.raises(PublishingRefused, match="never overwritten"):
        feed.publisher.new_key(feed.key(1))
    with pytest.raises(PublishingRefused, match="has a feed already"):
        feed.publisher.init(feed.directory, keys=1, threshold=1, lasting=YEAR)
    feed.publisher.propose(feed.directory, OLD, lasting=QUARTER)
    feed.key(1).chmod(0o640)
    with pytest.raises(PublishingRefused, match="chmod 600"):
        feed.publisher.sign(feed.directory, feed.key(1))
    assert not [file for file in feed.public.iterdir() if b"PRIVATE" in file.read_bytes()]


def test_a_refused_key_leaves_no_file(feed: Feed, tmp_path: Path) -> None:
    (tmp_path / "new.pem.pub").write_bytes(b"another")
    with pytest.raises(PublishingRefused, match=r"new\.pem\.pub: exists already"):
        feed.publisher.new_key(tmp_path / "new.pem")
    assert not (tmp_path / "new.pem").exists()


def test_refuses_a_key_that_is_none_or_not_of_the_feed(feed: Feed, tmp_path: Path) -> None:
    feed.publisher.propose(feed.directory, OLD, lasting=QUARTER)
    feed.publisher.new_key(tmp_path / "stranger.pem")
    with pytest.raises(PublishingRefused, match="waits for this key"):
        feed.publisher.sign(feed.directory, tmp_path / "stranger.pem")
    with pytest.raises(PublishingRefused, match="waits for this key"):
        feed.publisher.sign(feed.directory, feed.key("online"))
    (tmp_path / "none.pem").write_bytes(b"none")
    (tmp_path / "none.pem").chmod(0o600)
    with pytest.raises(PublishingRefused, match="not an unencrypted private key"):
        feed.publisher.sign(feed.directory, tmp_path / "none.pem")
    for number in (1, 2):
        feed.publisher.sign(feed.directory, feed.key(number))
    with pytest.raises(PublishingRefused, match="not the online key"):
        feed.publisher.complete(feed.directory, online_key=feed.key(1), lasting=WEEK)
    with pytest.raises(PublishingRefused, match="not a public key"):
        feed.publisher.rotate(feed.directory, Rotation(add=[feed.key(1)]), lasting=YEAR)


@pytest.mark.parametrize(("keys", "threshold"), [(0, 0), (1, 2), (3, 0), (3, -1), (17, 1)])
def test_refuses_a_threshold_that_cannot_be(tmp_path: Path, keys: int, threshold: int) -> None:
    with pytest.raises(PublishingRefused, match="threshold"):
        Feed.make(tmp_path / "feed", keys=keys, threshold=threshold)


def test_refuses_what_followers_would_not_take(feed: Feed, tmp_path: Path) -> None:
    with pytest.raises(PublishingRefused, match="more than 1048576 bytes"):
        feed.publisher.propose(feed.directory, b" " * (1024 * 1024 + 1), lasting=QUARTER)
    with pytest.raises(PublishingRefused, match="in the future"):
        feed.publisher.propose(feed.directory, OLD, lasting=timedelta(0))
    with pytest.raises(PublishingRefused, match="publishes no bundle yet"):
        feed.renew()
    with pytest.raises(PublishingRefused, match="not the directory of a feed"):
        feed.publisher.overview(tmp_path)


def test_refuses_a_bundle_that_changed_after_the_signatures(feed: Feed) -> None:
    feed.publisher.propose(feed.directory, OLD, lasting=QUARTER)
    feed.publisher.sign(feed.directory, feed.key(1))
    bundle = feed.directory / "pending" / TARGET
    bundle.write_bytes(NEW)
    with pytest.raises(PublishingRefused, match="not the bundle that the signatures name"):
        feed.publisher.sign(feed.directory, feed.key(2))
    bundle.write_bytes(OLD)
    feed.publisher.sign(feed.directory, feed.key(2))
    bundle.write_bytes(NEW)
    with pytest.raises(PublishingRefused, match="not the bundle that the signatures name"):
        feed.publisher.complete(feed.directory, online_key=None, lasting=WEEK)
    assert feed.publisher.published(feed.directory) is None


def _add_target(targets: Targets) -> None:
    targets.targets["other.json"] = TargetFile.from_data("other.json", NEW, ["sha256"])


def _delegate(targets: Targets) -> None:
    targets.delegations = Delegations({}, roles={})


def _hash_twice(targets: Targets) -> None:
    targets.targets[TARGET] = TargetFile.from_data(TARGET, OLD, ["sha256", "sha512"])


@pytest.mark.parametrize("change", [_add_target, _delegate, _hash_twice])
def test_signs_only_targets_that_name_the_bundle_alone(feed: Feed, change: Callable[[Targets], None]) -> None:
    feed.publisher.propose(feed.directory, OLD, lasting=QUARTER)
    pending = feed.directory / "pending" / "targets.json"
    metadata = Metadata[Targets].from_bytes(pending.read_bytes())
    change(metadata.signed)
    pending.write_bytes(metadata.to_bytes())
    for place in (feed.directory, pending):
        with pytest.raises(PublishingRefused, match=r"targets\.json: names"):
            feed.publisher.sign(place, feed.key(1))


def test_signs_no_metadata_of_the_online_key(feed: Feed) -> None:
    feed.publish(OLD)
    with pytest.raises(PublishingRefused, match="neither root nor targets"):
        feed.publisher.sign(feed.public / "timestamp.json", feed.key(1))


def test_a_rotation_needs_the_old_and_the_new_keys(feed: Feed) -> None:
    feed.publish(OLD)
    feed.publisher.new_key(feed.key(4))
    lost = feed.signer(1).public_key.keyid
    change = Rotation(add=[feed.key(4).with_suffix(".pem.pub")], remove=[lost])
    feed.publisher.rotate(feed.directory, change, lasting=YEAR)
    feed.publisher.sign(feed.directory, feed.key(2))
    feed.publisher.sign(feed.directory, feed.key(4))
    # The root has two signatures of the new keys, and one of the old.
    assert not feed.publisher.complete(feed.directory, online_key=None, lasting=WEEK)
    assert {file.file.name: file.missing for file in feed.publisher.overview(feed.directory).pending} == {
        "root.json": 1,
        "targets.json": 0,
    }
    feed.sign(3)
    roles = {role.name: role for role in feed.publisher.overview(feed.directory).roles}
    assert lost not in {*roles["root"].key_ids, *roles["targets"].key_ids}
    assert (roles["root"].version, roles["targets"].version) == (2, 2)
    assert feed.client().fetch({}).bundle == OLD


def test_a_rotation_without_a_change_renews_the_root(feed: Feed) -> None:
    feed.publish(OLD)
    feed.clock.advance(300 * DAY)
    feed.publisher.rotate(feed.directory, Rotation(), lasting=YEAR)
    assert [file.file.name for file in feed.publisher.overview(feed.directory).pending] == ["root.json"]
    feed.sign(1, 2)
    [root, *_] = feed.publisher.overview(feed.directory).roles
    assert root.expires_at == (feed.clock.now() + YEAR).replace(microsecond=0)


def test_a_second_rotation_does_not_discard_the_first(feed: Feed) -> None:
    feed.publish(OLD)
    feed.publisher.rotate(feed.directory, Rotation(threshold=1), lasting=YEAR)
    waiting = feed.directory / "pending" / "root.json"
    before = waiting.read_bytes()
    with pytest.raises(PublishingRefused, match="delete it to start again"):
        feed.publisher.rotate(feed.directory, Rotation(), lasting=YEAR)
    assert waiting.read_bytes() == before


def test_a_second_bundle_does_not_discard_signatures(feed: Feed) -> None:
    feed.publisher.propose(feed.directory, NEW, lasting=QUARTER)
    feed.publisher.propose(feed.directory, OLD, lasting=QUARTER)
    feed.publisher.sign(feed.directory, feed.key(1))
    with pytest.raises(PublishingRefused, match="has signatures"):
        feed.publisher.propose(feed.directory, NEW, lasting=QUARTER)
    feed.sign(2)
    assert feed.client().fetch({}).bundle == OLD


def test_changes_the_threshold(feed: Feed) -> None:
    feed.publisher.rotate(feed.directory, Rotation(threshold=1), lasting=YEAR)
    feed.sign(1, 2)
    feed.publish(OLD, by=(3,))
    assert feed.client().fetch({}).bundle == OLD


@pytest.mark.parametrize(("threshold", "removed"), [(4, ()), (None, (1, 2)), (0, ()), (None, (9,))])
def test_refuses_a_rotation_without_enough_keys(feed: Feed, threshold: int | None, removed: tuple[int, ...]) -> None:
    keyids = [feed.signer(number).public_key.keyid if number < 4 else "0" * 64 for number in removed]
    if threshold == 0:
        threshold = -1
    with pytest.raises(PublishingRefused):
        feed.publisher.rotate(feed.directory, Rotation(remove=keyids, threshold=threshold), lasting=YEAR)
    assert feed.publisher.overview(feed.directory).pending == ()


def test_a_web_server_never_sees_half_a_file(feed: Feed) -> None:
    """Files are replaced in one step, and the timestamp is last."""
    feed.publish(OLD)
    assert not [name for name in feed.files() if name.startswith(".")]
    written = {file.name: file.stat().st_mtime_ns for file in feed.public.iterdir()}
    assert max(written, key=lambda name: written[name]) == "timestamp.json"

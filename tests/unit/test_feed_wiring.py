"""The feed of the settings: its files may change while the service runs."""

import os
import threading
from datetime import timedelta
from pathlib import Path

import gevent
import pytest
from support.feeds import published
from support.tuf_feeds import Feed

from verifier.adapters.http.jobs import NativeThreads
from verifier.adapters.polling import poll
from verifier.adapters.settings.settings import Settings, SettingsError
from verifier.adapters.trust.published import write_bundle
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Event
from verifier.ports.trust import FeedFailed
from verifier.wiring.feeds import SettingsFeed, open_client


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    feed = Feed.make(tmp_path / "feed", keys=1, threshold=1)
    feed.publish(write_bundle(published()), by=(1,))
    return feed


def test_follows_the_file_of_the_root(feed: Feed, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    client = SettingsFeed(Settings(trust_feed=str(feed.public), trust_feed_root=root), str(feed.public))
    with pytest.raises(FeedFailed, match=r"trust_feed_root: .*root.json cannot be read: No such file or directory\.$"):
        client.fetch({})
    root.write_bytes(b"{}")
    with pytest.raises(FeedFailed, match=r"the root is not TUF root metadata that its own keys signed\.$"):
        client.fetch({})
    root.write_bytes(feed.first_root)
    assert client.fetch({}).bundle == write_bundle(published())


def test_an_operator_may_name_another_root(feed: Feed, tmp_path: Path) -> None:
    settings = Settings(trust_feed_root=tmp_path / "absent.json")
    client = open_client(settings, str(feed.public), root=feed.public / "1.root.json")
    assert client.fetch({}).bundle == write_bundle(published())


def test_without_a_root_the_setting_is_named(feed: Feed) -> None:
    with pytest.raises(SettingsError, match="trust_feed_root: name the file with the root metadata"):
        open_client(Settings(), str(feed.public))


class Waits(threading.Event):
    """Keeps how long it was to wait, and is set after some times."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0)
        return len(self.seconds) > 200


class Silence:
    """Implements the Recorder port."""

    def record(self, event: Event) -> None:
        raise AssertionError(event)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_polls_at_intervals_that_differ_by_the_jitter(jitter: float) -> None:
    waits = Waits()
    poll(lambda: None, waits, recorder=Silence(), interval_seconds=60, jitter=jitter)
    assert 60 * (1 - jitter) <= min(waits.seconds) <= max(waits.seconds) <= 60
    assert (len(set(waits.seconds)) > 100) == (jitter > 0)
    assert max(waits.seconds) - min(waits.seconds) >= 0.9 * 60 * jitter


def test_a_directory_that_hangs_is_a_failed_look(feed: Feed) -> None:
    """The worker goes on: the files of the settings and of the feed are read in a native thread."""
    root = feed.public / "1.root.json"
    settings = Settings(trust_feed=str(feed.public), trust_feed_root=root)
    os.mkfifo(feed.public / "hangs")
    run = NativeThreads(timedelta(seconds=5), timedelta(seconds=0.2))
    with pytest.raises(StoreUnavailable):
        run((feed.public / "hangs").read_bytes)
    with pytest.raises(FeedFailed, match="do not answer"):
        SettingsFeed(settings, str(feed.public), run=run).fetch({})
    with pytest.raises(FeedFailed, match="does not answer"):
        open_client(settings, str(feed.public), run=run).fetch({})
    (feed.public / "hangs").write_bytes(b"")
    gevent.sleep(0.1)
    assert SettingsFeed(settings, str(feed.public), run=run).fetch({}).bundle

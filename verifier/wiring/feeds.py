"""Open the trust feed that the settings name, or that an operator names on the command line."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path

from verifier.adapters.settings.settings import Settings, SettingsError
from verifier.adapters.stores.blocking import Runner, run_inline
from verifier.adapters.trust.files import shipped_directory
from verifier.adapters.trust.published import read_bundle
from verifier.ports.clock import Clock
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Recorder
from verifier.ports.trust import FeedClient, FeedFailed, FetchedFeed, TrustRegistry
from verifier.usecases.trust_administration import TrustAdministration
from verifier.usecases.trust_feed import TrustFeed

#: How often a worker asks whether the next look at the feed is due, so that a new service looks soon.
POLL_SECONDS = 60.0
#: More than a root of 64 KiB, so that the client refuses a larger one with its own sentence.
_MAX_ROOT_BYTES = 128 * 1024


def open_client(settings: Settings, source: str, *, root: Path | None = None, run: Runner = run_inline) -> FeedClient:
    """Open the feed at `source`. `root` replaces the root metadata of the settings. `run` reads files of a directory.

    Raises SettingsError, and FeedFailed if the feed is an archive that cannot be read.
    """
    # It needs python-tuf, which other commands do not.
    from verifier.adapters.feed.client import open_feed  # noqa: PLC0415 - as above

    file = root or settings.trust_feed_root or shipped_directory() / "feed" / "root.json"
    if root is None and settings.trust_feed_root is None and not file.is_file():
        raise SettingsError(
            "trust_feed_root: name the file with the root metadata of the feed; this release ships no root"
        )
    try:
        with file.open("rb") as opened:
            trusted = opened.read(_MAX_ROOT_BYTES)
    except OSError as error:
        raise SettingsError(f"trust_feed_root: {file} cannot be read: {error.strerror or error}") from error
    try:
        return open_feed(source, root=trusted, ca_file=settings.trust_feed_ca_file, run=run)
    except ValueError as error:
        raise SettingsError(f"trust_feed {source}: {error}") from error


class SettingsFeed:
    """Open the feed of the settings at each look, so that new files of its root and CA need no restart.

    Implements the FeedClient port. `run` does the work that a file system can block.
    """

    def __init__(self, settings: Settings, source: str, *, run: Runner = run_inline) -> None:
        self._settings = settings
        self._source = source
        self._run = run

    def fetch(self, metadata: Mapping[str, bytes]) -> FetchedFeed:
        try:
            client = self._run(partial(open_client, self._settings, self._source, run=self._run))
        except SettingsError as error:
            raise FeedFailed(f"{error}.") from error
        except StoreUnavailable as error:
            raise FeedFailed("The files of the feed's settings do not answer.") from error
        return client.fetch(metadata)


def create_feed(
    settings: Settings,
    administration: TrustAdministration,
    *,
    registry: TrustRegistry,
    recorder: Recorder,
    clock: Clock,
    client: FeedClient | None = None,
) -> TrustFeed:
    """Create the use cases over the feed of `client`. Without a client, they show and approve what was offered."""
    return TrustFeed(
        client=client,
        administration=administration,
        registry=registry,
        read=read_bundle,
        recorder=recorder,
        clock=clock,
        mode=settings.trust_feed_mode,
        interval=timedelta(seconds=settings.trust_feed_seconds),
        source=settings.trust_feed or "",
    )

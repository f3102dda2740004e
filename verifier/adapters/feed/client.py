"""Look at a trust feed: fetch and verify its newest bundle with python-tuf.

python-tuf verifies signatures and thresholds, the order of versions, and expiry against the clock of the machine: its
public interface takes no other time.
"""

import hashlib
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from verifier.adapters.feed.sources import (
    MAX_TOTAL_BYTES,
    AbsentFile,
    ArchiveSource,
    DirectorySource,
    HttpsSource,
    Source,
)
from verifier.adapters.stores.blocking import Runner, run_inline
from verifier.core.encoding.printable import printable
from verifier.core.values import dataclass
from verifier.ports.trust import FeedFailed, FetchedFeed

#: The name of the target in the feed. adapters.trust.published writes it.
TARGET: Final = "trust-bundle.json"
MAX_SECONDS: Final = 60.0
MAX_ROOT_ROTATIONS: Final = 256
MAX_ROOT_BYTES: Final = 64 * 1024
MAX_TIMESTAMP_BYTES: Final = 16 * 1024
MAX_LIST_BYTES: Final = 64 * 1024

#: python-tuf joins it with the names of files.
_BASE = "feed/"
_ROOTS = "root_history"
_KEPT = re.compile(rf"(?:{_ROOTS}/[1-9][0-9]{{0,8}}\.root|timestamp|snapshot|targets)\.json", re.ASCII)
#: The name of a bundle begins with a hash from the metadata.
_NAME = re.compile(r"[0-9a-z][0-9a-z.-]{0,199}", re.ASCII)
_MAX_DETAIL = 200
_NOT_FOUND = 404

_CONFIG = UpdaterConfig(
    max_root_rotations=MAX_ROOT_ROTATIONS,
    # The bundle is listed by the top-level role, or not at all.
    max_delegations=0,
    root_max_length=MAX_ROOT_BYTES,
    timestamp_max_length=MAX_TIMESTAMP_BYTES,
    snapshot_max_length=MAX_LIST_BYTES,
    targets_max_length=MAX_LIST_BYTES,
)


def open_feed(source: str, *, root: bytes, ca_file: Path | None = None, run: Runner = run_inline) -> "TufFeedClient":
    """Return a client for an https URL, a tar or zip archive, or a directory, which need not exist yet.

    `root` is the root metadata that the operator trusts at first. `run` reads the files of a directory. Raises
    ValueError if an argument cannot be used, and FeedFailed if an archive cannot be read.
    """
    try:
        trusted = Metadata[Root].from_bytes(root)
        trusted.signed.verify_delegate(Root.type, trusted.signed_bytes, trusted.signatures)
    except Exception as error:  # the parser of the library raises many kinds
        raise ValueError("the root is not TUF root metadata that its own keys signed") from error
    if "://" in source:
        return TufFeedClient(source=HttpsSource.of(source, ca_file=ca_file), root=root)
    path = Path(source)
    opened: Source = ArchiveSource.of(path) if path.is_file() else DirectorySource(directory=path, run=run)
    return TufFeedClient(source=opened, root=root)


@dataclass(frozen=True, slots=True, kw_only=True)
class TufFeedClient:
    """Implement the FeedClient port.

    The walk from root to root always begins at `root`. The metadata of the look before hold the later roots, so that
    no look ends at an older one, also if another release of the service begins at another root of the same feed.
    """

    source: Source
    root: bytes = field(repr=False)
    seconds: float = MAX_SECONDS

    def fetch(self, metadata: Mapping[str, bytes]) -> FetchedFeed:
        with tempfile.TemporaryDirectory(prefix="trust-feed-") as name:
            directory = Path(name)
            _restore(metadata, directory)
            try:
                return self._update(directory)
            except FeedFailed:
                raise
            except Exception as error:  # python-tuf parses what a stranger sent
                raise FeedFailed(_sentence(error)) from error

    def _update(self, directory: Path) -> FetchedFeed:
        fetcher = _Fetcher(self.source, ends=time.monotonic() + self.seconds)
        updater = Updater(
            metadata_dir=str(directory),
            metadata_base_url=_BASE,
            target_base_url=_BASE,
            fetcher=fetcher,
            config=_CONFIG,
            bootstrap=self.root,
        )
        updater.refresh()
        target = updater.get_targetinfo(TARGET)
        if target is None:
            raise FeedFailed(f"The feed publishes no {TARGET}.")
        bundle = Path(updater.download_target(target, str(directory / "bundle"))).read_bytes()
        return FetchedFeed(
            metadata=_keep(directory),
            bundle=bundle,
            root_sha256=hashlib.sha256(self.root).hexdigest(),
            fresh_until=_fresh_until(directory),
        )


class _Fetcher(FetcherInterface):
    """Give python-tuf the files of a source, within the limits of one look."""

    def __init__(self, source: Source, *, ends: float) -> None:
        self._source = source
        self._ends = ends
        self._left = MAX_TOTAL_BYTES

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix(_BASE)
        if not _NAME.fullmatch(name):
            raise FeedFailed("The feed's metadata name a file that cannot be one of a feed.")
        try:
            data = self._source.read(name, ends=self._ends)
        except AbsentFile as error:
            raise DownloadHTTPError(f"{name} does not exist", _NOT_FOUND) from error
        self._left -= len(data)
        if self._left < 0:
            raise FeedFailed(f"The files of the feed have more than {MAX_TOTAL_BYTES} bytes.")
        yield data


def _restore(metadata: Mapping[str, bytes], directory: Path) -> None:
    (directory / _ROOTS).mkdir()
    for name, data in metadata.items():
        if _KEPT.fullmatch(name):
            (directory / name).write_bytes(data)


def _keep(directory: Path) -> dict[str, bytes]:
    """Return the files for the next look, without later roots, which are those of another feed."""
    newest: Metadata[Root] = Metadata.from_bytes((directory / "root.json").read_bytes())
    roots = [f"{_ROOTS}/{version}.root.json" for version in range(1, newest.signed.version + 1)]
    names = (*roots, "timestamp.json", "snapshot.json", "targets.json")
    return {name: (directory / name).read_bytes() for name in names if (directory / name).is_file()}


def _fresh_until(directory: Path) -> datetime:
    """Return when the first of the four roles expires."""
    moments: list[datetime] = []
    for role in (Root.type, Timestamp.type, Snapshot.type, Targets.type):
        metadata: Metadata[Any] = Metadata.from_bytes((directory / f"{role}.json").read_bytes())
        moments.append(metadata.signed.expires)
    return min(moments)


#: What each kind of error says. The first kind that fits is used, so a subclass comes before its base.
SENTENCES: tuple[tuple[type[Exception], str], ...] = (
    (UnsignedMetadataError, "The signatures do not reach the threshold of the trusted keys"),
    (ExpiredMetadataError, "The feed's metadata have expired"),
    (BadVersionNumberError, "The feed offers another version than the metadata before require"),
    (LengthOrHashMismatchError, "A file of the feed is not the signed one"),
    (DownloadHTTPError, "The feed is incomplete, or this is not a feed"),
    (DownloadLengthMismatchError, "A file of the feed is too long"),
    (RepositoryError, "The feed's metadata are refused"),
)


def _sentence(error: Exception) -> str:
    for kind, sentence in SENTENCES:
        if isinstance(error, kind):
            return f"{sentence}: {printable(str(error))[:_MAX_DETAIL].rstrip('.')}."
    return f"The feed cannot be read: {type(error).__name__}."

"""Define how a trust feed is made: keys, signatures and static files in a directory."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from verifier.core.values import dataclass

#: How long each kind of metadata lasts. The online key renews snapshot and timestamp.
ROOT_LASTS = timedelta(days=365)
TARGETS_LAST = timedelta(days=90)
ONLINE_LASTS = timedelta(days=7)


class PublishingRefused(Exception):
    """Report what may not be published or signed. The message is one sentence for the maintainer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRole:
    """Describe one role of a feed. `version` is 0 and `expires_at` is None if it is not published yet."""

    name: str
    threshold: int
    key_ids: tuple[str, ...]
    version: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingFile:
    """Describe metadata that wait for signatures. `missing` is how many more they need."""

    file: Path
    version: int
    signed_by: tuple[str, ...]
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOverview:
    """Describe the state of a feed's directory."""

    roles: tuple[FeedRole, ...]
    pending: tuple[PendingFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedRoot:
    """Describe root metadata that wait for signatures. `before` are the published roles, or empty if not known."""

    version: int
    expires_at: datetime
    roles: tuple[FeedRole, ...]
    before: tuple[FeedRole, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Say what a signature would be for. `bundle` is the one that the pending targets name, and they name no other."""

    root: ProposedRoot | None = None
    bundle: bytes | None = None
    targets_expire_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Describe a change of keys. `add` and `online` are files with public keys, and `remove` has key identifiers."""

    add: Sequence[Path] = ()
    remove: Sequence[str] = ()
    threshold: int | None = None
    online: Path | None = None


class FeedPublisher(Protocol):
    """Make and renew a feed in a directory. Every method raises PublishingRefused and OSError."""

    def init(self, directory: Path, *, keys: int, threshold: int, lasting: timedelta) -> None:
        """Make a feed with new keys of maintainers, of which `threshold` sign, and an online key."""

    def new_key(self, file: Path) -> str:
        """Write a new private key to `file`, and its public key beside it as `.pub`. Return the key identifier."""

    def overview(self, directory: Path) -> FeedOverview:
        """Return the roles and the pending files."""

    def published(self, directory: Path) -> bytes | None:
        """Return the published bundle, or None."""

    def proposed(self, place: Path) -> Proposal:
        """Return what waits for signatures in a feed's directory, or in a copy of one pending file.

        The bundle of a copy lies beside it. Refuses targets that name anything but exactly this bundle.
        """

    def propose(self, directory: Path, bundle: bytes, *, lasting: timedelta) -> None:
        """Write metadata that publish this bundle, for signatures."""

    def rotate(self, directory: Path, rotation: Rotation, *, lasting: timedelta) -> None:
        """Write root metadata with other keys, for signatures of the old and the new threshold."""

    def sign(self, place: Path, key: Path) -> tuple[Path, ...]:
        """Sign one pending file, or those of a feed's directory that the key may sign. Return the signed files."""

    def complete(self, directory: Path, *, online_key: Path | None, lasting: timedelta) -> bool:
        """Publish the pending files if their signatures reach the thresholds. Return True if it published them."""

    def renew(self, directory: Path, *, online_key: Path | None, lasting: timedelta) -> None:
        """Sign snapshot and timestamp again with the online key, so that clients know that the feed is fresh."""

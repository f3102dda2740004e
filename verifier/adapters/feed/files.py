"""Read and write the files in the directory of a trust feed."""

from pathlib import Path
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from verifier.adapters.feed.client import TARGET
from verifier.ports.feed_publishing import PendingFile, PublishingRefused

_T = TypeVar("_T", Root, Snapshot, Targets, Timestamp)


class FeedFiles:
    """Read the files of a feed's directory."""

    def __init__(self, directory: Path) -> None:
        self.public = directory / "public"
        self.pending_root = directory / "pending" / "root.json"
        self.pending_targets = directory / "pending" / "targets.json"
        self.pending_bundle = directory / "pending" / TARGET
        self.online_key = directory / "keys" / "online.pem"

    def root(self) -> Metadata[Root]:
        """Return the newest published root."""
        versions = [int(file.name.partition(".")[0]) for file in self.public.glob("[0-9]*.root.json")]
        if not versions:
            raise PublishingRefused(f"{self.public.parent}: not the directory of a feed; make one with `init`")
        return load(self.public / f"{max(versions)}.root.json", Root)

    def next_root(self) -> Metadata[Root]:
        """Return the pending root, or the published one."""
        return load(self.pending_root, Root) if self.pending_root.exists() else self.root()

    def published(self) -> dict[str, Timestamp | Snapshot | Targets]:
        """Return what clients see, or an empty dictionary."""
        if not (self.public / "timestamp.json").exists():
            return {}
        timestamp = load(self.public / "timestamp.json", Timestamp).signed
        snapshot = load(self.public / f"{timestamp.snapshot_meta.version}.snapshot.json", Snapshot).signed
        version = snapshot.meta["targets.json"].version
        targets = load(self.public / f"{version}.targets.json", Targets).signed
        return {Timestamp.type: timestamp, Snapshot.type: snapshot, Targets.type: targets}

    def bundle(self) -> bytes | None:
        targets = self.published().get(Targets.type)
        if not isinstance(targets, Targets) or TARGET not in targets.targets:
            return None
        return (self.public / f"{targets.targets[TARGET].hashes['sha256']}.{TARGET}").read_bytes()

    def next_targets(self) -> int:
        published = self.published()
        return published[Targets.type].version + 1 if published else 1

    def pending(self) -> tuple[PendingFile, ...]:
        found: list[PendingFile] = []
        for file, kind in ((self.pending_root, Root), (self.pending_targets, Targets)):
            if file.exists():
                # Root metadata need the signatures of the root before, too.
                judges = (self.root(), self.next_root()) if kind is Root else (self.next_root(),)
                metadata = parse(file.read_bytes(), file)
                results = [
                    judge.signed.get_verification_result(kind.type, metadata.signed_bytes, metadata.signatures)
                    for judge in judges
                ]
                found.append(
                    PendingFile(
                        file=file,
                        version=metadata.signed.version,
                        signed_by=tuple(dict.fromkeys(keyid for result in results for keyid in result.signed)),
                        missing=max(result.missing for result in results),
                    )
                )
        return tuple(found)

    def waiting_for(self, keyid: str) -> tuple[Path, ...]:
        """Return the pending files that this key may sign."""
        old, new = self.root().signed.roles, self.next_root().signed.roles
        allowed = {
            self.pending_root: {*old[Root.type].keyids, *new[Root.type].keyids},
            self.pending_targets: set(new[Targets.type].keyids),
        }
        return tuple(file for file, keyids in allowed.items() if file.exists() and keyid in keyids)


def load(file: Path, kind: type[_T]) -> Metadata[_T]:
    """Read metadata of this kind. Raises PublishingRefused. Not checked: their signatures."""
    metadata = parse(file.read_bytes(), file)
    if not isinstance(metadata.signed, kind):
        raise PublishingRefused(f"{file}: not metadata of {kind.type}")
    return metadata


def parse(raw: bytes, file: Path) -> Metadata[Any]:
    """Read metadata of any kind. Raises PublishingRefused, which names the file. Not checked: their signatures."""
    try:
        return Metadata.from_bytes(raw)
    except RepositoryError as error:
        raise PublishingRefused(f"{file}: not TUF metadata") from error


def write(file: Path, content: bytes) -> None:
    """Replace the file in one step, so that a web server never sends a part of it."""
    draft = file.with_name(f".{file.name}.new")
    draft.write_bytes(content)
    draft.replace(file)

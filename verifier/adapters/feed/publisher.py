"""Make a trust feed in a directory.

`public` has the static files, `pending` has the files that wait for signatures, and `keys` has new private keys.
Maintainers' keys sign root and targets. One online key signs snapshot and timestamp.
"""

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from securesystemslib.signer import CryptoSigner, Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

from verifier.adapters.feed.client import TARGET
from verifier.adapters.feed.files import FeedFiles, load, parse, write
from verifier.adapters.feed.keys import make_key, read_public, read_signer
from verifier.adapters.feed.sources import MAX_FILE_BYTES
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.ports.feed_publishing import (
    TARGETS_LAST,
    FeedOverview,
    FeedRole,
    Proposal,
    ProposedRoot,
    PublishingRefused,
    Rotation,
)

MAX_KEYS: Final = 16
_OFFLINE: Final = (Root.type, Targets.type)
_ONLINE: Final = (Snapshot.type, Timestamp.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class TufPublisher:
    """Implement the FeedPublisher port with python-tuf."""

    clock: Clock

    def init(self, directory: Path, *, keys: int, threshold: int, lasting: timedelta) -> None:
        if not 1 <= threshold <= keys <= MAX_KEYS:
            raise PublishingRefused(f"the threshold must be 1 to the number of keys, which is at most {MAX_KEYS}")
        if (directory / "public").exists():
            raise PublishingRefused(f"{directory}: has a feed already")
        for folder in ("keys", "public", "pending"):
            (directory / folder).mkdir(parents=True, exist_ok=True, mode=0o700 if folder == "keys" else 0o755)
        maintainers = [make_key(directory / "keys" / f"maintainer-{number}.pem") for number in range(1, keys + 1)]
        online = make_key(directory / "keys" / "online.pem")
        root = Root(expires=self._until(lasting), consistent_snapshot=True)
        for role in _OFFLINE:
            for signer in maintainers:
                root.add_key(signer.public_key, role)
            root.roles[role].threshold = threshold
        for role in _ONLINE:
            root.add_key(online.public_key, role)
        signed = Metadata(root)
        for signer in maintainers:
            signed.sign(signer, append=True)
        write(directory / "public" / "1.root.json", signed.to_bytes())

    def new_key(self, file: Path) -> str:
        return make_key(file).public_key.keyid

    def overview(self, directory: Path) -> FeedOverview:
        feed = FeedFiles(directory)
        root = feed.root()
        published: dict[str, Signed] = {Root.type: root.signed, **feed.published()}
        return FeedOverview(roles=_roles(root.signed, published), pending=feed.pending())

    def published(self, directory: Path) -> bytes | None:
        return FeedFiles(directory).bundle()

    def proposed(self, place: Path) -> Proposal:
        if place.is_dir():
            feed = FeedFiles(place)
            bundle = feed.pending_bundle.read_bytes() if feed.pending_bundle.exists() else feed.bundle()
            files = [file for file in (feed.pending_root, feed.pending_targets) if file.exists()]
            return _examine(files, bundle=bundle, before=_roles(feed.root().signed, {}))
        beside = place.with_name(TARGET)
        return _examine([place], bundle=beside.read_bytes() if beside.exists() else None, before=())

    def propose(self, directory: Path, bundle: bytes, *, lasting: timedelta) -> None:
        feed = FeedFiles(directory)
        if len(bundle) > MAX_FILE_BYTES:
            raise PublishingRefused(f"the bundle has more than {MAX_FILE_BYTES} bytes, which clients refuse")
        if feed.pending_targets.exists() and parse(feed.pending_targets.read_bytes(), feed.pending_targets).signatures:
            raise PublishingRefused(f"{feed.pending_targets}: has signatures; sign it, or delete it to start again")
        listed = {TARGET: TargetFile.from_data(TARGET, bundle, ["sha256"])}
        targets = Targets(version=feed.next_targets(), expires=self._until(lasting), targets=listed)
        write(feed.pending_bundle, bundle)
        write(feed.pending_targets, Metadata(targets).to_bytes())

    def rotate(self, directory: Path, rotation: Rotation, *, lasting: timedelta) -> None:
        feed = FeedFiles(directory)
        if feed.pending_root.exists():
            raise PublishingRefused(f"{feed.pending_root}: waits for signatures; sign it, or delete it to start again")
        old = feed.root().signed
        root = deepcopy(old)
        root.version += 1
        root.expires = self._until(lasting)
        for role in _OFFLINE:
            _change_keys(root, role, add=[read_public(file) for file in rotation.add], remove=rotation.remove)
            root.roles[role].threshold = rotation.threshold or root.roles[role].threshold
            if not 1 <= root.roles[role].threshold <= len(root.roles[role].keyids) <= MAX_KEYS:
                raise PublishingRefused(
                    f"{len(root.roles[role].keyids)} keys cannot reach the threshold {root.roles[role].threshold}"
                )
        if rotation.online is not None:
            for role in _ONLINE:
                _change_keys(root, role, add=[read_public(rotation.online)], remove=tuple(root.roles[role].keyids))
        targets = feed.published().get(Targets.type)
        changed = root.roles[Targets.type] != old.roles[Targets.type]
        if changed and isinstance(targets, Targets) and not feed.pending_targets.exists():
            # The signatures of the published targets may not reach the threshold of the new keys.
            again = deepcopy(targets)
            again.version = feed.next_targets()
            again.expires = self._until(TARGETS_LAST)
            write(feed.pending_targets, Metadata(again).to_bytes())
        write(feed.pending_root, Metadata(root).to_bytes())

    def sign(self, place: Path, key: Path) -> tuple[Path, ...]:
        signer = read_signer(key)
        if place.is_dir():
            files = FeedFiles(place).waiting_for(signer.public_key.keyid)
            if not files:
                raise PublishingRefused(f"{place}: no pending file waits for this key")
        else:
            files = (place,)
        self.proposed(place)
        for file in files:
            metadata = parse(file.read_bytes(), file)
            metadata.sign(signer, append=True)
            write(file, metadata.to_bytes())
        return files

    def complete(self, directory: Path, *, online_key: Path | None, lasting: timedelta) -> bool:
        feed = FeedFiles(directory)
        pending = feed.pending()
        if not pending or any(file.missing for file in pending):
            return False
        root = feed.next_root()
        targets = load(feed.pending_targets, Targets) if feed.pending_targets.exists() else None
        bundle = feed.pending_bundle.read_bytes() if feed.pending_bundle.exists() else feed.bundle()
        if targets is not None and bundle is not None:
            _check_names_only(targets.signed, bundle, feed.pending_targets)
        online = _online(feed, root.signed, online_key) if targets or feed.published() else None
        if targets is not None and bundle is not None:
            write(feed.public / f"{hashlib.sha256(bundle).hexdigest()}.{TARGET}", bundle)
            write(feed.public / f"{targets.signed.version}.targets.json", targets.to_bytes())
        if feed.pending_root.exists():
            write(feed.public / f"{root.signed.version}.root.json", root.to_bytes())
        if online is not None:
            self._sign_online(feed, online, targets, lasting)
        shutil.rmtree(directory / "pending")
        (directory / "pending").mkdir()
        return True

    def renew(self, directory: Path, *, online_key: Path | None, lasting: timedelta) -> None:
        feed = FeedFiles(directory)
        if not feed.published():
            raise PublishingRefused(f"{directory}: publishes no bundle yet, so there is nothing to renew")
        self._sign_online(feed, _online(feed, feed.root().signed, online_key), None, lasting)

    def _sign_online(
        self, feed: "FeedFiles", online: CryptoSigner, targets: Metadata[Targets] | None, lasting: timedelta
    ) -> None:
        published = feed.published()
        listed = targets.signed if targets is not None else published[Targets.type]
        raw = (feed.public / f"{listed.version}.targets.json").read_bytes()
        snapshot, timestamp = (published[name].version + 1 if name in published else 1 for name in _ONLINE)
        listing = MetaFile.from_data(listed.version, raw, ["sha256"])
        signed = Metadata(Snapshot(version=snapshot, expires=self._until(lasting), meta={"targets.json": listing}))
        signed.sign(online)
        content = signed.to_bytes()
        newest = Metadata(
            Timestamp(
                version=timestamp,
                expires=self._until(lasting),
                snapshot_meta=MetaFile.from_data(snapshot, content, ["sha256"]),
            )
        )
        newest.sign(online)
        write(feed.public / f"{snapshot}.snapshot.json", content)
        # The last file: with it, clients see the new version, whose files are all there.
        write(feed.public / "timestamp.json", newest.to_bytes())

    def _until(self, lasting: timedelta) -> datetime:
        if lasting <= timedelta(0):
            raise PublishingRefused("metadata must expire in the future")
        return (self.clock.now() + lasting).replace(microsecond=0)


def _roles(root: Root, published: Mapping[str, Signed]) -> tuple[FeedRole, ...]:
    return tuple(
        FeedRole(
            name=name,
            threshold=role.threshold,
            key_ids=tuple(role.keyids),
            version=published[name].version if name in published else 0,
            expires_at=published[name].expires if name in published else None,
        )
        for name, role in root.roles.items()
    )


def _examine(files: Sequence[Path], *, bundle: bytes | None, before: tuple[FeedRole, ...]) -> Proposal:
    """Return what signatures of the files would be for. Raises PublishingRefused for other files."""
    proposal = Proposal()
    for file in files:
        signed = parse(file.read_bytes(), file).signed
        if isinstance(signed, Root):
            root = ProposedRoot(
                version=signed.version, expires_at=signed.expires, roles=_roles(signed, {}), before=before
            )
            proposal = replace(proposal, root=root)
        elif isinstance(signed, Targets):
            if bundle is None:
                raise PublishingRefused(f"{file}: needs {TARGET}, which it is about, in the same folder")
            _check_names_only(signed, bundle, file)
            proposal = replace(proposal, bundle=bundle, targets_expire_at=signed.expires)
        else:
            raise PublishingRefused(f"{file}: neither root nor targets, which maintainers sign")
    return proposal


def _check_names_only(targets: Targets, bundle: bytes, file: Path) -> None:
    """Raise PublishingRefused if the metadata name anything but exactly this bundle."""
    if targets.targets.keys() != {TARGET} or targets.delegations is not None or targets.unrecognized_fields:
        raise PublishingRefused(f"{file}: names more than {TARGET}")
    if targets.targets[TARGET].hashes.keys() != {"sha256"}:
        raise PublishingRefused(f"{file}: names {TARGET} by other hashes than SHA-256")
    try:
        targets.targets[TARGET].verify_length_and_hashes(bundle)
    except RepositoryError as error:
        raise PublishingRefused(f"{file}: names another {TARGET}: not the bundle that the signatures name") from error


def _change_keys(root: Root, role: str, *, add: Iterable[Key], remove: Sequence[str]) -> None:
    for keyid in remove:
        if keyid not in root.roles[role].keyids:
            raise PublishingRefused(f"{keyid}: not a key of {role}; `trust feed keys` lists them")
        root.revoke_key(keyid, role)
    for key in add:
        root.add_key(key, role)


def _online(feed: FeedFiles, root: Root, file: Path | None) -> CryptoSigner:
    """Read the online key. Raises PublishingRefused if the root does not name it."""
    path = file or feed.online_key
    signer = read_signer(path)
    if any(signer.public_key.keyid not in root.roles[role].keyids for role in _ONLINE):
        raise PublishingRefused(f"{path}: not the online key of this feed; name it with --online-key")
    return signer

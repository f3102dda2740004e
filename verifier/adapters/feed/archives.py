"""Read the files of a tar or zip archive into memory, with limits."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, TypeVar

from verifier.ports.trust import FeedFailed

#: A feed has one file for each version of its metadata.
MAX_MEMBERS = 4096

#: Other methods unpack a whole block at once, which no limit can stop.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31
_T = TypeVar("_T")


def read_archive(archive: Path, *, max_file_bytes: int, max_total_bytes: int) -> dict[str, bytes]:
    """Return the regular files by their last name. Folders and links are ignored.

    Raises FeedFailed if two files have one name, and if a limit is exceeded.
    """
    raw = _read(archive, max_total_bytes)
    try:
        return _unpack(raw, max_file_bytes, max_total_bytes)
    except FeedFailed:
        raise
    except Exception as error:  # tarfile and zipfile raise many kinds, also those of zlib and struct
        raise FeedFailed("The file is not a readable tar or zip archive.") from error


def _unpack(raw: bytes, most_of_file: int, most: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = most
    for name, content in _members(raw, most):
        data = content.read(min(most_of_file, left) + 1)
        left -= len(data)
        if len(data) > most_of_file or left < 0:
            raise FeedFailed("The archive has too many bytes.")
        if name in files:
            raise FeedFailed("The archive has two files of one name.")
        files[name] = data
    return files


def _read(archive: Path, most: int) -> bytes:
    try:
        with archive.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise FeedFailed(f"The archive {archive} cannot be read: {error.strerror}.") from error
    if len(raw) > most:
        raise FeedFailed(f"The archive has more than {most} bytes.")
    return raw


def _members(raw: bytes, most: int) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(BytesIO(raw)):
        with zipfile.ZipFile(BytesIO(raw)) as packed:
            for entry in _counted(packed.infolist()):
                if entry.compress_type not in _METHODS:
                    raise FeedFailed("The zip archive uses another compression than deflate.")
                if not entry.filename.endswith("/"):
                    yield entry.filename.rpartition("/")[2], packed.open(entry)
        return
    if raw.startswith(_GZIP):
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        # A tar archive has padding beside its files.
        raw = unpacker.decompress(raw, 2 * most)
        if unpacker.unconsumed_tail:
            raise FeedFailed("The archive has too many bytes.")
    with tarfile.open(fileobj=BytesIO(raw), mode="r:") as tar:
        for member in _counted(tar):
            content = tar.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name.rpartition("/")[2], content


def _counted(entries: Iterable[_T]) -> Iterator[_T]:
    """Yield the entries, also folders and links. Raises FeedFailed after MAX_MEMBERS of them."""
    for position, entry in enumerate(entries):
        if position >= MAX_MEMBERS:
            raise FeedFailed(f"The archive has more than {MAX_MEMBERS} entries.")
        yield entry

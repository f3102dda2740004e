"""Read single files of a feed from https, from a directory or from an archive, with limits on bytes and time."""

import os
import re
import socket
import ssl
import stat
import time
from collections.abc import Mapping
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Protocol, Self

from verifier.adapters.bounded_http import Get, UnexpectedStatus, ask, open_first, remaining
from verifier.adapters.feed.archives import read_archive
from verifier.adapters.name_service import NameService
from verifier.adapters.stores.blocking import Runner, run_inline
from verifier.core.values import dataclass
from verifier.ports.stores import StoreUnavailable
from verifier.ports.trust import FeedFailed, FetchFailed

#: The limit for one file. The largest one is the bundle.
MAX_FILE_BYTES = 1024 * 1024
#: The limit for all files of one look at a feed.
MAX_TOTAL_BYTES = 4 * 1024 * 1024
#: The limit for an archive, which has the files of all versions.
MAX_ARCHIVE_BYTES = 32 * 1024 * 1024
#: The number of addresses of one host that are tried.
MAX_ADDRESSES = 4

# Stricter than RFC 3986, so that two parsers cannot disagree: no user info, query, fragment, or percent-encoding.
_URL = re.compile(
    r"https://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)*)/?",
    re.ASCII,
)
_MAX_URL_CHARACTERS = 512
_HTTPS_PORT = 443
_MAX_PORT = 65_535
_ABSENT = frozenset({403, 404})


class AbsentFile(Exception):
    """Report that the feed has no file of this name."""


class Source(Protocol):
    def read(self, name: str, *, ends: float) -> bytes:
        """Return a file of at most MAX_FILE_BYTES. `ends` is a time of the monotonic clock.

        Raises AbsentFile and FeedFailed.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsSource:
    """Read files below a URL of the operator.

    The server's certificate and name are verified. Redirects are refused always, so that the server cannot make the
    service connect to another host. Proxies of the environment are not used.
    Not checked: that the addresses of the host are public. The operator chose the host, which may be an internal one.
    """

    host: str
    port: int
    path: str
    tls: ssl.SSLContext
    names: NameService = field(default_factory=NameService)

    @classmethod
    def of(cls, url: str, *, ca_file: Path | None) -> Self:
        """Parse the URL, and read the CA file. Raises ValueError."""
        match = _URL.fullmatch(url) if len(url) <= _MAX_URL_CHARACTERS else None
        if match is None or int(match["port"] or _HTTPS_PORT) > _MAX_PORT:
            raise ValueError("the feed must be https://HOST/PATH without user, query, fragment and percent-encoding")
        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(f"the CA file {ca_file} cannot be read: {error.strerror or error}") from error
        return cls(host=match["host"], port=int(match["port"] or _HTTPS_PORT), path=match["path"], tls=tls)

    def read(self, name: str, *, ends: float) -> bytes:
        try:
            return self._get(name, ends)
        except UnexpectedStatus as error:
            if error.status in _ABSENT:
                raise AbsentFile(name) from error
            raise _failed(name, error) from error
        except FetchFailed as error:
            raise _failed(name, error) from error

    def _get(self, name: str, ends: float) -> bytes:
        get = Get(
            host=self.host,
            authority=self.host if self.port == _HTTPS_PORT else f"{self.host}:{self.port}",
            path=f"{self.path}/{name}",
            accept="application/json, */*",
            tls=self.tls,
            max_body_bytes=MAX_FILE_BYTES,
        )
        addresses = list(dict.fromkeys(self.names.resolve(self.host, remaining(ends))))[:MAX_ADDRESSES]
        with open_first(addresses, self._connect, ends) as opened:
            answer = ask(get, opened, seconds=remaining(ends))
        if answer.unverified_location is not None:
            raise FetchFailed("The server redirects, and a feed may not redirect.")
        return answer.body

    def _connect(self, address: str, seconds: float) -> socket.socket:
        return socket.create_connection((address, self.port), timeout=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySource:
    """Read files of a directory. A symbolic link may not lead out of it (Kubernetes mounts volumes with links).

    The time that the file system takes is limited by `run` only.
    """

    directory: Path
    run: Runner = field(default=run_inline, repr=False)

    def read(self, name: str, *, ends: float) -> bytes:
        if ends < time.monotonic():
            raise FeedFailed("The time limit for the feed has passed.")
        try:
            return self.run(partial(self._read, name))
        except StoreUnavailable as error:
            raise FeedFailed(f"The feed's directory {self.directory} does not answer.") from error

    def _read(self, name: str) -> bytes:
        try:
            root = self.directory.resolve(strict=True)
            path = (root / name).resolve(strict=True)
        except FileNotFoundError as error:
            if not self.directory.is_dir():
                raise FeedFailed(f"The feed's directory {self.directory} does not exist.") from error
            raise AbsentFile(name) from error
        except (OSError, RuntimeError) as error:  # before Python 3.13, a loop of links is a RuntimeError
            raise FeedFailed(f"The feed's file {name} cannot be read: {type(error).__name__}.") from error
        if not path.is_relative_to(root):
            raise FeedFailed(f"The feed's file {name} is a link that leads out of the directory.")
        return _read_regular(path, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSource:
    """Read files of a tar or zip archive. The archive is read into memory, so that no member can choose a path."""

    files: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def of(cls, archive: Path) -> Self:
        """Read the archive. Raises FeedFailed."""
        return cls(files=read_archive(archive, max_file_bytes=MAX_FILE_BYTES, max_total_bytes=MAX_ARCHIVE_BYTES))

    def read(self, name: str, *, ends: float) -> bytes:
        del ends  # the archive is bounded
        try:
            return self.files[name]
        except KeyError as error:
            raise AbsentFile(name) from error


def _read_regular(path: Path, name: str) -> bytes:
    try:
        # O_NONBLOCK: open() on a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FeedFailed(f"The feed's file {name} is not a regular file.")
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FeedFailed(f"The feed's file {name} cannot be read: {error.strerror}.") from error
    if len(raw) > MAX_FILE_BYTES:
        raise FeedFailed(f"The feed's file {name} has more than {MAX_FILE_BYTES} bytes.")
    return raw


def _failed(name: str, error: FetchFailed) -> FeedFailed:
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return FeedFailed("The certificate of the feed's server is not valid for its name, or its CA is not trusted.")
    reason = str(error)
    return FeedFailed(f"The feed's file {name} was not received: {reason[:1].lower()}{reason[1:]}")

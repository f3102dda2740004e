"""Read the files of conformance vectors. A stranger may have written them, so only small regular files are read."""

import os
import stat
import tomllib
from pathlib import Path
from typing import Final

from verifier.cli.commands import UsageError

#: A body must be larger than the bound of the service to be refused for its size.
_MAX_BODY_BYTES: Final = 1024 * 1024
#: The longest case.toml of this project has 543 bytes.
_MAX_TABLE_BYTES: Final = 64 * 1024


def read_body(directory: Path, name: str) -> bytes:
    """Read the file of this name directly in the directory of a case. Raises UsageError."""
    if Path(name).name != name:
        raise UsageError(f"{directory}: the body {name!r} is not the name of a file in the directory of the case")
    return _read(directory / name, limit=_MAX_BODY_BYTES)


def read_toml(file: Path) -> dict[str, object]:
    """Read a TOML file. Raises UsageError."""
    try:
        return tomllib.loads(_read(file, limit=_MAX_TABLE_BYTES).decode("utf-8"))
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error
    except RecursionError as error:  # tomllib reads nested arrays by recursion
        raise UsageError(f"{file}: values are nested too deeply") from error


def _read(file: Path, *, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes. A symbolic link is not followed, and a pipe is not waited for."""
    try:
        _check_kind(file, file.lstat().st_mode)
        # Another process may have replaced the file since then.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(file, flags), "rb") as opened:  # noqa: PTH123 - a descriptor
            _check_kind(file, os.fstat(opened.fileno()).st_mode)
            content = opened.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    if len(content) > limit:
        raise UsageError(f"{file}: larger than {limit} bytes")
    return content


def _check_kind(file: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise UsageError(f"{file}: it is a symbolic link; put a copy of the file in its place")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{file}: it is not a regular file")

"""Read the API key, and write output files that only their owner can read."""

from __future__ import annotations

import codecs
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from verifier.agent.exit_codes import ExitCode, NotAttested

# What `imds-verifier api-key` prints.
_API_KEY_OUTPUT = re.compile(r"\s*key:\s*(\S+)(?:\s+sha256:\s*[0-9a-f]{64})?", re.ASCII)
# A key that `imds-verifier api-key` made: base64url of 32 bytes.
_KEY = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_MAX_BYTES = 64 * 1024
# Windows PowerShell 5.1 writes UTF-16 with a mark, and editors write UTF-8 with one.
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def read_key(file: Path) -> str:
    """Return the key in the file: one line, or the whole output of `imds-verifier api-key`.

    The encoding is UTF-8, or UTF-16 with a byte order mark. Raises OSError, and ValueError with a sentence that does
    not show the content. Not checked: the form of the key.
    """
    with file.open("rb") as stream:
        raw = stream.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES:
        raise ValueError(f"the key file {file} is larger than {_MAX_BYTES} bytes")
    try:
        text = _decode(raw).rstrip()
    except UnicodeDecodeError:
        raise ValueError(f"the key file {file} is not text in UTF-8, or in UTF-16 with a byte order mark") from None
    printed = _API_KEY_OUTPUT.fullmatch(text)
    if printed is not None:
        return printed[1]
    if not text:
        raise ValueError(f"the key file {file} is empty")
    if text.startswith("sha256:"):
        raise ValueError(
            f"the key file {file} begins with the hash of the key: keep only the line that begins with key:"
        )
    lines = text.splitlines()
    if len(lines) > 1:
        line = next((number for number, one in enumerate(lines, 1) if _KEY.fullmatch(one.strip())), None)
        found = f"line {line} has the form of a key: keep only this line" if line else "it must have only the key"
        raise ValueError(f"the key file {file} has {len(lines)} lines; {found}")
    return text.strip()


def _decode(raw: bytes) -> str:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding)
    return raw.decode("utf-8")


def write(file: Path, content: bytes) -> None:
    """Replace `file` atomically, with mode 0600: readers see the old or the new content. Raises OSError."""
    with _written_part(file, content) as part:
        part.replace(file)


def create(file: Path, content: bytes) -> None:
    """Write `file` atomically, with mode 0600, unless it exists. Raises OSError."""
    with _written_part(file, content) as part, suppress(FileExistsError):
        # A link never replaces a file, so that two processes end with the same content.
        os.link(part, file)


@contextmanager
def _written_part(file: Path, content: bytes) -> Iterator[Path]:
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    # Without O_BINARY, Windows would change the line endings.
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield part
    finally:
        part.unlink(missing_ok=True)


def print_out(data: bytes) -> None:
    """Write to standard output. Raises `NotAttested` if it is closed or its disk is full: that is no verdict."""
    if sys.stdout is None:
        raise NotAttested(ExitCode.USAGE, "standard output is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotAttested(ExitCode.USAGE, f"cannot write standard output: {error.strerror}") from error

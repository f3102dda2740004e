"""The agent's files: a key to read, and what it writes, which is its owner's alone."""

import os
import secrets
from pathlib import Path


def read_key(file: Path) -> str:
    """What is in the file, without the line's end; its form is not checked here. Raises OSError, ValueError."""
    return file.read_text(encoding="ascii").strip()


def write(file: Path, content: bytes) -> None:
    """`file` holds the content, and whoever reads it meanwhile gets the content before or this one, whole. Mode 0600.

    Raises OSError.
    """
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    # O_BINARY: Windows would change the ends of lines.
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise

"""Read the API key, and write output files that only their owner can read."""

import os
import secrets
from pathlib import Path


def read_key(file: Path) -> str:
    """Return the key without its newline. Raises OSError or ValueError. Not checked: the form of the key."""
    return file.read_text(encoding="ascii").strip()


def write(file: Path, content: bytes) -> None:
    """Replace `file` atomically, with mode 0600: readers see the old or the new content. Raises OSError."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    # Without O_BINARY, Windows would change the line endings.
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

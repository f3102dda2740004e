"""load_directory refuses a trust directory, or trusts only certificates that the manifest names by their SHA-256.

An input is the manifest. After the separator, there may be the contents of the directory's second file.
"""

import shutil
import tempfile
import tomllib
import warnings
from functools import cache
from pathlib import Path

from verifier.adapters.trust.files import MANIFEST, MAX_ENTRIES, load_directory, shipped_directory
from verifier.core.trust.bundle import Role, TrustError

SEPARATOR = b"\n--- file ---\n"
#: The files of the directory.
FIRST, SECOND = "roots/first.pem", "intermediates/second.pem"


def check(data: bytes) -> bool:
    """Check the property for one input, and return whether it is accepted."""
    manifest, _, contents = data.partition(SEPARATOR)
    directory = _directory()
    (directory / MANIFEST).write_bytes(manifest)
    (directory / SECOND).write_bytes(contents or second())
    with warnings.catch_warnings(action="ignore"):
        try:
            bundle = load_directory(directory)
        except TrustError:
            return False
    named = tomllib.loads(manifest.decode("utf-8"))
    own = {entry["sha256"] for entry in named.get("certificates", [])}
    is_addition = named.get("mode") == "add"
    loaded = {entry.certificate.sha256 for entry in bundle.entries}
    assert loaded >= own
    assert is_addition or loaded == own
    assert len(own) <= MAX_ENTRIES
    for entry in bundle.entries:
        assert entry.clouds
        assert entry.role is not Role.ROOT or entry.certificate.is_self_issued
    return True


@cache
def _directory() -> Path:
    made = Path(tempfile.mkdtemp(prefix="fuzz-trust-"))
    for folder in ("roots", "intermediates"):
        (made / folder).mkdir()
    shutil.copy(_shipped("roots"), made / FIRST)
    return made


@cache
def second() -> bytes:
    return _shipped("intermediates").read_bytes()


def _shipped(folder: str) -> Path:
    return min((shipped_directory() / folder).glob("*.pem"))

"""Build the archive of the conformance vectors: `build_vectors.py DIRECTORY SECONDS`.

SECONDS since 1970 are the time of each file. The same files and time give the same bytes. The generator and its recipes
are not in the archive: they need the tests.
"""

import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

ROOT: Final = Path(__file__).parents[1]
VECTORS: Final = ROOT / "vectors"
_LEFT_OUT: Final = frozenset({"generate.py", "recipes", "__pycache__", ".gitattributes"})
#: Pages that the vectors link to.
_OTHERS: Final = (ROOT / "LICENSE", ROOT / "docs" / "integrate" / "vectors.md")
_MODE: Final = 0o644 << 16


def build(directory: Path, moment: int) -> Path:
    """Write the archive into the directory, and return its path."""
    version = tomllib.loads((VECTORS / "vectors.toml").read_text("utf-8"))["version"]
    name = f"imds-verifier-vectors-{version}"
    files = [file for file in VECTORS.rglob("*") if file.is_file() and not _LEFT_OUT & {*file.relative_to(ROOT).parts}]
    time = datetime.fromtimestamp(moment, UTC).timetuple()[:6]
    archive = directory / f"{name}.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as opened:
        for file in sorted((*files, *_OTHERS)):
            entry = ZipInfo(f"{name}/{file.relative_to(ROOT).as_posix()}", time)
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = _MODE
            opened.writestr(entry, file.read_bytes())
    return archive


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1]), int(sys.argv[2]))}\n")

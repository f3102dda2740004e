"""The agent as one file: `build_agent.py FILE` makes a zipapp of verifier/agent that any Python from 3.9 on runs.

The same sources give the same bytes: names in order, one time for all, nothing compressed.
"""

import sys
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SHEBANG: Final = b"#!/usr/bin/env python3\n"
# The earliest that a ZIP archive can tell.
MOMENT: Final = (1980, 1, 1, 0, 0, 0)
#: Must be read by every Python that there is, so that the old ones tell why they end.
MAIN: Final = b"""\
import sys

if sys.version_info < (3, 9):
    sys.stderr.write("attest: Python 3.9 or later is needed, and this is %d.%d\\n" % sys.version_info[:2])
    sys.exit(2)

from verifier.agent.__main__ import main

main()
"""


def build(file: Path) -> None:
    """`file` is the agent, executable. No other part of the package is in it."""
    sources = sorted((ROOT / "verifier" / "agent").glob("*.py"))
    content = {source.relative_to(ROOT).as_posix(): source.read_bytes() for source in sources}
    # The package around it is empty: the service's own would bring the service.
    content |= {"__main__.py": MAIN, "verifier/__init__.py": b"", "LICENSE": (ROOT / "LICENSE").read_bytes()}
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.write(SHEBANG)
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(content):
                entry = zipfile.ZipInfo(name, MOMENT)
                entry.create_system = 3  # Unix, on every system
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, content[name])
    file.chmod(0o755)


if __name__ == "__main__":
    build(Path(sys.argv[1]))

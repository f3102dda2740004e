"""Print the notes of a version from CHANGELOG.md: `release_notes.py VERSION`."""

import re
import sys
from pathlib import Path
from typing import Final

CHANGELOG: Final = Path(__file__).parents[1] / "CHANGELOG.md"
_HEADING: Final = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<day>\d{4}-\d\d-\d\d))?$", re.MULTILINE)


def read_notes(changelog: str, version: str) -> str:
    """Return the text below the heading `## [VERSION] - DAY`. Raises ValueError if it is missing, or is empty."""
    headings = list(_HEADING.finditer(changelog))
    for position, heading in enumerate(headings):
        if heading["version"] == version and heading["day"]:
            end = headings[position + 1].start() if position + 1 < len(headings) else len(changelog)
            if text := changelog[heading.end() : end].strip():
                return text
    raise ValueError(f"CHANGELOG.md has no text below '## [{version}] - YYYY-MM-DD'")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: release_notes.py VERSION\n")
        return 2
    try:
        sys.stdout.write(read_notes(CHANGELOG.read_text("utf-8"), arguments[0]) + "\n")
    except ValueError as error:
        sys.stderr.write(f"release_notes.py: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Check that all places name one version: `versions.py [TAG]` prints it.

With a tag, which is `v` and the version, the changelog has to have notes of this version.
"""

import re
import sys
from pathlib import Path
from typing import Final

from release_notes import read_notes

ROOT: Final = Path(__file__).parents[1]
_PYTHON: Final = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_PLACES: Final = (
    ("verifier/__init__.py", _PYTHON),
    ("verifier/relying_party/__init__.py", _PYTHON),
    ("helm/verifier/Chart.yaml", re.compile(r"^version: (\S+)$", re.MULTILINE)),
    ("helm/verifier/Chart.yaml", re.compile(r"^appVersion: (\S+)$", re.MULTILINE)),
)


def read_version(root: Path) -> str:
    """Return the version. Raises ValueError if a place has none, or another one."""
    found: dict[str, str] = {}
    for name, pattern in _PLACES:
        versions = pattern.findall((root / name).read_text("utf-8"))
        if len(versions) != 1:
            raise ValueError(f"{name} must have one line like {pattern.pattern}")
        found[versions[0]] = name
    if len(found) > 1:
        raise ValueError(
            "the versions differ: " + ", ".join(f"{found[version]} says {version}" for version in sorted(found))
        )
    return next(iter(found))


def check_tag(tag: str, version: str) -> None:
    """Raise ValueError if the tag is not that of the version, or the changelog has no notes of it."""
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, and the version is {version}")
    read_notes((ROOT / "CHANGELOG.md").read_text("utf-8"), version)


def main(arguments: list[str]) -> int:
    if len(arguments) > 1:
        sys.stderr.write("usage: versions.py [TAG]\n")
        return 2
    try:
        version = read_version(ROOT)
        if arguments:
            check_tag(arguments[0], version)
    except ValueError as error:
        sys.stderr.write(f"versions.py: {error}\n")
        return 1
    sys.stdout.write(f"{version}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Find the line of a setting in a settings file, for messages."""

import re
from collections.abc import Sequence

_HEADER = re.compile(r"\s*\[\[?\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"\s*(?P<name>[\w.\"' -]+?)\s*=")
_AT = re.compile(r"\(at line (\d+), column \d+\)")


def line_of(text: str, place: Sequence[str]) -> int | None:
    """Return the number of the line that sets `place`, such as `("tenants", "a", "rate")`, or of a table around it.

    Not checked: that the line is no part of a text of several lines.
    """
    best, found = 0, None
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            path = table = _parts(header["name"])
        elif key := _KEY.match(line):
            path = [*table, *_parts(key["name"])]
        else:
            continue
        if len(path) > best and path == [*place[: len(path)]]:
            best, found = len(path), number
    return found


def line_in(message: str) -> int | None:
    """Return the line that an error of the TOML parser names."""
    named = _AT.search(message)
    return int(named[1]) if named else None


def _parts(name: str) -> list[str]:
    return [part.strip().strip("\"'") for part in name.split(".")]

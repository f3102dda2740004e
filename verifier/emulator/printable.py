"""Escape text of files, so that terminals show it and do not interpret it.

The agent has the same function: neither package imports the other.
"""


def printable(text: str) -> str:
    """Return one line of printable ASCII, with every other character escaped."""
    return "".join(c if c.isascii() and c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)

"""Escape untrusted text, so that logs and terminals show it and do not interpret it."""

from typing import Final


def printable(text: str) -> str:
    """Return the text in printable ASCII, with every other character escaped."""
    if text.isascii() and text.isprintable():
        return text
    return text.encode("ascii", "backslashreplace").decode("ascii").translate(_CONTROLS)


#: The escapes of the control characters of ASCII, as Python writes them.
_CONTROLS: Final = {code: ascii(chr(code))[1:-1] for code in (*range(0x20), 0x7F)}

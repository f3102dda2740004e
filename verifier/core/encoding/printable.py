"""Escape untrusted text, so that logs and terminals show it and do not interpret it."""


def printable(text: str) -> str:
    """Return the text in printable ASCII, with every other character escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one.isascii() and one.isprintable() else ascii(one)[1:-1] for one in text)

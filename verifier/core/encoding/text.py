"""Decode text from files and requests: UTF-8, or UTF-16 with a byte order mark (Windows PowerShell 5.1 writes it)."""

import codecs

# UTF-32 starts with the bytes of a UTF-16 mark, so it is decoded as UTF-16, and its NUL characters are refused.
_ENCODINGS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class TextError(ValueError):
    """Report bytes that are not text. The message says why, and quotes no byte of them."""


def decode_text(raw: bytes) -> str:
    """Decode UTF-8 with or without a byte order mark, or UTF-16 with one. The mark is not a part of the text.

    The result has no NUL character. Raises TextError.
    """
    encoding = "utf-8"
    content = raw
    for mark, of_mark in _ENCODINGS.items():
        if raw.startswith(mark):
            encoding, content = of_mark, raw[len(mark) :]
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise TextError(f"it is not {encoding[:6].upper()} text") from error
    if "\0" in text:
        raise TextError("it has NUL characters: if it is UTF-16, it needs a byte order mark")
    return text

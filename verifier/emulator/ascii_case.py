"""Compare identifiers without the case of their ASCII letters."""

import string
from typing import Final

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold_case(text: str) -> str:
    """Return the text with its ASCII letters in lower case, and every other character unchanged.

    `str.casefold` turns other characters into ASCII letters, so that two different identifiers would be equal.
    """
    return text.translate(_LOWER)

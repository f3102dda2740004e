"""Compare identifiers without the case of their ASCII letters."""

import string
from typing import Final

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold_case(text: str) -> str:
    """Return the text with its ASCII letters in lower case, and every other character unchanged.

    Azure's identifiers are ASCII. `str.lower` and `str.casefold` turn characters beyond ASCII into ASCII letters: the
    Kelvin sign (U+212A) into k, the long s (U+017F) into s. Two different identifiers would then be equal.
    """
    return text.translate(_LOWER)

"""Comparison without the case of ASCII letters: no other character changes."""

import string
import sys

from verifier.core.ascii_case import fold_case


def test_the_letters_of_ascii_are_lowered() -> None:
    assert fold_case(string.ascii_letters) == string.ascii_lowercase * 2


def test_no_other_character_changes() -> None:
    others = "".join(map(chr, range(sys.maxunicode + 1))).translate(dict.fromkeys(map(ord, string.ascii_uppercase)))

    assert fold_case(others) == others

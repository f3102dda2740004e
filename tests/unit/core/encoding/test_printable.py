"""Untrusted text, so that a terminal shows it and does not interpret it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.core.encoding.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain 'text'", "plain 'text'"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb\0", "a\\nb\\x00"),
        ("\x1f \x7f", "\\x1f \\x7f"),
        ("\x7f", "\\x7f"),
        ("für", "f\\xfcr"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800\U0001f600", "\\ud800\\U0001f600"),
    ],
)
def test_other_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_the_result_is_printable_ascii(text: str) -> None:
    shown = printable(text)
    assert shown.isascii()
    assert not shown or shown.isprintable()

"""The encodings of text from files and requests."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.core.encoding.text import TextError, decode_text

TEXTS = st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]))


@given(text=TEXTS)
def test_reads_utf_8_and_utf_16_with_a_mark(text: str) -> None:
    for raw in (
        text.encode(),
        codecs.BOM_UTF8 + text.encode(),
        codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    ):
        assert decode_text(raw) == text


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"\xff", "it is not UTF-8 text"),
        (codecs.BOM_UTF16_LE + b"a", "it is not UTF-16 text"),
        (codecs.BOM_UTF16_LE + b"\x00\xd8", "it is not UTF-16 text"),
        ("ab".encode("utf-16-le"), "it needs a byte order mark"),
        ("ab".encode("utf-32"), "it has NUL characters"),
        (b"a\0b", "it has NUL characters"),
    ],
)
def test_names_what_is_no_text(raw: bytes, fault: str) -> None:
    with pytest.raises(TextError, match=fault):
        decode_text(raw)

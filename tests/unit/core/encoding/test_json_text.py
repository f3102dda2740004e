"""JSON as this service writes it: ASCII, without white space, and never a form of the library's own."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.core.encoding.json_text import encode_json


class Kind(StrEnum):
    ONE = "one"


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, True, None, "b c"]}, b'{"a":[1,true,null,"b c"]}'),
        ("ü\ud800", b'"\\u00fc\\ud800"'),
        ({"ü": 1}, b'{"\\u00fc":1}'),
        (1 << 64, b"18446744073709551616"),
        ({Kind.ONE: Kind.ONE}, b'{"one":"one"}'),
        (float("nan"), b"null"),
    ],
)
def test_writes_ascii_without_white_space(value: object, text: bytes) -> None:
    assert encode_json(value) == text


@pytest.mark.parametrize("value", [Point(1), datetime(2026, 11, 23, tzinfo=UTC), b"", {1}, {"a": {2}}])
def test_a_type_that_json_does_not_have_is_not_written(value: object) -> None:
    with pytest.raises(TypeError):
        encode_json(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_value_is_read_again(value: object) -> None:
    written = encode_json(value)
    assert written.isascii()
    assert json.loads(written) == value

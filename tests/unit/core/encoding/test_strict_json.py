"""Strict JSON: what it reads, json.loads reads alike; what can be read in two ways it refuses."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from verifier.core.bounds import MAX_JSON_DEPTH, MAX_JSON_VALUES
from verifier.core.encoding import strict_json
from verifier.core.encoding.strict_json import JsonError

# What stays in a 64-bit integer and is no lone surrogate: the rest is refused, as below.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(min_value=-(10**18) + 1, max_value=10**19 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)


def nested(depth: int, opening: str = '{"a":', closing: str = "}") -> bytes:
    return (opening * (depth - 1) + "{}" + closing * (depth - 1)).encode()


@given(fields=OBJECTS, ascii_only=st.booleans(), indent=st.sampled_from([None, 0, 2]))
def test_reads_what_was_written(fields: dict[str, object], *, ascii_only: bool, indent: int | None) -> None:
    raw = json.dumps(fields, ensure_ascii=ascii_only, indent=indent).encode()
    assert strict_json.decode(raw) == fields == json.loads(raw)


@given(
    raw=st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.lists(
        st.sampled_from([*list('{}[]":,\\ \n'), "a", "1", "-", "e", ".", "null", "NaN", "\\u", "d800", "0", "é"])
    ).map(lambda pieces: ("{" + "".join(pieces) + "}").encode())
)
@example(raw=b'{"a":1}')
@example(raw=b'{"a":"}","b":["{"]}')
def test_agrees_with_the_standard_library_on_all_that_it_accepts(raw: bytes) -> None:
    try:
        fields = strict_json.decode(raw)
    except JsonError:
        return
    assert fields == json.loads(raw)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a":1}x', "not JSON"),
        (b'{"a":1}{"a":1}', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b'{"a":1}//', "not JSON"),
        (b'{"a', "not JSON"),
        (b'{"a\\"', "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"a"', "not a JSON object"),
        (b"1", "not a JSON object"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"a":"\xc0\x80"}', "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":1,"a":1}', "one name twice"),
        (b'{"a":1,"\\u0061":2}', "one name twice"),
        (b'{"b":{"a":1,"a":1}}', "one name twice"),
        (b'{"b":[{"a":1,"a":1}]}', "one name twice"),
        (b'{"a":NaN}', "a number that is none"),
        (b'{"a":Infinity}', "a number that is none"),
        (b'{"a":-Infinity}', "a number that is none"),
        (b'{"a":1e999}', "a number that is none"),
        (b'{"a":-1e999}', "a number that is none"),
        (b'{"a":12345678901234567890}', "too long"),
        (b'{"a":' + b"9" * 5000 + b"}", "too long"),
        (b'{"a":"\\ud800"}', "lone surrogate"),
        (b'{"a":"\\udc00\\ud800"}', "lone surrogate"),
        (b'{"\\ud800":1}', "lone surrogate"),
    ],
)
def test_refuses_what_two_readers_may_read_in_two_ways(raw: bytes, fault: str) -> None:
    with pytest.raises(JsonError, match=fault):
        strict_json.decode(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a":"\\ud83d\\ude00"}', "\U0001f600"),
        (b'{"a":"\\u0000"}', "\0"),
        (b'{"a":9223372036854775807}', 2**63 - 1),
        (b'{"a":-0}', 0),
        (b'{"a":1e-999}', 0.0),
        (b'{"a":1.7976931348623157e308}', 1.7976931348623157e308),
        (b' \t\r\n{"a" : "{[\\"]}" } \n', '{["]}'),
    ],
)
def test_reads_what_is_odd_and_has_one_meaning(raw: bytes, value: object) -> None:
    assert strict_json.decode(raw) == {"a": value}


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ('{"a":[', "]}")])
def test_reads_as_deep_as_the_limit_and_no_deeper(opening: str, closing: str) -> None:
    levels = 1 + (MAX_JSON_DEPTH - 1) // opening.count("{") // len(closing)
    deepest = nested(levels, opening, closing)
    assert strict_json.decode(deepest)
    with pytest.raises(JsonError, match="nested deeper"):
        strict_json.decode(nested(levels + 1, opening, closing))


@pytest.mark.parametrize("one", ["0", "[]", "{}", '"a,b"', "null"])
def test_reads_as_many_values_as_the_limit_and_no_more(one: str) -> None:
    def listed(number: int) -> bytes:
        return f'{{"a":[{",".join([one] * number)}]}}'.encode()

    # The array is one, and each that is empty counts once for itself and once for what could be in it.
    most = (MAX_JSON_VALUES - 1) // (2 if one in {"[]", "{}"} else 1)
    assert strict_json.decode(listed(most)) == {"a": [json.loads(one)] * most}
    with pytest.raises(JsonError, match=f"more than {MAX_JSON_VALUES} members and elements"):
        strict_json.decode(listed(most + 1))


def test_commas_and_brackets_in_texts_are_no_values() -> None:
    text = ",[{" * 1000
    assert strict_json.decode(f'{{"a":"{text}"}}'.encode()) == {"a": text}


def test_brackets_in_texts_are_not_depth() -> None:
    text = '\\"[{' * 100
    assert strict_json.decode(f'{{"a":"{text}"}}'.encode()) == {"a": text.replace("\\", "")}


def test_a_hundred_thousand_levels_are_refused_without_recursion() -> None:
    with pytest.raises(JsonError, match=f"more than {MAX_JSON_VALUES} members and elements"):
        strict_json.decode(b'{"a":' + b"[" * 100_000)


def test_errors_quote_nothing_of_what_was_read() -> None:
    with pytest.raises(JsonError) as caught:
        strict_json.decode(b'{"secret": 1, "secret": 2}')
    assert "secret" not in str(caught.value)


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_the_nearest_double(number: float) -> None:
    decoded = strict_json.decode(json.dumps({"a": number}).encode())["a"]
    assert isinstance(decoded, float)
    assert math.copysign(1, decoded) == math.copysign(1, number)
    assert decoded == number

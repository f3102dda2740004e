"""Strict JSON: it agrees with json.loads, and refuses text that parsers could read differently."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.ambiguous_json import AMBIGUOUS_JSON

from verifier.core.bounds import MAX_JSON_DEPTH, MAX_JSON_VALUES
from verifier.core.encoding import strict_json
from verifier.core.encoding.strict_json import JsonError

# Integers of 64 bits, and text without lone surrogates. Other values are refused, as tested below.
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
def test_reads_what_json_writes(fields: dict[str, object], *, ascii_only: bool, indent: int | None) -> None:
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
def test_agrees_with_the_standard_library_on_accepted_text(raw: bytes) -> None:
    try:
        fields = strict_json.decode(raw)
    except JsonError:
        return
    assert fields == json.loads(raw)


@pytest.mark.parametrize(("raw", "fault"), [*AMBIGUOUS_JSON, (b'{"a":12345678901234567890}', "too long")])
def test_refuses_ambiguous_json(raw: bytes, fault: str) -> None:
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
def test_accepts_unusual_but_unambiguous_json(raw: bytes, value: object) -> None:
    assert strict_json.decode(raw) == {"a": value}


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ('{"a":[', "]}")])
def test_depth_is_bounded_exactly(opening: str, closing: str) -> None:
    levels = 1 + (MAX_JSON_DEPTH - 1) // opening.count("{") // len(closing)
    deepest = nested(levels, opening, closing)
    assert strict_json.decode(deepest)
    with pytest.raises(JsonError, match="nested deeper"):
        strict_json.decode(nested(levels + 1, opening, closing))


@pytest.mark.parametrize("one", ["0", "[]", "{}", '"a,b"', "null"])
def test_the_number_of_values_is_bounded_exactly(one: str) -> None:
    def listed(number: int) -> bytes:
        return f'{{"a":[{",".join([one] * number)}]}}'.encode()

    # The outer array counts once. Each empty array counts twice: for itself and for a possible element.
    most = (MAX_JSON_VALUES - 1) // (2 if one in {"[]", "{}"} else 1)
    assert strict_json.decode(listed(most)) == {"a": [json.loads(one)] * most}
    with pytest.raises(JsonError, match=f"more than {MAX_JSON_VALUES} members and elements"):
        strict_json.decode(listed(most + 1))


def test_commas_and_brackets_in_strings_do_not_count_as_values() -> None:
    text = ",[{" * 1000
    assert strict_json.decode(f'{{"a":"{text}"}}'.encode()) == {"a": text}


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    text = '\\"[{' * 100
    assert strict_json.decode(f'{{"a":"{text}"}}'.encode()) == {"a": text.replace("\\", "")}


def test_the_depth_is_bounded_exactly_in_a_text_with_many_brackets() -> None:
    siblings = '"s":[' + ",".join(["[]"] * 20) + "]"
    for depth in (MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1):
        raw = f"{{{siblings}".encode() + b',"a":' + nested(depth - 1) + b"}"
        if depth > MAX_JSON_DEPTH:
            with pytest.raises(JsonError, match="nested deeper than 16"):
                strict_json.decode(raw)
        else:
            assert len(strict_json.decode(raw)["s"]) == 20  # type: ignore[arg-type] # a list


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b'{"a":"\n"}', "it has a line break or tab inside a string"),
        (b'{"a":1} x', "it has text after its end"),
        (b'{"a":"x', "it ends too early"),
        (b'{"a": ', "it ends too early"),
        (b'{"a" 1}', "it is not JSON"),
        (b'{"a":1,,}', "it is not JSON"),
        (b"[1]", "it is not a JSON object"),
        (b"\xff", "it is not UTF-8"),
        (b'{"a":"\\ud800"}', "it has a lone surrogate"),
    ],
)
def test_the_fault_is_named(raw: bytes, fault: str) -> None:
    with pytest.raises(JsonError, match=f"^{fault}$"):
        strict_json.decode(raw)


@pytest.mark.parametrize(("digits", "accepted"), [("9" * 19, True), ("-" + "9" * 19, True), ("9" * 20, False)])
def test_the_digits_of_an_integer_are_bounded_exactly(digits: str, *, accepted: bool) -> None:
    raw = f'{{"a":{digits}}}'.encode()
    if accepted:
        assert strict_json.decode(raw) == {"a": int(digits)}
    else:
        with pytest.raises(JsonError, match="too long"):
            strict_json.decode(raw)


def test_a_hundred_thousand_levels_are_refused_without_recursion() -> None:
    with pytest.raises(JsonError, match=f"more than {MAX_JSON_VALUES} members and elements"):
        strict_json.decode(b'{"a":' + b"[" * 100_000)


def test_errors_do_not_quote_the_text() -> None:
    with pytest.raises(JsonError) as caught:
        strict_json.decode(b'{"secret": 1, "secret": 2}')
    assert "secret" not in str(caught.value)


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_the_nearest_double(number: float) -> None:
    decoded = strict_json.decode(json.dumps({"a": number}).encode())["a"]
    assert isinstance(decoded, float)
    assert math.copysign(1, decoded) == math.copysign(1, number)
    assert decoded == number

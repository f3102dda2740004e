"""The strict JSON readers of both packages for relying parties: they refuse what the service's reader refuses."""

from pathlib import Path

import pytest
from support.ambiguous_json import AMBIGUOUS_JSON
from support.javascript_client import JavaScriptClient

from verifier.relying_party.compact_jws import (
    MAX_BYTES,
    JwsError,
    decode_segment,
    encode_segment,
    is_too_large,
    read_jws,
    read_object,
)

TEXTS = [raw for raw, _ in AMBIGUOUS_JSON]


@pytest.mark.parametrize("raw", TEXTS)
def test_python_refuses_ambiguous_json(raw: bytes) -> None:
    with pytest.raises(JwsError):
        read_object(raw)


def test_javascript_refuses_ambiguous_json_with_the_same_messages(tmp_path: Path) -> None:
    accepted = b'{"a":[1,{"b":"\\u00e9"}]}'
    assert read_object(accepted) == {"a": [1, {"b": "é"}]}
    messages = JavaScriptClient(tmp_path).run("read_objects.mjs", {"texts": [raw.hex() for raw in [accepted, *TEXTS]]})
    assert messages == ["", *map(refusal, TEXTS)]


def refusal(raw: bytes) -> str:
    with pytest.raises(JwsError) as caught:
        read_object(raw)
    return str(caught.value)


def test_a_text_of_the_most_bytes_is_not_too_large() -> None:
    assert MAX_BYTES == 8192
    for most in ("x" * 8192, "\u00e9" * 4096, "\ud800" + "x" * 8189):
        assert not is_too_large(most)
        assert is_too_large(most + "x")


def test_a_jws_has_its_parts() -> None:
    jws = read_jws("eyJhIjoxfQ.eyJiIjoyfQ._-8")
    assert (jws.header, jws.payload(), jws.payload_bytes) == ({"a": 1}, {"b": 2}, b'{"b":2}')
    assert (jws.signing_input, jws.signature) == (b"eyJhIjoxfQ.eyJiIjoyfQ", b"\xff\xef")
    assert read_jws("eyJhIjoxfQ.eyJiIjoyfQ.").signature == b""


@pytest.mark.parametrize("text", ["", "e30.e30", "e30..", ".e.e", "e30.e30.e30.e30", "e30.e30.e3+", "e30.e.e30\n"])
def test_another_form_is_no_jws(text: str) -> None:
    with pytest.raises(JwsError, match="it is not three base64url segments"):
        read_jws(text)


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", b"\xff\xef\xbe", b"aaW", bytes(32)])
def test_a_segment_has_one_spelling(data: bytes) -> None:
    segment = encode_segment(data)
    assert "=" not in segment
    assert decode_segment(segment) == data


@pytest.mark.parametrize("segment", ["A", "AAAAA"])
def test_a_segment_of_an_impossible_length_is_not_base64url(segment: str) -> None:
    with pytest.raises(JwsError, match="it has a segment that is not base64url"):
        decode_segment(segment)


@pytest.mark.parametrize("segment", ["YR", "YWF", "YQ==", "YWFh    "])
def test_a_second_spelling_is_not_canonical(segment: str) -> None:
    with pytest.raises(JwsError, match="it has a segment that is not canonical base64url"):
        decode_segment(segment)


def nested(lists: int, objects: int = 1) -> bytes:
    return b'{"a":' * objects + b"[" * lists + b"]" * lists + b"}" * objects


def test_64_brackets_are_the_most_whatever_the_text_holds() -> None:
    assert read_object(nested(63))
    assert read_object(nested(0, 63).replace(b":}", b":1}"))
    assert read_object(b'{"a":"' + b"[{" * 100 + b'\\"[{[{"}') == {"a": "[{" * 100 + '"[{[{'}
    assert read_object(b'{"a":[' + b",".join([b"{}"] * 62) + b"]}")
    for raw in (nested(64), nested(32, 33), b'{"a":[' + b",".join([b"{}"] * 63) + b"]}"):
        with pytest.raises(JwsError, match="its JSON is too complex"):
            read_object(raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[]", "it is not a JSON object"),
        (b'{"a":1,"a":1}', "its JSON has a duplicate name"),
        (b'{"a":1e999}', "its JSON has a number that is not finite"),
        (b'{"a":1' + b"0" * 400 + b"}", "its JSON has a number that is not finite"),
        (b'{"a":NaN}', "it is not JSON in UTF-8"),
        (b'{"a":"\\ud800"}', "it is not JSON in UTF-8"),
        (b"\xff", "it is not JSON in UTF-8"),
    ],
)
def test_a_message_names_the_fault(raw: bytes, message: str) -> None:
    assert refusal(raw) == message


def test_numbers_keep_their_kind() -> None:
    found = read_object(b'{"a":1,"b":1.5,"c":-0,"d":9007199254740993}')
    assert found == {"a": 1, "b": 1.5, "c": 0, "d": 9007199254740993}
    assert [type(value) for value in found.values()] == [int, float, int, int]


def test_what_is_shown_of_a_jws_has_no_payload_and_no_signature() -> None:
    shown = repr(read_jws("eyJhIjoxfQ.eyJiIjoyfQ._-8"))
    assert "payload_bytes" not in shown
    assert "signature" not in shown


def test_the_cause_names_the_constant_that_is_no_json() -> None:
    with pytest.raises(JwsError) as caught:
        read_object(b'{"a":-Infinity}')
    assert str(caught.value.__cause__) == "-Infinity"

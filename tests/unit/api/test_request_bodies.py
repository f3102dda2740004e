"""Read JSON request bodies strictly, and name the field that is wrong."""

import json

import pytest

from verifier.api.json_codec import NonceRequest
from verifier.api.request_bodies import InvalidBodyError, parse_body


def refusal(body: bytes) -> str:
    with pytest.raises(InvalidBodyError) as error:
        parse_body(NonceRequest, body)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("vmid", "Unknown field 'vmid'. Did you mean 'vmId'?"),
        ("Policy", "Unknown field 'Policy'. Did you mean 'policy'?"),
        ("colour", "Unknown field 'colour'. Known fields: vmId, policy, jkt."),
    ],
)
def test_unknown_field_is_named_with_the_nearest_known_one(name: str, sentence: str) -> None:
    assert refusal(json.dumps({name: "secret"}).encode()) == sentence


@pytest.mark.parametrize("name", ["x" * 65, "a\x1b[2J", "<b>", "ü", "", "a\n"])
def test_unknown_field_with_an_unsafe_name_is_not_repeated(name: str) -> None:
    assert refusal(json.dumps({name: 1}).encode()) == "Unknown field. Known fields: vmId, policy, jkt."


def test_invalid_field_is_named_without_its_value() -> None:
    assert refusal(b'{"vmId": 4711}') == "Invalid field 'vmId': input should be a valid string."


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"vmId": "a", "vmId": "b"}', b"\xff"])
def test_body_that_is_not_strict_json_is_refused(body: bytes) -> None:
    assert refusal(body).startswith("The body is not acceptable JSON: ")

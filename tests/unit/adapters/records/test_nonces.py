import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.adapters.records.nonces import decode_record, encode_record, encode_text, microseconds
from verifier.core.nonces import NonceRecord
from verifier.ports.stores import StoreUnavailable

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
RECORD = NonceRecord(
    issued_at=NOW, expires_at=NOW + timedelta(seconds=300, microseconds=7), vm_id="vm-1", policy="ö", jkt="k"
)
ENCODED = '[1,1795420800000000,1795421100000007,"vm-1","\\u00f6","k"]'

_moments = st.datetimes(timezones=st.just(UTC))
_texts = st.text(alphabet=st.characters(exclude_categories=()))  # unpaired surrogates too


def test_writes_one_line_of_ascii_with_its_format_first() -> None:
    assert encode_record(RECORD) == ENCODED


@given(
    record=st.builds(
        NonceRecord, issued_at=_moments, expires_at=_moments, vm_id=st.text(), policy=st.text(), jkt=st.text()
    )
)
def test_reads_back_what_it_wrote(record: NonceRecord) -> None:
    encoded = encode_record(record)
    assert encoded.isascii()
    assert "\n" not in encoded
    assert decode_record(encoded) == record


def test_writes_the_same_moment_alike_in_any_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert microseconds(elsewhere) == microseconds(NOW)
    record = NonceRecord(issued_at=elsewhere, expires_at=elsewhere)
    assert decode_record(encode_record(record)).issued_at.tzinfo is UTC


def test_refuses_a_moment_without_a_zone() -> None:
    with pytest.raises(TypeError):
        microseconds(NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "used",
        "null",
        "{}",
        "[]",
        "[1]",
        ENCODED + " ",
        " " + ENCODED,
        ENCODED.replace(",", ", "),
        ENCODED.replace("[1,", "[2,"),
        ENCODED.replace("[1,", "[true,"),
        ENCODED.replace("[1,", "[1.0,"),
        ENCODED.replace("[1,", "[01,"),
        ENCODED.replace("1795420800000000", "1795420800000000.0"),
        ENCODED.replace("1795420800000000", "true"),
        ENCODED.replace("1795420800000000", "null"),
        ENCODED.replace("1795420800000000", '"1795420800000000"'),
        ENCODED.replace("1795420800000000", "-0"),
        ENCODED.replace("1795420800000000", "NaN"),
        ENCODED.replace("1795420800000000", "1e400"),
        ENCODED.replace("1795420800000000", "9" * 30),
        ENCODED.replace("1795420800000000", "9" * 5000),
        ENCODED.replace('"k"', "null"),
        ENCODED.replace('"k"', "7"),
        ENCODED.replace('"k"', '"k",""'),
        ENCODED.replace('"k"', '"\\u006b"'),
        ENCODED.replace("\\u00f6", "\\u00F6"),
        ENCODED.replace("\\u00f6", "ö"),
        ENCODED.replace("vm-1", 'vm"1'),
        ENCODED.replace("vm-1", "vm\\1"),
        ENCODED.replace("vm-1", "vm\t1"),
        ENCODED.replace('"k"', '"k\\"'),
        ENCODED[:-1],
        "[" * 100_000,
        "\ufffd\ufffd",
    ],
)
def test_refuses_what_it_would_not_have_written(encoded: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"cannot read|update imds-verifier") as caught:
        decode_record(encoded)
    assert len(caught.value.detail) < 120


def test_names_the_format_of_a_later_release() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        decode_record('[2,{"of":"tomorrow"}]')
    assert caught.value.detail == (
        "The nonce store holds a record that has format 2, and this release knows format 1: update imds-verifier."
    )


@given(
    encoded=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=12)
)
def test_refuses_any_other_json(encoded: object) -> None:
    with pytest.raises(StoreUnavailable):
        decode_record(json.dumps(encoded))


@pytest.mark.parametrize("text", ["default", "1234567890", "tenant-1_a.b~C", "a0Z"])
def test_leaves_ordinary_names_as_they_are(text: str) -> None:
    assert encode_text(text) == text


def test_encodes_what_is_not_utf8_too() -> None:
    assert encode_text("\ud800?\udfff") == "%ED%A0%80%3F%ED%BF%BF"


@given(texts=st.lists(_texts, unique=True, max_size=8))
def test_encodes_different_texts_differently_in_harmless_characters(texts: list[str]) -> None:
    encoded = [encode_text(text) for text in texts]
    assert len(set(encoded)) == len(texts)
    for text in encoded:
        assert text.isascii()
        assert not set(text) & set(':{}*?[]\\/ \t\r\n\x00"')

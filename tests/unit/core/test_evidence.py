"""The forms of evidence: each decodes to the same bytes, and every other text is refused."""

import base64
import json
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.documents import SAMPLES, document, imds_answer, sample

from verifier.core import evidence
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.reasons import Check, FormatRefused, Reason

# Bytes that start like a ContentInfo. The readers refuse others, or cannot recognise their form.
SEQUENCES = st.binary(max_size=300).map(lambda rest: b"\x30" + rest)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def pem_of(data: bytes, label: str = "PKCS7") -> bytes:
    body = "\n".join(textwrap.wrap(base64_of(data), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode()


@given(data=SEQUENCES, width=st.integers(min_value=1, max_value=80))
def test_every_form_round_trips(data: bytes, width: int) -> None:
    text = base64_of(data)
    wrapped = "\r\n".join(textwrap.wrap(text, width))
    answer = json.dumps({"encoding": "pkcs7", "signature": text}).encode()

    assert evidence.from_der(data).raw_der == data
    assert evidence.from_fields(encoding="pkcs7", signature=text).raw_der == data
    assert evidence.from_imds_answer(answer).raw_der == data
    assert evidence.from_text(text.encode()).raw_der == data
    assert evidence.from_text(f" {wrapped}\n".encode()).raw_der == data
    assert evidence.from_text(pem_of(data)).raw_der == data
    assert evidence.from_text(pem_of(data, "CMS")).raw_der == data


@given(data=SEQUENCES)
def test_a_file_is_read_in_each_form(data: bytes) -> None:
    answer = json.dumps({"encoding": "pkcs7", "signature": base64_of(data)}).encode()
    for form in (data, base64_of(data).encode(), pem_of(data), answer, b"\n" + answer):
        assert evidence.from_file(form).raw_der == data


@pytest.mark.parametrize("name", ["azure-page-2018", "public-southcentralus-2022-04-19", "public-eastus-2026-07-28"])
def test_reads_the_published_answers(name: str) -> None:
    assert evidence.from_imds_answer((SAMPLES / f"{name}.json").read_bytes()).raw_der == sample(name)


@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_arbitrary_bytes_raise_only_refusals(raw: bytes) -> None:
    for read in (evidence.from_file, evidence.from_text, evidence.from_imds_answer, evidence.from_der):
        try:
            read(raw)
        except FormatRefused as refused:
            assert refused.check is Check.FORMAT  # noqa: PT017 - one of many inputs
            assert refused.reason in {Reason.MALFORMED_EVIDENCE, Reason.UNSUPPORTED_ENCODING}  # noqa: PT017 - as above


@given(
    data=SEQUENCES, change=st.text(alphabet="AB+/=-_ \n\0é", min_size=1, max_size=3), position=st.integers(min_value=0)
)
def test_only_white_space_padding_and_the_alphabet_of_urls_differ_for_the_same_bytes(
    data: bytes, change: str, position: int
) -> None:
    text = base64_of(data)
    place = position % (len(text) + 1)
    changed = text[:place] + change + text[place:]
    try:
        read = evidence.from_fields(encoding="pkcs7", signature=changed)
    except FormatRefused:
        return
    standard = changed.translate(str.maketrans("-_", "+/", " \n")).rstrip("=")
    assert standard == base64_of(read.raw_der).rstrip("=")


@pytest.mark.parametrize("encoding", ["pkcs7", "PKCS7", "Pkcs7"])
def test_the_case_of_the_encoding_is_ignored(encoding: str) -> None:
    assert evidence.from_fields(encoding=encoding, signature="MAA=").raw_der == b"\x30\x00"


@pytest.mark.parametrize("encoding", ["", "pkcs-7", "cms", "pkcs7\n", "ﬀ"])
def test_another_encoding_is_refused_by_name(encoding: str) -> None:
    with pytest.raises(FormatRefused) as caught:
        evidence.from_fields(encoding=encoding, signature="MAA=")
    assert caught.value.reason is Reason.UNSUPPORTED_ENCODING


def test_a_long_encoding_is_not_quoted_in_full() -> None:
    with pytest.raises(FormatRefused) as caught:
        evidence.from_fields(encoding="x" * 5000, signature="MAA=")
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(("encoding", "signature"), [(None, "MAA="), ("pkcs7", None), (1, "MAA="), ("pkcs7", ["MAA="])])
def test_fields_that_are_not_strings_are_refused(encoding: object, signature: object) -> None:
    with pytest.raises(FormatRefused) as caught:
        evidence.from_fields(encoding=encoding, signature=signature)
    assert caught.value.reason is Reason.MALFORMED_EVIDENCE


def test_an_answer_with_another_field_is_refused() -> None:
    answer = json.dumps({**imds_answer(document()), "nonce": "1"}).encode()
    with pytest.raises(FormatRefused, match=r"Unknown field 'nonce'\. Known fields: encoding, signature\."):
        evidence.from_imds_answer(answer)


@pytest.mark.parametrize(
    "raw",
    [
        b"-----BEGIN PKCS7-----\nMAA=\n-----END CMS-----\n",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PKCS7-----\nMAA=\n",
        b"-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\nmore",
        b"before\n-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n",
        b"-----BEGIN PKCS7-----\nHeader: value\n\nMAA=\n-----END PKCS7-----\n",
        b"-----BEGIN PKCS7-----\n-----END PKCS7-----\n",
        b"-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n" * 2,
    ],
)
def test_pem_that_is_not_one_block_of_a_known_label_is_refused(raw: bytes) -> None:
    with pytest.raises(FormatRefused) as caught:
        evidence.from_text(raw)
    assert caught.value.reason is Reason.MALFORMED_EVIDENCE


@pytest.mark.parametrize("read", [evidence.from_der, evidence.from_text, evidence.from_file])
def test_empty_evidence_is_refused(read: object) -> None:
    assert callable(read)
    with pytest.raises(FormatRefused):
        read(b"")


@pytest.mark.parametrize("limit", [1, 100, MAX_EVIDENCE_BYTES])
def test_the_size_is_bounded_exactly(limit: int) -> None:
    evidence.check_size(b"x" * limit, limit)
    with pytest.raises(FormatRefused) as caught:
        evidence.check_size(b"x" * (limit + 1), limit)
    assert caught.value.reason is Reason.TOO_LARGE


def test_the_size_is_bounded_by_default() -> None:
    evidence.check_size(b"x" * MAX_EVIDENCE_BYTES)
    with pytest.raises(FormatRefused):
        evidence.check_size(b"x" * (MAX_EVIDENCE_BYTES + 1))

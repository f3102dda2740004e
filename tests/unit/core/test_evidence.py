"""The forms of evidence: each decodes to the same bytes, and every other text is refused."""

import base64
import json
import textwrap
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.documents import SAMPLES, document, imds_answer, sample

from verifier.core import evidence
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.reasons import Check, FormatRefused, QuotingRefused, Reason

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


@pytest.mark.parametrize("encoding", ["", "pkcs-7", "cms", "pkcs7\n", "ﬀ", "p\u212acs7"])
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


NOT_PEM = "The evidence is not one PEM block with the label PKCS7 or CMS."
REMEDY = "Post the answer of GET /metadata/attested/document."


def fault_of(read: Callable[[bytes], object], raw: bytes | str, reason: Reason = Reason.MALFORMED_EVIDENCE) -> str:
    with pytest.raises(FormatRefused) as caught:
        read(raw if isinstance(raw, bytes) else raw.encode())
    assert caught.value.reason is reason
    return caught.value.detail


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("timeStamp", "the content of a document without its signature"),
        ("compute", "instance metadata of IMDS"),
        ("azEnvironment", "instance metadata of IMDS"),
        ("access_token", "an access token of IMDS"),
        ("loadbalancer", "load balancer metadata of IMDS"),
        ("expiresAt", "a nonce of this service"),
        ("verdict", "a result of this service"),
        ("requestId", "an error answer of this service"),
    ],
)
def test_other_answers_are_named(field: str, name: str) -> None:
    answer = json.dumps({"another": 1, field: None})
    assert fault_of(evidence.from_imds_answer, answer) == f"This is {name}, not a document. {REMEDY}"
    evidence.refuse_other_answers({field: None, "signature": "MAA="})
    evidence.refuse_other_answers({"another": 1})


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ({"message": "Bad é", "code": "x"}, "'Bad \\xe9'"),
        ({"code": "x" * 300}, f"'{'x' * 200}'"),
        ({"message": "", "code": "x"}, "'x'"),
        ({}, "no text"),
        (["x"], "no text"),
        ("text", "'text'"),
    ],
)
def test_an_error_of_imds_is_quoted_and_no_record_keeps_it(error: object, shown: str) -> None:
    with pytest.raises(QuotingRefused) as caught:
        evidence.from_imds_answer(json.dumps({"error": error, "compute": {}}).encode())
    assert caught.value.reason is Reason.MALFORMED_EVIDENCE
    assert caught.value.detail == f"This is an error answer of IMDS, not a document: {shown}. Ask IMDS again."


@pytest.mark.parametrize(
    ("start", "name"),
    [
        ("<html>", "HTML or XML"),
        ("eyJhbGciOi", "a JSON web token, or JSON in base64"),
        ("[1]", "a JSON array"),
        ("HTTP/1.1 200 OK", "an HTTP response with its header"),
        ("'MAA='", "text in single quotes"),
        ("encoding=pkcs7", "form data"),
        ("signature=MAA", "form data"),
    ],
)
def test_other_texts_are_named(start: str, name: str) -> None:
    for text in (start, f" \n{start}"):
        assert fault_of(evidence.from_text, text) == f"This is {name}, not a document. {REMEDY}"


@pytest.mark.parametrize(
    ("inside", "name"), [('{"a": 1}', "JSON inside a string"), ('"MAA="', "text in quotes inside a string")]
)
def test_texts_inside_a_string_are_named(inside: str, name: str) -> None:
    assert fault_of(evidence.from_text, json.dumps(inside)) == f"This is {name}, not a document. {REMEDY}"


def test_a_string_of_json_is_read() -> None:
    for text in ('"MAA="', ' "MAA="\n', '"M\nAA="', r'"M\u0041A="'):
        assert evidence.from_text(text.encode()).raw_der == b"\x30\x00"
    assert evidence.from_text(rb'"MAD\u002b"').raw_der == b"\x30\x00\xfe"
    fault = "The evidence begins with a quote, but it is not one JSON string."
    assert fault_of(evidence.from_text, '"MAA=') == fault
    assert fault_of(evidence.from_text, '"MAA=" x') == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("PHNpZ25hdHVyZT4=", f"This is other text: the base64 of a document begins with 'M'. {REMEDY}"),
        ("MAD+_w==", "The signature mixes base64 and base64url."),
        ("MAD/-w==", "The signature mixes base64 and base64url."),
        ("MAA=A", "The signature is not base64."),
        ("MAA\u00e9", "The signature is not base64."),
        ("MAA!", "The signature is not base64."),
        ("MAAA!", "The signature is not base64."),
        ("MAB=", "The signature is not canonical base64."),
        ("MAB", "The signature seems to be cut off: its base64 ends inside a byte."),
        ("MAAAM", "The signature seems to be cut off: its base64 ends inside a byte."),
        ("", "The evidence is empty."),
        ("-----BEGIN", f"{NOT_PEM} It has no label."),
        (
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----",
            f"{NOT_PEM} It begins with the label CERTIFICATE.",
        ),
        (
            "-----BEGIN CMS-----\nMAA=\n-----END PKCS7-----",
            f"{NOT_PEM} It has no end, or other text inside or after the block.",
        ),
        (
            "-----BEGIN PKCS7-----\nMAA=\n",
            f"{NOT_PEM} It has no end, or other text inside or after the block.",
        ),
    ],
)
def test_the_fault_of_a_signature_is_named(text: str, fault: str) -> None:
    with pytest.raises(FormatRefused) as caught:
        evidence.from_fields(encoding="pkcs7", signature=text)
    assert caught.value.detail == fault
    assert isinstance(caught.value, QuotingRefused) is fault.startswith(NOT_PEM)


def test_base64url_is_read_with_and_without_padding() -> None:
    data = b"\x30\xfb\xff\xfe"
    for text in ("MPv__g==", "MPv__g", "MPv//g==", "MPv//g", " MPv_\r\n_g\t"):
        assert evidence.from_fields(encoding="pkcs7", signature=text).raw_der == data
    assert evidence.from_fields(encoding="pkcs7", signature="MPs-").raw_der == b"\x30\xfb\x3e"


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\x1c"])
def test_only_ascii_white_space_is_ignored(space: str) -> None:
    quoted = json.dumps(f"{space}MAA=", ensure_ascii=False)
    for text in (f"{space}MAA=", f"MAA={space}", f'{space}"MAA="', quoted, f"{space}{{}}"):
        fault_of(evidence.from_text, text)


def test_the_form_of_a_file_is_chosen_by_its_start() -> None:
    assert evidence.object_text(b"\x30{") is None
    assert evidence.object_text(b"MAA=") is None
    assert evidence.object_text(b"{ 0") == "{ 0"
    assert evidence.object_text("\u00a0{".encode()) is None
    assert evidence.object_text(b" \n{ x") == " \n{ x"
    assert evidence.object_text(b"\xef\xbb\xbf{}") == "{}"
    assert evidence.from_file(b"0 is the tag of a SEQUENCE").raw_der.startswith(b"0 is")
    fault = "The evidence is neither DER nor text: it is not UTF-8 text."
    assert fault_of(evidence.from_file, b"\xff") == fault_of(evidence.object_text, b"\xff") == fault


def test_the_faults_of_fields_and_json_are_named() -> None:
    assert fault_of(evidence.from_imds_answer, "{}") == (
        "The evidence needs the text fields 'encoding' and 'signature' of the IMDS answer."
    )
    assert fault_of(evidence.from_imds_answer, "{").startswith("The evidence is not the JSON of an IMDS answer: ")
    assert fault_of(evidence.from_der, b"") == "The evidence is empty."
    assert fault_of(lambda raw: evidence.check_size(raw, 1), b"xx", Reason.TOO_LARGE) == (
        "The evidence is larger than 1 bytes."
    )
    with pytest.raises(QuotingRefused) as caught:
        evidence.from_fields(encoding="x" * 33, signature="MAA=")
    assert caught.value.detail == (f"The encoding '{'x' * 32}' is not supported. Use the encoding of IMDS, 'pkcs7'.")
    with pytest.raises(QuotingRefused, match="Unknown field 'nonce'"):
        evidence.from_imds_answer(b'{"nonce": 1, "signature": "MAA="}')

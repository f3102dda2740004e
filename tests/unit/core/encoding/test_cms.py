"""The exact reader: an independent writer encodes every accepted document again to the same bytes."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace

import pytest
from asn1crypto import parser
from hypothesis import given, settings
from hypothesis import strategies as st
from support import cms, documents
from support.der_parts import (
    CERTIFICATES,
    DIGEST,
    DIGESTS,
    ENCAPSULATED,
    SID,
    SIGNATURE,
    SIGNATURE_ALGORITHM,
    SIGNED_DATA,
    SIGNER,
    SIGNER_VERSION,
    SIGNERS,
    VERSION,
    encode_signed_data,
    integer,
    oid,
    sequence,
    tlv,
)
from support.documents import document, sample
from support.mutations import edited, mutants, random_mutants
from support.real_samples import REAL_SAMPLES, RealSample
from support.vectors import document_of, load_vectors

from verifier.cli.conformance_cases import Case
from verifier.core.bounds import MAX_ALGORITHM_BYTES, MAX_OID_BYTES
from verifier.core.encoding.cms import CmsError, SignedData, read_signed_data
from verifier.core.encoding.der import DerError
from verifier.core.reasons import Check

#: The well-formed vectors: those that are accepted, and those that a later step refuses.
WELL_FORMED = [vector for vector in load_vectors() if vector.expected.failing_check is not Check.FORMAT]
GOOD = document()


@pytest.mark.parametrize("vector", WELL_FORMED, ids=lambda vector: vector.name)
def test_every_well_formed_vector_is_encoded_again_to_the_same_bytes(vector: Case) -> None:
    raw = document_of(vector).raw_der
    assert encode_signed_data(read_signed_data(raw)) == raw


@pytest.mark.parametrize("real", REAL_SAMPLES, ids=str)
def test_every_real_document_is_encoded_again_to_the_same_bytes(real: RealSample) -> None:
    raw = real.der
    assert encode_signed_data(read_signed_data(raw)) == raw


@pytest.mark.parametrize("name", ["azure-page-2018", "public-southcentralus-2022-04-19", "public-eastus-2026-07-28"])
def test_every_published_document_is_encoded_again_to_the_same_bytes(name: str) -> None:
    raw = sample(name)
    assert encode_signed_data(read_signed_data(raw)) == raw


def test_every_accepted_mutant_is_encoded_again_to_the_same_bytes() -> None:
    read = 0
    for mutant in (*mutants(GOOD), *random_mutants(GOOD, 3000, seed=1)):
        with suppress(CmsError, DerError):
            parts = read_signed_data(mutant)
            assert encode_signed_data(parts) == mutant
            read += 1
    assert read > 500


@given(raw=st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_its_errors(raw: bytes) -> None:
    with pytest.raises((CmsError, DerError)):
        read_signed_data(raw)


@given(position=st.integers(min_value=0), byte=st.integers(min_value=0, max_value=255))
@settings(deadline=None)
def test_a_changed_byte_changes_the_parts_or_is_refused(position: int, byte: int) -> None:
    changed = bytearray(GOOD)
    changed[position % len(GOOD)] = byte
    with suppress(CmsError, DerError):
        assert (read_signed_data(bytes(changed)) == read_signed_data(GOOD)) is (bytes(changed) == GOOD)


def message(raw: bytes) -> str:
    with pytest.raises((CmsError, DerError)) as caught:
        read_signed_data(raw)
    return str(caught.value)


SHA256, RSA, PSS = "2.16.840.1.101.3.4.2.1", "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"


def attributes(*numbers: int) -> bytes:
    """Return [0] with one attribute for each number, or with all from the first number to the last."""
    chosen = range(*numbers) if len(numbers) == 2 and numbers[0] < numbers[1] else numbers
    return tlv(0xA0, *(sequence(oid(f"1.2.3.{number}"), b"\x31\x00") for number in chosen))


def inside(element: bytes) -> bytes:
    """Return the contents of an element."""
    return bytes(parser.parse(element)[4])


@pytest.mark.parametrize("size", [MAX_ALGORITHM_BYTES, MAX_ALGORITHM_BYTES + 1])
def test_the_size_of_an_algorithm_is_bounded_exactly(size: int) -> None:
    name = oid("1.2.3.4.5")
    algorithm = sequence(name, tlv(0x04, bytes(size - len(name) - 3 - 3)))
    assert len(algorithm) == size
    changed = edited(GOOD, SIGNATURE_ALGORITHM, lambda _: algorithm)
    if size > MAX_ALGORITHM_BYTES:
        assert "more than 256 bytes" in message(changed)
    else:
        assert read_signed_data(changed).signature_algorithm.oid == "1.2.3.4.5"


def test_without_signed_attributes_no_set_is_signed() -> None:
    read = read_signed_data(GOOD)
    assert read.signed_attributes is None
    assert read.signed_set == b""


def test_reads_the_greatest_number_of_signed_attributes() -> None:
    read = read_signed_data(edited(GOOD, DIGEST, lambda one: one + attributes(0, 32)))
    assert read.signed_attributes is not None
    assert len(read.signed_attributes) == 32
    assert read.signed_set == tlv(0x31, *read.signed_attributes)


@pytest.mark.parametrize(("name", "parameters"), [(PSS, sequence()), ("1.2.3.4", sequence()), (RSA, b"")])
def test_reads_the_parameters_of_other_algorithms(name: str, parameters: bytes) -> None:
    read = read_signed_data(edited(GOOD, SIGNATURE_ALGORITHM, lambda _: sequence(oid(name), parameters)))
    assert (read.signature_algorithm.oid, read.signature_algorithm.parameters) == (name, parameters)


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        ((0,), lambda _: oid(cms.ID_DATA), "not a CMS SignedData"),
        ((), lambda whole: whole + b"\x00", "do not belong"),
        (SIGNED_DATA, lambda one: one + b"\x05\x00", "do not belong"),
        (CERTIFICATES, lambda one: one + b"\xa1\x00", "revocation lists"),
        (CERTIFICATES, lambda _: b"", "embeds no certificate"),
        (CERTIFICATES, lambda _: tlv(0xA0, b"\xa1\x00"), "not X.509 certificates"),
        (CERTIFICATES, lambda _: tlv(0xA0, b"\x30\x00" * 9), "more than 8 certificates"),
        (DIGESTS, lambda _: b"\x31\x00", "announces no digest"),
        (ENCAPSULATED, lambda _: sequence(oid(cms.ID_DATA)), "carries no content"),
        (SIGNERS, lambda _: b"\x31\x00", "no signer"),
        (SIGNER, lambda one: one * 2, "more than one signer"),
        (SID, lambda _: b"\x80\x00", "not named by issuer and serial number"),
        (SIGNATURE, lambda one: one + b"\xa1\x00", "unsigned attributes"),
        (DIGEST, lambda _: sequence(oid(SHA256), sequence()), "The digest algorithm has parameters."),
        (SIGNATURE_ALGORITHM, lambda _: sequence(oid(RSA), sequence()), "The RSA signature algorithm has parameters."),
        (DIGEST, lambda one: one + attributes(0, 33), "more than 32 signed attributes"),
        (SIGNERS, lambda one: one + b"\x05\x00", "do not belong"),
        (ENCAPSULATED, lambda one: sequence(inside(one), b"\x05\x00"), "do not belong"),
        (SID, lambda one: sequence(inside(one), b"\x05\x00"), "do not belong"),
        (DIGEST, lambda one: sequence(inside(one), b"\x05\x00", b"\x05\x00"), "do not belong"),
        (ENCAPSULATED, lambda _: sequence(oid(cms.ID_DATA), tlv(0xA0, tlv(4, b"{}"), b"\x05\x00")), "do not belong"),
        (VERSION, lambda _: integer(3), "not a SignedData of version 1"),
        (SIGNER_VERSION, lambda _: integer(3), "not named by issuer and serial number"),
        (DIGESTS, lambda one: tlv(0x31, inside(one), inside(one)), "announces more than one digest"),
        (DIGESTS, lambda _: tlv(0x31, sequence(oid("1.2.3"))), "announces another digest algorithm than its signer"),
        (ENCAPSULATED, lambda _: sequence(oid("1.2.3"), tlv(0xA0, tlv(4, b""))), "not a SignedData of version 1"),
        (DIGEST, lambda one: one + attributes(1, 3, 2), "not in DER order, or one occurs twice"),
        (DIGEST, lambda one: one + attributes(1, 0), "not in DER order, or one occurs twice"),
        (DIGEST, lambda one: one + attributes(1, 1), "not in DER order, or one occurs twice"),
        (SIGNATURE, lambda one: one + one, "do not belong"),
        (DIGEST, lambda _: sequence(oid("1.3.4"), tlv(0x04, bytes(MAX_ALGORITHM_BYTES))), "more than 256 bytes"),
        (DIGEST, lambda _: sequence(tlv(0x06, b"\x2a" + b"\x81" * MAX_OID_BYTES)), f"more than {MAX_OID_BYTES} bytes"),
    ],
)
def test_the_error_names_the_fault(path: tuple[int, ...], change: Callable[[bytes], bytes], said: str) -> None:
    assert said in message(edited(GOOD, path, change))


def test_every_part_of_a_document_is_a_field() -> None:
    """Fail if support.der_parts does not encode a new field, because the tests above would not check it."""
    parts = read_signed_data(GOOD)
    for field in fields(SignedData):
        if field.name != "signed_set":  # derived from the attributes
            changed = replace(parts, **{field.name: other(getattr(parts, field.name))})  # type: ignore[arg-type]  # by name
            assert encode_signed_data(changed) != GOOD, field.name


def other(value: object) -> object:
    match value:
        case bytes():
            return value + b"x"
        case tuple():
            return (*value, b"\x30\x00")
        case None:
            return (b"\x30\x00",)
        case _:
            return replace(value, oid="1.2.3")  # type: ignore[type-var]  # the algorithms are left


def test_its_representation_hides_the_content() -> None:
    assert documents.VM.vm_id not in repr(read_signed_data(GOOD))
    shown = {"announced_digest", "serial_number", "digest_algorithm", "signature_algorithm"}
    assert {field.name for field in fields(SignedData) if field.repr} == shown

"""The DER gate: what it lets through is DER, and whatever it gets, it ends with a DerError or without one."""

import pytest
from asn1crypto import core, parser
from asn1crypto import x509 as asn1_x509
from hypothesis import given, settings
from hypothesis import strategies as st
from support.documents import der as der_of
from support.documents import document, sample, shared_pki

from verifier.core import der
from verifier.core.bounds import MAX_DEPTH, MAX_ELEMENTS
from verifier.core.der import DerError

NULL = b"\x05\x00"


def sequence(*members: bytes) -> bytes:
    return bytes(core.SequenceOf(spec=core.Any, contents=b"".join(members)).dump())


def nested(depth: int) -> bytes:
    """So many elements, each in the one before."""
    element = NULL
    for _ in range(depth - 1):
        element = sequence(element)
    return element


PRIMITIVES = st.one_of(
    st.integers().map(lambda value: bytes(core.Integer(value).dump())),
    st.binary(max_size=300).map(lambda value: bytes(core.OctetString(value).dump())),
    st.text(max_size=50).map(lambda value: bytes(core.UTF8String(value).dump())),
    st.booleans().map(lambda value: bytes(core.Boolean(value).dump())),
    st.just(NULL),
)
ELEMENTS = st.recursive(PRIMITIVES, lambda inner: st.lists(inner, max_size=6).map(lambda some: sequence(*some)))


@given(raw=ELEMENTS)
@settings(deadline=None, max_examples=50)
def test_accepts_what_another_library_encodes(raw: bytes) -> None:
    der.check(raw)


@pytest.mark.parametrize("name", ["azure-page-2018", "public-southcentralus-2022-04-19", "public-eastus-2026-07-28"])
def test_accepts_the_published_documents(name: str) -> None:
    der.check(sample(name))


@given(raw=st.binary(max_size=200))
def test_arbitrary_octets_raise_nothing_but_der_errors(raw: bytes) -> None:
    for read in (der.check, der.children):
        try:
            read(raw)
        except DerError:
            continue


@given(position=st.integers(min_value=0), octet=st.integers(min_value=0, max_value=255))
def test_a_changed_document_raises_nothing_but_der_errors(position: int, octet: int) -> None:
    raw = bytearray(document())
    raw[position % len(raw)] = octet
    try:
        der.check(bytes(raw))
    except DerError:
        return
    # What passes is for another parser one element too, with the same bounds.
    *_, header, contents, trailer = parser.parse(bytes(raw), strict=True)
    assert header + contents == bytes(raw)
    assert trailer == b""


@given(raw=ELEMENTS, cut=st.integers(min_value=1))
@settings(deadline=None, max_examples=40)
def test_no_proper_beginning_of_an_element_is_one(raw: bytes, cut: int) -> None:
    with pytest.raises(DerError):
        der.check(raw[: len(raw) - 1 - cut % len(raw)])


@given(raw=ELEMENTS, more=st.binary(min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_refuses_octets_behind_the_element(raw: bytes, more: bytes) -> None:
    with pytest.raises(DerError):
        der.check(raw + more)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "truncated"),
        (b"\x30", "truncated"),
        (b"\x30\x01", "truncated"),
        (b"\x30\x80\x00\x00", "indefinite length"),
        (b"\x30\x04\x24\x80\x00\x00", "indefinite length"),
        (b"\x30\x81\x02\x05\x00", "more bytes than it needs"),
        (b"\x30\x82\x00\x80" + b"\x05\x00" * 64, "more bytes than it needs"),
        (b"\x04\x84\x00\x00\x00\x80" + b"x" * 128, "more bytes than it needs"),
        (b"\x04\x85\x00\x00\x00\x00\x01x", "truncated"),
        (b"\x04\xff" + b"\x01" * 130, "truncated"),
        (b"\x30\x02\x05\x01", "truncated"),
        (b"\x1f\x01\x00", "tag number above 30"),
        (b"\xbf\x81\x01\x00", "tag number above 30"),
        (b"\x10\x00", "not constructed"),
        (b"\x11\x00", "not constructed"),
        (b"\x30\x02\x10\x00", "not constructed"),
        (b"\x05\x00\x05\x00", "bytes behind"),
        (b"\x30\x00\x00", "bytes behind"),
    ],
)
def test_refuses_what_is_not_der(raw: bytes, fault: str) -> None:
    with pytest.raises(DerError, match=fault):
        der.check(raw)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_accepts_each_length_in_its_shortest_form(length: int) -> None:
    der.check(bytes(core.OctetString(b"x" * length).dump()))


def test_accepts_as_deep_as_the_limit_and_no_deeper() -> None:
    der.check(nested(MAX_DEPTH))
    with pytest.raises(DerError, match="nested too deep"):
        der.check(nested(MAX_DEPTH + 1))


def test_depth_is_no_recursion() -> None:
    # The outer lengths of a thousand levels, and nothing else.
    with pytest.raises(DerError):
        der.check(nested(1000))


def test_accepts_as_many_elements_as_the_limit_and_no_more() -> None:
    der.check(sequence(*[NULL] * (MAX_ELEMENTS - 1)))
    with pytest.raises(DerError, match=f"more than {MAX_ELEMENTS} elements"):
        der.check(sequence(*[NULL] * MAX_ELEMENTS))


@given(members=st.lists(ELEMENTS, max_size=8))
@settings(deadline=None, max_examples=40)
def test_children_are_the_members(members: list[bytes]) -> None:
    assert der.children(sequence(*members)) == tuple(members)


@pytest.mark.parametrize("raw", [b"\x30\x02\x05\x00\x00", b"\x30\x03\x05\x00\x05", b"\x30\x02\x05\x01", b""])
def test_children_refuses_what_does_not_come_out_even(raw: bytes) -> None:
    with pytest.raises(DerError):
        der.children(raw)


def test_a_certificate_is_its_own_octets() -> None:
    certificate = shared_pki().signer.certificate
    assert der.from_certificate(certificate) == der_of(certificate)
    assert asn1_x509.Certificate.load(der.from_certificate(certificate)).serial_number == certificate.serial_number

"""Names: each attribute is read, and the text follows RFC 4514."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from support.der_parts import oid, sequence, tlv

from verifier.core.bounds import MAX_NAME_ATTRIBUTES, MAX_SHOWN_CHARACTERS
from verifier.core.encoding.der import BoundError, DerError
from verifier.core.trust.distinguished_names import read_name

KINDS = [NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.DOMAIN_COMPONENT, NameOID.SERIAL_NUMBER, NameOID.TITLE]
TEXTS = st.text(st.characters(min_codepoint=0, max_codepoint=0x7E, exclude_categories=["Cc"]), min_size=1, max_size=20)


def name(*attributes: bytes, together: bool = False) -> bytes:
    return sequence(tlv(0x31, *attributes)) if together else sequence(*(tlv(0x31, one) for one in attributes))


def attribute(value: bytes, *, tag: int = 0x0C, kind: str = "2.5.4.3") -> bytes:
    return sequence(oid(kind), tlv(tag, value))


@given(
    sets=st.lists(st.lists(st.tuples(st.sampled_from(KINDS), TEXTS), min_size=1, max_size=3, unique=True), max_size=5)
)
def test_the_text_is_the_same_as_from_another_library(sets: list[list[tuple[x509.ObjectIdentifier, str]]]) -> None:
    made = x509.Name(
        [x509.RelativeDistinguishedName([x509.NameAttribute(kind, text) for kind, text in one]) for one in sets]
    )
    loaded = x509.Name.from_rfc4514_string(read_name(made.public_bytes()).text, {"DC": NameOID.DOMAIN_COMPONENT})
    assert [len(one) for one in loaded.rdns] == [len(one) for one in made.rdns]
    if len(made.rdns) == len(list(made)):  # the encoder orders the attributes of one set
        assert read_name(made.public_bytes()).text == made.rfc4514_string()


@pytest.mark.parametrize(
    ("tag", "value", "shown"),
    [
        (0x0C, "é".encode(), "CN=\\xe9"),
        (0x12, b"4711", "CN=4711"),
        (0x13, b"a", "CN=a"),
        (0x14, b"\xe9", "CN=\\xe9"),
        (0x16, b"a@b", "CN=a@b"),
        (0x1A, b"a", "CN=a"),
        (0x1C, "aé".encode("utf-32-be"), "CN=a\\xe9"),
        (0x1E, "aé".encode("utf-16-be"), "CN=a\\xe9"),
        (0x03, b"\x00\xff", "CN=#030200ff"),
        (0x30, b"", "CN=#3000"),
        (0x0C, b"", "CN="),
        (0x0C, b"a\0b", "CN=a\\00b"),
        (0x0C, b"\x1b[31m\r\n", "CN=\\x1b[31m\\r\\n"),
        (0x0C, b' #a,b+c"d\\e<f>g;h ', 'CN=\\ #a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h\\ '),
    ],
)
def test_every_string_type_becomes_printable_ascii(tag: int, value: bytes, shown: str) -> None:
    found = read_name(name(attribute(value, tag=tag)))
    assert found.text == shown
    assert found.common_names == (value,)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        *((0x0C, b"\xff"), (0x0C, b"\xed\xa0\x80"), (0x12, b"\x80"), (0x13, b"\xe9"), (0x16, b"\xe9"), (0x1A, b"\xe9")),
        *((0x1C, b"abc"), (0x1C, b"\xff\xff\xff\xff"), (0x1E, b"a"), (0x1E, b"\xd8\x00")),
    ],
)
def test_refuses_a_string_that_cannot_be_decoded(tag: int, value: bytes) -> None:
    with pytest.raises(DerError, match="text that is not"):
        read_name(name(attribute(value, tag=tag)))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x31\x00",
        sequence(b"\x31\x00"),
        sequence(b"\x30\x00"),
        sequence() + b"\x00",
        name(sequence(oid("2.5.4.3"))),
        name(sequence(oid("2.5.4.3"), tlv(0x0C), tlv(0x0C))),
        name(sequence(tlv(0x06, b"\x80"), tlv(0x0C))),
    ],
)
def test_refuses_bytes_that_are_not_a_name(raw: bytes) -> None:
    with pytest.raises(DerError):
        read_name(raw)


def test_accepts_an_empty_name() -> None:
    assert read_name(sequence()).text == ""
    assert read_name(sequence()).common_names == ()


@pytest.mark.parametrize("together", [False, True])
def test_the_number_of_attributes_is_bounded(*, together: bool) -> None:
    one = attribute(b"o", kind="2.5.4.10")
    assert read_name(name(*[one] * MAX_NAME_ATTRIBUTES, together=together)).text.count("O=o") == MAX_NAME_ATTRIBUTES
    with pytest.raises(BoundError, match=f"more than {MAX_NAME_ATTRIBUTES} attributes"):
        read_name(name(*[one] * (MAX_NAME_ATTRIBUTES + 1), together=together))


def test_a_long_name_is_truncated() -> None:
    assert len(read_name(name(attribute(b"a" * 4000))).text) == MAX_SHOWN_CHARACTERS + len("...")


@pytest.mark.parametrize("count", [MAX_SHOWN_CHARACTERS - 3, MAX_SHOWN_CHARACTERS - 2])
def test_only_a_name_of_more_than_the_maximum_of_characters_is_truncated(count: int) -> None:
    text = read_name(name(attribute(b"a" * count))).text
    whole = "CN=" + "a" * count
    assert text == (whole if len(whole) <= MAX_SHOWN_CHARACTERS else whole[:-1] + "...")


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        *(("2.5.4.3", "CN"), ("2.5.4.7", "L"), ("2.5.4.8", "ST"), ("2.5.4.10", "O"), ("2.5.4.11", "OU")),
        *(("2.5.4.6", "C"), ("2.5.4.9", "STREET"), ("0.9.2342.19200300.100.1.25", "DC")),
        *(("0.9.2342.19200300.100.1.1", "UID"), ("2.5.4.5", "2.5.4.5")),
    ],
)
def test_the_label_of_an_attribute_is_that_of_rfc_4514_or_its_identifier(kind: str, label: str) -> None:
    found = read_name(name(attribute(b"a", kind=kind)))
    assert (found.text, found.common_names) == (f"{label}=a", (b"a",) if label == "CN" else ())


def test_the_last_of_several_names_is_the_first_in_the_text() -> None:
    first, second, third = (attribute(text, kind="2.5.4.11") for text in (b"a", b"b", b"c"))
    assert read_name(name(first, second, third)).text == "OU=c,OU=b,OU=a"
    assert read_name(name(first, second, third, together=True)).text == "OU=a+OU=b+OU=c"


def test_common_names_are_listed_in_the_order_of_the_encoding() -> None:
    assert read_name(name(attribute(b"a"), attribute(b"b"))).common_names == (b"a", b"b")


def test_only_a_space_or_hash_at_an_end_is_escaped() -> None:
    assert read_name(name(attribute(b"a #b"))).text == "CN=a #b"
    assert read_name(name(attribute(b"b#"))).text == "CN=b#"
    assert read_name(name(attribute(b"X"))).text == "CN=X"


@pytest.mark.parametrize(
    ("tag", "value", "codec"),
    [
        *((0x0C, b"\xff", "utf-8"), (0x12, b"\x80", "ascii"), (0x13, b"\x80", "ascii"), (0x16, b"\x80", "ascii")),
        *((0x1A, b"\x80", "ascii"), (0x1C, b"a", "utf-32-be"), (0x1E, b"a", "utf-16-be")),
    ],
)
def test_the_refusal_names_the_character_set(tag: int, value: bytes, codec: str) -> None:
    with pytest.raises(DerError, match=f"it has a Name with text that is not {codec}$"):
        read_name(name(attribute(value, tag=tag)))

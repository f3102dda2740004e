"""The tolerant BER reader: every form of length, strings in segments, and a bound for elements and depth."""

import pytest
from support.der_parts import sequence, tlv

from verifier.core.bounds import MAX_DEPTH, MAX_TOLERATED_ELEMENTS
from verifier.core.encoding.ber import BerError, BerReader, Element

NULL = b"\x05\x00"
END = b"\x00\x00"


def contents_of(raw: bytes) -> bytes:
    reader = BerReader(raw)
    return reader.contents(reader.whole())


@pytest.mark.parametrize(
    "header",
    [
        *(b"\x04\x03", b"\x04\x81\x03", b"\x04\x82\x00\x03", b"\x04\x84\x00\x00\x00\x03"),
        b"\x04\x89" + bytes(8) + b"\x03",
    ],
)
def test_reads_a_length_in_any_number_of_bytes(header: bytes) -> None:
    reader = BerReader(header + b"abc" + b"rest")
    element = reader.whole()
    end = len(header) + 3
    assert element == Element(tag=0x04, start=0, contents_start=len(header), contents_end=end, end=end)
    assert (reader.contents(element), reader.encoding(element)) == (b"abc", header + b"abc")


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65536])
def test_reads_contents_of_each_size(size: int) -> None:
    assert contents_of(tlv(0x04, b"a" * size)) == b"a" * size


def test_reads_an_indefinite_length_up_to_its_end() -> None:
    raw = b"\x30\x80" + NULL + b"\x24\x80" + tlv(0x04, END) + END + NULL + END
    reader = BerReader(raw + b"rest")
    outer = reader.whole()
    assert outer == Element(tag=0x30, start=0, contents_start=2, contents_end=len(raw) - 2, end=len(raw))
    first, inner, last = reader.children(outer)
    assert (reader.encoding(first), reader.encoding(last)) == (NULL, NULL)
    assert reader.encoding(inner) == b"\x24\x80" + tlv(0x04, END) + END
    assert reader.string(inner) == END


def test_joins_the_segments_of_a_string() -> None:
    reader = BerReader(sequence(tlv(0x04, b"abc"), tlv(0x24, tlv(0x04, b"a"), tlv(0x04), tlv(0x04, b"bc"))))
    whole, segments = reader.children(reader.whole())
    assert (reader.string(whole), reader.string(segments)) == (b"abc", b"abc")


def test_an_empty_element_has_no_children() -> None:
    reader = BerReader(sequence())
    assert reader.children(reader.whole()) == []


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\x05", b"\x1f\x00", b"\xbf\x01\x00", b"\x04\x01", b"\x04\x02a", b"\x04\x81\x02a", b"\x04\x82\x01"),
        *(b"\x30\x80", b"\x30\x80" + NULL, b"\x30\x80" + NULL + b"\x00"),
    ],
)
def test_refuses_what_is_no_element(raw: bytes) -> None:
    with pytest.raises(BerError, match=r"^(no element|truncated)$"):
        BerReader(raw).whole()


@pytest.mark.parametrize(
    "raw", [sequence(b"\x04\x02a") + b"bc", sequence(b"\x04") + b"\x00", sequence(b"\x04\x81") + END]
)
def test_a_member_ends_inside_its_parent(raw: bytes) -> None:
    reader = BerReader(raw)
    outer = reader.whole()
    with pytest.raises(BerError, match=r"^(no element|truncated)$"):
        reader.children(outer)


def test_the_number_of_elements_is_bounded_exactly() -> None:
    def read(count: int) -> int:
        reader = BerReader(sequence(NULL * count))
        return len(reader.children(reader.whole()))

    assert read(MAX_TOLERATED_ELEMENTS - 1) == MAX_TOLERATED_ELEMENTS - 1
    with pytest.raises(BerError, match="too many elements"):
        read(MAX_TOLERATED_ELEMENTS)


def test_the_depth_is_bounded_exactly() -> None:
    def nested(depth: int) -> bytes:
        return b"\x30\x80" * depth + NULL + END * depth

    assert contents_of(nested(MAX_DEPTH)) == nested(MAX_DEPTH)[2:-2]
    with pytest.raises(BerError, match="too many elements"):
        contents_of(nested(MAX_DEPTH + 1))


def test_members_may_be_nested_as_deeply_as_the_element() -> None:
    raw = b"\x30\x80" * MAX_DEPTH + NULL + END * MAX_DEPTH
    reader = BerReader(sequence(raw))
    assert [reader.encoding(one) for one in reader.children(reader.whole())] == [raw]
    reader = BerReader(sequence(b"\x30\x80" * (MAX_DEPTH + 1) + NULL + END * (MAX_DEPTH + 1)))
    with pytest.raises(BerError, match="too many elements"):
        reader.children(reader.whole())

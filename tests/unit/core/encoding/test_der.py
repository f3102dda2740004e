"""The DER reader: it accepts only DER, and raises only DerError."""

import pytest
from asn1crypto import core, parser
from asn1crypto import x509 as asn1_x509
from hypothesis import given, settings
from hypothesis import strategies as st
from support.documents import der as der_of
from support.documents import document, sample, shared_pki

from verifier.core.bounds import MAX_DEPTH, MAX_ELEMENTS, MAX_OID_BYTES
from verifier.core.encoding import der
from verifier.core.encoding.der import DerError, Reader

NULL = b"\x05\x00"


def sequence(*members: bytes) -> bytes:
    return bytes(core.SequenceOf(spec=core.Any, contents=b"".join(members)).dump())


def nested(depth: int) -> bytes:
    """Nest this number of elements in one another."""
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
ELEMENTS = st.recursive(
    PRIMITIVES, lambda inner: st.lists(inner, max_size=6).map(lambda some: sequence(*some)), max_leaves=12
)
#: Made here, because the first document makes keys, which takes longer than an example may.
DOCUMENT = document()


@given(raw=ELEMENTS)
@settings(deadline=None, max_examples=50)
def test_accepts_the_encodings_of_another_library(raw: bytes) -> None:
    der.check(raw)


@pytest.mark.parametrize("name", ["azure-page-2018", "public-southcentralus-2022-04-19", "public-eastus-2026-07-28"])
def test_accepts_the_published_documents(name: str) -> None:
    der.check(sample(name))


@given(raw=st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_der_errors(raw: bytes) -> None:
    for read in (der.check, der.children):
        try:
            read(raw)
        except DerError:
            continue


@given(position=st.integers(min_value=0), byte=st.integers(min_value=0, max_value=255))
def test_a_changed_document_raises_only_der_errors(position: int, byte: int) -> None:
    raw = bytearray(DOCUMENT)
    raw[position % len(raw)] = byte
    try:
        der.check(bytes(raw))
    except DerError:
        return
    # Another parser also reads an accepted value as one element with the same bounds.
    *_, header, contents, trailer = parser.parse(bytes(raw), strict=True)
    assert header + contents == bytes(raw)
    assert trailer == b""


@given(raw=ELEMENTS, cut=st.integers(min_value=1))
@settings(deadline=None, max_examples=40)
def test_a_truncated_element_is_refused(raw: bytes, cut: int) -> None:
    with pytest.raises(DerError):
        der.check(raw[: len(raw) - 1 - cut % len(raw)])


@given(raw=ELEMENTS, more=st.binary(min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_refuses_bytes_after_the_element(raw: bytes, more: bytes) -> None:
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
        (b"\x04\x81\x00", "more bytes than it needs"),
        (b"\x04\x85\x00\x00\x00\x00\x01x", "truncated"),
        (b"\x04\xff" + b"\x01" * 130, "truncated"),
        (b"\x30\x02\x05\x01", "truncated"),
        (b"\x1f\x01\x00", "tag number above 30"),
        (b"\xbf\x81\x01\x00", "tag number above 30"),
        (b"\x10\x00", "not constructed"),
        (b"\x11\x00", "not constructed"),
        (b"\x30\x02\x10\x00", "not constructed"),
        (b"\x05\x00\x05\x00", "bytes after"),
        (b"\x30\x00\x00", "bytes after"),
    ],
)
def test_refuses_bytes_that_are_not_der(raw: bytes, fault: str) -> None:
    with pytest.raises(DerError, match=fault):
        der.check(raw)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_accepts_each_length_in_its_shortest_form(length: int) -> None:
    der.check(bytes(core.OctetString(b"x" * length).dump()))


def test_depth_is_bounded_exactly() -> None:
    der.check(nested(MAX_DEPTH))
    with pytest.raises(DerError, match="nested too deep"):
        der.check(nested(MAX_DEPTH + 1))


def test_depth_does_not_use_recursion() -> None:
    # The headers of a thousand levels without contents.
    with pytest.raises(DerError):
        der.check(nested(1000))


def test_the_number_of_elements_is_bounded_exactly() -> None:
    der.check(sequence(*[NULL] * (MAX_ELEMENTS - 1)))
    with pytest.raises(DerError, match=f"more than {MAX_ELEMENTS} elements"):
        der.check(sequence(*[NULL] * MAX_ELEMENTS))


def test_the_children_are_the_elements_inside() -> None:
    members = (NULL, sequence(NULL), b"\x04\x01a")
    assert der.children(sequence(*members)) == members
    assert der.children(sequence()) == ()


@given(members=st.lists(ELEMENTS, max_size=8))
@settings(deadline=None, max_examples=40)
def test_children_are_the_members(members: list[bytes]) -> None:
    assert der.children(sequence(*members)) == tuple(members)


@pytest.mark.parametrize("raw", [b"\x30\x02\x05\x00\x00", b"\x30\x03\x05\x00\x05", b"\x30\x02\x05\x01", b""])
def test_children_refuses_members_that_do_not_fill_the_element(raw: bytes) -> None:
    with pytest.raises(DerError):
        der.children(raw)


@pytest.mark.parametrize(
    ("contents", "value"),
    [(b"\x00", 0), (b"\x7f", 127), (b"\x00\x80", 128), (b"\x80", -128), (b"\xff", -1), (b"\xff\x7f", -129)],
)
def test_reads_a_minimal_integer(contents: bytes, value: int) -> None:
    assert der.integer(contents) == value == core.Integer.load(b"\x02" + bytes([len(contents)]) + contents).native


@pytest.mark.parametrize("contents", [b"", b"\x00\x00", b"\x00\x7f", b"\xff\xff", b"\xff\x80"])
def test_refuses_an_integer_that_is_empty_or_not_minimal(contents: bytes) -> None:
    with pytest.raises(DerError, match="INTEGER"):
        der.integer(contents)


@given(arcs=st.lists(st.integers(min_value=0, max_value=2**80), min_size=1, max_size=4), first=st.integers(0, 2))
def test_reads_the_object_identifiers_of_another_library(arcs: list[int], first: int) -> None:
    second = arcs[0] if first == 2 else arcs[0] % 40
    dotted = ".".join(map(str, (first, second, *arcs[1:])))
    contents = core.ObjectIdentifier(dotted).contents
    assert der.dotted(contents) == dotted


@pytest.mark.parametrize(
    "contents",
    [b"", b"\x80", b"\x2a\x80", b"\x2a\x80\x01", b"\x80\x2a", b"\x2a\x86\x48\x86", b"\x2a" * (MAX_OID_BYTES + 1)],
)
def test_refuses_an_ambiguous_object_identifier(contents: bytes) -> None:
    with pytest.raises(DerError, match="object identifier"):
        der.dotted(contents)


def test_accepts_an_object_identifier_up_to_the_limit() -> None:
    assert der.dotted(b"\x2a" * MAX_OID_BYTES).count(".") == MAX_OID_BYTES
    with pytest.raises(der.BoundError, match=f"^it has more than {MAX_OID_BYTES} bytes in an object identifier$"):
        der.dotted(b"\x2a" * (MAX_OID_BYTES + 1))


@pytest.mark.parametrize("contents", [b"", b"\x01", b"\x00\x00", b"\xff\xff"])
def test_refuses_a_boolean_that_is_neither_true_nor_false(contents: bytes) -> None:
    with pytest.raises(DerError, match="BOOLEAN"):
        der.boolean(contents)
    assert der.boolean(b"\xff")
    assert not der.boolean(b"\x00")


@pytest.mark.parametrize("contents", [b"", b"\x01\x00", b"\x07\x80"])
def test_refuses_a_bit_string_that_does_not_consist_of_whole_bytes(contents: bytes) -> None:
    with pytest.raises(DerError, match="BIT STRING"):
        der.whole_bytes(contents)
    assert der.whole_bytes(b"\x00ab") == b"ab"


class TestReader:
    """Check that each byte belongs to exactly one call."""

    def test_takes_the_elements_in_order(self) -> None:
        outer = Reader(sequence(NULL, b"\x02\x01\x05", sequence(NULL), b"\x04\x02ab"))
        inside = outer.inside(der.SEQUENCE)
        outer.end()
        assert inside.any_element() == NULL
        assert not inside.has_next(der.SEQUENCE)
        assert inside.contents(der.INTEGER) == b"\x05"
        assert inside.has_next(der.SEQUENCE)
        assert inside.element(der.SEQUENCE) == sequence(NULL)
        assert inside.has_more()
        assert inside.any_contents() == (der.OCTET_STRING, b"ab")
        assert not inside.has_more()
        inside.end()

    def test_refuses_another_tag_without_taking_the_element(self) -> None:
        reader = Reader(NULL)
        with pytest.raises(DerError, match="0x05 instead of 0x30"):
            reader.element(der.SEQUENCE)
        assert reader.any_element() == NULL

    def test_refuses_missing_and_remaining_elements(self) -> None:
        with pytest.raises(DerError, match="lacks an element"):
            Reader(b"").contents(der.INTEGER)
        with pytest.raises(DerError, match="do not belong"):
            Reader(NULL).end()

    def test_enters_an_element_that_is_the_last_one(self) -> None:
        reader = Reader(sequence(sequence(NULL)))
        reader.enter(der.SEQUENCE)
        reader.enter(der.SEQUENCE)
        assert reader.any_element() == NULL
        reader.end()
        with pytest.raises(DerError, match="do not belong"):
            Reader(sequence(NULL) + NULL).enter(der.SEQUENCE)

    def test_an_element_ends_inside_its_parent(self) -> None:
        inside = Reader(b"\x30\x02\x04\x01a").inside(der.SEQUENCE)
        with pytest.raises(DerError, match="truncated"):
            inside.contents(der.OCTET_STRING)

    @pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 129, 255, 256, 257, 65535, 65536])
    def test_takes_an_element_of_each_length_within_its_limits(self, size: int) -> None:
        value = bytes(number % 251 for number in range(size))
        encoded = bytes(core.OctetString(value).dump())
        start, limit = 3, 3 + len(encoded)
        raw = b"\x04\x01a" + encoded + b"\x05\x00"
        assert Reader(raw, start, limit).contents(der.OCTET_STRING) == value
        assert Reader(raw, start, limit).any_contents() == (der.OCTET_STRING, value)
        for take in (Reader.element, Reader.contents):
            reader = Reader(raw, start)
            take(reader, der.OCTET_STRING)
            assert reader.any_element() == NULL
            reader.end()
        entered = Reader(raw, start, limit)
        entered.enter(der.OCTET_STRING)
        assert entered.has_more() is (size > 0)

    @pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65536])
    def test_an_element_that_is_cut_anywhere_in_its_header_is_truncated(self, size: int) -> None:
        encoded = bytes(core.OctetString(bytes(size)).dump())
        for kept in (*range(1, len(encoded) - size), len(encoded) - 1):
            for reader in (Reader(encoded[:kept]), Reader(encoded, 0, kept)):
                with pytest.raises(DerError, match="it is truncated"):
                    reader.contents(der.OCTET_STRING)
                with pytest.raises(DerError, match="it is truncated"):
                    reader.any_contents()

    @pytest.mark.parametrize(
        "header",
        [
            *(b"\x04\x81\x00", b"\x04\x81\x7f", b"\x04\x82\x00\x00", b"\x04\x82\x00\x7f", b"\x04\x82\x00\xff"),
            *(b"\x04\x83\x00\x01\x00", b"\x04\x84\x00\x01\x00\x00"),
        ],
    )
    def test_refuses_a_length_that_is_not_minimal(self, header: bytes) -> None:
        raw = header + bytes(65536)
        with pytest.raises(DerError, match="a length in more bytes than it needs"):
            Reader(raw).contents(der.OCTET_STRING)
        with pytest.raises(DerError, match="a length in more bytes than it needs"):
            Reader(raw).any_element()

    @pytest.mark.parametrize("size", [0, 127, 128, 255, 256, 257, 300])
    def test_takes_no_byte_behind_an_element(self, size: int) -> None:
        encoded = bytes(core.OctetString(bytes(size)).dump())
        reader = Reader(encoded + bytes(1000))
        assert reader.element(der.OCTET_STRING) == encoded

    def test_refuses_an_indefinite_length(self) -> None:
        with pytest.raises(DerError, match="an indefinite length"):
            Reader(b"\x04\x80" + bytes(200)).contents(der.OCTET_STRING)

    def test_takes_an_element_of_each_short_tag(self) -> None:
        for tag in range(0x1F):
            assert Reader(bytes([tag, 0])).any_contents() == (tag, b"")

    def test_a_length_has_at_most_4_bytes(self) -> None:
        # A longer one is not read, so that its bytes are not a number of any size.
        assert len(Reader(b"\x04\x83\x01\x00\x00" + bytes(1 << 16)).contents(der.OCTET_STRING)) == 1 << 16
        assert len(Reader(b"\x04\x84\x01\x00\x00\x00" + bytes(1 << 24)).contents(der.OCTET_STRING)) == 1 << 24
        with pytest.raises(DerError, match="it is truncated"):
            Reader(b"\x04\x85\x00\x00\x00\x00\x01x").contents(der.OCTET_STRING)

    def test_there_is_no_next_element_behind_the_limit(self) -> None:
        reader = Reader(NULL * 2, 0, 2)
        assert reader.has_next(NULL[0])
        reader.any_element()
        assert not reader.has_next(NULL[0])
        assert not reader.has_more()
        with pytest.raises(DerError, match="lacks an element"):
            reader.element(NULL[0])

    @given(raw=ELEMENTS, cut=st.integers(min_value=0), more=st.binary(max_size=3))
    @settings(deadline=None, max_examples=60)
    def test_its_elements_are_all_the_bytes(self, raw: bytes, cut: int, more: bytes) -> None:
        changed = raw[: len(raw) - cut % (len(raw) + 1)] + more
        reader = Reader(changed)
        taken = b""
        try:
            while reader.has_more():
                taken += reader.any_element()
        except DerError:
            return
        assert taken == changed


def test_the_tags_are_those_of_another_library() -> None:
    kinds = (core.Boolean, core.Integer, core.BitString, core.OctetString, core.ObjectIdentifier)
    tags = (der.BOOLEAN, der.INTEGER, der.BIT_STRING, der.OCTET_STRING, der.OBJECT_IDENTIFIER)
    assert tuple(kind.tag for kind in kinds) == tags
    assert [parser.emit(0, 1, kind.tag, b"")[0] for kind in (core.Sequence, core.Set)] == [der.SEQUENCE, der.SET]
    explicit = [parser.emit(2, 1, number, b"")[0] for number in (0, 1, 3)]
    assert explicit == [der.CONTEXT_0, der.CONTEXT_1, der.CONTEXT_3]
    assert parser.emit(0, 1, 0, b"")[0] == der.CONSTRUCTED
    assert core.Null().dump() == der.NULL


def test_a_bound_is_named_by_its_limit() -> None:
    error = der.BoundError(3, "things")
    assert (str(error), error.excess) == ("it has more than 3 things", "more than 3 things")


def test_the_number_of_elements_includes_the_outer_one() -> None:
    raw = sequence(NULL, sequence(NULL, NULL), NULL)
    assert der.check(raw, max_elements=6) == 6
    with pytest.raises(der.BoundError, match="more than 5 elements"):
        der.check(raw, max_elements=5)
    assert der.check(sequence(sequence(), sequence(sequence()))) == 4


@pytest.mark.parametrize(
    ("contents", "dotted"),
    [
        *((b"\x00", "0.0"), (b"\x27", "0.39"), (b"\x28", "1.0"), (b"\x4f", "1.39"), (b"\x50", "2.0")),
        *((b"\x78", "2.40"), (b"\x81\x00", "2.48"), (b"\x2a\x81\x00\x7f", "1.2.128.127")),
        (b"\x2a\x81\x80\x01", "1.2.16385"),
    ],
)
def test_reads_the_first_two_arcs_from_one_number(contents: bytes, dotted: str) -> None:
    assert der.dotted(contents) == dotted


def test_a_certificate_is_encoded_to_its_own_bytes() -> None:
    certificate = shared_pki().signer.certificate
    assert der.from_certificate(certificate) == der_of(certificate)
    assert asn1_x509.Certificate.load(der.from_certificate(certificate)).serial_number == certificate.serial_number

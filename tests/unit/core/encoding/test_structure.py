"""The structure of documents: names and values of real ones, and every fault of malformed ones at its offset."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.der_parts import oid, sequence, tlv
from support.documents import NONCE, document, sample, sign
from support.hostile_structures import HOSTILE_STRUCTURES
from support.real_samples import REAL_SAMPLES

from verifier.core.encoding.structure import MAX_NODES, Node, Structure, read_structure

EAST = sample("public-eastus-2026-07-28")


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def at(node: Node, *names: str) -> Node:
    """Return the node below, by the names on the way to it."""
    for name in names:
        node = next(child for child in node.children if child.name == name)
    return node


def errors(raw: bytes) -> dict[int, str]:
    return {node.offset: node.error for node in nodes(read_structure(raw).root) if node.error}


def check(raw: bytes) -> Structure:
    """Check that each node is inside its parent, after the node before, and return the structure."""
    structure = read_structure(raw)
    root = structure.root
    assert (root.offset, root.end <= len(raw)) == (0, True)
    count = 0
    for node in nodes(root):
        count += 1
        assert node.header_length >= 1
        if raw[node.offset] & 0x20:
            assert node.value == ""
        position = node.offset + node.header_length
        for child in node.children:
            assert position <= child.offset < child.end <= node.end
            position = child.end
    assert count <= MAX_NODES
    return structure


def encode(node: Node, raw: bytes) -> bytes:
    """Encode the node again from its children, or from its bytes if it has none."""
    if not node.children:
        return raw[node.offset : node.end]
    start = node.offset + node.header_length
    before = raw[start : node.children[0].offset]  # the number of unused bits of a BIT STRING
    return raw[node.offset : start] + before + b"".join(encode(child, raw) for child in node.children)


@pytest.mark.parametrize(
    "raw", [EAST, document(), *(sample.der for sample in REAL_SAMPLES)], ids=lambda raw: str(len(raw))
)
def test_the_nodes_of_a_document_are_all_its_bytes(raw: bytes) -> None:
    structure = check(raw)
    assert encode(structure.root, raw) == raw
    assert not structure.is_truncated
    assert not [node for node in nodes(structure.root) if node.error]


def test_fields_have_the_names_of_the_standards() -> None:
    signed_data = at(read_structure(EAST).root, "content", "signedData")
    assert [child.name for child in signed_data.children] == [
        "version",
        "digestAlgorithms",
        "encapContentInfo",
        "certificates",
        "signerInfos",
    ]
    tbs = at(signed_data, "certificates", "certificate", "tbsCertificate")
    assert [child.name for child in tbs.children] == [
        "version",
        "serialNumber",
        "signature",
        "issuer",
        "validity",
        "subject",
        "subjectPublicKeyInfo",
        "extensions",
    ]
    assert at(tbs, "validity", "notBefore").value == "2026-05-15T06:06:23Z"
    assert at(tbs, "serialNumber").value == "41002ea4c308281aabaa069a030000002ea4c3"
    assert at(tbs, "subjectPublicKeyInfo", "subjectPublicKey", "rsaPublicKey", "publicExponent").value == "65537"
    signer = at(signed_data, "signerInfos", "signerInfo")
    assert [child.name for child in signer.children] == [
        "version",
        "sid",
        "digestAlgorithm",
        "signatureAlgorithm",
        "signature",
    ]
    assert at(signer, "signature").value.endswith("...")


def test_values_are_short_and_readable() -> None:
    root = read_structure(EAST).root
    found = {node.value for node in nodes(root)}
    assert {
        "1.2.840.113549.1.7.2 (signedData)",
        "digitalSignature, keyEncipherment",
        "eastus.metadata.azure.com",
        "http://oneocsp.microsoft.com/ocsp",
        "TRUE",
        "1.3.6.1.5.5.7.3.1 (serverAuth)",
        "2.5.4.10 (organizationName)",
    } <= found
    content = at(root, "content", "signedData", "encapContentInfo", "eContent", "eContent")
    assert content.value.startswith('{"licenseType":"","nonce"')
    assert max(map(len, found)) <= 160
    assert all(value.isascii() and value.isprintable() for value in found)


@pytest.mark.parametrize(
    ("raw", "tag", "value"),
    [
        ("0c02c3a9", "UTF8String", "\\xe9"),
        ("120133", "NumericString", "3"),
        ("130141", "PrintableString", "A"),
        ("1402e941", "TeletexString", "\\xe9A"),
        ("160141", "IA5String", "A"),
        ("1a0141", "VisibleString", "A"),
        ("1c080001f60000000041", "UniversalString", "\\U0001f600A"),
        ("0c03e280ae", "UTF8String", "\\u202e"),
        ("1e0400410042", "BMPString", "AB"),
        ("020200ff", "INTEGER", "255"),
        (f"0208 7f{'ff' * 7}", "INTEGER", str(2**63 - 1)),
        (f"0209 00{'ff' * 8}", "INTEGER", f"00{'ff' * 8}"),
        ("0201ff", "INTEGER", "-1"),
        ("0a0102", "ENUMERATED", "2"),
        ("0101ff", "BOOLEAN", "TRUE"),
        ("010100", "BOOLEAN", "FALSE"),
        ("0500", "NULL", ""),
        ("0403010203", "OCTET STRING", "010203"),
        (f"0418 {'ab' * 24}", "OCTET STRING", "ab" * 24),
        (f"0419 {'ab' * 25}", "OCTET STRING", f"{'ab' * 24}..."),
        ("0303040f00", "BIT STRING", "0f00"),
        ("030100", "BIT STRING", ""),
        ("03020780", "BIT STRING", "80"),
        ("03020180", "BIT STRING", "80"),
        (f"0c60 {'41' * 96}", "UTF8String", "A" * 96),
        (f"0c61 {'41' * 97}", "UTF8String", f"{'A' * 96}..."),
        (f"0c62 {'c3a9' * 49}", "UTF8String", "\\xe9" * 24 + "..."),
        ("060355040a", "OBJECT IDENTIFIER", "2.5.4.10 (organizationName)"),
        ("06022a03", "OBJECT IDENTIFIER", "1.2.3"),
        (f"0614 69 {'ff' * 18}7f", "OBJECT IDENTIFIER", f"2.25.{2**133 - 1}"),
        (f"0618 {'7f' * 24}", "OBJECT IDENTIFIER", f"2.47{'.127' * 23}"),
        (f"0619 {'2a' * 25}", "OBJECT IDENTIFIER", f"{'2a' * 24}..."),
        (f"170d {b'500102030405Z'.hex()}", "UTCTime", "1950-01-02T03:04:05Z"),
        (f"170d {b'491231235958Z'.hex()}", "UTCTime", "2049-12-31T23:59:58Z"),
        (f"180f {b'20501112101314Z'.hex()}", "GeneralizedTime", "2050-11-12T10:13:14Z"),
        ("8001ab", "[0]", "ab"),
        ("4101ab", "[APPLICATION 1]", "ab"),
        ("c201ab", "[PRIVATE 2]", "ab"),
        ("0d01ab", "[UNIVERSAL 13]", "ab"),
        ("9001ab", "[16]", "ab"),
        ("9f8101 01 ab", "[129]", "ab"),
        ("9f1f 01 ab", "[31]", "ab"),
        ("9f8100 01 ab", "[128]", "ab"),
        ("03020102", "BIT STRING", "02"),
        ("9f81808000 01 ab", "[2097152]", "ab"),
        ("3000", "SEQUENCE", ""),
        ("3100", "SET", ""),
        ("a000", "[0]", ""),
        (f"0481 80 {'ab' * 128}", "OCTET STRING", f"{'ab' * 24}..."),
    ],
)
def test_an_element_has_its_type_and_value(raw: str, tag: str, value: str) -> None:
    root = check(bytes.fromhex(raw)).root
    assert (root.tag, root.value, root.error) == (tag, value, "")


def test_a_long_tag_inside_an_element_is_no_fault() -> None:
    assert not any(errors(bytes.fromhex("3008 9f1f01ab 9f8100 00")).values())


@pytest.mark.parametrize(
    ("raw", "offset", "error"),
    [
        ("30", 0, "The element is cut off before its length."),
        ("3082 01", 0, "The length is too large, or it is cut off."),
        ("3089 000000000000000001 00", 0, "The length is too large, or it is cut off."),
        ("3088 0000000000000003 020100", 0, "The length has more bytes than it needs."),
        ("308100", 0, "The length has more bytes than it needs."),
        (f"048200ff {'00' * 255}", 0, "The length has more bytes than it needs."),
        ("3005 0201", 0, "The element is cut off: its length is 5, but 2 bytes are left."),
        ("3003 020500", 2, "The element is cut off: its length is 5, but 1 bytes are left."),
        ("308103 020100", 0, "The length has more bytes than it needs."),
        ("30820003 020100", 0, "The length has more bytes than it needs."),
        ("3080 020100 0000", 0, "The length is indefinite, which DER does not allow."),
        ("3080 020100 0000", 5, "DER has no end-of-contents."),
        ("1003 020100", 0, "This type is constructed in DER."),
        ("2403 040100", 0, "This type is primitive in DER."),
        ("2400", 0, "This type is primitive in DER."),
        ("2480 0000", 0, "The length is indefinite, which DER does not allow."),
        ("9f8180808000 00", 0, "The number of the tag is too large, or it is cut off."),
        ("1f", 0, "The number of the tag is too large, or it is cut off."),
        ("1f0201 05", 0, "The tag has more bytes than it needs."),
        ("9f1e00", 0, "The tag has more bytes than it needs."),
        ("9f801f00", 0, "The tag has more bytes than it needs."),
        ("9f80ff1f00", 0, "The tag has more bytes than it needs."),
        ("9f1e8100", 0, "The length has more bytes than it needs."),
        ("0200", 0, "Not DER: it has an empty INTEGER."),
        ("02020001", 0, "Not DER: it has an INTEGER in more bytes than it needs."),
        ("010101", 0, "Not DER: it has a BOOLEAN that is neither TRUE nor FALSE."),
        ("050100", 0, "Not DER: it has a NULL with contents."),
        ("060180", 0, "Not DER: it has an object identifier that does not end."),
        ("0300", 0, "Not DER: it has a BIT STRING without a valid number of unused bits."),
        ("03020800", 0, "Not DER: it has a BIT STRING without a valid number of unused bits."),
        ("03020880", 0, "Not DER: it has a BIT STRING without a valid number of unused bits."),
        ("030101", 0, "Not DER: it has a BIT STRING without a valid number of unused bits."),
        ("03020101", 0, "Not DER: it has a BIT STRING with unused bits that are not zero."),
        ("0303077fc0", 0, "Not DER: it has a BIT STRING with unused bits that are not zero."),
        ("0c01ff", 0, "Not DER: it has text that is not utf-8."),
        ("1201ff", 0, "Not DER: it has text that is not ascii."),
        ("1301ff", 0, "Not DER: it has text that is not ascii."),
        ("1601ff", 0, "Not DER: it has text that is not ascii."),
        ("1a01ff", 0, "Not DER: it has text that is not ascii."),
        ("1c0141", 0, "Not DER: it has text that is not utf-32-be."),
        ("1e0141", 0, "Not DER: it has text that is not utf-16-be."),
        ("1700", 0, "Not DER: it has a time that is not in UTC to the second."),
        ("3000 0101", 0, "2 bytes follow the element, from offset 2 on."),
    ],
)
def test_a_fault_is_at_its_offset(raw: str, offset: int, error: str) -> None:
    encoded = bytes.fromhex(raw)
    check(encoded)
    assert errors(encoded)[offset] == error


@pytest.mark.parametrize(
    "contents",
    [
        b"20500132000000Z",
        b"20500101240000Z",
        b"20500101000000\xff",
        b"205001010000000",
        b"2050010100000Z",
        b"205001010000000Z",
        b"205001010000-1Z",
        b"2050010100000\xffZ",
        b"20500101000000ZZ",
        b"20500101000060Z",
    ],
)
def test_a_time_of_another_form_than_that_of_certificates_is_a_fault(contents: bytes) -> None:
    [root] = nodes(check(tlv(0x18, contents)).root)
    assert (root.value, root.error) == (contents.hex(), "Not DER: it has a time that is not in UTC to the second.")


def test_an_element_of_indefinite_length_ends_at_its_end_of_contents() -> None:
    root = check(bytes.fromhex("3080 0000 020100")).root
    assert (root.end, len(root.children)) == (4, 1)
    inner = check(bytes.fromhex("3009 3080 020100 0000 0500")).root
    assert [(child.tag, child.end) for child in inner.children] == [("SEQUENCE", 9), ("NULL", 11)]


def test_zeros_do_not_end_an_element_of_definite_length() -> None:
    root = check(bytes.fromhex("3005 0000 020100")).root
    assert [child.tag for child in root.children] == ["end-of-contents", "INTEGER"]


def test_zeros_do_not_end_the_contents_of_an_extension() -> None:
    opened = extension(oid("2.5.29.37"), tlv(0x04, bytes.fromhex("0000 0500")))
    assert [child.tag for child in opened.children[-1].children] == ["end-of-contents", "NULL"]


def extension(*members: bytes) -> Node:
    """Return how an extension of these members is shown, in a document that has no other parts."""
    tbs = sequence(tlv(0xA3, sequence(sequence(*members))))
    signed_data = sequence(tlv(0xA0, sequence(tbs)))
    root = check(sequence(oid("1.2.840.113549.1.7.2"), tlv(0xA0, signed_data))).root
    on_the_way = ("content", "signedData", "certificates", "certificate", "tbsCertificate", "extensions", "extensions")
    return at(root, *on_the_way, "extension")


def test_the_first_object_identifier_selects_the_type_of_an_extension() -> None:
    usage = tlv(0x04, tlv(0x03, b"\x05\xa0"))
    assert at(extension(oid("2.5.29.15"), oid("2.5.29.37"), usage), "extnValue", "keyUsage").value == (
        "digitalSignature, keyEncipherment"
    )
    assert at(extension(oid("1.2.3"), oid("2.5.29.15"), usage), "extnValue").children == ()


def test_an_unexpected_element_does_not_hide_the_type_of_an_extension() -> None:
    usage = tlv(0x04, tlv(0x03, b"\x00\x00"))
    assert at(extension(tlv(0x05), oid("2.5.29.15"), usage), "extnValue", "keyUsage").value == ""


def test_no_log_shows_the_values_of_a_document() -> None:
    assert NONCE not in repr(read_structure(document()))


def test_content_that_is_not_text_is_shown_as_bytes() -> None:
    root = check(sign(b"\xff\x00")).root
    content = at(root, "content", "signedData", "encapContentInfo", "eContent", "eContent")
    assert (content.value, content.error) == ("ff00", "")


def test_a_document_in_ber_is_shown_to_its_end() -> None:
    inner = EAST[4:]
    raw = b"\x30\x80" + inner + b"\x00\x00"
    root = check(raw).root
    assert root.end == len(raw)
    assert at(root, "content", "signedData", "signerInfos", "signerInfo", "signature").value
    assert errors(raw).keys() == {0, len(raw) - 2}


def test_a_document_that_is_cut_off_is_shown_up_to_there() -> None:
    raw = EAST[:-100]
    signature = at(check(raw).root, "content", "signedData", "signerInfos", "signerInfo", "signature")
    assert signature.error == "The element is cut off: its length is 256, but 156 bytes are left."
    assert signature.end == len(raw)


def test_an_extension_that_is_not_der_has_the_fault_inside() -> None:
    offset = EAST.index(bytes.fromhex("0603551d0f")) + len("0603551d0f") // 2 + len("0101ff") // 2 + 2
    raw = EAST[: offset + 1] + b"\x7f" + EAST[offset + 2 :]
    check(raw)
    assert errors(raw) == {offset: "The element is cut off: its length is 127, but 2 bytes are left."}


def test_other_bytes_than_a_document_have_no_names() -> None:
    assert read_structure(b"\x04\x01a").root.name == ""
    certificate = EAST[362 : 362 + 2381]
    root = check(certificate).root
    assert [child.name for child in root.children] == ["", "", ""]


def nested(levels: int) -> bytes:
    raw = b""
    for _ in range(levels):
        size = len(raw)
        raw = b"\x30" + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2)) + raw
    return raw


def test_the_depth_is_bounded() -> None:
    assert not check(nested(33)).is_truncated
    structure = check(nested(5000))
    assert structure.is_truncated
    assert sum(1 for _ in nodes(structure.root)) == 33


def test_the_number_of_nodes_is_bounded() -> None:
    contents = b"\x05\x00" * MAX_NODES
    raw = b"\x30\x82" + len(contents).to_bytes(2) + contents
    structure = check(raw)
    assert structure.is_truncated
    assert sum(1 for _ in nodes(structure.root)) == MAX_NODES == 2000
    assert structure.root.end == len(raw)
    exact = b"\x30\x82" + (len(contents) - 2).to_bytes(2) + contents[2:]
    assert not check(exact).is_truncated


@pytest.mark.parametrize("raw", HOSTILE_STRUCTURES.values(), ids=HOSTILE_STRUCTURES)
def test_hostile_inputs_are_shown(raw: bytes) -> None:
    check(raw)


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_shown(raw: bytes) -> None:
    check(raw)


@given(st.integers(0, len(EAST) - 1), st.integers(0, 255))
def test_a_document_with_any_other_byte_is_shown(position: int, byte: int) -> None:
    check(EAST[:position] + bytes([byte]) + EAST[position + 1 :])

"""The names of fields: a document that has every one, written with the names of RFC 5652 and RFC 5280."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from support.der_parts import oid, tlv

from verifier.core.encoding.oid_names import OID_NAMES
from verifier.core.encoding.structure import Node, read_structure


class Part(NamedTuple):
    """An element, and how it must be shown. `unused` is the first byte of a BIT STRING with members."""

    name: str
    tag: int
    members: tuple["Part", ...] = ()
    contents: bytes = b""
    value: str = ""
    unused: bytes = b""

    def encode(self) -> bytes:
        return tlv(self.tag, self.unused, self.contents, *(member.encode() for member in self.members))

    def shown(self, depth: int = 0) -> Iterator[tuple[int, str, str]]:
        yield depth, self.name, self.value
        for member in self.members:
            yield from member.shown(depth + 1)


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def shown(node: Node, depth: int = 0) -> Iterator[tuple[int, str, str]]:
    yield depth, node.name, node.value
    for child in node.children:
        yield from shown(child, depth + 1)


def sequence(name: str, *members: Part) -> Part:
    return Part(name, 0x30, members)


def set_of(name: str, *members: Part) -> Part:
    return Part(name, 0x31, members)


def tagged(number: int, name: str, *members: Part) -> Part:
    return Part(name, 0xA0 | number, members)


def primitive(name: str, tag: int, contents: bytes, value: str | None = None) -> Part:
    return Part(name, tag, contents=contents, value=contents.hex() if value is None else value)


def number(name: str, value: int) -> Part:
    return primitive(name, 0x02, bytes([value]), str(value))


def identifier(name: str, dotted: str) -> Part:
    known = OID_NAMES.get(dotted)
    return primitive(name, 0x06, oid(dotted)[2:], f"{dotted} ({known})" if known else dotted)


def algorithm(name: str, dotted: str = "1.2.3") -> Part:
    return sequence(name, identifier("algorithm", dotted), primitive("parameters", 0x04, b"\x00"))


def rdns() -> tuple[Part, ...]:
    """Two names, of which the first has two attributes. A value has any type."""
    attributes = [
        sequence("attributeTypeAndValue", identifier("type", dotted), primitive("value", tag, b"a", "a"))
        for dotted, tag in (("2.5.4.3", 0x0C), ("2.5.4.10", 0x13), ("2.5.4.11", 0x16))
    ]
    return (
        set_of("relativeDistinguishedName", *attributes[:2]),
        set_of("relativeDistinguishedName", attributes[2]),
    )


def general_names() -> tuple[Part, ...]:
    return (
        tagged(0, "otherName", identifier("", "1.2.3"), tagged(0, "", primitive("", 0x0C, b"a", "a"))),
        primitive("rfc822Name", 0x81, b"a@b.example", "a@b.example"),
        primitive("dNSName", 0x82, b"b.example", "b.example"),
        tagged(4, "directoryName", sequence("rdnSequence", *rdns())),
        primitive("uniformResourceIdentifier", 0x86, b"http://b.example", "http://b.example"),
        primitive("iPAddress", 0x87, bytes([192, 0, 2, 1]), "c0000201"),
        primitive("registeredID", 0x88, oid("1.2.3")[2:], "1.2.3"),
        primitive("dNSName", 0x82, b"c.example", "c.example"),
    )


def extension(dotted: str, *members: Part, contents: bytes = b"") -> Part:
    """An extension. What it contains is shown below its extnValue, unless its type is unknown."""
    value = Part("extnValue", 0x04, members, contents, contents.hex())
    return sequence("extension", identifier("extnID", dotted), primitive("critical", 0x01, b"\xff", "TRUE"), value)


def subtrees(number: int, name: str) -> Part:
    bounds = (primitive("minimum", 0x80, b"\x00", "0"), primitive("maximum", 0x81, b"\x03", "3"))
    bases = [sequence("generalSubtree", base, *bounds) for base in general_names()]
    return tagged(number, name, *bases, sequence("generalSubtree"))


def access(dotted: str, name: Part) -> Part:
    return sequence("accessDescription", identifier("accessMethod", dotted), name)


USAGES = (
    "digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment, keyAgreement, keyCertSign, cRLSign,"
    " encipherOnly, decipherOnly"
)
EXTENSIONS = (
    extension("2.5.29.14", primitive("subjectKeyIdentifier", 0x04, b"\x01\x02")),
    extension("2.5.29.15", primitive("keyUsage", 0x03, b"\x07\xff\x80", USAGES)),
    extension("2.5.29.17", sequence("subjectAltName", *general_names())),
    extension(
        "2.5.29.19",
        sequence("basicConstraints", primitive("cA", 0x01, b"\xff", "TRUE"), number("pathLenConstraint", 3)),
    ),
    extension(
        "2.5.29.30",
        sequence("nameConstraints", subtrees(0, "permittedSubtrees"), subtrees(1, "excludedSubtrees")),
    ),
    extension(
        "2.5.29.31",
        sequence(
            "cRLDistributionPoints",
            sequence(
                "distributionPoint",
                tagged(0, "distributionPoint", tagged(0, "fullName", *general_names())),
                primitive("reasons", 0x81, b"\x06\x40"),
                tagged(2, "cRLIssuer", *general_names()),
            ),
            sequence(
                "distributionPoint",
                tagged(0, "distributionPoint", tagged(1, "nameRelativeToCRLIssuer", sequence(""))),
            ),
        ),
    ),
    extension(
        "2.5.29.32",
        sequence(
            "certificatePolicies",
            sequence(
                "policyInformation",
                identifier("policyIdentifier", "2.5.29.32.0"),
                sequence(
                    "policyQualifiers",
                    *(
                        sequence(
                            "policyQualifierInfo",
                            identifier("policyQualifierId", "1.3.6.1.5.5.7.2.1"),
                            primitive("qualifier", tag, b"a", "a"),
                        )
                        for tag in (0x16, 0x0C)
                    ),
                ),
            ),
            sequence("policyInformation", identifier("policyIdentifier", "1.2.3")),
        ),
    ),
    extension(
        "2.5.29.35",
        sequence(
            "authorityKeyIdentifier",
            primitive("keyIdentifier", 0x80, b"\x01\x02"),
            tagged(1, "authorityCertIssuer", *general_names()),
            primitive("authorityCertSerialNumber", 0x82, b"\x01\x02", "258"),
        ),
    ),
    extension(
        "2.5.29.37",
        sequence("extKeyUsage", *(identifier("keyPurposeId", dotted) for dotted in ("1.3.6.1.5.5.7.3.1", "1.2.3"))),
    ),
    extension(
        "1.3.6.1.5.5.7.1.1",
        sequence(
            "authorityInfoAccess",
            *(access("1.3.6.1.5.5.7.48.1", name) for name in general_names()),
        ),
    ),
    extension("1.3.6.1.4.1.11129.2.4.2", primitive("signedCertificateTimestampList", 0x04, b"\x01\x02")),
    # The contents of an unknown extension are not known to be DER.
    extension("1.2.3", contents=b"\x05\x00"),
)
RSA = Part(
    "subjectPublicKey",
    0x03,
    (sequence("rsaPublicKey", number("modulus", 7), number("publicExponent", 3)),),
    unused=b"\x00",
)


def certificate(key: Part, key_type: str, *times: Part) -> Part:
    return sequence(
        "certificate",
        sequence(
            "tbsCertificate",
            tagged(0, "version", number("version", 2)),
            number("serialNumber", 5),
            algorithm("signature"),
            sequence("issuer", *rdns()),
            sequence("validity", *times),
            sequence("subject", *rdns()),
            sequence("subjectPublicKeyInfo", algorithm("algorithm", key_type), key),
            primitive("issuerUniqueID", 0x81, b"\x00\x01"),
            primitive("subjectUniqueID", 0x82, b"\x00\x02"),
            tagged(3, "extensions", sequence("extensions", *EXTENSIONS)),
        ),
        algorithm("signatureAlgorithm"),
        primitive("signatureValue", 0x03, b"\x00\x0a", "0a"),
    )


def utc_time(name: str) -> Part:
    return primitive(name, 0x17, b"260102030405Z", "2026-01-02T03:04:05Z")


def generalized_time(name: str) -> Part:
    return primitive(name, 0x18, b"20510102030405Z", "2051-01-02T03:04:05Z")


def attribute(dotted: str, *values: Part) -> Part:
    return sequence("attribute", identifier("attrType", dotted), set_of("attrValues", *values))


ATTRIBUTES = (
    attribute(
        "1.2.840.113549.1.9.3", *(identifier("contentType", dotted) for dotted in ("1.2.840.113549.1.7.1", "1.2.3"))
    ),
    attribute("1.2.840.113549.1.9.4", *(primitive("messageDigest", 0x04, digest) for digest in (b"\x01", b"\x02"))),
    attribute("1.2.840.113549.1.9.5", utc_time("signingTime"), generalized_time("signingTime")),
    attribute("1.2.3", number("attributeValue", 1), primitive("attributeValue", 0x0C, b"a", "a")),
)


def signer_info(sid: Part) -> Part:
    return sequence(
        "signerInfo",
        number("version", 1),
        sid,
        algorithm("digestAlgorithm"),
        tagged(0, "signedAttrs", *ATTRIBUTES),
        algorithm("signatureAlgorithm"),
        primitive("signature", 0x04, b"\x0b"),
        tagged(1, "unsignedAttrs", *ATTRIBUTES),
    )


def content_info(*members: Part) -> Part:
    return sequence(
        "contentInfo",
        identifier("contentType", "1.2.840.113549.1.7.2"),
        tagged(0, "content", sequence("signedData", *members)),
    )


VERSION = number("version", 3)
DIGESTS = set_of("digestAlgorithms", algorithm("digestAlgorithm"), algorithm("digestAlgorithm"))
CONTENT = sequence(
    "encapContentInfo",
    identifier("eContentType", "1.2.840.113549.1.7.1"),
    tagged(0, "eContent", primitive("eContent", 0x04, b'{"vmId":""}', '{"vmId":""}')),
)
CERTIFICATES = tagged(
    0,
    "certificates",
    certificate(RSA, "1.2.840.113549.1.1.1", utc_time("notBefore"), utc_time("notAfter")),
    certificate(
        primitive("subjectPublicKey", 0x03, b"\x00\x04\x05", "0405"),
        "1.2.840.10045.2.1",
        generalized_time("notBefore"),
        generalized_time("notAfter"),
    ),
)
LISTS = tagged(1, "crls", sequence(""))
SIGNERS = set_of(
    "signerInfos",
    signer_info(sequence("sid", sequence("issuer", *rdns()), number("serialNumber", 5))),
    # A subjectKeyIdentifier. Its bytes are DER by chance.
    signer_info(primitive("sid", 0x80, b"\x05\x00")),
)


def test_every_field_has_the_name_of_its_standard() -> None:
    whole = content_info(VERSION, DIGESTS, CONTENT, CERTIFICATES, LISTS, SIGNERS)
    structure = read_structure(whole.encode())
    assert list(shown(structure.root)) == list(whole.shown())
    assert not structure.is_truncated


def test_optional_fields_may_be_absent() -> None:
    small = content_info(VERSION, DIGESTS, CONTENT, SIGNERS)
    assert list(shown(read_structure(small.encode()).root)) == list(small.shown())


def test_a_field_that_is_repeated_or_out_of_order_has_no_name() -> None:
    other = content_info(CONTENT, VERSION._replace(name=""), set_of("signerInfos"), set_of(""), sequence(""))
    assert list(shown(read_structure(other.encode()).root)) == list(other.shown())


@pytest.mark.parametrize("tag", [0x24, 0x05, 0x1A, 0x82, 0x42])
def test_an_element_of_another_type_has_no_name(tag: int) -> None:
    other = content_info(primitive("", tag, b"", ""), VERSION)
    assert [name for _, name, _ in shown(read_structure(other.encode()).root)][-2:] == ["", "version"]


@pytest.mark.parametrize(
    ("outer", "name"),
    [
        ("eContent", "eContent"),
        ("subjectPublicKeyInfo", "subjectPublicKey"),
        ("extension", "extnValue"),
        ("signerInfo", "sid"),
        ("contentInfo", "content"),
    ],
)
def test_a_field_of_another_type_has_no_name(outer: str, name: str) -> None:
    whole = content_info(VERSION, DIGESTS, CONTENT, CERTIFICATES, SIGNERS)
    root = read_structure(with_another_type(whole, outer, name).encode()).root
    assert {node.name for node in nodes(root) if node.tag == "[PRIVATE 1]"} == {""}


def with_another_type(part: Part, outer: str, name: str) -> Part:
    """Replace each member of this name by an element of a type that no field has."""
    members = tuple(
        Part("", 0xC1) if (part.name, member.name) == (outer, name) else with_another_type(member, outer, name)
        for member in part.members
    )
    return part._replace(members=members)

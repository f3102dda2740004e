"""Certificates that differ from a good signer's in one thing, and that the pinned CA has properly signed all the same.

What a sender changes in a certificate breaks its signature, so the path validators hardly ever see it. Here the CA
signs each mutant anew, and the mutant signs a document: the whole pipeline parses it, both path validators included.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from asn1crypto import core, parser
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID, NameOID
from support import cms
from support.appraisals import authenticate_archived
from support.certificates import replaced
from support.chains import authority, key, root
from support.documents import NOW, around, bundle_of, content, encode, spare_key
from support.mutations import mutants

from verifier.core.model import Limits, RawDocument
from verifier.core.reasons import Reason, Refused
from verifier.core.trust.bundle import TrustBundle
from verifier.emulator import pki

_SHA256: Final = hashes.SHA256()
_CONTENT: Final = encode(content())
_FIELDS: Final = ("version", "serialNumber", "signature", "issuer", "validity", "subject", "subjectPublicKeyInfo")
_TEMPLATE: Final = x509.ObjectIdentifier("1.3.6.1.4.1.311.21.10")

#: What an accepted mutant may differ in, and why that is right. A difference that is not here fails the suite.
EXPLAINED: Final = {
    "serialNumber": "any positive number of at most 20 bytes will do (RFC 5280 4.1.2.2)",
    "validity": "the period is another one, and encloses the moment of the appraisal",
    "subject": "the signer is identified by its common name and alternative names; other attributes may be any",
    "without an optional extension": "RFC 5280 or the specification of signers makes it optional",
    "with an unknown extension": "it is not critical, and no path validator knows it (RFC 5280 4.2)",
    "with a known extension": "RFC 5280 permits it in a signer, and it can be read",
    "another value of an unknown extension": "it is not critical, and no path validator knows it (RFC 5280 4.2)",
    "another criticality": "RFC 5280 permits both, and both path validators process the extension",
    "another order of the extensions": "RFC 5280 gives them none",
    "other key usages": "digitalSignature is among them",
    "other alternative names": "each is well-formed, and one is in the domain of the same cloud",
    "other key purposes": "serverAuth is among them",
    "other policies, locations or key identifier": "they can be read, and no decision rests on them",
}

_OPTIONAL: Final = frozenset(
    {
        _TEMPLATE,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.EXTENDED_KEY_USAGE,
    }
)
#: Those of RFC 5280 that a signer may have, beside those that every one has.
_PERMITTED: Final = frozenset(
    {
        ExtensionOID.ISSUER_ALTERNATIVE_NAME,
        ExtensionOID.FRESHEST_CRL,
        ExtensionOID.SUBJECT_INFORMATION_ACCESS,
    }
)
_EITHER_CRITICALITY: Final = frozenset({ExtensionOID.KEY_USAGE, ExtensionOID.BASIC_CONSTRAINTS})
_OTHER_VALUE: Final = {
    _TEMPLATE: "another value of an unknown extension",
    ExtensionOID.KEY_USAGE: "other key usages",
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: "other alternative names",
    ExtensionOID.EXTENDED_KEY_USAGE: "other key purposes",
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: "other policies, locations or key identifier",
    ExtensionOID.CERTIFICATE_POLICIES: "other policies, locations or key identifier",
    ExtensionOID.CRL_DISTRIBUTION_POINTS: "other policies, locations or key identifier",
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: "other policies, locations or key identifier",
}


def sequence(*members: bytes) -> bytes:
    return element(0x30, b"".join(members))


def element(tag: int, contents: bytes) -> bytes:
    return bytes(parser.emit(tag >> 6, tag >> 5 & 1, tag & 0x1F, contents))


def elements(raw: bytes) -> Sequence[bytes]:
    """The elements inside the one element `raw`. Raises ValueError."""
    contents, found = parser.parse(raw, strict=True)[4], []
    while contents:
        size = parser.peek(contents)
        found.append(contents[:size])
        contents = contents[size:]
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mint:
    """A CA that is pinned, and a signer of the real shape that it issued."""

    issuer: pki.Identity
    signer: pki.Identity
    bundle: TrustBundle

    @property
    def tbs(self) -> bytes:
        """The part of the signer's certificate that the CA signs."""
        return self.signer.certificate.tbs_certificate_bytes

    def certify(self, tbs: bytes) -> bytes:
        """Sign `tbs` with the CA's key, and return the certificate, which no library has read."""
        if isinstance(self.issuer.key, rsa.RSAPrivateKey):
            signature = self.issuer.key.sign(tbs, padding.PKCS1v15(), _SHA256)
        else:
            signature = self.issuer.key.sign(tbs, ec.ECDSA(_SHA256))
        algorithm = elements(self.tbs)[2]
        return sequence(tbs, algorithm, element(0x03, b"\x00" + signature))

    def document(self, tbs: bytes) -> bytes:
        """A document that the key of the unchanged signer signs, and whose sid names the certificate of `tbs`."""
        info = _signer_info(self)
        return cms.SignedData(
            digest_algorithms=(info.digest_algorithm,),
            content=_CONTENT,
            certificates=(self.certify(tbs),),
            signer_infos=(_renamed(info, tbs),),
        ).encode()

    def appraise(self, tbs: bytes) -> Reason | None:
        """Why a document of this signer is refused; None if it is accepted. Every other exception goes through."""
        try:
            authenticate_archived(RawDocument(raw_der=self.document(tbs)), at=NOW, bundle=self.bundle, limits=Limits())
        except Refused as refused:
            return refused.reason
        return None


@cache
def _signer_info(minted: Mint) -> cms.SignerInfo:
    """The signature of the content, which is the same for all mutants."""
    key_ = minted.signer.key
    scheme = cms.AZURE if isinstance(key_, rsa.RSAPrivateKey) else cms.ecdsa(_SHA256)
    return cms.sign_content(_CONTENT, certificate=minted.signer.certificate, key=key_, scheme=scheme)


@cache
def mint(kind: str) -> Mint:
    """A mint whose keys are all of one kind: "EC" (P-256) or "RSA" (2048 bits)."""
    if kind == "EC":
        top, issuer, own = root(), authority("Mint"), key("Mint's signer")
    else:
        top_key, issuer_key, own = (spare_key(number) for number in range(101, 104))
        top = pki.make_root(subject=pki.make_name("RSA Mint Root"), key=top_key, validity=around(days=3650))
        issuer = authority("RSA Mint", issuer=top, own_key=issuer_key)
    certificate = pki.issue(
        subject=x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
                x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "WA"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, pki.ORGANISATION),
                x509.NameAttribute(NameOID.COMMON_NAME, "metadata.azure.com"),
            ]
        ),
        public_key=own.public_key(),
        issuer_name=issuer.certificate.subject,
        issuer_key=issuer.key,
        validity=around(),
        extensions=_extensions(own, issuer),
        signing_hash=_SHA256,
    )
    return Mint(
        issuer=issuer,
        signer=pki.Identity(certificate=certificate, key=own),
        bundle=bundle_of(top.certificate, issuer.certificate),
    )


def _extensions(own: pki.PrivateKey, issuer: pki.Identity) -> pki.Extensions:
    """Those of the real signers of 2025, less the certificate transparency timestamps."""
    usual = pki.signer_extensions(
        names=("eastus.metadata.azure.com", "metadata.azure.com"),
        public_key=own.public_key(),
        issuer_public_key=issuer.key.public_key(),
        issuer_urls=("http://pki.invalid/issuer.crt",),
    )
    url = x509.UniformResourceIdentifier
    return replaced(
        usual,
        extensions=[
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url("http://pki.invalid/a.crt")),
                    x509.AccessDescription(AuthorityInformationAccessOID.OCSP, url("http://ocsp.invalid")),
                ]
            ),
            x509.CRLDistributionPoints([x509.DistributionPoint([url("http://crl.invalid/a.crl")], None, None, None)]),
            x509.CertificatePolicies(
                [
                    x509.PolicyInformation(x509.ObjectIdentifier("1.3.6.1.4.1.311.76.509.1.1"), ["http://cps.invalid"]),
                    x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.2"), None),
                ]
            ),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
            x509.UnrecognizedExtension(
                _TEMPLATE, bytes.fromhex("3018300a06082b06010505070302300a06082b06010505070301")
            ),
        ],
    )


def all_mutants(kind: str) -> tuple[bytes, ...]:
    """Every mutant of the mint's signer, each another one: what the CA is then to sign."""
    tbs = mint(kind).tbs
    made = (*mutants(tbs), *_other_extensions(tbs), *_other_names(tbs), *_other_subjects(tbs), *_other_bytes(tbs))
    return tuple(dict.fromkeys(mutant for mutant in made if mutant != tbs))


def _other_bytes(tbs: bytes) -> Iterator[bytes]:
    """Two thousand changes of one byte, and of two."""
    chance = random.Random(20261129)  # noqa: S311 - the same changes in every run
    for number in range(2000):
        changed = bytearray(tbs)
        for _ in range(1 + number % 2):
            changed[chance.randrange(len(tbs))] = chance.randrange(256)
        yield bytes(changed)


def _values() -> Iterator[bytes]:
    """Values that an extension may be given: of other extensions, of other types, and of none."""
    null, oid, data = b"\x05\x00", b"\x06\x03\x2a\x03\x04", b"\x04\x01\x00"
    yield from (b"", null, oid, data, sequence(), sequence(oid), b"\x30\x80", b"\x30\x82\x00\x01")
    yield from (b"\x01\x01\xff", b"\x02\x01\x00", b"\x02\x01\x80", b"\x03\x00", b"\x03\x02\x07\x80", b"\x0c\x00")
    directory_name = sequence(element(0x31, sequence(b"\x06\x03\x55\x04\x03", b"\x12\x011")))
    general_names = (
        *(element(0xA0, oid + element(0xA0, null)), element(0xA0, oid), element(0x81, b"a"), element(0x82, b"a")),
        *(element(0x82, b""), element(0x82, b"xn--a.a"), element(0xA4, b""), element(0xA4, sequence())),
        *(element(0xA4, directory_name), element(0x86, b"http://a"), element(0x87, b""), element(0x87, b"a" * 4)),
        *(element(0x87, b"\xff" * 8), element(0x88, b"a"), element(0x88, oid[2:])),
    )
    for name in general_names:
        yield sequence(name)  # GeneralNames
        yield sequence(element(0xA0, sequence(name)))  # NameConstraints, permitted
        yield sequence(element(0xA1, sequence(name)))  # NameConstraints, excluded
        yield sequence(sequence(oid, name))  # AuthorityInfoAccessSyntax
        yield sequence(sequence(element(0xA0, element(0xA0, name))))  # CRLDistributionPoints
        yield sequence(element(0xA1, name), element(0x82, b"\x01"))  # AuthorityKeyIdentifier
    any_policy = b"\x06\x04\x55\x1d\x20\x00"
    notice = sequence(b"\x06\x08\x2b\x06\x01\x05\x05\x07\x02\x02", sequence(b"\x0c\x01a"))
    yield from (sequence(sequence(oid, sequence(notice))), sequence(sequence(any_policy)), sequence(sequence(oid)) * 2)
    yield from (
        sequence(sequence(oid), sequence(oid)),
        sequence(sequence(oid, oid)),
        sequence(sequence(any_policy, oid)),
    )
    yield from (sequence(element(0x80, b"\x00")), sequence(element(0x80, b"\x00"), element(0x81, b"\x00")))
    yield from (sequence(element(0x80, b"20260101000000Z")), sequence(element(0x81, b"\x06\x40")))
    yield from (sequence(sequence(oid, element(0x31, null))), sequence(b"\x02\x01\x05"), element(0x04, b"\x00" * 48))


_ALL_OIDS: Final = tuple(
    x509.ObjectIdentifier(dotted)
    for dotted in (
        *(f"2.5.29.{arc}" for arc in (9, *range(14, 22), *range(27, 38), 46, 54)),
        *(f"1.3.6.1.5.5.7.1.{arc}" for arc in (1, 3, 11, 24)),
        *("1.3.6.1.5.5.7.48.1.5", "1.3.6.1.4.1.11129.2.4.2", "1.3.6.1.4.1.11129.2.4.3", "1.3.6.1.4.1.311.21.7"),
        *("2.16.840.1.113730.1.1", "1.2.3.4"),
    )
)


def _other_extensions(tbs: bytes) -> Iterator[bytes]:
    """Each extension that a library may know, with each value, critical and not, in the place of the one there is."""
    values = tuple(_values())
    for oid in _ALL_OIDS:
        *fields, tagged = elements(without_extension(tbs, oid))
        [others] = elements(tagged)
        before, present = b"".join(fields), b"".join(elements(others))
        for value in values:
            for critical in (False, True):
                new = _extension(oid, value, critical=critical)
                yield sequence(before, element(0xA3, sequence(present, new)))


def with_extension(tbs: bytes, oid: x509.ObjectIdentifier, value: bytes, *, critical: bool = False) -> bytes:
    """`tbs` with this extension as its last one, in the place of the one of its kind that it had."""
    *fields, tagged = elements(without_extension(tbs, oid))
    [others] = elements(tagged)
    return sequence(*fields, element(0xA3, sequence(*elements(others), _extension(oid, value, critical=critical))))


def without_extension(tbs: bytes, oid: x509.ObjectIdentifier) -> bytes:
    *fields, tagged = elements(tbs)
    [listed] = elements(tagged)
    others = [one for one in elements(listed) if elements(one)[0] != _encoded(oid)]
    return sequence(*fields, element(0xA3, sequence(*others)))


def _extension(oid: x509.ObjectIdentifier, value: bytes, *, critical: bool) -> bytes:
    return sequence(_encoded(oid), b"\x01\x01\xff" if critical else b"", element(0x04, value))


@cache
def _encoded(oid: x509.ObjectIdentifier) -> bytes:
    return bytes(core.ObjectIdentifier(oid.dotted_string).dump())


def with_subject(tbs: bytes, *attributes: tuple[str, int, bytes], instead: bool = False) -> bytes:
    """`tbs` with these attributes (type, tag and contents of the value) before those of its subject, or instead."""
    fields = list(elements(tbs))
    own = () if instead else elements(fields[5])
    new = (
        element(0x31, sequence(bytes(core.ObjectIdentifier(kind).dump()), element(tag, value)))
        for kind, tag, value in attributes
    )
    fields[5] = sequence(*new, *own)
    return sequence(*fields)


#: The signer's own alternative names.
OWN_NAMES: Final = (element(0x82, b"eastus.metadata.azure.com"), element(0x82, b"metadata.azure.com"))
#: What an alternative name may be; the signer's own stays beside it.
_DNS_NAMES: Final = (
    *(b"", b" ", b".", b"*", b"*.", b".azure.com", b"a..metadata.azure.com", b"metadata.azure.com."),
    *(b"xn--a.metadata.azure.com", b"xn--a", b"xn--", b"*.metadata.azure.com", b"a*.metadata.azure.com"),
    *(b"*.*.metadata.azure.com", b"a_b.metadata.azure.com", b"-a.metadata.azure.com", b"127.0.0.1", b"[::1]"),
    *(b"metadata.azure.com\x00.evil.net", b"\xff.metadata.azure.com", "m\u00e9tadata.azure.com".encode()),
    *(b"a" * 64 + b".metadata.azure.com", b".".join([b"a" * 60] * 4) + b".metadata.azure.com", b"example.com"),
    *(b"METADATA.AZURE.COM", b"metadata.azure.us", b"https://metadata.azure.com", b"a@metadata.azure.com"),
)


def _other_names(tbs: bytes) -> Iterator[bytes]:
    """Alternative names of every kind, before and behind the signer's own, and in their place."""
    own = OWN_NAMES
    strange = [
        *(element(0x82, name) for name in _DNS_NAMES),
        *(
            element(tag, value)
            for tag in (0x81, 0x86, 0x87, 0x88)
            for value in (b"", b"a", b"a:b", b"\x2a\x03", b"\xff" * 4)
        ),
        *(element(tag, value) for tag in (0xA0, 0xA3, 0xA4, 0xA5) for value in (b"", b"\x05\x00", b"\x30\x00")),
        element(0xA4, sequence(element(0x31, sequence(b"\x06\x03\x55\x04\x03", b"\x12\x011")))),
        element(0xA0, b"\x06\x03\x2a\x03\x04" + element(0xA0, b"\x0c\x01a")),
    ]
    for name in strange:
        for names in ((name, *own), (*own, name), (name,)):
            yield with_extension(tbs, ExtensionOID.SUBJECT_ALTERNATIVE_NAME, sequence(*names))


def _other_subjects(tbs: bytes) -> Iterator[bytes]:
    """Each attribute type, with each string type, and with types that are not strings, before the signer's own."""
    types = (
        *("2.5.4.3", "2.5.4.4", "2.5.4.5", "2.5.4.6", "2.5.4.10", "2.5.4.45", "2.5.4.97", "1.2.3.4"),
        *("0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1", "1.3.6.1.4.1.311.60.2.1.3"),
    )
    values = (b"", b"1", b"US", b"\x00", b"\xff", b"\x00a", b"\x00\x00\x00a", b"a" * 129, b"\x07\x80", b"a@b")
    for kind in types:
        for tag in (0x01, 0x02, 0x03, 0x04, 0x0C, 0x12, 0x13, 0x14, 0x16, 0x1A, 0x1C, 0x1E, 0x30, 0x17):
            for value in values:
                yield with_subject(tbs, (kind, tag, value))


def differences(original: bytes, changed: bytes) -> frozenset[str]:
    """Name what an accepted mutant differs in: keys of EXPLAINED, and a name of its own for anything else."""
    (*before, tagged_before), (*after, tagged_after) = elements(original), elements(changed)
    found = {name for name, one, other in zip(_FIELDS, before, after, strict=True) if one != other}
    extensions, others = _extension_values(tagged_before), _extension_values(tagged_after)
    if extensions == others and list(extensions) != list(others):
        found.add("another order of the extensions")
    for oid in extensions.keys() | others.keys():
        if oid not in others:
            found.add("without an optional extension" if oid in _OPTIONAL else f"without {oid.dotted_string}")
        elif oid not in extensions:
            found.add(_with(oid, *others[oid]))
        else:
            (critical, value), (other_critical, other_value) = extensions[oid], others[oid]
            if critical != other_critical:
                either = oid in _EITHER_CRITICALITY
                found.add("another criticality" if either else f"another criticality of {oid.dotted_string}")
            if value != other_value:
                found.add(_OTHER_VALUE.get(oid, f"another value of {oid.dotted_string}"))
    return frozenset(found)


def _with(oid: x509.ObjectIdentifier, critical: bool, value: bytes) -> str:  # noqa: FBT001 - a pair's members
    if critical:
        return f"with {oid.dotted_string}, critical"
    known = x509.Extension(oid, critical, x509.UnrecognizedExtension(oid, value))
    return "with a known extension" if known.oid in _PERMITTED else "with an unknown extension"


def _extension_values(tagged: bytes) -> dict[x509.ObjectIdentifier, tuple[bool, bytes]]:
    [listed] = elements(tagged)
    found = {}
    for extension in elements(listed):
        oid, *critical, value = elements(extension)
        found[x509.ObjectIdentifier(core.ObjectIdentifier.load(oid).dotted)] = (bool(critical), value)
    return found


def _renamed(info: cms.SignerInfo, tbs: bytes) -> cms.SignerInfo:
    """The SignerInfo with the issuer and serial number of `tbs`, if it has them."""
    try:
        fields = elements(tbs)
        number = core.Integer.load(fields[1], strict=True).native
        return replace(info, issuer=fields[3], serial_number=number)
    except (ValueError, IndexError, TypeError):
        return info

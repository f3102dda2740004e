"""Documents in which one kind of element is there as often as fits: what a sender can make up to cost a verifier time.

Each is signed by its own leaf's key. The leaf says that a pinned authority issued it, with a signature of zeros: no
step before the chain looks at it. `KINDS` has one entry for each kind of element that a sender can multiply.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support import cms, documents
from support.der_parts import CERTIFICATES, SIGNATURE, SIGNATURE_ALGORITHM, integer, oid, sequence, tlv
from support.mutations import edited

from verifier.core import bounds
from verifier.emulator import pki

LARGEST = bounds.MAX_EVIDENCE_BYTES
CONTENT = documents.encode(documents.content())
_SHA256_RSA = cms.Algorithm(oid="1.2.840.113549.1.1.11").encode()


def extension(dotted: str, value: bytes) -> bytes:
    return sequence(oid(dotted), tlv(0x04, value))


def attribute(value: bytes, *, kind: str = "2.5.4.10") -> bytes:
    return sequence(oid(kind), value)


def spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def explicit_curve() -> bytes:
    """Return the public key of P-256 that is the generator, with all parameters of the curve (RFC 3279 2.3.5)."""
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
    x = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
    y = bytes.fromhex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    point = b"\x04" + x + y
    curve = sequence(
        integer(1),
        sequence(oid("1.2.840.10045.1.1"), integer(prime)),
        sequence(tlv(0x04, (prime - 3).to_bytes(32)), tlv(0x04, b)),
        tlv(0x04, point),
        integer(order),
        integer(1),
    )
    return sequence(sequence(oid("1.2.840.10045.2.1"), curve), tlv(0x03, b"\0" + point))


def _issuing_name() -> bytes:
    return documents.shared_pki().issuing_ca.certificate.subject.public_bytes()


_ALTERNATIVE_NAME = extension("2.5.29.17", sequence(tlv(0x82, b"metadata.azure.com")))
_COMMON_NAME = tlv(0x31, attribute(tlv(0x0C, b"metadata.azure.com"), kind="2.5.4.3"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """The parts of a leaf, each as DER."""

    serial_number: int = 4711
    issuer: bytes = field(default_factory=_issuing_name)
    subject: bytes = sequence(_COMMON_NAME)
    spki: bytes = field(default_factory=lambda: spki(documents.spare_key().public_key()))
    extensions: tuple[bytes, ...] = (_ALTERNATIVE_NAME,)

    def encode(self) -> bytes:
        validity = documents.around()
        tbs = sequence(
            tlv(0xA0, integer(2)),
            integer(self.serial_number),
            _SHA256_RSA,
            self.issuer,
            sequence(*(tlv(0x17, f"{at:%y%m%d%H%M%S}Z".encode()) for at in (validity.not_before, validity.not_after))),
            self.subject,
            self.spki,
            tlv(0xA3, sequence(*self.extensions)),
        )
        return sequence(tbs, _SHA256_RSA, tlv(0x03, bytes(257)))


def document(
    leaf: Leaf, *, content: bytes = CONTENT, key: pki.PrivateKey | None = None, scheme: cms.Scheme = cms.AZURE
) -> cms.SignedData:
    """The document of this leaf, signed by its key."""
    signer = documents.shared_pki().signer.certificate
    info = cms.sign_content(content, certificate=signer, key=key or documents.spare_key(), scheme=scheme)
    return cms.SignedData(
        digest_algorithms=(info.digest_algorithm,),
        content=content,
        certificates=(leaf.encode(),),
        signer_infos=(replace(info, issuer=leaf.issuer, serial_number=leaf.serial_number),),
    )


#: The document with so many of the elements. The serial number differs from document to document, so that none of them
#: is known from before.
Maker = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    name: str
    make: Maker
    #: Beside as many as fit, the numbers at which a bound is.
    counts: tuple[int, ...] = ()

    def documents(self, serial_number: int) -> Iterator[tuple[int, bytes]]:
        """Those of at most LARGEST bytes that may be the worst, each with its number of elements."""
        for count in sorted({*_largest(self), *self.counts}):
            made = self.make(count, serial_number)
            if len(made) <= LARGEST:
                yield count, made

    def most(self, limit: int) -> int:
        """As many as fit into so many bytes of a document."""
        low, high = 0, 1
        while len(self.make(high, 1)) <= limit and high < LARGEST:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if len(self.make(middle, 1)) <= limit else (low, middle)
        return low


@cache
def _largest(kind: Kind) -> tuple[int, int]:
    """As many as fit into a document, and into the largest certificate with 900 bytes around it."""
    return kind.most(LARGEST), kind.most(bounds.MAX_CERTIFICATE_BYTES + 900)


def _leaf(change: Callable[[int], dict[str, object]]) -> Maker:
    def make(count: int, serial_number: int) -> bytes:
        return document(Leaf(serial_number=serial_number, **change(count))).encode()  # type: ignore[arg-type]  # names

    return make


def _with_extension(dotted: str, value: Callable[[int], bytes]) -> Maker:
    return _leaf(lambda count: {"extensions": (_ALTERNATIVE_NAME, extension(dotted, value(count)))})


def _names(one: bytes) -> Maker:
    """So many alternative names, and the one that counts at the end."""
    own = tlv(0x82, b"metadata.azure.com")
    return _leaf(lambda count: {"extensions": (extension("2.5.29.17", sequence(one * count, own)),)})


def _name(value: bytes, *, together: bool = False) -> Callable[[int], bytes]:
    one = attribute(value)

    def make(count: int) -> bytes:
        organisations = (tlv(0x31, one * count),) if together else (tlv(0x31, one),) * count
        return sequence(*(organisations if count else ()), _COMMON_NAME)

    return make


def _subject(value: bytes, *, together: bool = False) -> Maker:
    name = _name(value, together=together)
    return _leaf(lambda count: {"subject": name(count)})


def _issuer(value: bytes) -> Maker:
    name = _name(value)
    return _leaf(lambda count: {"issuer": name(count)})


def _extensions(value: bytes) -> Maker:
    def many(count: int) -> dict[str, object]:
        others = (extension(f"1.3.{number // 100}.{number % 100}", value) for number in range(count))
        return {"extensions": (_ALTERNATIVE_NAME, *others)}

    return _leaf(many)


def _exponent(bits: int, count: int, serial_number: int) -> bytes:
    """An RSA key of `bits`, with an exponent of `count` bytes."""
    modulus, exponent = _odd(bits), _odd(min(8 * count, bits - 1)) if count else 3
    leaf = Leaf(serial_number=serial_number, spki=spki(rsa.RSAPublicNumbers(exponent, modulus).public_key()))
    made = document(leaf)
    info = replace(made.signer_infos[0], signature=b"\x01" * (bits // 8))
    return replace(made, signer_infos=(info,)).encode()


def _pss_exponent(count: int, serial_number: int) -> bytes:
    """An RSA-3072 key under the other name of such a key (RFC 4055 1.2)."""
    made = _exponent(3072, count, serial_number)
    # In the first certificate: the algorithm in the SubjectPublicKeyInfo, which is the seventh signed field.
    return edited(made, (*CERTIFICATES, 0, 0, 6, 0), lambda _: sequence(oid("1.2.840.113549.1.1.10")))


def _modulus(count: int, serial_number: int) -> bytes:
    """An RSA key of `count` times 256 bytes."""
    bits = max(count, 1) * 2048
    return _exponent(bits, 3, serial_number)


@cache
def _odd(bits: int) -> int:
    chance = random.Random(bits)  # noqa: S311 - the same number in every run
    return chance.getrandbits(bits) | 1 << bits - 1 | 1


def _curve(count: int, serial_number: int) -> bytes:
    """P-521 is the dearest curve; only one signature can be in a document."""
    key = _elliptic_key()
    leaf = Leaf(serial_number=serial_number, spki=spki(key.public_key()))
    return document(leaf, key=key, scheme=cms.ecdsa(cms.SHA512), content=CONTENT + b" " * count).encode()


@cache
def _elliptic_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP521R1())


def _in_document(change: Callable[[cms.SignedData, int], cms.SignedData]) -> Maker:
    return lambda count, serial_number: change(document(Leaf(serial_number=serial_number)), count).encode()


def _digests(base: cms.SignedData, count: int) -> cms.SignedData:
    return replace(
        base, digest_algorithms=(*base.digest_algorithms, *(cms.Algorithm(oid="1.3.4", parameters=None),) * count)
    )


def _parameters(count: int, serial_number: int) -> bytes:
    made = document(Leaf(serial_number=serial_number)).encode()
    encoded = sequence(oid("1.2.840.113549.1.1.10"), sequence(b"\x05\x00" * (count // 2)))
    return edited(made, SIGNATURE_ALGORITHM, lambda _: encoded)


def _certificates(one: bytes, base: cms.SignedData, count: int) -> cms.SignedData:
    return replace(base, certificates=(*base.certificates, *(one,) * count))


def _signers(base: cms.SignedData, count: int) -> cms.SignedData:
    [info] = base.signer_infos
    return replace(base, signer_infos=(info, *(replace(info, signature=b""),) * count))


def _attributes(*, values: bool) -> Maker:
    """So many signed attributes, or one with so many values. The signature over them is good."""

    def make(count: int, serial_number: int) -> bytes:
        usual = cms.content_attributes(CONTENT, digest=cms.SHA256)
        more: tuple[cms.Attribute, ...] = (cms.Attribute(oid="1.3.4", values=(b"\x05\x00",) * count),)
        if not values:
            more = tuple(cms.Attribute(oid=f"1.3.{number // 100}.{number % 100}", values=()) for number in range(count))
        signer = documents.shared_pki().signer
        info = cms.sign_attributes(
            (*usual, *more),
            certificate=signer.certificate,
            key=documents.spare_key(),
            scheme=cms.rsa_encryption(cms.SHA256),
        )
        base = document(Leaf(serial_number=serial_number))
        info = replace(info, issuer=base.signer_infos[0].issuer, serial_number=serial_number)
        return replace(base, digest_algorithms=(info.digest_algorithm,), signer_infos=(info,)).encode()

    return make


def _optional(path: tuple[int, ...], one: bytes) -> Maker:
    """So many elements in a [1] behind the element at `path`: in crls, or in unsignedAttrs."""

    def make(count: int, serial_number: int) -> bytes:
        made = document(Leaf(serial_number=serial_number)).encode()
        return edited(made, path, lambda encoded: encoded + tlv(0xA1, one * count))

    return make


def _content(change: Callable[[int], bytes]) -> Maker:
    """A signed content that is the usual object with one more member."""

    def make(count: int, serial_number: int) -> bytes:
        content = CONTENT[:-1] + b',"note":' + change(count) + b"}"
        return document(Leaf(serial_number=serial_number), content=content).encode()

    return make


def _list(one: bytes) -> Maker:
    return _content(lambda count: b"[" + b",".join([one] * count) + b"]")


def _members(count: int) -> bytes:
    return b"{" + b",".join(b'"%x":0' % number for number in range(count)) + b"}"


def _nested(count: int) -> bytes:
    element = b"\x05\x00"
    for _ in range(count):
        element = sequence(element)
    return element


def _serial_number(count: int, serial_number: int) -> bytes:
    return document(Leaf(serial_number=serial_number << 8 * count)).encode()


_SMALL = sequence(sequence(tlv(0x02, b"\x01"), sequence(), sequence()))
_UTF8 = tlv(0x0C, b"o")
_ANY_NAME = tlv(0x82, b"a")
_URL = tlv(0x86, b"a")
_DIRECTORY_NAME = tlv(0xA4, sequence(tlv(0x31, attribute(_UTF8))))
_OTHER_NAME = tlv(0xA0, oid("1.3.4"), tlv(0xA0, b"\x05\x00"))
_POINT = sequence(tlv(0xA0, tlv(0xA0, _URL)))
_EMPTY = sequence()

_N = bounds.MAX_NAMES
_A = bounds.MAX_NAME_ATTRIBUTES
_E = bounds.MAX_EXTENSION_ELEMENTS


def _everything(count: int, serial_number: int) -> bytes:
    """Every kind up to its bound or near it, as far as one document has room; `count` is of names."""
    access = sequence(sequence(oid("1.3.6.1.5.5.7.48.2"), _URL) * min(count, 64))
    names = sequence(tlv(0x82, b"a.b.c.metadata.azure.com") * (count - min(count, 64)))
    spent = 3 * 64 + count + 120
    key = _elliptic_key()
    leaf = Leaf(
        serial_number=serial_number,
        issuer=_name(_UTF8)(_A - 1),
        subject=_name(_UTF8)(_A - 1),
        spki=spki(key.public_key()),
        extensions=(
            extension("2.5.29.17", names),
            extension("1.3.6.1.5.5.7.1.1", access),
            extension("2.5.29.37", sequence(*(oid(f"1.3.6.1.5.5.7.3.{number + 1}") for number in range(32)))),
            extension("1.3.4", sequence(b"\x05\x00" * (_E - spent))),
            *(extension(f"1.3.5.{number}", _EMPTY) for number in range(bounds.MAX_EXTENSIONS - 4)),
        ),
    )
    note = b'"' + rb"\u00e9" * 500 + b",[" * 1000 + b'",' + b",".join(b'"%x":1e-300' % number for number in range(230))
    return document(
        leaf, content=CONTENT[:-1] + b',"note":' + note + b"}", key=key, scheme=cms.ecdsa(cms.SHA512)
    ).encode()


KINDS: tuple[Kind, ...] = (
    Kind(name="everything at once", make=_everything, counts=(_N, 200)),
    Kind(name="SAN: dNSName, 1 byte", make=_names(_ANY_NAME), counts=(_N - 1,)),
    Kind(name="SAN: dNSName, empty", make=_names(tlv(0x82)), counts=(_N - 1,)),
    Kind(name="SAN: dNSName of a cloud", make=_names(tlv(0x82, b"a.b.c.d.metadata.azure.com")), counts=(_N - 1,)),
    Kind(name="SAN: dNSName of many labels", make=_names(tlv(0x82, b"a-b." * 50 + b"metadata.azure.com"))),
    Kind(
        name="SAN: labels of each dNSName",
        make=lambda count, serial: _names(tlv(0x82, b"a." * count + b"metadata.azure.com"))(_N // 9, serial),
        counts=((bounds.MAX_HOST_NAME_BYTES - len("metadata.azure.com")) // 2,),
    ),
    Kind(name="SAN: directoryName", make=_names(_DIRECTORY_NAME), counts=(_N - 1,)),
    Kind(name="SAN: URI", make=_names(_URL), counts=(_N - 1,)),
    Kind(name="SAN: rfc822Name", make=_names(tlv(0x81, b"a@b")), counts=(_N - 1,)),
    Kind(name="SAN: iPAddress", make=_names(tlv(0x87, bytes(4))), counts=(_N - 1,)),
    Kind(name="SAN: registeredID", make=_names(tlv(0x88, b"\x2a")), counts=(_N - 1,)),
    Kind(name="SAN: otherName", make=_names(_OTHER_NAME), counts=(_N - 1,)),
    Kind(name="subject: RDN", make=_subject(_UTF8), counts=(_A - 1,)),
    Kind(name="subject: attribute in one RDN", make=_subject(_UTF8, together=True), counts=(_A - 1,)),
    Kind(name="subject: RDN of 200 bytes", make=_subject(tlv(0x0C, "\u00e9,".encode() * 67)), counts=(_A - 1,)),
    Kind(name="subject: RDN that is no text", make=_subject(tlv(0x03, b"\x00")), counts=(_A - 1,)),
    Kind(name="issuer: RDN", make=_issuer(_UTF8), counts=(_A - 1,)),
    Kind(name="subject: bytes of a text", make=_leaf(lambda count: {"subject": _name(tlv(0x0C, b"+" * count))(1)})),
    Kind(
        name="AIA: caIssuers",
        make=_with_extension("1.3.6.1.5.5.7.1.1", lambda n: sequence(sequence(oid("1.3.6.1.5.5.7.48.2"), _URL) * n)),
        counts=(_N - 1,),
    ),
    Kind(
        name="AIA: OCSP",
        make=_with_extension("1.3.6.1.5.5.7.1.1", lambda n: sequence(sequence(oid("1.3.6.1.5.5.7.48.1"), _URL) * n)),
        counts=(_N - 1,),
    ),
    Kind(name="extension, empty", make=_extensions(_EMPTY), counts=(bounds.MAX_EXTENSIONS - 1,)),
    Kind(
        name="EKU: purpose",
        make=_with_extension("2.5.29.37", lambda n: sequence(oid("1.3.6.1.5.5.7.3.1"), tlv(0x06, b"\x2a") * n)),
        counts=(bounds.MAX_KEY_PURPOSES - 1,),
    ),
    Kind(
        name="EKU: purpose, each another",
        make=_with_extension(
            "2.5.29.37", lambda n: sequence(oid("1.3.6.1.5.5.7.3.1"), *(oid(f"1.3.{i}") for i in range(n)))
        ),
        counts=(bounds.MAX_KEY_PURPOSES - 1,),
    ),
    Kind(
        name="EKU: bytes of one purpose",
        make=_with_extension("2.5.29.37", lambda n: sequence(tlv(0x06, b"\x2a" + b"\xff" * n + b"\x01"))),
    ),
    Kind(
        name="policies: policy",
        make=_with_extension("2.5.29.32", lambda n: sequence(sequence(tlv(0x06, b"\x2a")) * n)),
        counts=(_E // 2 - 2,),
    ),
    Kind(
        name="policies: qualifier",
        make=_with_extension("2.5.29.32", lambda n: sequence(sequence(tlv(0x06, b"\x2a"), sequence(_EMPTY * n)))),
        counts=(_E - 8,),
    ),
    Kind(
        name="policyMappings",
        make=_with_extension("2.5.29.33", lambda n: sequence(sequence(tlv(0x06, b"\x2a") * 2) * n)),
        counts=(_E // 3 - 2,),
    ),
    Kind(
        name="CRL distribution points: point",
        make=_with_extension("2.5.29.31", lambda n: sequence(_POINT * n)),
        counts=(_E // 4 - 2,),
    ),
    Kind(
        name="CRL distribution points: URI in one",
        make=_with_extension("2.5.29.31", lambda n: sequence(sequence(tlv(0xA0, tlv(0xA0, _URL * n))))),
        counts=(_E - 8,),
    ),
    Kind(
        name="nameConstraints: subtree",
        make=_with_extension("2.5.29.30", lambda n: sequence(tlv(0xA0, sequence(_ANY_NAME) * n))),
        counts=(_E // 2 - 4,),
    ),
    Kind(
        name="AKI: name of the issuer",
        make=_with_extension(
            "2.5.29.35", lambda n: sequence(tlv(0x80, b"k"), tlv(0xA1, _ANY_NAME * n), tlv(0x82, b"\x01"))
        ),
        counts=(_E - 8,),
    ),
    Kind(
        name="issuerAltName: name",
        make=_with_extension("2.5.29.18", lambda n: sequence(_ANY_NAME * n)),
        counts=(_E - 8,),
    ),
    Kind(
        name="unknown extension: element",
        make=_with_extension("1.3.4", lambda n: sequence(b"\x05\x00" * n)),
        counts=(_E - 8,),
    ),
    Kind(name="unknown extension: depth", make=_with_extension("1.3.4", _nested), counts=(bounds.MAX_DEPTH - 1,)),
    Kind(name="serial number: bytes", make=_serial_number),
    Kind(name="RSA-2048: bytes of the exponent", make=partial(_exponent, 2048), counts=(4,)),
    Kind(name="RSA-3072: bytes of the exponent", make=partial(_exponent, 3072), counts=(4,)),
    Kind(name="RSA-8192: bytes of the exponent", make=partial(_exponent, 8192), counts=(4, 8)),
    Kind(name="RSASSA-PSS key: bytes of the exponent", make=_pss_exponent, counts=(4,)),
    Kind(name="RSA: 256 bytes of the modulus", make=_modulus, counts=(2, 3, 4)),
    Kind(name="P-521", make=_curve),
    Kind(name="signed attributes", make=_attributes(values=False), counts=(bounds.MAX_SIGNED_ATTRIBUTES - 2,)),
    Kind(name="values of a signed attribute", make=_attributes(values=True)),
    Kind(name="digestAlgorithms", make=_in_document(_digests)),
    Kind(name="parameters of an algorithm: bytes", make=_parameters, counts=(bounds.MAX_ALGORITHM_BYTES - 30,)),
    Kind(name="certificates, empty", make=_in_document(partial(_certificates, _EMPTY))),
    Kind(name="certificates, small", make=_in_document(partial(_certificates, _SMALL)), counts=(7,)),
    Kind(name="signers", make=_in_document(_signers)),
    Kind(name="crls", make=_optional(CERTIFICATES, _EMPTY)),
    Kind(name="unsigned attributes", make=_optional(SIGNATURE, _EMPTY)),
    Kind(name="JSON: element", make=_list(b"0"), counts=(bounds.MAX_JSON_VALUES - 14,)),
    Kind(name="JSON: empty array", make=_list(b"[]"), counts=(bounds.MAX_JSON_VALUES // 2 - 10,)),
    Kind(name="JSON: empty object", make=_list(b"{}"), counts=(bounds.MAX_JSON_VALUES // 2 - 10,)),
    Kind(name="JSON: number of 19 digits", make=_list(b"9" * 19), counts=(bounds.MAX_JSON_VALUES - 14,)),
    Kind(name="JSON: float", make=_list(b"1e-300"), counts=(bounds.MAX_JSON_VALUES - 14,)),
    Kind(name="JSON: digits of a float", make=_content(lambda n: b"0." + b"1" * n)),
    Kind(name="JSON: member", make=_content(_members), counts=(bounds.MAX_JSON_VALUES - 14,)),
    Kind(name="JSON: character", make=_content(lambda n: b'"' + b"a" * n + b'"')),
    Kind(name="JSON: escaped character", make=_content(lambda n: b'"' + rb"\u00e9" * n + b'"')),
    Kind(name="JSON: escaped quote", make=_content(lambda n: b'"' + rb"\"" * n + b'"')),
    Kind(name="JSON: comma in a text", make=_content(lambda n: b'"' + b",[" * n + b'"')),
    Kind(name="JSON: depth", make=_content(lambda n: b"[" * n + b"]" * n), counts=(14,)),
    Kind(name="JSON: space", make=_content(lambda n: b" " * n + b"0")),
)

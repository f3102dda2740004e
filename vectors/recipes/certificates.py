"""Generate documents whose signer's certificate has one fault of form. The pinned authority issued each certificate."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from asn1crypto import core
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID
from support import cms, documents
from support.certificates import make_signer, sign_rsa
from support.der_parts import integer, oid, sequence, tlv
from support.documents import encode, shared_pki
from support.mutations import edited

from vectors.recipes.recipe import Recipe, posted
from verifier.core.encoding import der
from verifier.core.reasons import Check, Reason
from verifier.emulator import pki

_Change = Callable[[bytes], bytes]
_CONTENT = encode(documents.content())
_DOMAIN = "metadata.azure.com"
_SHA256_WITH_RSA = cms.Algorithm(oid="1.2.840.113549.1.1.11").encode()
# The places of the fields of a TBSCertificate.
_VERSION, _SERIAL, _ALGORITHM, _SUBJECT, _KEY, _EXTENSIONS = (0,), (1,), (2,), (5,), (6,), (7, 0)
_SAN, _AKI, _SKI = (
    one.dotted_string
    for one in (
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    )
)
_USAGE, _BASIC, _ACCESS = (
    one.dotted_string
    for one in (
        ExtensionOID.KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    )
)
_NULL = b"\x05\x00"
_UNKNOWN = "1.3.6.1.4.1.99999.1"

_malformed = partial(Recipe, reason=Reason.MALFORMED_EVIDENCE, check=Check.FORMAT)
_untrusted = partial(Recipe, reason=Reason.CHAIN_UNTRUSTED, check=Check.CHAIN)
_refused = partial(Recipe, reason=Reason.ALGORITHM_REFUSED, check=Check.SIGNATURE)


def recipes() -> Iterator[Recipe]:
    for name, (description, document) in {**_fields(), **_extensions(), **_keys()}.items():
        yield _malformed(name=f"certificate-{name}", description=description, body=posted(document))
    for clause, name, description, document in _profile():
        yield _untrusted(
            name=f"signer-{name}",
            description=f"{description} (RFC 5280 {clause}). The path validators do not refuse it.",
            body=posted(document),
        )
    yield from _refused_keys()
    yield _untrusted(
        name="signer-unreadable-policies",
        description="certificatePolicies of the signer has a NULL in place of a policy, so it cannot be read.",
        body=posted(_valued(ExtensionOID.CERTIFICATE_POLICIES.dotted_string, sequence(_NULL))),
    )


def changed(
    path: tuple[int, ...], change: _Change, *, signer: pki.Identity | None = None, behind: bytes = b"", unused: int = 0
) -> bytes:
    """Sign the usual content with a signer whose TBSCertificate is changed at `path`, and then signed by its issuer.

    `behind` follows in the certificate after the signature, which has `unused` unused bits.
    """
    identity = signer or make_signer()
    tbs = edited(identity.certificate.tbs_certificate_bytes, path, change)
    algorithm = der.children(tbs)[2] if path != _ALGORITHM else _SHA256_WITH_RSA
    signature = sign_rsa(tbs, shared_pki().issuing_ca.key, "sha256")
    certificate = sequence(tbs, algorithm, tlv(0x03, bytes([unused]), signature), behind)
    good = cms.signed_data(_CONTENT, certificate=identity.certificate, key=identity.key)
    document = replace(good, certificates=(certificate,)).encode()
    if path != _SERIAL:
        return document
    number = der.children(tbs)[1]
    return edited(document, (1, 0, 4, 0, 1), lambda sid: sequence(der.children(sid)[0], number))


def _with(dotted: str, *encoded: bytes) -> bytes:
    """Replace the extension of this type by these, which come last."""

    def change(extensions: bytes) -> bytes:
        kept = (one for one in der.children(extensions) if der.children(one)[0] != oid(dotted))
        return sequence(*kept, *encoded)

    return changed(_EXTENSIONS, change)


def _extension(dotted: str, value: bytes, *, critical: bytes = b"", behind: bytes = b"") -> bytes:
    return sequence(oid(dotted), critical, tlv(0x04, value), behind)


def _valued(dotted: str, value: bytes) -> bytes:
    return _with(dotted, _extension(dotted, value))


def _fields() -> dict[str, tuple[str, bytes]]:
    organisation = sequence(oid("2.5.4.10"), tlv(0x0C, b"x"))
    return {
        "version-2": ("The certificate has version 2.", changed(_VERSION, lambda _: tlv(0xA0, integer(1)))),
        "serial-number-zero": ("The serial number is 0 (RFC 5280 4.1.2.2).", changed(_SERIAL, lambda _: integer(0))),
        "serial-number-negative": (
            "The serial number is negative (RFC 5280 4.1.2.2).",
            changed(_SERIAL, lambda _: integer(-5)),
        ),
        "serial-number-of-65-bytes": (
            "The serial number has 65 bytes.",
            changed(_SERIAL, lambda _: tlv(0x02, b"\x01" * 65)),
        ),
        "serial-number-not-minimal": (
            "The serial number begins with a byte that it does not need (X.690 8.3.2).",
            changed(_SERIAL, lambda _: b"\x02\x03\x00\x01\x02"),
        ),
        "serial-number-empty": ("The serial number has no bytes.", changed(_SERIAL, lambda _: b"\x02\x00")),
        "two-signature-algorithms": (
            "The signature algorithm inside the signed part is another one than outside (RFC 5280 4.1.1.2).",
            changed(_ALGORITHM, lambda _: cms.Algorithm(oid="1.2.840.113549.1.1.12").encode()),
        ),
        "algorithm-with-a-third-field": (
            "The signature algorithms have an element behind the parameters.",
            _third_field(),
        ),
        "signature-with-unused-bits": (
            "The BIT STRING of the signature has unused bits.",
            changed((), lambda tbs: tbs, unused=1),
        ),
        "element-behind-the-signature": (
            "A NULL is behind the signature of the certificate.",
            changed((), lambda tbs: tbs, behind=b"\x05\x00"),
        ),
        "element-behind-the-extensions": (
            "A NULL is behind the extensions, in the signed part.",
            changed((7,), lambda extensions: extensions + b"\x05\x00"),
        ),
        "second-list-of-extensions": (
            "The field of the extensions has two lists.",
            changed((7,), lambda field: tlv(0xA3, der.children(field)[0], sequence())),
        ),
        "unique-identifier-with-unused-bits": (
            "A subjectUniqueID that does not consist of whole bytes.",
            changed(_KEY, lambda key: key + tlv(0x82, b"\x01\x02")),
        ),
        "attribute-with-a-third-field": (
            "An attribute of the subject has an element behind its value.",
            changed(
                _SUBJECT,
                lambda name: sequence(tlv(0x31, organisation[:1], _longer(organisation)), *der.children(name)),
            ),
        ),
        "subject-with-an-empty-set": (
            "A relative distinguished name of the subject has no attribute.",
            changed(_SUBJECT, lambda name: sequence(tlv(0x31), *der.children(name))),
        ),
        "object-identifier-empty": (
            "The object identifier of an extension has no bytes.",
            _with(_UNKNOWN, sequence(b"\x06\x00", tlv(0x04, _NULL))),
        ),
        "object-identifier-of-65-bytes": (
            "The object identifier of an extension has 65 bytes.",
            _with(_UNKNOWN, sequence(tlv(0x06, b"\x2a" * 65), tlv(0x04, b"\x05\x00"))),
        ),
    }


def _longer(attribute: bytes) -> bytes:
    """Return length and contents of the attribute, with a NULL behind its value."""
    return sequence(*der.children(attribute), b"\x05\x00")[1:]


def _third_field() -> bytes:
    longer = sequence(*der.children(_SHA256_WITH_RSA), b"\x05\x00")
    identity = make_signer()
    tbs = edited(identity.certificate.tbs_certificate_bytes, _ALGORITHM, lambda _: longer)
    signature = sign_rsa(tbs, shared_pki().issuing_ca.key, "sha256")
    certificate = sequence(tbs, longer, tlv(0x03, b"\x00", signature))
    good = cms.signed_data(_CONTENT, certificate=identity.certificate, key=identity.key)
    return replace(good, certificates=(certificate,)).encode()


def _extensions() -> dict[str, tuple[str, bytes]]:
    nested = b"\x05\x00"
    for _ in range(33):
        nested = sequence(nested)
    name = tlv(0x82, _DOMAIN.encode())
    identifier = core.OctetString(b"\x01" * 20).dump()
    return {
        "critical-false": (
            "An extension says that it is not critical, which is the default (X.690 11.5).",
            _with(_UNKNOWN, _extension(_UNKNOWN, b"\x05\x00", critical=b"\x01\x01\x00")),
        ),
        "boolean-not-der": (
            "basicConstraints has a BOOLEAN of the value 1 (X.690 11.1).",
            _valued(_BASIC, sequence(b"\x01\x01\x01")),
        ),
        "extension-with-a-fourth-field": (
            "An extension has an element behind its value.",
            _with(_UNKNOWN, _extension(_UNKNOWN, b"\x05\x00", behind=b"\x05\x00")),
        ),
        "extension-twice": (
            "The alternative names are there twice (RFC 5280 4.2).",
            _with(_SAN, *(_extension(_SAN, sequence(tlv(0x82, one))) for one in (_DOMAIN.encode(), b"evil.net"))),
        ),
        "extension-empty": ("The value of an unknown extension has no bytes.", _valued(_UNKNOWN, b"")),
        "extension-of-two-elements": (
            "The value of an unknown extension is two elements.",
            _valued(_UNKNOWN, b"\x05\x00\x05\x00"),
        ),
        "extension-too-deep": ("The value of an unknown extension is nested 34 deep.", _valued(_UNKNOWN, nested)),
        "extension-with-a-primitive-sequence": (
            "The value of an unknown extension is a SEQUENCE that is not constructed.",
            _valued(_UNKNOWN, b"\x10\x00"),
        ),
        "extension-with-a-high-tag": (
            "The value of an unknown extension has a tag number above 30.",
            _valued(_UNKNOWN, b"\x1f\x20\x00"),
        ),
        "extensions-with-many-elements": (
            "The extensions together have more than 1024 elements, and none alone has.",
            _with(
                _UNKNOWN,
                *(_extension(f"1.3.6.1.4.1.99999.{number}", sequence(b"\x05\x00" * 600)) for number in (1, 2)),
            ),
        ),
        "extension-object-identifier-not-minimal": (
            "The object identifier of an extension has an arc that begins with a byte that it does not need.",
            _with(_UNKNOWN, sequence(tlv(0x06, b"\x2a\x80\x01"), tlv(0x04, b"\x05\x00"))),
        ),
        "names-of-an-unknown-kind": (
            "An alternative name has the tag [9], which is no GeneralName.",
            _valued(_SAN, sequence(name, tlv(0x89, b"x"))),
        ),
        "names-then-more": (
            "An element is behind the list of the alternative names.",
            _valued(_SAN, sequence(name) + b"\x05\x00"),
        ),
        "access-description-with-a-third-field": (
            "An access description has an element behind its location.",
            _valued(
                _ACCESS, sequence(sequence(oid("1.3.6.1.5.5.7.48.2"), tlv(0x86, b"http://a.invalid/"), b"\x05\x00"))
            ),
        ),
        "basic-constraints-then-more": (
            "basicConstraints has an element that does not belong in it.",
            _valued(_BASIC, sequence(b"\x05\x00")),
        ),
        "path-length-not-minimal": (
            "basicConstraints has a path length in more bytes than it needs.",
            _valued(_BASIC, sequence(b"\x02\x02\x00\x01")),
        ),
        "key-usage-empty": ("keyUsage has no bits.", _valued(_USAGE, b"\x03\x01\x00")),
        "key-usage-of-three-bytes": ("keyUsage has 24 bits.", _valued(_USAGE, b"\x03\x04\x00\x80\x00\x80")),
        "key-usage-with-eight-unused-bits": (
            "keyUsage has eight unused bits in its last byte.",
            _valued(_USAGE, b"\x03\x03\x08\x80\x00"),
        ),
        "key-usage-with-set-unused-bits": (
            "An unused bit of keyUsage is set (X.690 11.2.1).",
            _valued(_USAGE, b"\x03\x02\x05\x90"),
        ),
        "key-identifier-then-more": (
            "authorityKeyIdentifier has an element that does not belong in it.",
            _valued(_AKI, sequence(b"\x80" + identifier[1:], b"\x05\x00")),
        ),
        "key-identifier-with-a-long-number": (
            "authorityKeyIdentifier has a serial number in more bytes than it needs.",
            _valued(
                _AKI,
                sequence(
                    b"\x80" + identifier[1:],
                    tlv(0xA1, tlv(0xA4, shared_pki().issuing_ca.certificate.subject.public_bytes())),
                    b"\x82\x02\x00\x01",
                ),
            ),
        ),
    }


def _keys() -> dict[str, tuple[str, bytes]]:
    def longer(spki: bytes, *, outside: bool) -> bytes:
        algorithm, bits = der.children(spki)
        key = bits[bits.index(b"\x00\x30") + 1 :]
        more = sequence(*der.children(key), *([] if outside else [b"\x05\x00"])) + (b"\x05\x00" if outside else b"")
        return sequence(algorithm, tlv(0x03, b"\x00", more))

    return {
        "rsa-key-then-more": (
            "An element is behind the RSA key in its BIT STRING.",
            changed(_KEY, partial(longer, outside=True)),
        ),
        "rsa-key-with-a-third-number": (
            "The RSA key has an element behind its exponent.",
            changed(_KEY, partial(longer, outside=False)),
        ),
    }


def _subject(dotted: str, value: bytes) -> bytes:
    """Put an attribute in front of the subject."""
    return changed(_SUBJECT, lambda name: sequence(tlv(0x31, sequence(oid(dotted), value)), *der.children(name)))


def _second_name(name: bytes) -> bytes:
    return _valued(_SAN, sequence(tlv(0x82, _DOMAIN.encode()), tlv(0x82, name)))


def _profile() -> Iterator[tuple[str, str, str, bytes]]:
    """Break each rule of RFC 5280 that the path validators do not check. The first value is its clause."""
    unit, unique = "2.5.4.11", "2.5.4.45"
    long_name = b".".join([b"a" * 58] * 4) + b".metadata.azure.com"
    attributes = {
        "subject-attribute-of-65-characters": (
            "An attribute of the subject has 65 characters",
            unit,
            tlv(0x0C, b"a" * 65),
        ),
        "subject-attribute-empty": ("An attribute of the subject has no characters", unit, tlv(0x0C)),
        "subject-unique-identifier-of-no-bits": (
            "x500UniqueIdentifier in the subject says that it has unused bits, and has no bits",
            unique,
            tlv(0x03, b"\x07"),
        ),
        "subject-unique-identifier-with-eight-unused-bits": (
            "x500UniqueIdentifier in the subject has eight unused bits in its last byte",
            unique,
            tlv(0x03, b"\x08\x00"),
        ),
    }
    for name, (description, dotted, value) in attributes.items():
        yield "4.1.2.6", name, description, _subject(dotted, value)
    yield "4.2.1.6", "name-of-254-bytes", "One of two alternative names has 254 bytes", _second_name(long_name)
    yield "4.2.1.6", "name-is-an-address", "One of two dNSNames is an IPv4 address", _second_name(b"10.0.0.1")
    for clause, (name, description, document) in _rules().items():
        yield clause, name, description, document


def _rules() -> dict[str, tuple[str, str, bytes]]:
    policy = sequence(oid("2.23.140.1.2.2"))
    key_identifier = core.OctetString(b"\x02" * 20).dump()
    mapping = sequence(sequence(oid("1.2.3.4"), oid("1.2.3.5")))
    return {
        "4.1.2.2": (
            "serial-number-of-21-bytes",
            "The serial number has 21 bytes",
            changed(_SERIAL, lambda _: tlv(0x02, b"\x01" * 21)),
        ),
        "4.1.2.6": (
            "subject-in-numeric-string",
            "An attribute of the subject is a NumericString",
            changed(
                _SUBJECT,
                lambda name: sequence(tlv(0x31, sequence(oid("2.5.4.11"), tlv(0x12, b"12"))), *der.children(name)),
            ),
        ),
        "4.1.2.7": (
            "rsa-key-without-null",
            "The algorithm of the RSA key has no parameters",
            changed((*_KEY, 0), lambda _: sequence(oid("1.2.840.113549.1.1.1"))),
        ),
        "4.1.2.8": (
            "unique-identifier",
            "The certificate has a subjectUniqueID",
            changed(_KEY, lambda key: key + tlv(0x82, b"\x00\x02")),
        ),
        "4.2": (
            "empty-list",
            "issuerAltName is an empty list",
            _valued(ExtensionOID.ISSUER_ALTERNATIVE_NAME.dotted_string, sequence()),
        ),
        "4.2.1.1": (
            "without-the-key-of-its-issuer",
            "authorityKeyIdentifier has no key identifier",
            _valued(
                _AKI,
                sequence(tlv(0xA1, tlv(0xA4, shared_pki().root.certificate.subject.public_bytes())), b"\x82\x01\x05"),
            ),
        ),
        "4.2.1.2": (
            "critical-key-identifier",
            "subjectKeyIdentifier is critical",
            _with(_SKI, _extension(_SKI, key_identifier, critical=b"\x01\x01\xff")),
        ),
        "4.2.1.3": (
            "key-usage-with-zero-bits-at-its-end",
            "keyUsage has a zero bit behind its last set bit (X.690 11.2.2)",
            _valued(_USAGE, b"\x03\x02\x04\xa0"),
        ),
        "4.2.1.4": (
            "policy-twice",
            "A policy is there twice",
            _valued(ExtensionOID.CERTIFICATE_POLICIES.dotted_string, sequence(policy, policy)),
        ),
        "4.2.1.5": ("policy-mappings", "The signer has policy mappings", _valued("2.5.29.33", mapping)),
        "4.2.1.6": (
            "name-with-an-underscore",
            "One of two alternative names is not a host name",
            _valued(_SAN, sequence(tlv(0x82, _DOMAIN.encode()), tlv(0x82, b"a_b.metadata.azure.com"))),
        ),
        "4.2.1.11": (
            "policy-constraints",
            "The signer has policy constraints",
            _valued(ExtensionOID.POLICY_CONSTRAINTS.dotted_string, sequence(b"\x80\x01\x00")),
        ),
        "4.2.1.14": (
            "inhibit-any-policy",
            "The signer has inhibitAnyPolicy",
            _valued(ExtensionOID.INHIBIT_ANY_POLICY.dotted_string, integer(0)),
        ),
    }


def _explicit_p256() -> bytes:
    """Return P-256 as ECParameters (SEC 1, C.2)."""
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"
    base = (
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return sequence(
        integer(1),
        sequence(oid("1.2.840.10045.1.1"), integer(prime)),
        sequence(tlv(0x04, (prime - 3).to_bytes(32)), tlv(0x04, bytes.fromhex(b))),
        tlv(0x04, bytes.fromhex(base)),
        integer(order),
        integer(1),
    )


def _refused_keys() -> Iterator[Recipe]:
    elliptic = make_signer(key=pki.make_ec_key(ec.SECP256R1()))

    def compressed(spki: bytes) -> bytes:
        algorithm, bits = der.children(spki)
        point = der.Reader(bits).contents(der.BIT_STRING)[1:]
        return sequence(algorithm, tlv(0x03, b"\x00", bytes([2 + (point[-1] & 1)]), point[1:33]))

    def large(spki: bytes) -> bytes:
        algorithm, _ = der.children(spki)
        key = sequence(integer((1 << 8200) | 1), integer(65537))
        return sequence(algorithm, tlv(0x03, b"\x00", key))

    yield _refused(
        name="compressed-point",
        description="The signer's point is compressed, so that its key has a second encoding, which no denial names.",
        body=posted(changed(_KEY, compressed, signer=elliptic)),
    )
    yield _refused(
        name="curve-explicit",
        description="The parameters of the signer's curve are explicit, so its key has a second encoding.",
        body=posted(
            changed(
                _KEY,
                lambda spki: sequence(sequence(oid("1.2.840.10045.2.1"), _explicit_p256()), der.children(spki)[1]),
                signer=elliptic,
            )
        ),
    )
    yield _refused(
        name="rsa-8201",
        description="The signer's RSA key has 8201 bits; 8192 are the most.",
        body=posted(changed(_KEY, large)),
    )
    sha224 = cms.Algorithm(oid="1.2.840.113549.1.1.14").encode()
    identity = make_signer()
    tbs = edited(identity.certificate.tbs_certificate_bytes, _ALGORITHM, lambda _: sha224)
    certificate = sequence(tbs, sha224, tlv(0x03, b"\x00", sign_rsa(tbs, shared_pki().issuing_ca.key, "sha256")))
    good = cms.signed_data(_CONTENT, certificate=identity.certificate, key=identity.key)
    yield _refused(
        name="certificate-sha224",
        description="The signer's certificate is signed with SHA-224 and RSA.",
        body=posted(replace(good, certificates=(certificate,)).encode()),
    )

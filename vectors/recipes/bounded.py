"""Generate documents with a valid signature that reach or exceed one bound."""

import math
from collections.abc import Iterator
from functools import cache, partial

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID, NameOID
from support import cms, documents
from support.certificates import make_signer, sign_rsa
from support.der_parts import oid, sequence, tlv
from support.documents import around, encode, shared_pki, sign
from support.mutations import edited

from vectors.recipes.recipe import Recipe, posted
from verifier.core import bounds
from verifier.core.reasons import Check, Reason
from verifier.emulator import pki

_malformed = partial(Recipe, reason=Reason.MALFORMED_EVIDENCE, check=Check.FORMAT)
_CONTENT = encode(documents.content())
_DOMAIN = "metadata.azure.com"


def recipes() -> Iterator[Recipe]:
    yield from _certificates()
    yield from _contents()


def _certificates() -> Iterator[Recipe]:
    """Generate documents whose signer exceeds a bound. The pinned authority issues each signer."""
    purposes = [x509.ObjectIdentifier(f"1.3.6.1.4.1.99999.{number}") for number in range(bounds.MAX_KEY_PURPOSES)]
    access = [
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://a.invalid/")
        )
    ]
    names = bounds.MAX_NAMES
    faults = {
        "257-names": (
            f"{names} alternative names and one URL of the issuer; {names} names are the most.",
            make_signer(names=_names(names), extensions=[x509.AuthorityInformationAccess(access)]),
        ),
        "33-extensions": (
            f"{bounds.MAX_EXTENSIONS + 1} extensions; {bounds.MAX_EXTENSIONS} are the most.",
            _with_more_extensions(bounds.MAX_EXTENSIONS + 1),
        ),
        "33-attributes-in-the-subject": (
            f"{bounds.MAX_NAME_ATTRIBUTES + 1} attributes in the subject; {bounds.MAX_NAME_ATTRIBUTES} are the most.",
            _with_attributes(bounds.MAX_NAME_ATTRIBUTES + 1),
        ),
        "33-key-usages": (
            f"{bounds.MAX_KEY_PURPOSES + 1} extended key usages; {bounds.MAX_KEY_PURPOSES} are the most.",
            make_signer(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, *purposes])]),
        ),
        "1025-elements": (
            f"More than {bounds.MAX_EXTENSION_ELEMENTS} elements in the extensions.",
            make_signer(
                extensions=[_unknown("1.3.6.1.4.1.99999.1", sequence(b"\x05\x00" * bounds.MAX_EXTENSION_ELEMENTS))]
            ),
        ),
        "too-large": (
            f"The certificate has more than {bounds.MAX_CERTIFICATE_BYTES} bytes.",
            make_signer(extensions=[_unknown("1.3.6.1.4.1.99999.1", tlv(0x04, bytes(bounds.MAX_CERTIFICATE_BYTES)))]),
        ),
        "exponent-of-34-bits": (
            f"The RSA exponent has {bounds.MAX_RSA_EXPONENT_BITS + 1} bits, one more than is accepted.",
            make_signer(key=_with_exponent(bounds.MAX_RSA_EXPONENT_BITS + 1)),
        ),
        "exponent-of-2047-bits": (
            "The RSA exponent is nearly as long as the key.",
            make_signer(key=_with_exponent(2047)),
        ),
        "extension-not-der": (
            "The value of an extension that is not known is no DER.",
            make_signer(extensions=[_unknown("1.3.6.1.4.1.99999.1", b"\x30\x80\x00\x00")]),
        ),
        "name-not-utf-8": (
            "The subject has a UTF8String that is not UTF-8.",
            _with_subject(tlv(0x31, sequence(oid("2.5.4.10"), tlv(0x0C, b"\xff")))),
        ),
    }
    for name, (description, signer) in faults.items():
        yield _malformed(
            name=f"certificate-{name}", description=description, body=posted(sign(_CONTENT, signer=signer))
        )
    accepted = {
        "256-names": (f"{names} alternative names, as many as are read.", make_signer(names=_names(names))),
        "32-extensions": (
            f"{bounds.MAX_EXTENSIONS} extensions, as many as are read.",
            _with_more_extensions(bounds.MAX_EXTENSIONS),
        ),
        "32-attributes-in-the-subject": (
            f"{bounds.MAX_NAME_ATTRIBUTES} attributes in the subject, as many as are read.",
            _with_attributes(bounds.MAX_NAME_ATTRIBUTES),
        ),
        "exponent-of-33-bits": (
            f"The RSA exponent has {bounds.MAX_RSA_EXPONENT_BITS} bits, the most.",
            make_signer(key=_with_exponent(bounds.MAX_RSA_EXPONENT_BITS)),
        ),
        "no-subject-key-identifier": (
            "No subjectKeyIdentifier.",
            make_signer(without=(ExtensionOID.SUBJECT_KEY_IDENTIFIER,)),
        ),
        "empty-subject-critical-names": (
            "The subject is empty, and the alternative names are critical (RFC 5280 4.2.1.6).",
            _without_subject(),
        ),
    }
    for name, (description, signer) in accepted.items():
        yield Recipe(name=f"certificate-{name}", description=description, body=posted(sign(_CONTENT, signer=signer)))


def _names(number: int) -> list[str]:
    return [f"r{place}.{_DOMAIN}" for place in range(number)]


def _unknown(dotted: str, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), value)


def _with_more_extensions(number: int) -> pki.Identity:
    usual = len(make_signer().certificate.extensions)
    more = [_unknown(f"1.3.6.1.4.1.99999.{place}", b"\x05\x00") for place in range(number - usual)]
    return make_signer(extensions=more)


def _with_attributes(number: int) -> pki.Identity:
    organisations = tuple(tlv(0x31, sequence(oid("2.5.4.11"), tlv(0x0C, b"%d" % place))) for place in range(number - 1))
    return _with_subject(*organisations)


def _with_subject(*names: bytes) -> pki.Identity:
    """Make a signer with these relative distinguished names in front of its common name."""
    common_name = tlv(0x31, sequence(oid(NameOID.COMMON_NAME.dotted_string), tlv(0x0C, _DOMAIN.encode())))
    subject = sequence(*names, common_name)
    tbs = edited(make_signer().certificate.tbs_certificate_bytes, (5,), lambda _: subject)
    signature = sign_rsa(tbs, shared_pki().issuing_ca.key, "sha256")
    encoded = sequence(tbs, cms.Algorithm(oid="1.2.840.113549.1.1.11").encode(), tlv(0x03, b"\x00", signature))
    return pki.Identity(certificate=x509.load_der_x509_certificate(encoded), key=shared_pki().signer.key)


def _without_subject() -> pki.Identity:
    authority, own = shared_pki().issuing_ca, shared_pki().signer.key
    usual = pki.signer_extensions(
        names=_names(1), public_key=own.public_key(), issuer_public_key=authority.key.public_key(), issuer_urls=()
    )
    alternative = x509.SubjectAlternativeName
    certificate = pki.issue(
        subject=x509.Name([]),
        public_key=own.public_key(),
        issuer_name=authority.certificate.subject,
        issuer_key=authority.key,
        validity=around(),
        extensions=tuple(
            x509.Extension(one.oid, one.critical or one.oid == alternative.oid, one.value) for one in usual
        ),
        signing_hash=cms.SHA256,
    )
    return pki.Identity(certificate=certificate, key=own)


@cache
def _with_exponent(bits: int) -> rsa.RSAPrivateKey:
    """Make an RSA-2048 key whose public exponent has this number of bits."""
    exponent = (1 << bits - 1) + 1
    while True:
        numbers = pki.make_rsa_key().private_numbers()
        order = math.lcm(numbers.p - 1, numbers.q - 1)
        if math.gcd(exponent, order) == 1 and exponent < numbers.public_numbers.n:
            return rsa.RSAPrivateNumbers(
                p=numbers.p,
                q=numbers.q,
                d=pow(exponent, -1, order),
                dmp1=pow(exponent, -1, numbers.p - 1),
                dmq1=pow(exponent, -1, numbers.q - 1),
                iqmp=numbers.iqmp,
                public_numbers=rsa.RSAPublicNumbers(exponent, numbers.public_numbers.n),
            ).private_key()


def _contents() -> Iterator[Recipe]:
    claims = partial(Recipe, reason=Reason.MALFORMED_EVIDENCE, check=Check.CLAIMS)
    usual = documents.content()
    # Count the array, its elements, and the usual members.
    members = sum(1 + (len(value) if isinstance(value, dict) else 0) for value in usual.values()) + 1
    most = bounds.MAX_JSON_VALUES - members
    yield claims(
        name="json-too-many-values",
        description="The signed JSON has many more members and elements than are read.",
        body=posted(sign(encode({**usual, "note": [0] * 2 * bounds.MAX_JSON_VALUES}))),
    )
    yield Recipe(
        name="json-many-values",
        description=f"The signed JSON has nearly {bounds.MAX_JSON_VALUES} members and elements.",
        body=posted(sign(encode({**usual, "note": [0] * (most - 8)}))),
    )

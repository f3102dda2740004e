"""Refuse what RFC 5280 forbids in a signer's certificate and neither path validator refuses.

Each rule names its clause. The rules apply to the signer only, because operators accept the formal oddities of the
authorities that they pin. No rule requires what the CA/Browser Forum discourages or real signers lack: a subject key
identifier, a common name, a critical keyUsage.
"""

import re
from collections.abc import Callable
from functools import cached_property, partial
from typing import Final, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from verifier.core.bounds import MAX_HOST_NAME_BYTES
from verifier.core.encoding import der
from verifier.core.encoding.der import Reader
from verifier.core.reasons import ProfileRefused, Reason
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import is_label
from verifier.core.values import dataclass

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

_RSA_ENCRYPTION = bytes.fromhex("06092a864886f70d010101")
#: The tags of issuerUniqueID and subjectUniqueID.
_UNIQUE_IDENTIFIERS = (b"\x81", b"\x82")
#: These and the lists inside them are SEQUENCE SIZE (1..MAX). Other extensions allow an empty SEQUENCE.
_LISTS = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.ISSUER_ALTERNATIVE_NAME,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.FRESHEST_CRL,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.SUBJECT_INFORMATION_ACCESS,
    }
)

_UTF8, _PRINTABLE, _IA5 = 0x0C, 0x13, 0x16
#: RFC 5280 4.1.2.4 permits older string types only in names that were established before it.
_DIRECTORY_STRING = frozenset({_UTF8, _PRINTABLE})
#: A 21st byte may be the zero in front of a number whose first bit is set.
_MAX_SERIAL_NUMBER_BITS = 160
_MAILBOX = re.compile(r"[^\s@<>]+@[^\s@<>]+")
_ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attribute:
    """Describe the string types and lengths of one attribute type (RFC 5280 appendix A.1)."""

    tags: frozenset[int] = _DIRECTORY_STRING
    shortest: int = 1
    longest: int


#: The keys are the DER of the attribute types. Values of other types are limited only by the path validators.
_ATTRIBUTES = {
    bytes.fromhex("0603550403"): _Attribute(longest=64),  # commonName
    bytes.fromhex("0603550404"): _Attribute(longest=32768),  # surname
    bytes.fromhex("0603550405"): _Attribute(longest=64, tags=frozenset({_PRINTABLE})),  # serialNumber
    bytes.fromhex("0603550406"): _Attribute(longest=2, shortest=2, tags=frozenset({_PRINTABLE})),  # countryName
    bytes.fromhex("0603550407"): _Attribute(longest=128),  # localityName
    bytes.fromhex("0603550408"): _Attribute(longest=128),  # stateOrProvinceName
    bytes.fromhex("060355040a"): _Attribute(longest=64),  # organizationName
    bytes.fromhex("060355040b"): _Attribute(longest=64),  # organizationalUnitName
    bytes.fromhex("060355040c"): _Attribute(longest=64),  # title
    bytes.fromhex("0603550429"): _Attribute(longest=32768),  # name
    bytes.fromhex("060355042a"): _Attribute(longest=32768),  # givenName
    bytes.fromhex("060355042b"): _Attribute(longest=32768),  # initials
    bytes.fromhex("060355042c"): _Attribute(longest=32768),  # generationQualifier
    bytes.fromhex("060355042e"): _Attribute(longest=32768, tags=frozenset({_PRINTABLE})),  # dnQualifier
    bytes.fromhex("0603550441"): _Attribute(longest=128),  # pseudonym
    bytes.fromhex("060a0992268993f22c640119"): _Attribute(longest=63, tags=frozenset({_IA5})),  # domainComponent
    bytes.fromhex("06092a864886f70d010901"): _Attribute(longest=255, tags=frozenset({_IA5})),  # emailAddress
}


class _Parts:
    """Hold the parts of a signer's certificate that several rules need. Each is read once, when the first rule asks."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate

    @cached_property
    def fields(self) -> tuple[bytes, ...]:
        """The encodings of the fields of TBSCertificate."""
        return der.children(self.certificate.parsed.tbs_certificate_bytes)

    @cached_property
    def extensions(self) -> x509.Extensions:
        # Loaded anew: the objects of the extensions would stay in memory with a cached certificate.
        return x509.load_der_x509_certificate(self.certificate.der).extensions

    @cached_property
    def values(self) -> dict[x509.ObjectIdentifier, bytes]:
        """The encoding of the value of each extension."""
        if not self.extensions:
            return {}
        *_, tagged = self.fields
        [listed] = der.children(tagged)
        encoded = (Reader(der.children(extension)[-1]).contents(der.OCTET_STRING) for extension in der.children(listed))
        return {extension.oid: value for extension, value in zip(self.extensions, encoded, strict=True)}


def check(certificate: Certificate) -> None:
    """Require that the certificate keeps every rule in RULES, and that all of its extensions can be read.

    Raises ProfileRefused for a broken rule. Any other exception means that a field cannot be read.
    Not checked: the signature, the dates, the issuer's name, the key, and what core.names and the path validators
    check.
    """
    signer = _Parts(certificate)
    for clause, (sentence, is_kept) in RULES.items():
        if not is_kept(signer):
            detail = f"The signer's certificate breaks RFC 5280 {clause}: {sentence}"
            raise ProfileRefused(Reason.CHAIN_UNTRUSTED, detail)


def _has_valid_serial_number(signer: _Parts) -> bool:
    return 0 < signer.certificate.serial_number < 1 << _MAX_SERIAL_NUMBER_BITS


def _has_null_parameters(signer: _Parts) -> bool:
    fields = signer.fields
    # The version is absent in a certificate without extensions.
    key = fields[6] if fields[0][0] == der.CONTEXT_0 else fields[5]
    kind, *parameters = der.children(der.children(key)[0])
    return kind != _RSA_ENCRYPTION or parameters == [der.NULL]


def _has_no_unique_identifier(signer: _Parts) -> bool:
    return not any(field.startswith(_UNIQUE_IDENTIFIERS) for field in signer.fields)


def _is_well_formed(name: bytes) -> bool:
    attributes = [der.children(attribute) for one in der.children(name) for attribute in der.children(one)]
    return all(_is_value(kind, *Reader(value).any_contents()) for kind, value in attributes)


def _is_value(kind: bytes, tag: int, value: bytes) -> bool:
    attribute = _ATTRIBUTES.get(kind)
    if attribute is None:
        return tag != der.BIT_STRING or _is_bit_string(value)
    return tag in attribute.tags and attribute.shortest <= len(value.decode()) <= attribute.longest


def _is_bit_string(value: bytes) -> bool:
    """Return whether these are contents of a BIT STRING, whose first byte counts unused bits (X.690 8.6.2)."""
    return value == b"\x00" or (len(value) > 1 and value[0] < 8)  # noqa: PLR2004 - bits of a byte


def _has_no_empty_list(signer: _Parts) -> bool:
    return not any(oid in _LISTS and _has_empty_list(value) for oid, value in signer.values.items())


def _has_empty_list(raw: bytes) -> bool:
    waiting = [raw]
    while waiting:
        element = waiting.pop()
        if element[0] & der.CONSTRUCTED:
            members = der.children(element)
            if not members:
                return True
            waiting.extend(members)
    return False


def _has_no_critical_key_identifier(signer: _Parts) -> bool:
    return not any(one.critical and one.oid == ExtensionOID.SUBJECT_KEY_IDENTIFIER for one in signer.extensions)


def _has_minimal_key_usage(signer: _Parts) -> bool:
    """Return whether the last bit of keyUsage is set. DER has no zeros at the end of named bits (X.690 11.2.2)."""
    encoded = signer.values.get(ExtensionOID.KEY_USAGE)
    if encoded is None:
        return True
    unused, *flags = Reader(encoded).contents(der.BIT_STRING)
    return bool(flags) and bool(flags[-1] >> unused & 1)


def _is_absent(oid: x509.ObjectIdentifier, signer: _Parts) -> bool:
    return all(extension.oid != oid for extension in signer.extensions)


def _names_issuers_key(signer: _Parts) -> bool:
    identifier = _find(signer, x509.AuthorityKeyIdentifier)
    return identifier is None or identifier.key_identifier is not None


def _names_each_policy_once(signer: _Parts) -> bool:
    policies = _find(signer, x509.CertificatePolicies)
    oids = [policy.policy_identifier for policy in policies or ()]
    return len(oids) == len(set(oids))


def _has_well_formed_names(signer: _Parts) -> bool:
    subject, issuer = _find(signer, x509.SubjectAlternativeName), _find(signer, x509.IssuerAlternativeName)
    return all(_is_general_name(name) for name in (*(subject or ()), *(issuer or ())))


def _is_general_name(name: x509.GeneralName) -> bool:
    match name:
        case x509.DNSName(value=value):
            return _is_host_name(value.encode("ascii"))
        case x509.RFC822Name(value=value):
            return _MAILBOX.fullmatch(value) is not None
        case x509.UniformResourceIdentifier(value=value):
            return _ABSOLUTE_URI.fullmatch(value) is not None
        case x509.DirectoryName(value=value):
            return _is_well_formed(value.public_bytes())
        case _:
            return True


def _is_host_name(name: bytes) -> bool:
    """Return whether this is a host name (RFC 1123 section 2.1) or a wildcard, and not an IPv4 address."""
    labels = name.removeprefix(b"*.").split(b".")
    return len(name) <= MAX_HOST_NAME_BYTES and all(is_label(label) for label in labels) and not labels[-1].isdigit()


def _find(signer: _Parts, kind: type[_Extension]) -> _Extension | None:
    return next((one.value for one in signer.extensions if isinstance(one.value, kind)), None)


#: The text of each rule and the test whether a certificate keeps it, by the clause of RFC 5280.
RULES: Final[dict[str, tuple[str, Callable[[_Parts], bool]]]] = {
    "4.1.2.2": ("A serial number must be positive and have at most 20 bytes.", _has_valid_serial_number),
    "4.1.2.6": (
        "An attribute of the subject must have a string type and a length that its type allows.",
        lambda signer: _is_well_formed(signer.certificate.subject_der),
    ),
    "4.1.2.7": ("The algorithm of an RSA key must have NULL as its parameters (RFC 3279 2.3.1).", _has_null_parameters),
    "4.1.2.8": ("A certificate must not have a unique identifier.", _has_no_unique_identifier),
    "4.2": ("A list in an extension must not be empty.", _has_no_empty_list),
    "4.2.1.1": ("An authority key identifier must have a key identifier.", _names_issuers_key),
    "4.2.1.2": ("A subject key identifier must not be critical.", _has_no_critical_key_identifier),
    "4.2.1.3": ("A keyUsage must not have zero bits at its end (X.690 11.2.2).", _has_minimal_key_usage),
    "4.2.1.4": ("A certificate must not name a policy twice.", _names_each_policy_once),
    "4.2.1.5": (
        "Only a certificate authority may have policy mappings.",
        partial(_is_absent, ExtensionOID.POLICY_MAPPINGS),
    ),
    "4.2.1.6": (
        "An alternative name must be a well-formed host name, mailbox or absolute URI.",
        _has_well_formed_names,
    ),
    "4.2.1.11": (
        "Only a certificate authority may have policy constraints.",
        partial(_is_absent, ExtensionOID.POLICY_CONSTRAINTS),
    ),
    "4.2.1.14": (
        "Only a certificate authority may have an inhibitAnyPolicy extension.",
        partial(_is_absent, ExtensionOID.INHIBIT_ANY_POLICY),
    ),
}

"""Encode names and extensions (RFC 5280 4.1.2.4 and 4.2), also in forms that it forbids."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from support.der_parts import integer, oid, sequence, tlv

AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
KEY_USAGE: Final = "2.5.29.15"
SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
BASIC_CONSTRAINTS: Final = "2.5.29.19"
NAME_CONSTRAINTS: Final = "2.5.29.30"
CERTIFICATE_POLICIES: Final = "2.5.29.32"
POLICY_MAPPINGS: Final = "2.5.29.33"
POLICY_CONSTRAINTS: Final = "2.5.29.36"
EXTENDED_KEY_USAGE: Final = "2.5.29.37"
INHIBIT_ANY_POLICY: Final = "2.5.29.54"
AUTHORITY_INFORMATION_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
#: An extension that no validator knows.
UNKNOWN: Final = "1.3.6.1.4.1.55738.666.1"
#: The poison of precertificates (RFC 6962 3.1).
POISON: Final = "1.3.6.1.4.1.11129.2.4.3"

SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
EMAIL_PROTECTION: Final = "1.3.6.1.5.5.7.3.4"
ANY_PURPOSE: Final = "2.5.29.37.0"
ANY_POLICY: Final = "2.5.29.32.0"
POLICY: Final = "2.23.140.1.2.2"
OTHER_POLICY: Final = "1.3.6.1.4.1.55738.666.2"

_USAGES: Final = (
    *("digital_signature", "non_repudiation", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
_UTF8, _PRINTABLE = 0x0C, 0x13
_SEQUENCE: Final = 0x30
ORGANISATION: Final = "chain cases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """An extension with the bytes of its value."""

    oid: str
    value: bytes
    critical: bool = False

    def encode(self) -> bytes:
        return sequence(oid(self.oid), b"\x01\x01\xff" if self.critical else b"", tlv(0x04, self.value))


def attribute(kind: str, value: str, *, tag: int = _UTF8) -> bytes:
    """Encode a RelativeDistinguishedName of one attribute."""
    return tlv(0x31, sequence(oid(kind), tlv(tag, value.encode())))


def organisation(value: str = ORGANISATION, *, tag: int = _UTF8) -> bytes:
    return attribute("2.5.4.10", value, tag=tag)


def name(common_name: str, *, tag: int = _UTF8) -> bytes:
    """Encode a name with an organisation and a common name."""
    return sequence(organisation(tag=tag), attribute("2.5.4.3", common_name, tag=tag))


def printable_name(common_name: str) -> bytes:
    return name(common_name, tag=_PRINTABLE)


def basic_constraints(
    *, is_ca: bool = False, path_length: int | None = None, critical: bool = True, default: bytes = b""
) -> Extension:
    """Encode RFC 5280 4.2.1.9. `default` stands in place of an absent cA."""
    length = b"" if path_length is None else integer(path_length)
    value = sequence(b"\x01\x01\xff" if is_ca else default, length)
    return Extension(oid=BASIC_CONSTRAINTS, value=value, critical=critical)


def key_usage(*usages: str, critical: bool = True) -> Extension:
    """Encode RFC 5280 4.2.1.3 as a BIT STRING without zeros at its end (X.690 11.2.2)."""
    bits = sum(0x8000 >> _USAGES.index(usage) for usage in usages)
    data = bits.to_bytes(2).rstrip(b"\x00")
    unused = (data[-1] & -data[-1]).bit_length() - 1 if data else 0
    return Extension(oid=KEY_USAGE, value=tlv(0x03, bytes([unused]), data), critical=critical)


def extended_key_usage(*purposes: str, critical: bool = False) -> Extension:
    return Extension(oid=EXTENDED_KEY_USAGE, value=sequence(*map(oid, purposes)), critical=critical)


def identifier(public_key: bytes) -> bytes:
    """Return the key identifier of a SubjectPublicKeyInfo: the leftmost 160 bits of its SHA-256 (RFC 7093 2)."""
    return hashlib.sha256(public_key).digest()[:20]


def subject_key_identifier(public_key: bytes, *, critical: bool = False) -> Extension:
    return Extension(oid=SUBJECT_KEY_IDENTIFIER, value=tlv(0x04, identifier(public_key)), critical=critical)


def authority_key_identifier(
    public_key: bytes | None, *, issuer: bytes = b"", serial: int | None = None, critical: bool = False
) -> Extension:
    """Encode RFC 5280 4.2.1.1. `issuer` is a name, of which a directoryName is made."""
    value = sequence(
        b"" if public_key is None else tlv(0x80, identifier(public_key)),
        tlv(0xA1, directory_name(issuer)) if issuer else b"",
        b"" if serial is None else tlv(0x82, integer(serial)[2:]),
    )
    return Extension(oid=AUTHORITY_KEY_IDENTIFIER, value=value, critical=critical)


def dns_name(value: str) -> bytes:
    return tlv(0x82, value.encode())


def directory_name(value: bytes) -> bytes:
    """Encode a GeneralName of an encoded Name."""
    return tlv(0xA4, value)


def uri(value: str) -> bytes:
    return tlv(0x86, value.encode())


def rfc822_name(value: str) -> bytes:
    return tlv(0x81, value.encode())


def ip_address(value: bytes) -> bytes:
    return tlv(0x87, value)


OTHER_NAME: Final = tlv(0xA0, oid("1.3.6.1.4.1.55738.666.3"), tlv(0xA0, b"\x0c\x01a"))


def alternative_names(*names: bytes, critical: bool = False) -> Extension:
    return Extension(oid=SUBJECT_ALTERNATIVE_NAME, value=sequence(*names), critical=critical)


def dns_names(*names: str) -> Extension:
    return alternative_names(*map(dns_name, names))


def name_constraints(
    *, permitted: Iterable[bytes] | None = None, excluded: Iterable[bytes] | None = None, critical: bool = True
) -> Extension:
    """Encode RFC 5280 4.2.1.10. Each list has GeneralNames, or whole GeneralSubtrees of `subtree`."""
    lists = [
        tlv(tag, *(one if one[0] == _SEQUENCE else subtree(one) for one in names))
        for tag, names in ((0xA0, permitted), (0xA1, excluded))
        if names is not None
    ]
    return Extension(oid=NAME_CONSTRAINTS, value=sequence(*lists), critical=critical)


def subtree(base: bytes, *, minimum: int | None = None, maximum: int | None = None) -> bytes:
    return sequence(
        base,
        b"" if minimum is None else tlv(0x80, integer(minimum)[2:]),
        b"" if maximum is None else tlv(0x81, integer(maximum)[2:]),
    )


def policies(*oids: str, critical: bool = False) -> Extension:
    return Extension(oid=CERTIFICATE_POLICIES, value=sequence(*(sequence(oid(one)) for one in oids)), critical=critical)


def policy_constraints(*, require: int, critical: bool = True) -> Extension:
    return Extension(oid=POLICY_CONSTRAINTS, value=sequence(tlv(0x80, integer(require)[2:])), critical=critical)


def policy_mappings(issuer: str, subject: str, *, critical: bool = True) -> Extension:
    return Extension(oid=POLICY_MAPPINGS, value=sequence(sequence(oid(issuer), oid(subject))), critical=critical)


def unknown(*, critical: bool) -> Extension:
    return Extension(oid=UNKNOWN, value=b"\x05\x00", critical=critical)

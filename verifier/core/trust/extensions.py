"""Read the extensions of one certificate that the appraisal needs (RFC 5280 4.2), within bounds for all extensions."""

from collections.abc import Callable
from dataclasses import field
from typing import Final, TypeVar

from verifier.core.bounds import MAX_EXTENSION_ELEMENTS, MAX_EXTENSIONS, MAX_KEY_PURPOSES, MAX_NAMES
from verifier.core.encoding import der
from verifier.core.encoding.der import BoundError, DerError, Reader
from verifier.core.values import dataclass

_T = TypeVar("_T")

# The contents of the object identifiers (RFC 5280 4.2.1 and 4.2.2.1).
_SUBJECT_KEY_IDENTIFIER: Final = bytes.fromhex("551d0e")
_KEY_USAGE: Final = bytes.fromhex("551d0f")
_SUBJECT_ALTERNATIVE_NAME: Final = bytes.fromhex("551d11")
_BASIC_CONSTRAINTS: Final = bytes.fromhex("551d13")
_AUTHORITY_KEY_IDENTIFIER: Final = bytes.fromhex("551d23")
_EXTENDED_KEY_USAGE: Final = bytes.fromhex("551d25")
_AUTHORITY_INFORMATION_ACCESS: Final = bytes.fromhex("2b06010505070101")
#: id-ad-caIssuers (RFC 5280 4.2.2.1).
_CA_ISSUERS: Final = bytes.fromhex("2b06010505073002")

# GeneralName (RFC 5280 4.2.1.6): [0] to [8], of which otherName, x400Address, directoryName and ediPartyName are
# constructed.
_DNS_NAME: Final = 0x82
_URI: Final = 0x86
_GENERAL_NAMES: Final = frozenset({0xA0, 0x81, _DNS_NAME, 0xA3, 0xA4, 0xA5, _URI, 0x87, 0x88})
#: The tags of keyIdentifier, authorityCertIssuer and authorityCertSerialNumber (RFC 5280 4.2.1.1).
_IDENTIFIER, _ISSUER_NAMES, _ISSUER_NUMBER = 0x80, 0xA1, 0x82

#: The names of the bits of keyUsage, in order (RFC 5280 4.2.1.3).
_USAGES: Final = (
    "digital_signature",
    "non_repudiation",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """Hold the values of the extensions. If an extension is absent, its value is None, False or empty."""

    dns_names: tuple[bytes, ...] = ()
    is_ca: bool = False
    key_usage: frozenset[str] | None = None
    extended_key_usage: frozenset[str] | None = None
    subject_key_identifier: bytes | None = field(default=None, repr=False)
    authority_key_identifier: bytes | None = field(default=None, repr=False)
    issuer_urls: tuple[str, ...] = field(default=(), repr=False)


def read_extensions(extensions: Reader) -> Extensions:
    """Read the extensions. Each occurs once, and each value is one DER element. Raises DerError.

    The reader counts before it decodes: at most MAX_EXTENSIONS, with at most MAX_EXTENSION_ELEMENTS elements in all.
    Not checked: which extensions are critical, and the fields of extensions that the appraisal does not need.
    """
    values = _values(extensions)
    names = _Names()

    def read(oid: bytes, reader: Callable[[Reader], _T]) -> _T | None:
        if oid not in values:
            return None
        outer = Reader(values[oid])
        found = reader(outer)
        outer.end()
        return found

    return Extensions(
        dns_names=read(_SUBJECT_ALTERNATIVE_NAME, names.dns_names) or (),
        is_ca=read(_BASIC_CONSTRAINTS, _is_ca) or False,
        key_usage=read(_KEY_USAGE, _key_usage),
        extended_key_usage=read(_EXTENDED_KEY_USAGE, _key_purposes),
        subject_key_identifier=read(_SUBJECT_KEY_IDENTIFIER, lambda outer: outer.contents(der.OCTET_STRING)),
        authority_key_identifier=read(_AUTHORITY_KEY_IDENTIFIER, _authority_key_identifier),
        issuer_urls=read(_AUTHORITY_INFORMATION_ACCESS, names.issuer_urls) or (),
    )


def _values(extensions: Reader) -> dict[bytes, bytes]:
    """Return the value of each extension by its object identifier."""
    values: dict[bytes, bytes] = {}
    elements = 0
    while extensions.has_more():
        if len(values) == MAX_EXTENSIONS:
            raise BoundError(MAX_EXTENSIONS, "extensions")
        extension = extensions.inside(der.SEQUENCE)
        oid = extension.contents(der.OBJECT_IDENTIFIER)
        der.dotted(oid)
        if extension.has_next(der.BOOLEAN) and not der.boolean(extension.contents(der.BOOLEAN)):
            raise DerError("it has a critical field of FALSE, which is the default")  # X.690 11.5
        value = extension.contents(der.OCTET_STRING)
        extension.end()
        if oid in values:
            raise DerError("it has a duplicate extension")  # RFC 5280 4.2
        elements += der.check(value, max_elements=MAX_EXTENSION_ELEMENTS)
        if elements > MAX_EXTENSION_ELEMENTS:
            raise BoundError(MAX_EXTENSION_ELEMENTS, "elements in its extensions")
        values[oid] = value
    return values


class _Names:
    """Read GeneralNames, and count them over the whole certificate."""

    def __init__(self) -> None:
        self._left = MAX_NAMES

    def dns_names(self, outer: Reader) -> tuple[bytes, ...]:
        """Return the dNSNames as raw bytes (RFC 5280 4.2.1.6)."""
        inside = outer.inside(der.SEQUENCE)
        names: list[bytes] = []
        while inside.has_more():
            tag, value = self._name(inside)
            if tag == _DNS_NAME:
                names.append(value)
        return tuple(names)

    def issuer_urls(self, outer: Reader) -> tuple[str, ...]:
        """Return the URLs of caIssuers that are ASCII (RFC 5280 4.2.2.1), and skip the others."""
        inside = outer.inside(der.SEQUENCE)
        urls: list[str] = []
        while inside.has_more():
            description = inside.inside(der.SEQUENCE)
            method = description.contents(der.OBJECT_IDENTIFIER)
            tag, value = self._name(description)
            description.end()
            if method == _CA_ISSUERS and tag == _URI and value.isascii():
                urls.append(value.decode("ascii"))
        return tuple(urls)

    def _name(self, parent: Reader) -> tuple[int, bytes]:
        if not self._left:
            raise BoundError(MAX_NAMES, "names")
        self._left -= 1
        tag, value = parent.any_contents()
        if tag not in _GENERAL_NAMES:
            raise DerError("it has a name of an unknown kind")
        return tag, value


def _is_ca(outer: Reader) -> bool:
    """Read basicConstraints (RFC 5280 4.2.1.9)."""
    constraints = outer.inside(der.SEQUENCE)
    is_ca = constraints.has_next(der.BOOLEAN) and der.boolean(constraints.contents(der.BOOLEAN))
    if constraints.has_next(der.INTEGER):
        der.integer(constraints.contents(der.INTEGER))
    constraints.end()
    return is_ca


def _key_usage(outer: Reader) -> frozenset[str]:
    """Read keyUsage (RFC 5280 4.2.1.3), which has one bit for each usage in one or two bytes."""
    bits = outer.contents(der.BIT_STRING)
    unused, flags = bits[:1], bits[1:]
    if not flags or len(flags) > 2 or unused[0] > 7 or flags[-1] & (1 << unused[0]) - 1:  # noqa: PLR2004 - bits, bytes
        raise DerError("it has an invalid keyUsage")
    bit_string = int.from_bytes(flags.ljust(2, b"\0"))
    return frozenset(usage for number, usage in enumerate(_USAGES) if bit_string & 0x8000 >> number)


def _key_purposes(outer: Reader) -> frozenset[str]:
    """Read extendedKeyUsage (RFC 5280 4.2.1.12)."""
    inside = outer.inside(der.SEQUENCE)
    purposes: list[str] = []
    while inside.has_more():
        if len(purposes) == MAX_KEY_PURPOSES:
            raise BoundError(MAX_KEY_PURPOSES, "extended key usages")
        purposes.append(der.dotted(inside.contents(der.OBJECT_IDENTIFIER)))
    return frozenset(purposes)


def _authority_key_identifier(outer: Reader) -> bytes | None:
    """Read the keyIdentifier of authorityKeyIdentifier (RFC 5280 4.2.1.1), or None if it is absent."""
    fields = outer.inside(der.SEQUENCE)
    identifier = fields.contents(_IDENTIFIER) if fields.has_next(_IDENTIFIER) else None
    if fields.has_next(_ISSUER_NAMES):
        fields.contents(_ISSUER_NAMES)
    if fields.has_next(_ISSUER_NUMBER):
        der.integer(fields.contents(_ISSUER_NUMBER))
    fields.end()
    return identifier

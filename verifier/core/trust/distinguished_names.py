"""Read distinguished names (RFC 5280 4.1.2.4), and write them as text for people (RFC 4514)."""

import re
from typing import Final

from verifier.core.bounds import MAX_NAME_ATTRIBUTES, MAX_SHOWN_CHARACTERS
from verifier.core.encoding import der
from verifier.core.encoding.der import BoundError, DerError, Reader
from verifier.core.encoding.printable import printable
from verifier.core.values import dataclass

_COMMON_NAME: Final = "2.5.4.3"
# RFC 4514 section 3.
_LABELS: Final = {
    _COMMON_NAME: "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
# X.680 section 41: UTF8String, NumericString, PrintableString, TeletexString, IA5String, VisibleString, UniversalString
# and BMPString.
_CODECS: Final = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
_SPECIAL: Final = re.compile(r'[\\"+,;<>\0]|\A[# ]| \Z')


@dataclass(frozen=True, slots=True, kw_only=True)
class DistinguishedName:
    """Hold a name as text, and its common names as raw bytes. They are not normalised."""

    #: RFC 4514 in printable ASCII, with other characters escaped. "..." follows after MAX_SHOWN_CHARACTERS.
    text: str
    #: The contents of each common name, in no particular character set.
    common_names: tuple[bytes, ...]


def read_name(raw: bytes) -> DistinguishedName:
    """Read the one Name in `raw`. Raises DerError.

    It has at most MAX_NAME_ATTRIBUTES attributes, and every string in it can be decoded. A value that is not a string
    becomes its DER in hexadecimal (RFC 4514 2.4).
    """
    common_names: list[bytes] = []
    names = ["+".join(_read_attribute(attribute, common_names) for attribute in one) for one in _read_sets(raw)]
    text = ",".join(reversed(names))
    # An untrusted sender chooses the text, and logs and terminals show it.
    escaped = printable(text[: MAX_SHOWN_CHARACTERS + 1])
    return DistinguishedName(
        text=escaped if len(escaped) <= MAX_SHOWN_CHARACTERS else f"{escaped[:MAX_SHOWN_CHARACTERS]}...",
        common_names=tuple(common_names),
    )


def _read_sets(raw: bytes) -> list[list[Reader]]:
    """Read the relative distinguished names, each of which is a SET of at least one attribute."""
    outer = Reader(raw)
    name = outer.inside(der.SEQUENCE)
    outer.end()
    sets: list[list[Reader]] = []
    count = 0
    while name.has_more():
        members = name.inside(der.SET)
        attributes: list[Reader] = []
        while members.has_more() or not attributes:
            count += 1
            if count > MAX_NAME_ATTRIBUTES:
                raise BoundError(MAX_NAME_ATTRIBUTES, "attributes in a Name")
            attributes.append(members.inside(der.SEQUENCE))
        sets.append(attributes)
    return sets


def _read_attribute(attribute: Reader, common_names: list[bytes]) -> str:
    """Return the attribute as text. Append its value if it is a common name."""
    oid = der.dotted(attribute.contents(der.OBJECT_IDENTIFIER))
    encoded = attribute.any_element()
    attribute.end()
    tag, value = Reader(encoded).any_contents()
    if oid == _COMMON_NAME:
        common_names.append(value)
    codec = _CODECS.get(tag)
    if codec is None:
        shown = f"#{encoded.hex()}"
    else:
        try:
            shown = _SPECIAL.sub(_escaped, value.decode(codec))
        except UnicodeDecodeError as error:
            raise DerError(f"it has a Name with text that is not {codec}") from error
    return f"{_LABELS.get(oid, oid)}={shown}"


def _escaped(found: re.Match[str]) -> str:
    return "\\00" if found[0] == "\0" else f"\\{found[0]}"

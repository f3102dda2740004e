"""DER that is whole, and of which one element is another one: what changed octets alone seldom give, since the lengths
around them are then wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

_CONSTRUCTED = 0x20
_OCTET_STRING = 0x04
#: Of elements within an OCTET STRING: SEQUENCE, BIT STRING and OCTET STRING, as X.509's extensions are.
_WRAPPED = (0x30, 0x03, 0x04)
#: What takes the place of an element's contents.
_CONTENTS = (
    *(b"", b"\x00", b"\x07", b"\x80", b"\xff", b"\x00\x00", b"\x01\x01", b"\x08\x00", b"\xff" * 9, b"\x7f" * 20),
    *(b"\x2a\x86", b"0" * 13 + b"Z", b"\x30\x80", b"\xc3\x28"),
)
#: What takes the place of its tag.
_TAGS = (
    *(0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x0C, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1E, 0x23, 0x24, 0x30, 0x31),
    *(0x80, 0x82, 0x86, 0xA0, 0xA1, 0xA3, 0x00),
)


@dataclass(frozen=True, slots=True)
class _Element:
    tag: int
    contents: bytes
    children: tuple["_Element", ...] | None

    def encode(self) -> bytes:
        contents = self.contents if self.children is None else b"".join(child.encode() for child in self.children)
        return bytes([self.tag]) + _length(len(contents)) + contents


def mutants(der: bytes) -> Iterator[bytes]:
    """The one element `der`, once for each way in which one element in it is left out, doubled, cut, or has another tag
    or other contents; those in OCTET STRINGs too. Each is DER, but for what its tags promise of the contents."""
    [whole] = _read(der)
    for changed in _changes(whole):
        if len(changed) == 1:
            yield changed[0].encode()


def _changes(element: _Element) -> Iterator[tuple[_Element, ...]]:
    """What may stand in the place of the element."""
    octets = element.contents
    yield ()
    yield (element, element)
    yield from ((replace(element, contents=contents, children=None),) for contents in _CONTENTS)
    yield from ((replace(element, contents=contents, children=None),) for contents in (octets[:-1], octets[1:]))
    yield from ((replace(element, tag=tag),) for tag in _TAGS)
    children = element.children or ()
    for place, child in enumerate(children):
        for changed in _changes(child):
            yield (replace(element, children=(*children[:place], *changed, *children[place + 1 :])),)


def _read(raw: bytes) -> tuple[_Element, ...]:
    """The elements in a row; raises ValueError where it is not DER."""
    found = []
    while raw:
        contents, rest = _contents(raw)
        found.append(_Element(raw[0], contents, _children(raw[0], contents)))
        raw = rest
    return tuple(found)


def _contents(raw: bytes) -> tuple[bytes, bytes]:
    if len(raw) < 2:
        raise ValueError("truncated")
    length, start = raw[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(raw[2:start])
    end = start + length
    if end > len(raw) or raw[1:start] != _length(length):
        raise ValueError("not DER")
    return raw[start:end], raw[end:]


def _children(tag: int, contents: bytes) -> tuple[_Element, ...] | None:
    if tag & _CONSTRUCTED:
        return _read(contents)
    if tag == _OCTET_STRING and contents[:1] and contents[0] in _WRAPPED:
        try:
            return _read(contents)
        except ValueError:
            return None
    return None


def _length(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([0x80 | len(octets)]) + octets

"""Change elements of DER and adapt the lengths around them, which random changes of bytes seldom achieve."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

_CONSTRUCTED = 0x20
_OCTET_STRING = 0x04
#: The tags of values in an OCTET STRING that are read as elements, like the extensions of X.509.
_WRAPPED = (0x30, 0x03, 0x04)
#: Contents that replace those of an element.
_CONTENTS = (
    *(b"", b"\x00", b"\x07", b"\x80", b"\xff", b"\x00\x00", b"\x01\x01", b"\x08\x00", b"\xff" * 9, b"\x7f" * 20),
    *(b"\x2a\x86", b"0" * 13 + b"Z", b"\x30\x80", b"\xc3\x28"),
)
#: Tags that replace that of an element.
_TAGS = (
    *(0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x0C, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1E, 0x23, 0x24, 0x30, 0x31),
    *(0x80, 0x82, 0x86, 0xA0, 0xA1, 0xA3, 0x00),
)
#: Elements that are inserted before or after another one.
_STRAYS = (b"\x05\x00", b"\x30\x00", b"\xa0\x00", b"\xa1\x00", b"\xa1\x02\x30\x00", b"\x01\x01\x00", b"\x02\x01\x01")


@dataclass(frozen=True, slots=True)
class _Element:
    tag: int
    contents: bytes
    children: tuple["_Element", ...] | None
    #: The whole encoding: as it was read, or bytes that replace tag, length and contents.
    verbatim: bytes | None = None

    def encode(self) -> bytes:
        if self.verbatim is not None:
            return self.verbatim
        return _encode(self.tag, self.inside())

    def inside(self) -> bytes:
        return self.contents if self.children is None else b"".join(child.encode() for child in self.children)

    def changed(
        self,
        *,
        tag: int | None = None,
        contents: bytes | None = None,
        children: tuple["_Element", ...] | None = None,
    ) -> "_Element":
        """Return the element with another tag, contents in place of its children, or other children."""
        return _Element(
            self.tag if tag is None else tag,
            self.contents if contents is None else contents,
            children if contents is not None or children is not None else self.children,
        )


def mutants(der: bytes) -> Iterator[bytes]:
    """Yield every mutant of `der` in which one element is removed, doubled, truncated, or has another tag or contents.

    Elements in OCTET STRINGs change too. Each mutant has the lengths of DER, but contents may not fit their tags.
    """
    [whole] = _read(der)
    # The first two changes leave no element and two elements.
    return islice(_changes(whole), 2, None)


def edited(der: bytes, path: tuple[int, ...], change: Callable[[bytes], bytes]) -> bytes:
    """Replace the encoding of the element at `path` by the result of `change`, and adapt the lengths around it."""
    [whole] = _read(der)

    def rebuilt(element: _Element, rest: tuple[int, ...]) -> _Element:
        if not rest:
            return replace(element, verbatim=change(element.encode()))
        children = list(element.children or ())
        children[rest[0]] = rebuilt(children[rest[0]], rest[1:])
        return element.changed(children=tuple(children))

    return rebuilt(whole, path).encode()


def random_mutants(der: bytes, number: int, seed: int) -> Iterator[bytes]:
    """Yield `number` mutants of `der`, which are the same for the same seed and differ from `der`.

    Elements are removed, doubled, moved, truncated, get another tag, or are no longer DER. Bytes are changed, inserted
    or removed.
    """
    chance = random.Random(seed)  # noqa: S311 - the same mutants in every run
    [whole] = _read(der)
    paths = list(_paths(whole))
    while number:
        if chance.random() < 0.3:
            mutant = _other_bytes(der, chance)
        else:
            changed = _change_at(whole, chance.choice(paths), chance)
            if chance.random() < 0.1:
                changed = _change_at(changed, chance.choice(list(_paths(changed))), chance)
            mutant = changed.encode()
        if mutant != der:
            yield mutant
            number -= 1


def _other_bytes(der: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(der))
    length = chance.choice((1, 1, 1, 2, 4))
    start, end = der[:place], der[place:]
    return chance.choice(
        (
            start + bytes([end[0] ^ 1 << chance.randrange(8)]) + end[1:],
            start + chance.randbytes(length) + end[length:],
            start + chance.randbytes(length) + end,
            start + end[length:],
            start + end[:length] + end,
        )
    )


def _paths(element: _Element) -> Iterator[tuple[int, ...]]:
    """Yield the path of the element, which is `()`, and of each element inside."""
    yield ()
    for place, child in enumerate(element.children or ()):
        for path in _paths(child):
            yield (place, *path)


def _change_at(element: _Element, path: tuple[int, ...], chance: random.Random) -> _Element:
    """Change the element at `path` at random. If `path` is empty, change the encoding of the whole."""
    if not path:
        return _changed(element, chance)
    children = element.children or ()
    place, *rest = path
    if rest:
        changed: tuple[_Element, ...] = (_change_at(children[place], tuple(rest), chance),)
    else:
        changed = _in_place(children[place], children, chance)
    return element.changed(children=(*children[:place], *changed, *children[place + 1 :]))


def _in_place(element: _Element, siblings: tuple[_Element, ...], chance: random.Random) -> tuple[_Element, ...]:
    """Choose elements that replace a child."""
    stray = _Element(0, b"", None, chance.choice(_STRAYS))
    return chance.choice(
        (
            (),
            (element, element),
            (stray, element),
            (element, stray),
            (element, chance.choice(siblings)),
            (chance.choice(siblings),),
            *(((_changed(element, chance)),) for _ in range(6)),
        )
    )


def _changed(element: _Element, chance: random.Random) -> _Element:
    return chance.choice(_CHANGES)(element, chance)


def _shuffled(element: _Element, chance: random.Random) -> _Element:
    children = list(element.children or ())
    chance.shuffle(children)
    return element.changed(children=tuple(children)) if children else element.changed(contents=element.inside()[::-1])


def _with_longer_length(element: _Element, _: random.Random) -> _Element:
    """X.690 10.1 forbids a length that is not minimal."""
    inside = element.inside()
    length = _length(len(inside))
    longer = bytes([0x80 | len(length)]) + b"\x00" * (len(length) - 1) + length[-1:]
    return replace(element, verbatim=bytes([element.tag]) + longer + inside)


def _with_indefinite_length(element: _Element, _: random.Random) -> _Element:
    """X.690 10.1 forbids an indefinite length."""
    return replace(element, verbatim=bytes([element.tag, 0x80]) + element.inside() + b"\x00\x00")


_CHANGES: tuple[Callable[[_Element, random.Random], _Element], ...] = (
    lambda element, chance: element.changed(tag=chance.choice(_TAGS)),
    lambda element, chance: element.changed(tag=element.tag ^ 1 << chance.randrange(8)),
    lambda element, chance: element.changed(contents=chance.choice(_CONTENTS)),
    lambda element, _: element.changed(contents=element.inside()[:-1]),
    lambda element, _: element.changed(contents=element.inside()[1:]),
    lambda element, chance: element.changed(
        contents=element.inside() + chance.choice((b"\x00", b"\x80", b"\xff", b"\x05\x00"))
    ),
    lambda element, chance: element.changed(contents=chance.choice((b"\x00", b"\xff", b"\x80")) + element.inside()),
    _shuffled,
    _with_longer_length,
    _with_indefinite_length,
)


def _changes(element: _Element) -> Iterator[bytes]:
    """Yield each encoding that replaces the element: first an empty one, then the element twice."""
    encoded, data = element.encode(), element.contents
    yield b""
    yield encoded + encoded
    yield from (_encode(element.tag, contents) for contents in (*_CONTENTS, data[:-1], data[1:]))
    yield from (bytes([tag]) + encoded[1:] for tag in _TAGS)
    start = 0
    for child in element.children or ():
        end = start + len(child.encode())
        yield from (_encode(element.tag, data[:start] + changed + data[end:]) for changed in _changes(child))
        start = end


def _encode(tag: int, contents: bytes) -> bytes:
    return bytes([tag]) + _length(len(contents)) + contents


def _read(raw: bytes) -> tuple[_Element, ...]:
    """Read consecutive elements. Raises ValueError if they are not DER."""
    found = []
    while raw:
        contents, rest = _contents(raw)
        encoded = raw[: len(raw) - len(rest)]
        found.append(_Element(raw[0], contents, _children(raw[0], contents), encoded))
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
    data = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([0x80 | len(data)]) + data

"""Show the elements of a document, also of a malformed one, with their positions. No verdict depends on it.

The walker reads DER, and goes on where DER is violated as long as it finds elements. It notes each violation at the
element that has it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

from verifier.core.encoding import der
from verifier.core.encoding.der import DerError
from verifier.core.encoding.printable import printable
from verifier.core.encoding.structure_types import (
    BIT_STRING,
    BOOLEAN,
    CODECS,
    CONTENT_INFO,
    ENUMERATED,
    GENERALIZED_TIME,
    INTEGER,
    KEY_USAGES,
    NO_SHAPE,
    NULL,
    OID,
    OID_NAMES,
    SEQUENCE,
    SET,
    TYPES,
    UTC_TIME,
    Field,
    Shape,
)
from verifier.core.values import dataclass

MAX_NODES: Final = 2000
_MAX_DEPTH: Final = 32
#: The characters and bytes of a value that are shown. Longer object identifiers are shown in hex, because many would
#: take long to write.
_MAX_TEXT: Final = 96
_MAX_HEX: Final = 24
#: Longer integers are shown in hex, as serial numbers usually are.
_MAX_DECIMAL_BYTES: Final = 8

_CLASSES: Final = ("UNIVERSAL ", "APPLICATION ", "", "PRIVATE ")
_LONG_TAG: Final = 0x1F
_LONG_LENGTH: Final = 0x80
_MAX_TAG_BYTES: Final = 4
_MAX_LENGTH_BYTES: Final = 8
_TIME_BYTES: Final = 15
_FIRST_YEAR_OF_CENTURY: Final = b"50"
_UNKNOWN: Final = Field(name="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One element: its bytes are `header_length` + `length` bytes from `offset` on.

    `tag` is the type or, for other classes, the number in brackets. `name` is the field's name in RFC 5652 or RFC
    5280. `value` is a short text in printable ASCII. `error` is one sentence. Each is empty if there is none.
    """

    offset: int
    header_length: int
    length: int
    tag: str
    name: str = ""
    value: str = ""
    error: str = ""
    children: tuple["Node", ...] = ()

    @property
    def end(self) -> int:
        return self.offset + self.header_length + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """The elements of a document. `is_truncated` is True if it has more than MAX_NODES, or deeper ones."""

    root: Node
    is_truncated: bool


def read_structure(raw: bytes) -> Structure:
    """Read the elements of `raw`, which is not empty. Raises no exception. The time is linear in its size.

    Not checked: that the elements are those of a CMS SignedData. Unexpected ones have no name.
    """
    walker = _Walker(raw)
    field = CONTENT_INFO if raw[0] in CONTENT_INFO.tags else _UNKNOWN
    root = walker.read(0, len(raw), field, field.shape, depth=0)
    return Structure(root=root, is_truncated=walker.is_truncated)


class _Header(NamedTuple):
    """What tag and length say. `end` is None if the length is indefinite."""

    number: int
    tag: str
    is_universal: bool
    is_constructed: bool
    start: int
    end: int | None
    error: str


class _Walker:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._left = MAX_NODES
        self.is_truncated = False

    def read(self, offset: int, limit: int, field: Field, shape: Shape, *, depth: int) -> Node:
        """Read the element at `offset`, which is before `limit`, and what it contains."""
        self._left -= 1
        header = self._header(offset, limit)
        end = limit if header.end is None else header.end
        value, error = "", header.error
        children: tuple[Node, ...] = ()
        form = header.number if header.is_universal else field.reads_as
        if header.is_universal and header.number == 0:
            error = error or "DER has no end-of-contents."
        if header.is_constructed:
            children = self._members(header.start, end, shape, depth=depth, is_indefinite=header.end is None)
            if header.end is None and children:
                end = children[-1].end
            if header.is_universal and header.number not in {SEQUENCE, SET} and not error:
                error = "This type is primitive in DER."
        elif header.is_universal and header.number in {SEQUENCE, SET}:
            error = error or "This type is constructed in DER."
        else:
            if field.is_opened and shape is not NO_SHAPE:
                start = header.start + (form == BIT_STRING)
                children = self._members(start, end, shape, depth=depth)
            if not children:
                value, fault = _describe(form, self._raw[header.start : end], field)
                error = error or fault
        if depth == 0 and end < limit:
            error = error or f"{limit - end} bytes follow the element, from offset {end} on."
        return Node(
            offset=offset,
            header_length=header.start - offset,
            length=end - header.start,
            tag=header.tag,
            name=field.name,
            value=value,
            error=error,
            children=children,
        )

    def _members(
        self, start: int, end: int, shape: Shape, *, depth: int, is_indefinite: bool = False
    ) -> tuple[Node, ...]:
        """Read the elements from `start` to `end`, or up to the end-of-contents."""
        if depth == _MAX_DEPTH and start < end:
            self.is_truncated = True
            return ()
        found: list[Node] = []
        expected = shape.fields
        oid = ""
        while start < end:
            if not self._left:
                self.is_truncated = True
                break
            tag = self._raw[start]
            field = _UNKNOWN
            for index, one in enumerate(expected):
                if not one.tags or tag in one.tags:
                    field = one
                    expected = expected if shape.repeated else expected[index + 1 :]
                    break
            node = self.read(start, end, field, field.by_oid.get(oid, field.shape), depth=depth + 1)
            found.append(node)
            oid = oid or _oid_of(node)
            start = node.end
            if is_indefinite and tag == 0:
                break
        return tuple(found)

    def _header(self, offset: int, limit: int) -> _Header:
        raw = self._raw
        first = raw[offset]
        number, position, fault = first & _LONG_TAG, offset + 1, ""
        if number == _LONG_TAG:
            number = 0
            for position in range(offset + 1, min(offset + 1 + _MAX_TAG_BYTES, limit)):
                number = number << 7 | raw[position] & 0x7F
                if not raw[position] & 0x80:
                    break
            else:
                fault = "The number of the tag is too large, or it is cut off."
            position += 1
        is_universal = first >> 6 == 0
        name = TYPES.get(number) if is_universal else None
        start, end, fault = self._length(min(position, limit), limit) if not fault else (limit, limit, fault)
        return _Header(
            number=number,
            tag=name or f"[{_CLASSES[first >> 6]}{number}]",
            is_universal=is_universal,
            is_constructed=bool(first & der.CONSTRUCTED),
            start=start,
            end=end,
            error=fault,
        )

    def _length(self, position: int, limit: int) -> tuple[int, int | None, str]:
        """Return start and end of the contents, both at most `limit`, and what is wrong with the length."""
        if position >= limit:
            return limit, limit, "The element is cut off before its length."
        length, start, fault = self._raw[position], position + 1, ""
        if length == _LONG_LENGTH:
            return start, None, "The length is indefinite, which DER does not allow."
        if length > _LONG_LENGTH:
            size = length - _LONG_LENGTH
            if size > _MAX_LENGTH_BYTES or start + size > limit:
                return limit, limit, "The length is too large, or it is cut off."
            length = int.from_bytes(self._raw[start : start + size])
            start += size
            if length < _LONG_LENGTH or length >> 8 * (size - 1) == 0:
                fault = "The length has more bytes than it needs."
        if start + length > limit:
            return start, limit, f"The element is cut off: its length is {length}, but {limit - start} bytes are left."
        return start, start + length, fault


def _oid_of(node: Node) -> str:
    """Return the object identifier in the node: that of a type, or of an AlgorithmIdentifier."""
    if node.children:
        node = node.children[0]
    return node.value.partition(" ")[0] if node.tag == TYPES[OID] else ""


def _describe(form: int | None, contents: bytes, field: Field) -> tuple[str, str]:
    """Return the value of a primitive element, and what is wrong with it."""
    try:
        return _value(form, contents, field), ""
    except DerError as error:
        return _hex(contents), f"Not DER: {error}."


def _value(form: int | None, contents: bytes, field: Field) -> str:
    """Return the value of a primitive element of this type, or of an unknown one if `form` is None. Raises DerError."""
    if field.is_text:
        with suppress(DerError):
            return _text(contents, "utf-8")
        return _hex(contents)
    if field.name == "keyUsage" and form == BIT_STRING:
        return _key_usage(_bits(contents))
    if form is None:
        return _hex(contents)
    if form in CODECS:
        return _text(contents, CODECS[form])
    return _READERS.get(form, _hex)(contents)


def _integer(contents: bytes) -> str:
    number = der.integer(contents)
    return str(number) if len(contents) <= _MAX_DECIMAL_BYTES else _hex(contents)


def _boolean(contents: bytes) -> str:
    return "TRUE" if der.boolean(contents) else "FALSE"


def _null(contents: bytes) -> str:
    if contents:
        raise DerError("it has a NULL with contents")
    return ""


def _oid(contents: bytes) -> str:
    if len(contents) > _MAX_HEX:
        return _hex(contents)
    dotted = der.dotted(contents)
    name = OID_NAMES.get(dotted)
    return f"{dotted} ({name})" if name else _cut(dotted)


def _bits(contents: bytes) -> bytes:
    """Return the bytes of a BIT STRING without its count of unused bits. Raises DerError."""
    if not contents or contents[0] > 7 or (contents[0] and len(contents) == 1):  # noqa: PLR2004 - X.690 8.6.2
        raise DerError("it has a BIT STRING without a valid number of unused bits")
    return contents[1:]


def _key_usage(contents: bytes) -> str:
    bits = "".join(f"{byte:08b}" for byte in contents[:2])
    return ", ".join(name for name, bit in zip(KEY_USAGES, bits, strict=False) if bit == "1")


def _utc_time(contents: bytes) -> str:
    """Return the time in RFC 3339. The century is that of RFC 5280 4.1.2.5.1. Raises DerError."""
    century = b"19" if contents[:2] >= _FIRST_YEAR_OF_CENTURY else b"20"
    return _generalized_time(century + contents)


def _generalized_time(contents: bytes) -> str:
    """Return a time in the form of RFC 5280 4.1.2.5.2 in RFC 3339. Raises DerError."""
    if len(contents) == _TIME_BYTES and contents[:-1].isdigit() and contents.endswith(b"Z"):
        text = contents.decode("ascii")
        moment = f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:]}"
        with suppress(ValueError):
            # From Python 3.14 on, fromisoformat reads 24:00:00 as the next day.
            if contents[8:10] != b"24":
                datetime.fromisoformat(moment)
                return moment
    raise DerError("it has a time that is not in UTC to the second")


def _text(contents: bytes, codec: str) -> str:
    """Return the start of the text. Raises DerError."""
    try:
        text = contents.decode(codec)
    except UnicodeDecodeError as error:
        raise DerError(f"it has text that is not {codec}") from error
    return _cut(printable(text[: _MAX_TEXT + 1]))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."


def _hex(contents: bytes) -> str:
    return contents.hex() if len(contents) <= _MAX_HEX else f"{contents[:_MAX_HEX].hex()}..."


_READERS: Final[Mapping[int, Callable[[bytes], str]]] = {
    BOOLEAN: _boolean,
    INTEGER: _integer,
    BIT_STRING: lambda contents: _hex(_bits(contents)),
    NULL: _null,
    OID: _oid,
    ENUMERATED: _integer,
    UTC_TIME: _utc_time,
    GENERALIZED_TIME: _generalized_time,
}

"""Show the elements of a document, also of a malformed one, with their positions. No verdict depends on it.

The walker reads DER, and goes on where DER is violated as long as it finds elements. It notes each violation at the
element that has it. Not noted: the order of a SET OF, and a DEFAULT value that is encoded.
"""

from dataclasses import field
from typing import Final, NamedTuple

from verifier.core.encoding import der
from verifier.core.encoding.structure_types import (
    BIT_STRING,
    CONTENT_INFO,
    NO_SHAPE,
    OID,
    SEQUENCE,
    SET,
    TYPES,
    Field,
    Shape,
)
from verifier.core.encoding.structure_values import describe_value
from verifier.core.values import dataclass

MAX_NODES: Final = 2000
_MAX_DEPTH: Final = 32
_CLASSES: Final = ("UNIVERSAL ", "APPLICATION ", "", "PRIVATE ")
_LONG_TAG: Final = 0x1F
_LONG_LENGTH: Final = 0x80
_MAX_TAG_BYTES: Final = 4
_MAX_LENGTH_BYTES: Final = 8
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
    name: str
    value: str = field(repr=False)
    error: str
    children: tuple["Node", ...]

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
                value, fault = describe_value(form, self._raw[header.start : end], field)
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
        number, position, fault, remark = first & _LONG_TAG, offset + 1, "", ""
        if number == _LONG_TAG:
            number = 0
            for position in range(offset + 1, min(offset + 1 + _MAX_TAG_BYTES, limit)):
                number = number << 7 | raw[position] & 0x7F
                if not raw[position] & 0x80:
                    break
            else:
                fault = "The number of the tag is too large, or it is cut off."
            position += 1
            if number < _LONG_TAG or number >> 7 * (position - offset - 2) == 0:
                remark = "The tag has more bytes than it needs."
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
            error=fault or remark,
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

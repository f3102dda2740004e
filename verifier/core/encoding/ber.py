"""Read BER tolerantly (X.690 section 8), for documents that the exact reader refused. No verdict depends on it.

The reader accepts every form of length, also indefinite ones, and strings in segments. It reads the contents of an
element only on demand, and stops after MAX_TOLERATED_ELEMENTS elements.
"""

from verifier.core.bounds import MAX_DEPTH, MAX_TOLERATED_ELEMENTS
from verifier.core.encoding.der import CONSTRUCTED
from verifier.core.values import dataclass

_LONG_TAG = 0x1F
_LONG_LENGTH = 0x80
_END_OF_CONTENTS = b"\x00\x00"


class BerError(ValueError):
    """Report bytes that are not BER, or that have too many elements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """Locate one element: the positions of its encoding and of its contents."""

    tag: int
    start: int
    contents_start: int
    contents_end: int
    end: int


class BerReader:
    """Read elements of `raw`. Every method raises BerError."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._left = MAX_TOLERATED_ELEMENTS

    def whole(self) -> Element:
        """Return the first element, and ignore the bytes after it."""
        return self._element(0, len(self._raw), depth=0)

    def children(self, parent: Element) -> list[Element]:
        found: list[Element] = []
        position = parent.contents_start
        while position < parent.contents_end:
            found.append(self._element(position, parent.contents_end, depth=0))
            position = found[-1].end
        return found

    def encoding(self, element: Element) -> bytes:
        return self._raw[element.start : element.end]

    def contents(self, element: Element) -> bytes:
        return self._raw[element.contents_start : element.contents_end]

    def string(self, element: Element) -> bytes:
        """Return the contents of a string, and join its segments if it has any (X.690 8.7.3)."""
        if not element.tag & CONSTRUCTED:
            return self.contents(element)
        return b"".join(self.contents(segment) for segment in self.children(element))

    def _element(self, start: int, limit: int, *, depth: int) -> Element:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise BerError("too many elements")
        if start + 2 > limit or self._raw[start] & _LONG_TAG == _LONG_TAG:
            raise BerError("no element")
        tag, length, contents = self._raw[start], self._raw[start + 1], start + 2
        if length == _LONG_LENGTH:
            end = self._end_of_contents(contents, limit, depth=depth)
            return Element(tag=tag, start=start, contents_start=contents, contents_end=end, end=end + 2)
        if length > _LONG_LENGTH:
            size = length - _LONG_LENGTH
            length = int.from_bytes(self._raw[contents : min(contents + size, limit)])
            contents += size
        if contents + length > limit:
            raise BerError("truncated")
        end = contents + length
        return Element(tag=tag, start=start, contents_start=contents, contents_end=end, end=end)

    def _end_of_contents(self, position: int, limit: int, *, depth: int) -> int:
        while self._raw[position : position + 2] != _END_OF_CONTENTS:
            position = self._element(position, limit, depth=depth + 1).end
        return position

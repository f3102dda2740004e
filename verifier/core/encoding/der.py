"""Read the Distinguished Encoding Rules (X.690 section 10) without skipping a byte.

`Reader` takes the elements of one constructed element in order. Each call names the tag that must come next, and `end`
refuses the rest. Lengths, integers and object identifiers must be minimal. So each value has one encoding, and two
parsers cannot read it in two ways.
"""

from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from verifier.core.bounds import MAX_DEPTH, MAX_ELEMENTS, MAX_OID_BYTES

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30
SET = 0x31
CONSTRUCTED = 0x20
#: [0], [1] and [3], constructed.
CONTEXT_0, CONTEXT_1, CONTEXT_3 = 0xA0, 0xA1, 0xA3

NULL = b"\x05\x00"

_LONG_TAG = 0x1F
_LONG_LENGTH = 0x80
_TWO_BYTES = 0x82
#: Evidence within the size limit needs no longer length.
_MAX_LENGTH_BYTES = 4


class DerError(ValueError):
    """Report bytes that are not the expected DER. The message continues a sentence about `it`."""


class BoundError(DerError):
    """Report an element that exceeds a bound. `excess` names the bound."""

    def __init__(self, limit: int, things: str) -> None:
        self.excess = f"more than {limit} {things}"
        super().__init__(f"it has {self.excess}")


class Reader:
    """Read the elements inside `raw[start:limit]` in order. Every method raises DerError."""

    __slots__ = ("_limit", "_position", "_raw")

    def __init__(self, raw: bytes, start: int = 0, limit: int | None = None) -> None:
        self._raw = raw
        self._position = start
        self._limit = len(raw) if limit is None else limit

    def has_more(self) -> bool:
        return self._position < self._limit

    def has_next(self, tag: int) -> bool:
        return self._position < self._limit and self._raw[self._position] == tag

    def element(self, tag: int) -> bytes:
        """Take the next element, and return its whole encoding."""
        start = self._position
        self._take(tag)
        return self._raw[start : self._position]

    def contents(self, tag: int) -> bytes:
        """Take the next element, and return its contents."""
        start = self._take(tag)
        return self._raw[start : self._position]

    def inside(self, tag: int) -> "Reader":
        """Take the next element, and return a reader of its contents."""
        start = self._take(tag)
        return Reader(self._raw, start, self._position)

    def enter(self, tag: int) -> None:
        """Go into the next element, which must be the last one."""
        start = self._take(tag)
        self.end()
        self._position = start

    def any_contents(self) -> tuple[int, bytes]:
        """Take the next element of any tag, and return its tag and contents."""
        position = self._position
        start, self._position = _contents(self._raw, position, self._limit)
        return self._raw[position], self._raw[start : self._position]

    def any_element(self) -> bytes:
        """Take the next element of any tag, and return its whole encoding."""
        position = self._position
        _, self._position = _contents(self._raw, position, self._limit)
        return self._raw[position : self._position]

    def end(self) -> None:
        """Refuse any remaining bytes."""
        if self._position != self._limit:
            raise DerError("it has bytes or elements that do not belong in it")

    def _take(self, tag: int) -> int:
        """Move past the next element, and return the position of its contents."""
        raw, position, limit = self._raw, self._position, self._limit
        if position >= limit:
            raise DerError("it lacks an element")
        if raw[position] != tag:
            raise DerError(f"it has an element of tag {raw[position]:#04x} instead of {tag:#04x}")
        start, end = position + 2, limit + 1
        # A fast path for the two usual forms of a length. Everything else is for _contents.
        if start <= limit:
            length = raw[position + 1]
            if length < _LONG_LENGTH:
                end = start + length
            elif length == _TWO_BYTES and start + 2 <= limit and raw[start]:
                end = start + 2 + (raw[start] << 8 | raw[start + 1])
                start += 2
        if end > limit:
            start, end = _contents(raw, position, limit)
        self._position = end
        return start


def integer(contents: bytes) -> int:
    """Read the contents of a minimal INTEGER (X.690 8.3.2). Raises DerError."""
    if not contents:
        raise DerError("it has an empty INTEGER")
    if len(contents) > 1 and (contents[0], contents[1] >> 7) in {(0x00, 0), (0xFF, 1)}:
        raise DerError("it has an INTEGER in more bytes than it needs")
    return int.from_bytes(contents, signed=True)


def boolean(contents: bytes) -> bool:
    """Read the contents of a BOOLEAN (X.690 11.1). Raises DerError."""
    if contents not in {b"\x00", b"\xff"}:
        raise DerError("it has a BOOLEAN that is neither TRUE nor FALSE")
    return contents == b"\xff"


def whole_bytes(contents: bytes) -> bytes:
    """Read the contents of a BIT STRING without unused bits (X.690 8.6.2). Raises DerError."""
    if contents[:1] != b"\x00":
        raise DerError("it has a BIT STRING that does not consist of whole bytes")
    return contents[1:]


@lru_cache(maxsize=512)
def dotted(contents: bytes) -> str:
    """Read the contents of an OBJECT IDENTIFIER (X.690 8.19) of at most MAX_OID_BYTES. Raises DerError."""
    if len(contents) > MAX_OID_BYTES:
        raise BoundError(MAX_OID_BYTES, "bytes in an object identifier")
    if not contents or contents[-1] & 0x80:
        raise DerError("it has an object identifier that does not end")
    arcs: list[int] = []
    arc = 0
    at_start = True
    for byte in contents:
        if at_start and byte == 0x80:  # noqa: PLR2004 - X.690 8.19.2
            raise DerError("it has an object identifier in more bytes than it needs")
        arc = arc << 7 | byte & 0x7F
        at_start = not byte & 0x80
        if at_start:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def check(raw: bytes, *, max_elements: int = MAX_ELEMENTS) -> int:
    """Check one element and all that it contains, and return the number of elements, itself included.

    `raw` must be exactly one element. Every element has a short tag and a minimal length that ends inside its parent.
    The depth is at most MAX_DEPTH. The time is linear in the size of `raw`. Raises DerError.
    Not checked: primitive contents, the order of SET OF, and elements inside OCTET STRINGs.
    """
    if not raw:
        raise DerError("it is truncated")
    ends = [len(raw)]
    position = 0
    count = 0
    while True:
        while ends and position == ends[-1]:
            ends.pop()
        if not ends:
            return count
        if len(ends) == 1 and position:
            raise DerError("it has bytes after the element")
        count += 1
        if count > max_elements:
            raise BoundError(max_elements, "elements")
        if len(ends) > MAX_DEPTH:
            raise DerError("it is nested too deeply")
        tag = raw[position]
        start, end = _contents(raw, position, ends[-1])
        if tag & CONSTRUCTED:
            ends.append(end)
            position = start
        elif tag in {SEQUENCE & ~CONSTRUCTED, SET & ~CONSTRUCTED}:
            raise DerError("it has a SEQUENCE or SET that is not constructed")
        else:
            position = end


def children(raw: bytes) -> tuple[bytes, ...]:
    """Return the encodings of the elements inside the one constructed element `raw`. Raises DerError."""
    position, limit = _contents(raw, 0, len(raw))
    if limit != len(raw):
        raise DerError("it has bytes after the element")
    found: list[bytes] = []
    while position < limit:
        _, end = _contents(raw, position, limit)
        found.append(raw[position:end])
        position = end
    return tuple(found)


def from_certificate(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _contents(raw: bytes, position: int, limit: int) -> tuple[int, int]:
    """Return the start and end of the contents of the element at `position`. Raises DerError past `limit`."""
    start = position + 2
    if start > limit:
        raise DerError("it is truncated")
    if raw[position] & _LONG_TAG == _LONG_TAG:
        raise DerError("it has a tag number above 30")
    length = raw[position + 1]
    if length >= _LONG_LENGTH:
        size = length - _LONG_LENGTH
        if not size:
            raise DerError("it has an indefinite length")  # X.690 10.1
        if size > _MAX_LENGTH_BYTES or start + size > limit:
            raise DerError("it is truncated")
        length = int.from_bytes(raw[start : start + size])
        start += size
        # X.690 10.1: the first byte is not 0, and a length of at most 7 bits has the short form.
        if length < _LONG_LENGTH or length >> 8 * (size - 1) == 0:
            raise DerError("it has a length in more bytes than it needs")
    end = start + length
    if end > limit:
        raise DerError("it is truncated")
    return start, end

"""Distinguished Encoding Rules (X.690 section 10), checked before any parser that forgives reads the bytes.

asn1crypto reads BER: indefinite lengths, lengths in more octets than they need, trailing octets. Evidence
is DER or it is refused, so that two parsers can never see two things in it.
"""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

#: Real documents are 12 deep and have about 300 elements; eight embedded certificates have about 1,500.
MAX_DEPTH = 32
MAX_ELEMENTS = 4096

_CONSTRUCTED = 0x20
_SEQUENCE = 0x30
_SET = 0x31
_LONG_TAG = 0x1F
_LONG_LENGTH = 0x80
#: No length beyond 4 octets is minimal for anything that passes the size limit.
_MAX_LENGTH_OCTETS = 4


class DerError(ValueError):
    """The octets are not the DER that was asked for."""


def check(raw: bytes) -> None:
    """`raw` is exactly one element, and every element in it has a short tag, and a definite, minimal length
    that ends where its parent says; it is at most MAX_DEPTH deep and has at most MAX_ELEMENTS elements.

    Not checked: primitive contents, the order of SET OF, and what is wrapped in OCTET STRINGs. Linear in the
    size of `raw`, and not recursive. Raises DerError.
    """
    if not raw:
        raise DerError("truncated")
    ends = [len(raw)]
    position = 0
    count = 0
    while True:
        while ends and position == ends[-1]:
            ends.pop()
        if not ends:
            return
        if len(ends) == 1 and position:
            raise DerError("octets behind the element")
        count += 1
        if count > MAX_ELEMENTS:
            raise DerError("too many elements")
        if len(ends) > MAX_DEPTH:
            raise DerError("nested too deep")
        tag = raw[position]
        start, end = _contents(raw, position, ends[-1])
        if tag & _CONSTRUCTED:
            ends.append(end)
            position = start
        elif tag in {_SEQUENCE & ~_CONSTRUCTED, _SET & ~_CONSTRUCTED}:
            raise DerError("a SEQUENCE or SET that is not constructed")
        else:
            position = end


def children(raw: bytes) -> tuple[bytes, ...]:
    """The encodings of the elements inside the one constructed element `raw`. Raises DerError."""
    start, end = _contents(raw, 0, len(raw))
    if end != len(raw):
        raise DerError("octets behind the element")
    found: list[bytes] = []
    while start < end:
        _, stop = _contents(raw, start, end)
        found.append(raw[start:stop])
        start = stop
    return tuple(found)


def set_of(elements: tuple[bytes, ...]) -> bytes:
    """The DER encoding of a SET OF these encodings: in ascending order of their octets (X.690 11.6)."""
    contents = b"".join(sorted(elements))
    return bytes([_SET]) + _length(len(contents)) + contents


def from_certificate(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _contents(raw: bytes, position: int, limit: int) -> tuple[int, int]:
    """Where the contents of the element at `position` start and end, inside `limit`."""
    if position + 2 > limit:
        raise DerError("truncated")
    if raw[position] & _LONG_TAG == _LONG_TAG:
        raise DerError("a tag number above 30")
    length = raw[position + 1]
    start = position + 2
    if length >= _LONG_LENGTH:
        octets = length - _LONG_LENGTH
        if not octets:
            raise DerError("indefinite length")  # X.690 10.1
        if octets > _MAX_LENGTH_OCTETS or start + octets > limit:
            raise DerError("truncated")
        length = int.from_bytes(raw[start : start + octets])
        start += octets
        if _length(length) != raw[position + 1 : start]:
            raise DerError("a length in more octets than it needs")  # X.690 10.1
    if start + length > limit:
        raise DerError("truncated")
    return start, start + length


def _length(length: int) -> bytes:
    if length < _LONG_LENGTH:
        return bytes([length])
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([_LONG_LENGTH + len(octets)]) + octets

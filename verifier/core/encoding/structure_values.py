"""Write the value of one primitive element as a short text in printable ASCII, for people."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from verifier.core.encoding import der
from verifier.core.encoding.der import DerError
from verifier.core.encoding.oid_names import OID_NAMES
from verifier.core.encoding.printable import printable
from verifier.core.encoding.structure_types import (
    BIT_STRING,
    BOOLEAN,
    CODECS,
    ENUMERATED,
    GENERALIZED_TIME,
    INTEGER,
    KEY_USAGES,
    NULL,
    OID,
    UTC_TIME,
    Field,
)

#: The characters and bytes of a value that are shown. Longer object identifiers are shown in hex, because many would
#: take long to write.
_MAX_TEXT: Final = 96
_MAX_HEX: Final = 24
#: Longer integers are shown in hex, as serial numbers usually are.
_MAX_DECIMAL_BYTES: Final = 8
#: From Python 3.14 on, fromisoformat reads 24:00:00 as the next day.
_TIME: Final = re.compile(rb"[0-9]{8}(?:[01][0-9]|2[0-3])[0-9]{4}Z")
_FIRST_YEAR_OF_CENTURY: Final = b"50"


def describe_value(form: int | None, contents: bytes, field: Field) -> tuple[str, str]:
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
    if field.name == "keyUsage":
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
    return f"{dotted} ({name})" if name else dotted


def _bits(contents: bytes) -> bytes:
    """Return the bytes of a BIT STRING without its count of unused bits. Raises DerError."""
    unused, bits = contents[:1], contents[1:]
    if unused == b"\0":
        return bits
    if not bits or unused > b"\7":  # X.690 8.6.2
        raise DerError("it has a BIT STRING without a valid number of unused bits")
    if bits[-1] & (1 << contents[0]) - 1:  # X.690 11.2.1
        raise DerError("it has a BIT STRING with unused bits that are not zero")
    return bits


def _key_usage(contents: bytes) -> str:
    bits = (bit for byte in contents for bit in f"{byte:08b}")
    return ", ".join(name for name, bit in zip(KEY_USAGES, bits, strict=False) if bit == "1")


def _utc_time(contents: bytes) -> str:
    """Return the time in RFC 3339. The century is that of RFC 5280 4.1.2.5.1. Raises DerError."""
    century = b"19" if contents >= _FIRST_YEAR_OF_CENTURY else b"20"
    return _generalized_time(century + contents)


def _generalized_time(contents: bytes) -> str:
    """Return a time in the form of RFC 5280 4.1.2.5.2 in RFC 3339. Raises DerError."""
    if _TIME.fullmatch(contents):
        text = contents.decode("ascii")
        moment = f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:14]}Z"
        with suppress(ValueError):
            datetime.fromisoformat(moment)
            return moment
    raise DerError("it has a time that is not in UTC to the second")


def _text(contents: bytes, codec: str) -> str:
    """Return the start of the text. Raises DerError."""
    try:
        text = contents.decode(codec)
    except UnicodeDecodeError as error:
        raise DerError(f"it has text that is not {codec}") from error
    shown = printable(text[: _MAX_TEXT + 1])
    return shown if len(shown) <= _MAX_TEXT else f"{shown[:_MAX_TEXT]}..."


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

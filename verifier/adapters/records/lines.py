"""Write and read versioned lines of ASCII: JSON arrays whose first member is the format."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import PlainValidator

from verifier.core.encoding.formats import explain_newer_format
from verifier.ports.stores import StoreUnavailable

#: The first member of each record. A change of the layout needs a new number. Unknown numbers are refused.
FORMAT = 1

#: The detail of StoreUnavailable. It does not quote the record.
UNREADABLE = "The trust registry holds a record that this release cannot read."
_RECORD = "The trust registry holds a record that"

_T = TypeVar("_T")

Der = Annotated[bytes, PlainValidator(b64decode)]


def dump(*members: object, format_: int = FORMAT) -> str:
    return json.dumps([format_, *members], separators=(",", ":"))


def to_base64(der: bytes) -> str:
    return b64encode(der).decode("ascii")


def writable(text: str) -> str:
    """Return the text with `?` in place of unpaired surrogates."""
    # JSON would join two adjacent halves of a surrogate pair and return a different text.
    return text.encode("utf-8", "replace").decode("utf-8")


def decode(encoded: str, read: Callable[[str], _T], encode: Callable[[_T], str], *, known: int = FORMAT) -> _T:
    """Read a record that `encode` could have written. Raises StoreUnavailable for any other text.

    `known` is the latest format of such a record.
    """
    try:
        value = read(encoded)
        # The comparison refuses every variant, such as spaces, true for 1, other escapes, another order, duplicates.
        if encode(value) == encoded:
            return value
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    raise StoreUnavailable(explain_newer_line(_RECORD, encoded, known) or UNREADABLE)


def explain_newer_line(name: str, encoded: str, known: int) -> str | None:
    """Return a sentence if the line is an array whose first member is a format above `known`. Return None otherwise."""
    try:
        members = json.loads(encoded)
    except (ValueError, RecursionError):
        return None
    explained = explain_newer_format(name, members[0], known) if isinstance(members, list) and members else None
    return explained and f"{explained}."

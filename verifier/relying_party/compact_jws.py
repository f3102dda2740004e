"""Read a compact JWS (RFC 7515 section 7.1) strictly, so that no two parsers read it differently."""

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass, field

#: Several times the size of a result token, and less than the header limit of common web servers.
MAX_BYTES = 8 * 1024
_MAX_BRACKETS = 64
_SEGMENTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)", re.ASCII)
_JSON_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)

Json = dict[str, object]


class JwsError(ValueError):
    """Report a malformed JWS. The message quotes no part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactJws:
    """Hold the parts of a JWS. Not checked: the signature. Read the payload only after that."""

    header: Json
    signing_input: bytes
    payload_bytes: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def payload(self) -> Json:
        """Return the claims. Raises JwsError."""
        return read_object(self.payload_bytes)


def is_too_large(text: str) -> bool:
    """Tell whether the text has more than MAX_BYTES in UTF-8."""
    return len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES


def read_jws(text: str) -> CompactJws:
    """Split a JWS that `is_too_large` does not refuse, and decode its header. Raises JwsError."""
    match = _SEGMENTS.fullmatch(text)
    if match is None:
        raise JwsError("it is not three base64url segments")
    header, payload, signature = match.groups()
    return CompactJws(
        header=read_object(decode_segment(header)),
        signing_input=f"{header}.{payload}".encode("ascii"),
        payload_bytes=decode_segment(payload),
        signature=decode_segment(signature),
    )


def decode_segment(segment: str) -> bytes:
    """Decode base64url without padding. Raises JwsError for a second spelling of the same bytes."""
    try:
        decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error as error:
        raise JwsError("it has a segment that is not base64url") from error
    if encode_segment(decoded) != segment:
        raise JwsError("it has a segment that is not canonical base64url")
    return decoded


def encode_segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def read_object(data: bytes) -> Json:
    """Decode one JSON object. Raises JwsError.

    Refuses duplicate names, lone surrogates, numbers that are not finite, and deep nesting.
    """
    try:
        text = data.decode("utf-8")
        _check_brackets(text)
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_integer
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate cannot be encoded
    except JwsError:
        raise
    except ValueError as error:
        raise JwsError("it is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise JwsError("it is not a JSON object")
    return value


def _check_brackets(text: str) -> None:
    bare = _JSON_STRING.sub("", text)
    if bare.count("{") + bare.count("[") > _MAX_BRACKETS:
        raise JwsError("its JSON is too complex")


def _object(pairs: list[tuple[str, object]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JwsError("its JSON has a duplicate name")
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JwsError("its JSON has a number that is not finite")
    return number


def _integer(digits: str) -> int:
    """Refuse what is infinite as a float, because JavaScript reads it so."""
    _finite(digits)
    return int(digits)


def _refuse_constant(name: str) -> float:
    """Refuse NaN and Infinity, which RFC 8259 does not have."""
    raise ValueError(name)

"""Read one JSON object, and refuse everything that two parsers could read differently (RFC 8259 section 4)."""

import json
import math
import re

from verifier.core.bounds import MAX_JSON_DEPTH, MAX_JSON_VALUES

# A string without an end matches to the end of the text, and json.loads refuses it. Without this, the search would
# start again at each escaped quote and take quadratic time.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


class JsonError(ValueError):
    """Report bytes that are not a strict JSON object. The message says why, and quotes no byte of them."""


def decode(raw: bytes) -> dict[str, object]:
    """Decode the one JSON object in `raw`, which is UTF-8 without a byte order mark. See `decode_text`."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError("it is not UTF-8") from error
    return decode_text(text)


def decode_text(text: str, *, most_values: int = MAX_JSON_VALUES) -> dict[str, object]:
    """Decode the one JSON object in `text`. Raises JsonError.

    Duplicate names, NaN, infinity and lone surrogates are refused. The depth is at most MAX_JSON_DEPTH, and there are
    at most `most_values` members and elements. The time is linear in the size of `text`, which the caller bounds.
    """
    _check_bounds(text, most_values)
    try:
        value = _DECODER.decode(text)
        # The search for one character is thirty times faster, and most texts have no escapes.
        if "\\" in text and "\\u" in text:
            # A lone surrogate is not Unicode text (RFC 8259 section 8.2), and stores and logs cannot encode it. It can
            # only come from an escape, because UTF-8 has none.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except JsonError:
        raise
    except UnicodeEncodeError as error:
        raise JsonError("it has a lone surrogate") from error
    except json.JSONDecodeError as error:
        raise JsonError(_explain(error)) from error
    if not isinstance(value, dict):
        raise JsonError("it is not a JSON object")
    return value


def _explain(error: json.JSONDecodeError) -> str:
    if error.msg.startswith("Invalid control character"):
        return "it has a line break or tab inside a string"
    if error.msg.startswith("Extra data"):
        return "it has text after its end"
    if error.msg.startswith("Unterminated string") or not error.doc[error.pos :].strip():
        return "it ends too early"
    return "it is not JSON"


def _check_bounds(text: str, most_values: int) -> None:
    """Refuse a text that exceeds the bounds, before any object is built.

    The first count includes brackets and commas in strings. Only if it is too high, a second count ignores strings.
    """
    openings = _openings(text)
    if openings <= MAX_JSON_DEPTH and openings + text.count(",") <= most_values:
        return
    bare = _STRING.sub("", text)
    # Each object and array has at most one value more than commas.
    if _openings(bare) + bare.count(",") > most_values:
        raise JsonError(f"it has more than {most_values} members and elements")
    depth = 0
    for bracket in _BRACKET.finditer(bare):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > MAX_JSON_DEPTH:
            raise JsonError(f"it is nested deeper than {MAX_JSON_DEPTH}")


def _openings(text: str) -> int:
    return text.count("{") + text.count("[")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("it has a duplicate name")
    return found


def _finite(digits: str) -> float:
    """Read a number or one of the constants NaN, Infinity and -Infinity, which are refused."""
    number = float(digits)
    if not math.isfinite(number):
        raise JsonError("it has a number that is not finite")
    return number


def _integer(digits: str) -> int:
    # Parsers read longer numbers differently (RFC 7493 section 2.2), and converting them takes quadratic time.
    if len(digits.lstrip("-")) > 19:  # noqa: PLR2004 - the digits of 2**63
        raise JsonError("it has a number that is too long")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_finite, parse_float=_finite, parse_int=_integer)

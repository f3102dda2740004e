"""One JSON object, read without anything that two readers could understand in two ways (RFC 8259 section 4)."""

import json
import math
import re
from typing import NoReturn

from verifier.core.bounds import MAX_JSON_DEPTH, MAX_JSON_VALUES

# One that does not end is taken to the end of the text: to look for a later beginning of it, at each escaped quote,
# would take quadratic time. json.loads refuses it.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


class JsonError(ValueError):
    """The bytes are not the JSON object that was asked for; the message says why, and quotes none of them."""


def decode(raw: bytes) -> dict[str, object]:
    """The one JSON object in `raw`: UTF-8 with no byte order mark, no name twice in any object, no NaN or
    infinity, no lone surrogate, nested at most MAX_JSON_DEPTH deep, with at most MAX_JSON_VALUES members and elements.

    Linear in the size of `raw`, which the caller bounds. Raises JsonError.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError("it is not UTF-8") from error
    _check_bounds(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_integer
        )
        if "\\u" in text:
            # A lone surrogate is no Unicode text (RFC 8259 section 8.2), and no store or log could take it. Only an
            # escape makes one: UTF-8 has none.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except JsonError:
        raise
    except UnicodeEncodeError as error:
        raise JsonError("it has a lone surrogate") from error
    except ValueError as error:
        raise JsonError("it is not JSON") from error
    if not isinstance(value, dict):
        raise JsonError("it is not a JSON object")
    return value


def _check_bounds(text: str) -> None:
    """Count before anything is built. What is in strings counts as well, until there is too much."""
    if _openings(text) <= MAX_JSON_DEPTH and _values(text) <= MAX_JSON_VALUES:
        return
    bare = _STRING.sub("", text)
    if _values(bare) > MAX_JSON_VALUES:
        raise JsonError(f"it has more than {MAX_JSON_VALUES} members and elements")
    depth = 0
    for bracket in _BRACKET.finditer(bare):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > MAX_JSON_DEPTH:
            raise JsonError(f"it is nested deeper than {MAX_JSON_DEPTH}")


def _openings(text: str) -> int:
    return text.count("{") + text.count("[")


def _values(text: str) -> int:
    """At least as many as there are: each object and array has one more than it has commas, or none."""
    return text.count(",") + _openings(text)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("it has one name twice")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise JsonError("it has a number that is none")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JsonError("it has a number that is none")
    return number


def _integer(digits: str) -> int:
    # RFC 7493 section 2.2: a longer one is not read alike everywhere, and takes quadratic time to read.
    if len(digits.lstrip("-")) > 19:  # noqa: PLR2004 - the digits of 2**63
        raise JsonError("it has a number that is too long")
    return int(digits)

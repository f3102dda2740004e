"""strict_json.decode refuses the bytes, or returns what json.loads returns, within the bounds."""

import json
import math
from collections.abc import Iterator

from verifier.core.bounds import MAX_JSON_DEPTH, MAX_JSON_VALUES
from verifier.core.encoding.strict_json import JsonError, decode


def check(data: bytes) -> bool:
    """Check the property for one input, and return whether it is accepted."""
    try:
        value = decode(data)
    except JsonError:
        return False
    assert json.loads(data, object_pairs_hook=_unique) == value
    assert isinstance(value, dict)
    values = list(_values(value, 1))
    assert len(values) - 1 <= MAX_JSON_VALUES
    assert max(depth for depth, _ in values) <= MAX_JSON_DEPTH + 1  # a value in the deepest container
    assert all(math.isfinite(found) for _, found in values if isinstance(found, float))
    # Each text can be stored and logged.
    again = json.dumps(value, ensure_ascii=False).encode("utf-8")
    assert decode(again) == value
    return True


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def _values(value: object, depth: int) -> Iterator[tuple[int, object]]:
    """Yield the value and all values inside, each with its depth."""
    yield depth, value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inside:
        yield from _values(one, depth + 1)

"""Name an unknown field of a JSON object, and the known one that the sender probably meant."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

# A field name that a sentence may repeat: no control character, no markup, bounded.
_QUOTABLE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def explain_unknown_field(name: str, known: Iterable[str]) -> str:
    """Return two sentences: the unknown field, then the nearest known one or the list of all."""
    names = list(known)
    is_quotable = _QUOTABLE.fullmatch(name) is not None
    nearest = find_nearest(name, names) if is_quotable else None
    hint = f"Did you mean '{nearest}'?" if nearest else f"Known fields: {', '.join(names)}."
    return f"Unknown field '{name}'. {hint}" if is_quotable else f"Unknown field. {hint}"


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is nearest to `name`, which the caller bounds, or None if no name is near."""
    names = {one.lower(): one for one in known}
    closest = get_close_matches(name.lower(), names, n=1)
    return names[closest[0]] if closest else None

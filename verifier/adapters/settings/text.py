"""The settings in force as text for an operator: everything that counts, and nothing that lets anybody in."""

import json
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from verifier.adapters.settings.settings import Settings

MASK = "***"
#: Of a key's hash, enough to tell it from others.
_SHOWN_DIGITS = 12
_KEY_HASH = re.compile(r"[0-9a-f]{64}")


def settings_text(settings: Settings) -> str:
    """One JSON object: names as in the settings file, values as they are in force, with passwords masked and hashes
    of keys shortened. What a table does not set is not shown."""
    shown = {name: _show(getattr(settings, name)) for name in Settings.model_fields}
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _show(value: object) -> object:  # noqa: PLR0911 - one a kind of value
    match value:
        case SecretStr():
            return mask_url(value.get_secret_value())
        case BaseModel():
            return _show(value.model_dump(by_alias=True, exclude_defaults=True))
        case Enum():
            return value.value
        case Path():
            return str(value)
        case str():
            return f"{value[:_SHOWN_DIGITS]}…" if _KEY_HASH.fullmatch(value) else value
        case Mapping():
            return {str(name): _show(one) for name, one in value.items()}
        case frozenset():
            return sorted(str(_show(one)) for one in value)
        case Iterable():
            return [_show(one) for one in value]
        case _:
            return value


def mask_url(url: str) -> str:
    """The URL with its password masked, and all of its query's values; MASK alone where it is no URL whose parts are
    beyond doubt, since a password with a reserved character may be anywhere in it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return MASK
    user_info, at, host = parts.netloc.rpartition("@")
    if not url.startswith(f"{parts.scheme}://") or "@" in f"{user_info}{parts.path}{parts.query}{parts.fragment}":
        return MASK
    if at:
        user, colon, _ = user_info.partition(":")
        # Some clients take a password without a user, and without the colon too.
        host = f"{user}:{MASK}@{host}" if colon else f"{MASK}@{host}"
    query = "&".join(f"{pair.partition('=')[0]}={MASK}" for pair in parts.query.split("&") if "=" in pair)
    masked = f"{parts.scheme}://{host}{parts.path}"
    return masked + (f"?{query or MASK}" if parts.query else "") + (f"#{MASK}" if parts.fragment else "")

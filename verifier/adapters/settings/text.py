"""Format the settings for an operator, without secrets."""

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from verifier.adapters.settings.settings import Settings

MASK = "***"
#: The digits of a key's hash that are shown: enough to distinguish keys.
_SHOWN_DIGITS = 12
#: The secret settings whose value is a URL with a password.
_URLS = frozenset({"decision_store", "nonce_store"})
_KEY_HASH = re.compile(r"[0-9a-f]{64}")


def settings_text(settings: Settings) -> str:
    """Format the settings as one JSON object, with the names of the settings file.

    Passwords are masked, and hashes of keys are shortened. Tables omit defaults.
    """
    shown = {name: _show_setting(name, getattr(settings, name)) for name in Settings.model_fields}
    return json.dumps(shown, indent=2, ensure_ascii=False, default=str)


def _show_setting(name: str, value: object) -> object:
    """Mask a secret that is no URL as a whole, also if it looks like one."""
    return MASK if isinstance(value, SecretStr) and name not in _URLS else _show(value)


def _show(value: object) -> object:  # noqa: PLR0911 - one return per type of value
    match value:
        case SecretStr():
            return mask_url(value.get_secret_value())
        case BaseModel():
            return _show(value.model_dump(by_alias=True, exclude_defaults=True))
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
    """Mask the password and all query values of a URL.

    Return only MASK if the parts of the URL are ambiguous: a password with a reserved character may be in any part.
    """
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
        # Some clients accept a password without a user name and without a colon.
        host = f"{user}:{MASK}@{host}" if colon else f"{MASK}@{host}"
    query = "&".join(f"{pair.partition('=')[0]}={MASK}" for pair in parts.query.split("&") if "=" in pair)
    masked = f"{parts.scheme}://{host}{parts.path}"
    return masked + (f"?{query or MASK}" if parts.query else "") + (f"#{MASK}" if parts.fragment else "")

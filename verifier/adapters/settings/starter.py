"""Write a starter file with every setting, and the defaults of the settings as text."""

import json
import re
import textwrap
from collections.abc import Iterator
from enum import StrEnum

from verifier.adapters.settings.file import FORMAT, FORMAT_KEY
from verifier.adapters.settings.reference import REFERENCE, TABLES
from verifier.adapters.settings.settings import PREFIX, Settings
from verifier.core.trust.clouds import Cloud

_WIDTH = 100
_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")
_TABLES = ("policies", "admin_keys", "tenants")

_HEAD = f"""\
# Settings of imds-verifier. Run it: VERIFIER_CONFIG=THIS_FILE imds-verifier serve
# Check it: imds-verifier config check THIS_FILE
#
# A line that starts with # and no space is a setting that is not set. Remove the # to set it. The values shown are the
# defaults, or examples if there is no default. Environment variables override this file: {PREFIX}PORT is port. A secret
# can be in another file: {PREFIX}NONCE_STORE_FILE names the file that holds nonce_store.

# The format of this file. A release refuses a newer format than it knows.
{FORMAT_KEY} = {FORMAT}
"""

_CLOUDS = """\
#
# Why name them: the trust bundle lists certificate authorities for each cloud. The service trusts only those of the
# clouds named here, and refuses documents of another cloud (chain-untrusted). So keep only the clouds in which your VMs
# run. AzureGermanCloud closed in 2021: imds-verifier verify --at appraises its archived documents.
"""


def default_text(name: str) -> str:
    """Return the default of a setting in Markdown."""
    described, default = REFERENCE[name].default, _default(name)
    if described or default is None:
        return described or "none"
    text = ",".join(default) if isinstance(default, list) else str(default).lower()
    return f"`{text}`"


def starter_text() -> str:
    """Return a settings file in TOML in which every setting has a sentence, its bounds and its default."""
    return "\n".join((_HEAD, *map(_setting, (name for name in REFERENCE if name not in _TABLES)), *_tables()))


def _setting(name: str) -> str:
    text, default = REFERENCE[name], _default(name)
    written = text.example or json.dumps(default)
    comment = _comment(f"{text.summary} Allowed: {text.allowed}. Default: {default_text(name)}.")
    if name == "clouds":
        return f"{comment}{_CLOUDS}{name} = {written}\n"
    return f"{comment}#{name} = {written}\n"


def _tables() -> Iterator[str]:
    yield "# Tables. They follow all other settings, because a line below the head of a table belongs to that table.\n"
    for name, example in TABLES.items():
        setting = name if name in _TABLES else "tenants"
        lead = REFERENCE[setting].summary if name == setting else "A tenant whose agents have keys of their own."
        yield _comment(lead) + "".join(f"#{line}\n" for line in example.splitlines())


def _default(name: str) -> object:
    """Return the default as a value of JSON, or None if there is none that a file can hold."""
    default = Settings.model_fields[name].default
    match default:
        case frozenset():
            return [cloud.value for cloud in Cloud if cloud in default]
        case StrEnum():
            return default.value
        case bool() | int() | float() | str():
            return default
        case _:
            return None


def _comment(text: str) -> str:
    plain = _LINK.sub(r"\1", text).replace("`", "")
    return "".join(f"# {line}\n" for line in textwrap.wrap(plain, _WIDTH, break_long_words=False))

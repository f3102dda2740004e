"""load_settings refuses the environment and the file, or returns the same settings again, which a policy check can use.

An input has lines NAME=VALUE of the environment, an empty line, and the settings file. Without an empty line, all of it
is the file.
"""

import os
import tempfile
from functools import cache
from pathlib import Path
from unittest.mock import patch

from verifier.adapters.settings.settings import Settings, SettingsError, load_settings
from verifier.core.policy import Policies

_MAX_VARIABLES = 8


def check(data: bytes) -> bool:
    """Check the property for one input, and return whether it is accepted."""
    environment, separator, text = data.partition(b"\n\n")
    if not separator:
        environment, text = b"", data
    file = _directory() / "settings.toml"
    file.write_bytes(text)
    with patch.dict(os.environ, {**_variables(environment), "VERIFIER_CONFIG": str(file)}, clear=True):
        try:
            settings = load_settings()
        except SettingsError:
            return False
        _check_usable(settings)
        assert load_settings() == settings
    return True


def _variables(lines: bytes) -> dict[str, str]:
    """Return what an operating system can hold as variables of the environment."""
    text = os.fsdecode(lines.replace(b"\0", b""))
    pairs = [line.partition("=") for line in text.split("\n")[:_MAX_VARIABLES]]
    # Variables that name files would make the outcome depend on the machine.
    return {name: value for name, _, value in pairs if name and not name.upper().endswith("_FILE")}


def _check_usable(settings: Settings) -> None:
    """Check what the service computes from settings that were accepted."""
    policies = settings.named_policies
    assert policies.find(Policies.DEFAULT) is not None
    keys = [*settings.tenant_keys.values(), *settings.agent_keys.values()]
    every = [key for hashes in keys for key in hashes]
    assert len(set(every)) == len(every)
    for table in settings.tenants.values():
        policies.find(table.policy)


@cache
def _directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-settings-"))

"""Read and check the values of single settings."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def split(value: object) -> object:
    """Split the text of an environment variable at commas. A list from the file is not changed."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def without_brackets(host: str) -> str:
    """Return the address alone: URLs write IPv6 addresses in brackets."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


Host = Annotated[str, AfterValidator(without_brackets)]
_BASE_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s@/?#:\[\]]+)(:[0-9]+)?(/[^\s@?#]*)?", re.ASCII)


def check_base_url(url: str) -> str:
    if _BASE_URL.fullmatch(url) is None:
        raise ValueError("expected a base URL without credentials, such as http://collector:4318 or http://[::1]:4318")
    return url


def check_feed(place: str) -> str:
    if not place.startswith(("https://", "/")):
        raise ValueError("expected an https URL or an absolute path of a directory")
    return place


def check_absolute(path: Path) -> Path:
    """Require an absolute path: the system looks for another one in several directories."""
    if not path.is_absolute():
        raise ValueError("expected an absolute path")
    return path


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def state_directory() -> Path:
    """Return the directory for state that persists between restarts (XDG Base Directory)."""
    state_home = Path(os.environ.get("XDG_STATE_HOME", ""))
    # The specification has a relative path ignored.
    return (state_home if state_home.is_absolute() else Path.home() / ".local" / "state") / "imds-verifier"

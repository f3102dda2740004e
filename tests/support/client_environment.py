"""Where `make clients` installs the clients of the matrix, and the versions that their locks name."""

import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PINS: Final = ROOT / "tests" / "clients"
PROGRAMS: Final = PINS / "programs"
INSTALLED: Final = ROOT / ".tools" / "clients"
REGISTRIES: Final = ("PyPI", "npm", "Debian")


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianPackage:
    name: str
    version: str
    sha256: str


def debian_packages() -> list[DebianPackage]:
    tables = tomllib.loads((PINS / "debian.toml").read_text("utf-8"))["packages"]
    return [DebianPackage(**table) for table in tables]


def pinned_versions(registry: str) -> dict[str, str]:
    """Return the locked version of each package of `registry`, with the packages that the clients depend on."""
    if registry == "PyPI":
        text = (PINS / "requirements.txt").read_text("utf-8")
        return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    if registry == "npm":
        locked = json.loads((PINS / "package-lock.json").read_text("utf-8"))["packages"]
        return {path.removeprefix("node_modules/"): package["version"] for path, package in locked.items() if path}
    return {package.name: package.version for package in debian_packages()}


def missing(registry: str) -> str | None:
    """Return why the clients of `registry` cannot run here, or None if they can."""
    if registry == "Debian" and sys.version_info >= (3, 12):
        return "the clients of Debian 12 import modules that Python 3.12 or 3.13 removed"
    reason = INSTALLED / f"{registry}.missing"
    if reason.is_file():
        return reason.read_text("utf-8")
    return None if (INSTALLED / f"{registry}.installed").is_file() else "run `make clients`, which installs the clients"

"""The bill of materials of the wheel: the locked packages that it needs, as CycloneDX 1.5.

tools/sbom_hook.py puts it into the wheel. The same uv.lock and version give the same bytes: there is no serial number
and no time, which CycloneDX does not require. The packages of all platforms and of the extra `otel` are listed, since
the release is tested with these versions. The wheel itself contains none of them. Not listed: licenses, because
uv.lock has none.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

NAME: Final = "imds-verifier"
FILE: Final = f"{NAME}.cdx.json"
EXTRAS: Final = ("otel",)
_VERSION: Final = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)

Package = Mapping[str, Any]


def bill_of_materials(root: Path) -> str:
    """Return the bill of the source tree `root`. Raises OSError, and KeyError if uv.lock misses a dependency."""
    lock = tomllib.loads((root / "uv.lock").read_text("utf-8"))
    version = _VERSION.findall((root / "verifier" / "__init__.py").read_text("utf-8"))[0]
    packages: dict[str, list[Package]] = {}
    for package in lock["package"]:
        packages.setdefault(package["name"], []).append(package)
    needed = _closure(packages)
    project = {"type": "application", "bom-ref": NAME, "name": NAME, "version": version, "purl": _purl(NAME, version)}
    fields = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": project},
        "components": [_component(packages[name][number]) for name, number in sorted(needed) if name != NAME],
        "dependencies": [
            {
                "ref": _reference(packages[name][number]),
                "dependsOn": sorted({_reference(packages[other][place]) for other, place in needed[name, number]}),
            }
            for name, number in sorted(needed)
        ],
    }
    return json.dumps(fields, indent=1) + "\n"


def _closure(packages: Mapping[str, list[Package]]) -> dict[tuple[str, int], set[tuple[str, int]]]:
    """Return what the project needs. A package is its name and its number among those of this name.

    It has the packages that it depends on, with those of the extras that are asked for.
    """
    found: dict[tuple[str, int], set[tuple[str, int]]] = {}
    done: set[tuple[str, int, str]] = set()
    waiting = [(NAME, 0, extra) for extra in ("", *EXTRAS)]
    while waiting:
        name, number, extra = waiting.pop()
        if (name, number, extra) in done:
            continue
        done.add((name, number, extra))
        package = packages[name][number]
        listed = package.get("optional-dependencies", {}).get(extra, ()) if extra else package.get("dependencies", ())
        needed = found.setdefault((name, number), set())
        for dependency, place, extras in _resolved(listed, packages):
            needed.add((dependency, place))
            waiting += [(dependency, place, wanted) for wanted in ("", *extras)]
    return found


def _resolved(
    listed: Iterable[Package], packages: Mapping[str, list[Package]]
) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Return each dependency's name, number and extras. Without a version, it means every package of the name."""
    for dependency in listed:
        for number, package in enumerate(packages[dependency["name"]]):
            if dependency.get("version") in (None, package["version"]):
                yield dependency["name"], number, tuple(dependency.get("extra", ()))


def _component(package: Package) -> dict[str, object]:
    files = [package["sdist"]] if "sdist" in package else []
    return {
        "type": "library",
        "bom-ref": _reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": _reference(package),
        "externalReferences": [
            {
                "type": "distribution",
                "url": file["url"],
                "hashes": [{"alg": "SHA-256", "content": file["hash"].removeprefix("sha256:")}],
            }
            for file in (*files, *package.get("wheels", ()))
        ],
    }


def _reference(package: Package) -> str:
    return NAME if package["name"] == NAME else _purl(package["name"], package["version"])


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"

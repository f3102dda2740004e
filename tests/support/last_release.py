"""The last release, as a service runs it: its wheel, unpacked, over the packages that are installed here."""

import os
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools" / "bin" / "uv"

#: The commit whose wheel counts as the last release, because none is published yet.
LAST_RELEASE = "773ec399ba94510c6676e155ea2e37f1919c0555"
#: Names a wheel to use instead, for a clone without the history.
WHEEL_VARIABLE = "LAST_RELEASE_WHEEL"


class LastReleaseMissing(Exception):
    """Neither the wheel nor the commit is there. A failure and not a skip: a rolling upgrade has to be seen."""


def unpack_last_release(directory: Path) -> Path:
    """Return a directory with the package of the last release, for PYTHONPATH. Raises LastReleaseMissing."""
    package = directory / "last-release"
    named = os.environ.get(WHEEL_VARIABLE)
    wheel = Path(named) if named else _build(directory)
    if not wheel.is_file():
        raise LastReleaseMissing(f"{WHEEL_VARIABLE}: there is no file {wheel}")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(package)
    return package


def _build(directory: Path) -> Path:
    source, wheels = directory / "source", directory / "wheels"
    source.mkdir()
    archived = subprocess.run(
        ["git", "-C", str(ROOT), "archive", LAST_RELEASE],  # noqa: S607 - the git of whoever runs the tests
        capture_output=True,
        check=False,
        timeout=60,
    )
    if archived.returncode:
        raise LastReleaseMissing(
            f"this clone has no commit {LAST_RELEASE}: fetch the whole history (git fetch --unshallow), "
            f"or name the wheel of the last release in {WHEEL_VARIABLE}"
        )
    subprocess.run(["tar", "-x", "-C", str(source)], input=archived.stdout, check=True, timeout=60)  # noqa: S607 - as above
    built = subprocess.run(
        [
            *(UV, "build", "--quiet", "--wheel", "--out-dir", wheels),
            *("--require-hashes", "--build-constraints", source / "tools" / "build.txt", source),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if built.returncode:
        raise LastReleaseMissing(f"the wheel of the last release cannot be built: {built.stderr[-1000:]}")
    [wheel] = wheels.glob("*.whl")
    return wheel

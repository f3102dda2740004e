"""Check a release before it is made: `release_check.py [TAG]`. `make release-check` runs it, with the variable TAG.

It builds the files of HEAD twice and compares their bytes, installs both wheels with pip and by hash in a new
environment, runs the demo and the vectors there, and checks the metadata, the workflows and the versions. It needs the
package registry and no other host. The files are in dist/release afterwards.
"""

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from build_release import build

ROOT: Final = Path(__file__).parents[1]
DIST: Final = ROOT / "dist" / "release"
TOOLS: Final = Path(sys.executable).parent
# The demo has to find the installed package, and no setting of this machine.
_FOREIGN: Final = ("PYTHON", "VERIFIER_", "VIRTUAL_ENV", "UV_")


class CheckError(Exception):
    """Report a check that failed, for the person who makes the release."""


def main(arguments: list[str]) -> int:
    try:
        _say("the versions agree")
        _run([sys.executable, "tools/versions.py", *arguments])
        _say("every file is committed")
        _check_committed()
        _say("the workflows are valid")
        _check_workflows()
        _say("two builds have the same bytes")
        _build_twice()
        _say("the metadata is valid")
        packages = [str(file) for file in sorted(DIST.iterdir()) if file.name.endswith((".whl", ".tar.gz"))]
        _run([str(TOOLS / "twine"), "check", "--strict", *packages])
        with tempfile.TemporaryDirectory() as scratch:
            _say("pip installs the wheels by hash")
            programs = _install(Path(scratch))
            _say("the demo runs from the wheel")
            _run([str(programs / "imds-verifier"), "demo"], place=Path(scratch), environment=_own_environment())
            _say("the wheel answers the vectors as expected")
            _run_vectors(programs, Path(scratch))
            _say("the agent runs as one file")
            agent = [str(programs / "python"), str(DIST / "imds-attest.pyz"), "--help"]
            _run(agent, place=Path(scratch), environment=_own_environment(), is_quiet=True)
    except (CheckError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"release-check: {error}\n")
        return 1
    _say(f"all checks passed; the files are in {DIST.relative_to(ROOT)}")
    return 0


def _check_committed() -> None:
    command = ["git", "status", "--porcelain"]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - fixed arguments
    if run.stdout:
        raise CheckError(f"a release is built from a commit, and the work tree has changes:\n{run.stdout.rstrip()}")


def _check_workflows() -> None:
    folder = ROOT / ".github"
    workflows = [str(file) for file in sorted((folder / "workflows").glob("*.yml"))]
    schemas = str(TOOLS / "check-jsonschema")
    _run([schemas, "--builtin-schema", "vendor.github-workflows", *workflows])
    _run([schemas, "--builtin-schema", "vendor.dependabot", str(folder / "dependabot.yml")])
    _run([str(TOOLS / "zizmor"), "--offline", "--quiet", "--no-progress", str(folder)])


def _build_twice() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        second = Path(scratch) / "second"
        build(DIST, "HEAD")
        build(second, "HEAD")
        names = sorted(file.name for file in DIST.iterdir())
        if names != sorted(file.name for file in second.iterdir()):
            raise CheckError("two builds have different files")
        _, different, unread = filecmp.cmpfiles(DIST, second, names, shallow=False)
        if different or unread:
            raise CheckError(f"two builds differ in {', '.join(different + unread)}")


def _install(directory: Path) -> Path:
    """Return the folder of the programs of a new environment with both wheels and only what they need."""
    _run([sys.executable, "-m", "venv", str(directory / "venv")])
    programs = directory / "venv" / "bin"
    sums = dict(reversed(line.split()) for line in (DIST / "SHA256SUMS").read_text("utf-8").splitlines())
    wheels = directory / "wheels.txt"
    wheels.write_text(
        "".join(f"{DIST / name} --hash=sha256:{digest}\n" for name, digest in sums.items() if name.endswith(".whl")),
        "utf-8",
    )
    pip = [str(programs / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    requirements = DIST / "imds-verifier-requirements.txt"
    _run([*pip, "install", "--require-hashes", "--only-binary", ":all:", "-r", str(requirements), "-r", str(wheels)])
    _run([*pip, "check"])
    _run([str(programs / "python"), "-P", "-c", "import verifier.relying_party"], place=directory)
    return programs


def _run_vectors(programs: Path, scratch: Path) -> None:
    [archive] = DIST.glob("imds-verifier-vectors-*.zip")
    shutil.unpack_archive(archive, scratch)
    command = [str(programs / "imds-verifier"), "conformance", f"{archive.stem}/vectors"]
    _run(command, place=scratch, environment=_own_environment())


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def _say(line: str) -> None:
    sys.stdout.write(f"== {line}\n")
    sys.stdout.flush()


def _run(
    command: list[str], *, place: Path = ROOT, environment: Mapping[str, str] | None = None, is_quiet: bool = False
) -> None:
    output = subprocess.DEVNULL if is_quiet else None
    subprocess.run(command, cwd=place, env=environment, check=True, stdout=output)  # noqa: S603 - fixed commands


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

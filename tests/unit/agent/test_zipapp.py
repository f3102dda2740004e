"""The zipapp is reproducible, contains only the agent, and runs on every installed Python."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.agents import ROOT, build
from support.scripted_servers import dead_url, json_reply, serving

from verifier.agent.exit_codes import ExitCode

OLDEST = (3, 9)


@pytest.fixture(scope="module")
def pythons() -> dict[tuple[int, ...], str]:
    """Find each Python 3 on PATH, or installed next to the one that runs the tests."""
    siblings = Path(sys.base_prefix).parent.glob("3.*/bin/python3")
    names = ("python3", *(f"python3.{minor}" for minor in range(6, 16)))
    found = {}
    for path in (*map(str, siblings), *filter(None, map(shutil.which, names)), sys.executable):
        probe = [path, "-c", "import sys; print(*sys.version_info[:2])"]
        # A version manager may put names on PATH that run no Python.
        done = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode == 0:
            found[tuple(map(int, done.stdout.split()))] = path
    return found


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("agent") / "imds-attest.pyz")


def run(python: str, program: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the zipapp isolated and without site-packages."""
    return subprocess.run(
        [python, "-I", "-S", program, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )


def test_zipapp_runs_on_every_supported_python(
    pythons: dict[tuple[int, ...], str], zipapp: Path, tmp_path: Path
) -> None:
    nonce = json_reply({"nonce": "4711"}, status=201)
    result = json_reply({"verdict": "verified", "claims": {"vmId": "v-1"}, "token": "a.b.c"})
    document = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
    challenge = json_reply({"nonce": "4711", "session": "s"}, status=201)
    licensed = json_reply({"licensed": True}, status=201)
    new_enough = [version for version in pythons if version >= OLDEST]
    assert sys.version_info[:2] in new_enough
    for version in new_enough:
        with (
            serving(document) as imds,
            serving(nonce, result) as verifier,
            serving(licensed) as relying_party,
            serving(challenge, licensed) as backend,
        ):
            urls = ("--imds", imds.url, "--output", "output")
            proof = ("--proof-key", "key", "--present", relying_party.url)
            for arguments, printed in (
                (("--verifier", verifier.url, "--token", *proof), "a.b.c\n"),
                (("attest", "--backend", backend.url), "licensed: true\n"),
                (("document", "--nonce", "4711"), document.body.decode()),
            ):
                done = run(pythons[version], zipapp, tmp_path, *arguments, *urls)
                assert (version, done.returncode, done.stdout, done.stderr) == (version, ExitCode.VERIFIED, "", "")
                assert (tmp_path / "output").read_text("ascii") == printed
                (tmp_path / "output").unlink()
        assert relying_party.requests[0].headers["DPoP"].count(".") == 2


def test_sources_parse_on_the_oldest_python() -> None:
    """Also without that Python. Annotations are not evaluated, so they may have newer types."""
    for file in (ROOT / "verifier" / "agent").glob("*.py"):
        source = file.read_text("utf-8")
        ast.parse(source, feature_version=OLDEST)
        assert "from __future__ import annotations" in source or file.name in {"__init__.py", "compatibility.py"}
        assert "from dataclasses import dataclass" not in source or file.name == "compatibility.py"


def test_zipapp_refuses_an_older_python(pythons: dict[tuple[int, ...], str], zipapp: Path, tmp_path: Path) -> None:
    for version in (version for version in pythons if version < OLDEST):
        done = run(pythons[version], zipapp, tmp_path, "--verifier", dead_url())
        expected = f"attest: Python 3.9 or later is needed, and this is {version[0]}.{version[1]}\n"
        assert (done.returncode, done.stderr) == (ExitCode.USAGE, expected)


def test_same_sources_give_the_same_bytes(zipapp: Path, tmp_path: Path) -> None:
    earlier = os.umask(0o077)
    try:
        again = build(tmp_path / "elsewhere" / "another-name.pyz")
    finally:
        os.umask(earlier)
    assert again.read_bytes() == zipapp.read_bytes()
    assert {entry.date_time for entry in zipfile.ZipFile(again).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_zipapp_contains_only_the_agent(zipapp: Path) -> None:
    with zipfile.ZipFile(zipapp) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    sources = {f"verifier/agent/{file.name}": file.read_bytes() for file in (ROOT / "verifier/agent").glob("*.py")}
    assert {name: content[name] for name in sources} == sources
    assert set(content) - set(sources) == {"__main__.py", "verifier/__init__.py", "LICENSE"}
    assert content["verifier/__init__.py"] == b""


def test_make_builds_the_same_file(zipapp: Path) -> None:
    make = shutil.which("make")
    assert make is not None
    done = subprocess.run([make, "agent"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (ROOT / "dist" / "imds-attest.pyz").read_bytes() == zipapp.read_bytes()

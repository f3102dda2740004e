"""The clients of tests/clients are pinned, and a file that is not the pinned one is never unpacked."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from support.client_cases import CLIENTS
from support.client_endings import Client
from support.client_environment import PINS, PROGRAMS, REGISTRIES, ROOT, debian_packages, pinned_versions
from support.scripts import load_script

from verifier.emulator import FaultKind

#: What no client of the matrix reads.
_FAULT_OF_DOCUMENTS = {FaultKind.CACHED_NONCE}


def test_there_are_clients_of_each_registry() -> None:
    assert len(CLIENTS) >= 10
    assert {client.registry for client in CLIENTS} == set(REGISTRIES)


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_client_is_pinned_and_has_every_fault(client: Client) -> None:
    assert client.package in pinned_versions(client.registry)
    assert set(client.faults) == set(FaultKind) - _FAULT_OF_DOCUMENTS
    assert client.faults[FaultKind.SLOW].seconds > 0


def test_each_program_is_of_a_client() -> None:
    files = {path.name for path in PROGRAMS.iterdir() if path.is_file()}
    assert files == {client.program for client in CLIENTS} | {"answers.py", "answers.mjs"}


def test_python_packages_have_a_version_and_hashes() -> None:
    wanted = dict(re.findall(r"^([a-z0-9-]+)==(\S+)$", (PINS / "requirements.in").read_text("utf-8"), re.MULTILINE))
    locked = re.split(r"\n(?=[a-z0-9])", (PINS / "requirements.txt").read_text("utf-8"))
    pinned = [text for text in locked if not text.startswith("#")]
    assert len(pinned) == len(pinned_versions("PyPI")) > len(wanted) > 5
    assert [text for text in pinned if not re.search(r"--hash=sha256:[0-9a-f]{64}", text)] == []
    assert wanted.items() <= pinned_versions("PyPI").items()


def test_node_packages_have_a_version_and_a_hash() -> None:
    wanted = json.loads((PINS / "package.json").read_text("utf-8"))["dependencies"]
    locked = json.loads((PINS / "package-lock.json").read_text("utf-8"))["packages"]
    assert wanted.items() <= pinned_versions("npm").items()
    assert [path for path, package in locked.items() if path and not package["integrity"].startswith("sha512-")] == []


def test_debian_packages_have_a_version_and_a_hash() -> None:
    for package in debian_packages():
        assert re.fullmatch(r"\d[\w.+~:-]*-[\w.+~]+", package.version)
        assert re.fullmatch(r"[0-9a-f]{64}", package.sha256)


def test_another_file_than_the_pinned_one_is_not_unpacked(tmp_path: Path) -> None:
    tool = load_script("tools/install_clients.py")
    package = debian_packages()[0]
    (tmp_path / f"{package.name}_{package.version}_all.deb").write_bytes(b"!<arch>\n")
    with pytest.raises(tool.WrongHash, match=f"instead of {package.sha256}"):
        tool.unpack(package, tmp_path)
    assert not (tmp_path / package.name).exists()


def test_a_missing_registry_is_a_reason_and_a_wrong_hash_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = load_script("tools/install_clients.py")
    monkeypatch.setattr(tool, "INSTALLED", tmp_path)

    def no_registry(directory: Path) -> None:
        tool.run(["sh", "-c", "echo no route to host >&2; exit 1"], directory)

    def wrong_hash(directory: Path) -> None:
        tool.run(["sh", "-c", "echo npm error code EINTEGRITY >&2; exit 1"], directory)

    tool.install("npm", no_registry, ["package.json"])
    assert (tmp_path / "npm.missing").read_text("utf-8") == "not installed from npm: sh: no route to host"
    with pytest.raises(tool.WrongHash):
        tool.install("npm", wrong_hash, ["package.json"])
    tool.install("npm", lambda _directory: None, ["package.json"])
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["npm", "npm.installed"]
    # Installed already: no second time.
    tool.install("npm", wrong_hash, ["package.json"])


def test_gate_runs_the_matrix_and_the_suite_leaves_it_out() -> None:
    def recipe(target: str) -> str:
        command = ["make", "--no-print-directory", "--dry-run", target]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    gate = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert {"make clients", "make test", "need ip iproute2"} <= set(gate)
    assert recipe("clients").rstrip().endswith("pytest tests/clients")
    assert "--ignore=tests/clients " in recipe("test")

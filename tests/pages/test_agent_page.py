"""docs/integrate/agent.md: its commands run with the emulator, a service and the two kinds of backends."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.page_blocks import ROOT, Block, blocks_of, free_port, run_in_order
from support.page_servers import EXAMPLES, ISSUER, Scene, running_scene, start_backend, until_signalled
from support.processes import await_that

PAGE = "docs/integrate/agent.md"
RUNS_BLOCKS = {
    "docs/integrate/agent.md": {
        "The agent": 1,
        "Prove the possession of a key": 1,
        "Watch": 1,
        "Read the vmId": 1,
        "Ask a licensing backend": 1,
    }
}
VM_ID = "5c08b38e-4d57-4c23-ac45-aca61037f084"
Run = Callable[..., str]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with running_scene(tmp_path_factory.mktemp("scene")) as running:
        yield running


@pytest.fixture
def run(scene: Scene, tmp_path: Path) -> Run:
    """Run one block on a machine whose IMDS is the emulator."""
    (tmp_path / "key").write_text("a-key-that-a-service-without-tenants-ignores\n", "ascii")
    (tmp_path / "agent.sh").symlink_to(EXAMPLES / "agent.sh")

    def run(block: Block, *, backend: str = "", before: dict[str, str] | None = None) -> str:
        stand_ins = {
            "imds-verifier attest": f"imds-verifier attest --imds {scene.imds}",
            "imds-verifier document": f"imds-verifier document --imds {scene.imds}",
            "sh agent.sh": f"sh agent.sh --imds {scene.imds}",
            "http://169.254.169.254": scene.imds,
            "https://verifier.example.com": scene.service.url,
            "https://licensing.example.com": backend,
            "/etc/imds-attest/": f"{tmp_path}/",
            "/var/lib/imds-attest/": f"{tmp_path}/",
            "/run/imds-attest/": f"{tmp_path}/",
        }
        environment = {"PYTHONDONTWRITEBYTECODE": "1"}
        blocks, directory = [block], tmp_path
        [printed] = run_in_order(
            blocks, directory=directory, environment=environment, stand_ins=stand_ins, before=before
        )
        return printed

    return run


def block_of(section: str) -> Block:
    [block] = blocks_of(PAGE, section, "sh")
    return block


def test_first_commands(scene: Scene, run: Run, tmp_path: Path) -> None:
    for name in ("Makefile", "tools", "verifier", "LICENSE"):
        (tmp_path / name).symlink_to(ROOT / name)
    port = free_port()
    backend = f"http://127.0.0.1:{port}"
    settings = {"VERIFIER": scene.service.url, "VERIFIER_KEY": "ignored", "POLICY": "default", "PORT": port}
    program = EXAMPLES / "licensing-backend-background-check" / "backend.py"
    start = start_backend(f"python3 {program}", backend, {**settings, "PRODUCTS": "contoso-appliance"})
    printed = run(block_of("The agent"), backend=backend, before={"make agent": start})
    assert (tmp_path / "dist" / "imds-attest.pyz").exists()
    lines = printed.splitlines()
    assert f"vmId: {VM_ID}" in lines
    assert [line.count(".") for line in lines if line.startswith("eyJ")] == [2]
    assert "licensed: true" in lines
    assert json.loads(lines[-1])["encoding"] == "pkcs7"


def test_possession_of_a_key_is_proven(scene: Scene, run: Run, tmp_path: Path) -> None:
    """The backend is the example in Flask, which this page does not start."""
    port = free_port()
    backend = f"http://127.0.0.1:{port}"
    settings = {
        "VERIFIER_JWKS": scene.key_set,
        "TOKEN_ISSUER": ISSUER,
        "TOKEN_AUDIENCE": "default",
        "TENANT": "default",
        "POLICY": "default",
        "EXTERNAL_URL": backend,
    }
    program = f"gunicorn --bind 127.0.0.1:{port} --chdir {EXAMPLES / 'relying-party-flask'} backend:app"
    block = until_signalled(block_of("Prove the possession of a key"), file="printed")
    run(block, backend=backend, before={"imds-verifier": start_backend(program, backend, settings)})
    assert f"vmId: {VM_ID}\n" in (tmp_path / "printed").read_text("utf-8")
    assert (tmp_path / "proof.pem").stat().st_mode & 0o777 == 0o600


def test_watch_keeps_a_token(run: Run, tmp_path: Path) -> None:
    run(until_signalled(block_of("Watch"), file="token"))
    assert (tmp_path / "token").read_text("ascii").count(".") == 2


def test_imds_has_the_vm_id(run: Run) -> None:
    # The tests before may have used up the emulator's rate for this second.
    await_that(lambda: run(block_of("Read the vmId")).strip() == VM_ID)


def test_agents_print_the_document(run: Run) -> None:
    printed = run(block_of("Ask a licensing backend"))
    assert printed.count('"encoding"') == 2
    assert printed.count('"signature"') == 2

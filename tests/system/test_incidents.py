"""Run the commands of docs/operate/incidents.md on a service that has refused a customer, and see what each ends."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.command_line import call
from support.documents import VM, imds_answer
from support.live_documents import current_document
from support.page_blocks import commands_of, run_commands
from support.processes import await_that
from support.services import Answer, RunningServer, running_service
from support.tenant_keys import hash_of

PAGE = "docs/operate/incidents.md"
RUNS_BLOCKS = {
    "docs/operate/incidents.md": {
        "One customer is refused": 1,
        "Every VM is refused": 1,
        "No verdicts: 503": 1,
        "A backend key has leaked": 2,
        "An admin key has leaked": 1,
        "A key that signs results has leaked": 2,
        "A CA or a signer of Azure is compromised": 1,
        "A document was accepted that should not have been": 1,
    }
}
SETTINGS = """
[tenants.contoso]
keys = ["{key}"]
policy = "gold"

[tenants.fabrikam]
keys = ["{other}"]

[policies.gold]
plans = ["gold"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A service in whose log a customer was refused, and the environment of its commands."""

    service: RunningServer
    environment: dict[str, str]
    directory: Path

    def run(self, section: str, number: int = 0, statuses: frozenset[int] = frozenset({0})) -> str:
        script = commands_of(PAGE, section, number)
        return run_commands(script, directory=self.directory, environment=self.environment, statuses=statuses)


def attest(service: RunningServer, key: str) -> Answer:
    """Return the answer to a genuine document, with this key of a tenant."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    nonce = service.request("POST", "/v1/nonces", headers=headers)
    assert nonce.status == 201
    body = json.dumps(imds_answer(current_document(str(nonce.json["nonce"])))).encode()
    return service.request("POST", "/v1/attestations", body, headers=headers)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("incidents")
    keys, config = directory / "keys", directory / "verifier.toml"
    assert call("keys", "generate", "--dir", str(keys)).status == 0
    config.write_text(SETTINGS.format(key=hash_of("contoso-key"), other=hash_of("fabrikam-key")), "utf-8")
    settings = {
        "VERIFIER_CONFIG": str(config),
        "VERIFIER_TOKEN_KEYS_DIR": str(keys),
        "VERIFIER_TOKEN_ISSUER": "https://verifier.example",
        "VERIFIER_METRICS_PORT": "0",
    }
    store = f"sqlite://{directory}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=2, under=(), **settings) as service:
        refused = attest(service, "contoso-key")
        assert refused.code == "policy-denied"
        environment = settings | {
            "VERIFIER_NONCE_STORE": store,
            "VERIFIER_TRUST_DIR": str(trust_dir),
            "METRICS_URL": service.url,
            "VM_ID": VM.vm_id,
            "REQUEST_ID": str(refused.json["requestId"]),
        }
        yield Scene(service=service, environment=environment, directory=directory)


def test_shows_why_one_customer_is_refused(scene: Scene) -> None:
    await_that(lambda: "policy-denied" in scene.run("One customer is refused"))
    assert scene.environment["REQUEST_ID"] in scene.run("One customer is refused")


def test_shows_what_is_refused_and_the_state_of_trust(scene: Scene) -> None:
    shown = scene.run("Every VM is refused", statuses=frozenset({0, 1}))
    assert " refused: " in shown
    assert "AzurePublicCloud" in shown


def test_shows_which_part_is_not_ready(scene: Scene) -> None:
    assert json.loads(scene.run("No verdicts: 503"))["status"] == "ready"


def test_replaces_a_backend_key(scene: Scene) -> None:
    # The page makes the key and checks the file, which an operator changes in between.
    made = run_commands("imds-verifier api-key", directory=scene.directory, environment=scene.environment)
    _, key, _, sha256, *_ = made.split()
    assert hash_of(key) == sha256
    copy = scene.directory / "copy.toml"
    copy.write_text(SETTINGS.format(key=sha256, other=hash_of("fabrikam-key")), "utf-8")
    scene.run("A backend key has leaked")
    copy.replace(scene.environment["VERIFIER_CONFIG"])

    def status_with(sent: str) -> int:
        return scene.service.request("POST", "/v1/nonces", headers={"Authorization": f"Bearer {sent}"}).status

    await_that(lambda: status_with(key) == 201 and status_with("contoso-key") == 401)


def test_finds_the_requests_with_a_leaked_key(scene: Scene) -> None:
    script = commands_of(PAGE, "A backend key has leaked", 1).replace("6f4dd3ba", hash_of("contoso-key")[:8])

    def found() -> list[str]:
        printed = run_commands(script, directory=scene.directory, environment=scene.environment)
        return [json.loads(line)["requestId"] for line in printed.splitlines()]

    await_that(lambda: scene.environment["REQUEST_ID"] in found())


def test_replaces_a_signing_key_at_once(scene: Scene) -> None:
    def published() -> list[str]:
        keys = scene.service.request("GET", "/.well-known/jwks.json").json["keys"]
        assert isinstance(keys, list)
        return [str(key["kid"]) for key in keys]

    [old] = published()
    directory = scene.environment["VERIFIER_TOKEN_KEYS_DIR"]
    assert call("keys", "generate", "--dir", directory).status == 0  # published, and perhaps stolen too
    in_hsm = Path(directory, "in-an-hsm.pkcs11")
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    in_hsm.write_bytes(b"pkcs11:token=results;object=one\n" + pem)
    in_hsm.chmod(0o600)
    await_that(lambda: len(published()) > 2)
    before = published()
    assert in_hsm.stem in before
    scene.run("A key that signs results has leaked")
    scene.run("A key that signs results has leaked", 1)
    assert [file.suffix for file in (scene.directory / "new-keys").iterdir() if file.name != "current"] == [".pem"]
    [new] = published()
    assert old in before
    assert new not in before


def test_shows_what_an_administrator_changed(scene: Scene) -> None:
    assert "AzurePublicCloud" in scene.run("An admin key has leaked", statuses=frozenset({0, 1}))


def test_finds_what_else_a_signer_did_and_denies_it(scene: Scene) -> None:
    section = "A document was accepted that should not have been"
    decision = json.loads(scene.run(section).splitlines()[0])
    assert decision["requestId"] == scene.environment["REQUEST_ID"]
    scene.environment["SERIAL"] = decision["signerSerial"]
    shown = scene.run("A CA or a signer of Azure is compromised", statuses=frozenset({0, 1}))
    assert decision["signerSerial"] in shown
    await_that(lambda: attest(scene.service, "fabrikam-key").code == "chain-untrusted")

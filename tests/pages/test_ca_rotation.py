"""docs/operate/ca-rotation.md: an announced change, an unannounced one, and revocation, as an operator types them."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from support.command_line import Ended, call
from support.documents import der
from support.issuers import HOST, answer, internet
from support.live_documents import current_pki
from support.page_blocks import ROOT, Block, blocks_of, run_commands, steady
from support.processes import await_that
from support.services import ADMIN_KEY, ADMIN_KEYS, RunningServer, running_service

from verifier.adapters.aia import fetcher
from verifier.core.trust.certificates import Certificate
from verifier.emulator import ChainChoice, Conditions, RunningEmulator, Scenario, VirtualMachine, loopback_emulator, pki
from verifier.emulator.clouds import AzureCloud
from verifier.emulator.trust_directory import write_trust_directory

PAGE = "docs/operate/ca-rotation.md"
RUNS_BLOCKS = {
    "docs/operate/ca-rotation.md": {
        "CA rotation": 1,
        "Status": 1,
        "Announced change": 4,
        "Unannounced change": 4,
        "Try it": 1,
        "Revoke a key or certificate": 1,
        "Over HTTP": 1,
    }
}
KNOWN = Path(".github", "trust-check-known.txt")
_SHA_1 = re.compile(r"\b[0-9A-F]{40}\b")
OLD_CA = "intermediates/microsoft-azure-rsa-tls-issuing-ca-03.pem"


def make_authority() -> Certificate:
    """Make a CA that no bundle has. It is valid for ten years."""
    validity = pki.Validity.around(datetime.now(UTC), timedelta(days=3650))
    key, subject = pki.make_ec_key(ec.SECP256R1()), pki.make_name("New Issuing CA")
    made = pki.make_ca(issuer=current_pki().root, subject=subject, key=key, validity=validity)
    return Certificate.from_der(der(made.certificate))


def write_pem(file: Path, certificate: Certificate) -> None:
    file.write_bytes(x509.load_der_x509_certificate(certificate.der).public_bytes(Encoding.PEM))


def typed(line: str, environment: dict[str, str]) -> Ended:
    """Run a line of the page within this process, which spares the start of one."""
    command, *arguments = shlex.split(line)
    assert command == "imds-verifier"
    return call(*arguments, environment=environment)


# --- With the shipped bundle


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Name a store, which exists."""
    made = {"VERIFIER_NONCE_STORE": f"sqlite://{tmp_path}/nonces.sqlite3"}
    assert call("trust", "list", "--create", environment=made).status == 0
    return made


def test_status_shows_each_cloud(environment: dict[str, str]) -> None:
    [block] = blocks_of(PAGE, "Status", "console")
    lines = block.commands.splitlines()
    shown = {line: typed(line, environment) for line in lines}
    assert {ended.status for ended in shown.values()} <= {0, 1}
    assert [line for line, ended in shown.items() if "AzureUSGovernmentCloud" not in ended.out] == []
    # The page's table of known dates says so.
    [later] = [ended for line, ended in shown.items() if "--at 2029-06-05" in line]
    assert "AzurePublicCloud        NO USABLE CHAIN" in later.out


def test_check_compares_pins_with_a_page_and_with_addresses(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, urls = blocks_of(PAGE, "Announced change", "sh")[0].commands.splitlines()
    (tmp_path / KNOWN).parent.mkdir()
    shutil.copy(ROOT / KNOWN, tmp_path / KNOWN)
    shutil.copy(ROOT / "tests" / "data" / "azure-ca-page" / "page.html", tmp_path)
    (tmp_path / "urls.txt").write_text(f"http://{HOST}/new.crt\n", "utf-8")
    new = make_authority()
    monkeypatch.chdir(tmp_path)
    with internet() as net, mock.patch.object(fetcher, "AiaFetcher", net.fetcher):
        net.plays["/new.crt"] = answer(new.der)
        compared, fetched = (typed(line, environment) for line in (page, urls))
    # Pins of the page may end soon.
    assert compared.status in {0, 1}
    assert "missing" not in compared.out + compared.err
    assert fetched.status == 1
    assert [line.split()[:2] for line in fetched.out.splitlines() if HOST in line] == [["missing", new.sha1]]


def test_new_ca_is_staged_and_an_old_one_retired(environment: dict[str, str], tmp_path: Path) -> None:
    _, inspect, times = blocks_of(PAGE, "Announced change", "sh")
    [manifest] = blocks_of(PAGE, "Announced change", "toml")
    new = make_authority()
    write_pem(tmp_path / "new-ca.pem", new)
    shown = run_commands(inspect.commands, directory=tmp_path, environment={})
    assert f"Fingerprint={new.sha1.upper()}\n" in shown.replace(":", "")
    sha256 = shown.split()[-1]
    trust = tmp_path / "trust"
    (trust / "intermediates").mkdir(parents=True)
    shutil.copy(tmp_path / "new-ca.pem", trust / "intermediates")
    shutil.copy(ROOT / "trust_roots" / OLD_CA, trust / OLD_CA)
    old = Certificate.from_pem((trust / OLD_CA).read_bytes()).sha256
    text = manifest.text.replace("(the SHA-256 from step 1)", sha256)
    (trust / "manifest.toml").write_text(text.replace("(as in trust_roots/manifest.toml)", old, 1), "utf-8")
    environment["VERIFIER_TRUST_DIR"] = str(trust)
    states = []
    for line in ["imds-verifier trust list --at 2028-03-31T00:00:00Z", *times.commands.splitlines()]:
        rows = typed(line, environment).out.splitlines()
        states.append([row.split("  ")[0] for one in (sha256, old) for row in rows if one in row])
    # A new CA of Azure has a chain, but this one is made up.
    new_state = "active, no chain"
    assert states == [["staged", "expiring"], [new_state, "expiring"], [new_state, "retired"]]


# --- With a service, and the emulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A service that trusts an emulator, but not its staged and its unknown issuer."""

    service: RunningServer
    machine: RunningEmulator
    environment: dict[str, str]
    directory: Path

    def certificate(self, name: str) -> Certificate:
        return Certificate.from_der(der(self.machine.controls.authorities.issuer_certificates()[f"emulator-{name}-ca"]))

    def attest(self, scenario: Scenario) -> int:
        """Return the exit status of the agent, with a signer under the issuer of this scenario."""
        self.machine.reset()
        self.machine.put(Conditions(chain=ChainChoice(scenario=scenario, embed_issuer=True)))
        return call("attest", "--verifier", self.service.url, "--imds", self.machine.url).status

    def run(self, block: Block, *, statuses: frozenset[int] = frozenset({0}), **stand_ins: str) -> str:
        script = block.commands.replace("http://127.0.0.1:8080", self.service.url)
        for shown, used in stand_ins.items():
            script = script.replace(shown, used)
        return run_commands(script, directory=self.directory, environment=self.environment, statuses=statuses)


@contextmanager
def running_scene(directory: Path, *, left_out: str) -> Iterator[Scene]:
    """Run both. The service trusts no authority with `left_out` in its name."""
    store, trust = f"sqlite://{directory}/nonces.sqlite3", directory / "emulator-trust"
    with loopback_emulator(VirtualMachine()) as machine:
        trusted = tuple(one for one in machine.controls.authorities.trusted if left_out not in one.name)
        write_trust_directory(trust, cloud=AzureCloud.PUBLIC, certificates=trusted)
        with running_service(
            nonce_store=store,
            trust_dir=trust,
            workers=1,
            VERIFIER_TRUST_REFRESH_SECONDS="0.2",
            VERIFIER_ADMIN_KEYS=ADMIN_KEYS,
        ) as service:
            environment = {"VERIFIER_NONCE_STORE": store, "VERIFIER_TRUST_DIR": str(trust), "KEY": ADMIN_KEY}
            yield Scene(service=service, machine=machine, environment=environment, directory=directory)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with running_scene(tmp_path_factory.mktemp("rotation"), left_out="staged") as running:
        yield running


def test_drill_is_refused_approved_accepted_and_undone(tmp_path: Path) -> None:
    [block] = blocks_of(PAGE, "Try it", "sh")
    with running_scene(tmp_path, left_out="unknown") as drill:
        sha256 = drill.certificate("unknown").sha256

        def typed_there(line: str, *statuses: int) -> str:
            one = replace(block, text=line.replace("http://127.0.0.1:8254", drill.machine.url))
            return drill.run(one, statuses=frozenset(statuses), SHA256=sha256)

        def is_verified(line: str) -> bool:
            return "plan.name: " in typed_there(line, 0, 1)

        _, change, refused, status, approve, _, verified, remove, undo = block.text.replace("\\\n", "").splitlines()
        typed_there(change, 0)
        assert "vmId: " not in typed_there(refused, 1)
        assert sha256 in typed_there(status, 0)
        typed_there(approve, 0)
        await_that(lambda: is_verified(verified))
        typed_there(remove, 0)
        await_that(lambda: not is_verified(verified))
        typed_there(undo, 0)
        assert is_verified(verified)
        assert drill.attest(Scenario.STAGED) == 0


def test_unknown_issuers_are_shown_approved_rejected_added_and_removed(scene: Scene) -> None:
    decide, add, export, remove = blocks_of(PAGE, "Unannounced change", "sh")
    [shown] = blocks_of(PAGE, "Unannounced change", "text")
    unknown, staged = scene.certificate("unknown"), scene.certificate("staged")
    refused = scene.attest(Scenario.UNKNOWN_ISSUER)
    assert refused != 0
    assert [scene.attest(Scenario.UNKNOWN_ISSUER) for _ in range(2)] == [refused, refused]
    status = call("trust", "status", environment=scene.environment)
    expected = shown.text.replace("127.0.0.1:8254", scene.machine.url.removeprefix("http://")).splitlines()
    # Denials of other tests follow.
    printed = status.out.splitlines()[: len(expected)]
    assert [steady(_SHA_1.sub("#", line)) for line in printed] == [steady(_SHA_1.sub("#", line)) for line in expected]
    assert f"  imds-verifier trust approve {unknown.sha256}\n" in status.out

    assert scene.attest(Scenario.STAGED) == refused
    approve, reject = decide.commands.splitlines()
    assert typed(approve.replace("SHA256", unknown.sha256), scene.environment).status == 0
    assert typed(reject.replace("SHA256", staged.sha256), scene.environment).status == 0
    await_that(lambda: scene.attest(Scenario.UNKNOWN_ISSUER) == 0)
    assert scene.attest(Scenario.STAGED) == refused

    write_pem(scene.directory / "new-ca.pem", staged)
    scene.run(add)
    await_that(lambda: scene.attest(Scenario.STAGED) == 0)
    assert staged.sha256 in scene.run(export)
    assert typed(remove.commands.replace("SHA256", staged.sha256), scene.environment).status == 0
    await_that(lambda: scene.attest(Scenario.STAGED) == refused)


def test_key_and_certificate_are_denied(scene: Scene) -> None:
    [block] = blocks_of(PAGE, "Revoke a key or certificate", "sh")
    one, other = scene.certificate("new-root"), scene.certificate("cross-signed")
    write_pem(scene.directory / "ca.pem", one)
    shown = scene.run(block, SPKI_SHA256=one.spki_sha256, SERIAL=other.serial_hex)
    assert shown.splitlines()[0].endswith(f"= {one.spki_sha256}")
    assert one.subject in shown
    assert other.subject in shown
    await_that(lambda: scene.attest(Scenario.CROSS_SIGNED_ROOT) != 0)


def test_trust_is_shown_and_changed_over_http(scene: Scene) -> None:
    [block] = blocks_of(PAGE, "Over HTTP", "sh")
    serial = "fedcba9876543210"
    text = scene.run(block, SERIAL=serial)
    status, end = json.JSONDecoder().raw_decode(text)
    assert [cloud["name"] for cloud in status["clouds"]] == ["AzurePublicCloud"]
    assert serial not in text[:end]
    assert serial in text[end:]


def test_audit_log_has_the_changes_and_their_users(scene: Scene) -> None:
    [block] = blocks_of(PAGE, "CA rotation", "console")
    serial = "abcdef0123456789"
    assert call("trust", "deny", serial, environment=scene.environment).status == 0
    # `status` ends with 1 if a chain ends soon, as those of the emulator do.
    statuses = frozenset({0, 1})
    printed = run_commands(
        block.commands, directory=scene.directory, environment=scene.environment, statuses=statuses
    ).splitlines()
    [change] = [line.split("\t") for line in printed if serial in line]
    assert change[1].startswith("cli:")

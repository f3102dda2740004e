"""Emulator, service and agent together: each cloud, each kind of machine, and each scenario."""

import base64
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.command_line import call
from support.emulator_fixtures import EXAMPLES, emulated_machines, write_common_trust
from support.services import RunningServer, running_service
from support.session_log import SESSION_LOG

from verifier import ArchiveVerifier, TrustDirectory, from_file
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki
from verifier.emulator.controls import Conditions
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.faults import Fault, FaultKind
from verifier.emulator.scenarios import Authorities, ChainChoice, Scenario
from verifier.emulator.server import RunningEmulator, running_emulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    machines: Mapping[str, RunningEmulator]
    service: RunningServer

    def attest(self, machine: str, *options: str) -> tuple[int, str, str]:
        """Run the agent on the machine, and return its exit code, stdout and stderr."""
        arguments = ("--verifier", self.service.url, "--imds", self.machines[machine].url, *options)
        result = call("attest", *arguments)
        return result.status, result.out, result.err


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    directory = tmp_path_factory.mktemp("emulated")
    with emulated_machines(EXAMPLES) as machines:
        trust_dir = write_common_trust(directory / "trust", machines)
        store = f"sqlite://{directory}/nonces.sqlite3"
        # Azure Germany too, which is not served unless it is named.
        with running_service(
            nonce_store=store, trust_dir=trust_dir, workers=1, VERIFIER_CLOUDS=",".join(Cloud)
        ) as service:
            yield Environment(machines=machines, service=service)


@pytest.fixture
def environment(shared: Environment) -> Environment:
    for machine in shared.machines.values():
        machine.reset()
    return shared


def fetch(imds: RunningEmulator, nonce: str) -> dict[str, object]:
    imds.limiter.reset()
    parts = urlsplit(imds.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        target = f"/metadata/attested/document?api-version=2020-09-01&nonce={nonce}"
        connection.request("GET", target, headers={"Metadata": "true"})
        body = connection.getresponse().read()
    finally:
        connection.close()
    SESSION_LOG.keep_exchange(target, None, body)
    fields: dict[str, object] = json.loads(body)
    return fields


def change_one_byte(document: Mapping[str, str]) -> dict[str, object]:
    evidence = bytearray(base64.b64decode(document["signature"]))
    evidence[evidence.index(b'"vmId":"') + len(b'"vmId":"')] ^= 1
    return {**document, "signature": base64.b64encode(evidence).decode("ascii")}


@pytest.mark.parametrize("machine", [file.stem for file in EXAMPLES])
def test_document_is_accepted_once_and_attacks_are_rejected(
    environment: Environment, machine: str, tmp_path: Path
) -> None:
    vm = environment.machines[machine].vm
    saved = tmp_path / "document.json"

    status, out, err = environment.attest(machine, "--json", "--save-document", str(saved))

    assert (status, err) == (0, "")
    result = json.loads(out)
    assert (result["verdict"], result["cloud"], result["claims"]["vmId"]) == ("verified", vm.cloud.value, vm.vm_id)
    if vm.is_classic:
        assert {name for name, value in result["claims"].items() if value is not None} == {"vmId", "nonce"}
    else:
        claims = result["claims"]
        assert (claims["licenseType"], claims["sku"]) == (vm.license_type, vm.sku)
        assert claims["plan"] == {
            "publisher": vm.plan.publisher,
            "product": vm.plan.product,
            "name": vm.plan.name,
        }
    document = json.loads(saved.read_bytes())
    replayed = environment.service.post_json("/v1/attestations", document)
    assert (replayed.status, replayed.code) == (409, "nonce-replayed")
    changed = environment.service.post_json("/v1/attestations", change_one_byte(document))
    assert (changed.status, changed.code) == (422, "signature-invalid")


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        (Scenario.STABLE, None),
        (Scenario.STAGED, None),
        (Scenario.UNKNOWN_ISSUER, "issuer-unpinned"),
        (Scenario.EXPIRED_SIGNER, "chain-untrusted"),
        (Scenario.EXPIRED_ISSUER, "issuer-unpinned"),
        (Scenario.CROSS_SIGNED_ROOT, None),
        (Scenario.CROSS_SIGNED_ISSUER, None),
    ],
)
def test_scenario_is_accepted_or_refused_by_the_trust(
    environment: Environment, scenario: Scenario, code: str | None
) -> None:
    environment.machines["government"].put(Conditions(chain=ChainChoice(scenario=scenario)))

    status, _, err = environment.attest("government")

    assert status == (0 if code is None else 1)
    assert code is None or code in err


def test_embedded_unknown_issuer_is_refused(environment: Environment) -> None:
    choice = ChainChoice(scenario=Scenario.UNKNOWN_ISSUER, embed_issuer=True)
    environment.machines["china"].put(Conditions(chain=choice))
    status, _, err = environment.attest("china")
    assert status == 1
    assert "issuer-unpinned" in err


def test_cached_document_is_refused_as_a_replay(environment: Environment) -> None:
    imds, service = environment.machines["scale-set"], environment.service
    first = fetch(imds, service.issue_nonce())
    assert service.post_json("/v1/attestations", first).status == 200
    imds.put(Conditions(faults=(Fault(kind=FaultKind.CACHED_NONCE, requests=1),)))
    cached = service.post_json("/v1/attestations", fetch(imds, service.issue_nonce()))
    assert (cached.status, cached.code, cached.json["retryable"]) == (409, "nonce-replayed", True)
    assert service.post_json("/v1/attestations", fetch(imds, service.issue_nonce())).status == 200


@pytest.mark.parametrize(
    ("seconds", "code"), [(-30, None), (30, None), (-7 * 3600, "document-expired"), (3600, "document-not-yet-valid")]
)
def test_clock_offset_is_accepted_within_the_skew(environment: Environment, seconds: int, code: str | None) -> None:
    imds, service = environment.machines["scale-set"], environment.service
    imds.put(Conditions(clock_offset=timedelta(seconds=seconds)))
    answer = service.post_json("/v1/attestations", fetch(imds, service.issue_nonce()))
    assert (answer.status, answer.code) == (200 if code is None else 422, code)


def test_authority_from_files_is_the_only_trust_that_its_signers_need(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    vm = VirtualMachine()
    authority = pki.make_root(
        subject=pki.make_name("Kept"), key=pki.make_rsa_key(), validity=pki.Validity.around(now, pki.CA_LIFETIME)
    )
    documents: list[dict[str, object]] = []
    for _ in range(2):  # the second one is after a restart
        authorities = Authorities.from_ca(authority, cloud=vm.cloud, region=vm.region)
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            running_emulator(listener, vm=vm, authorities=authorities) as imds,
        ):
            if not documents:
                imds.write_trust(tmp_path / "trust")
            documents.append(fetch(imds, "1234567890"))
    archive = ArchiveVerifier(trust=TrustDirectory(tmp_path / "trust"))
    for document in documents:
        result = archive.appraise(from_file(json.dumps(document).encode()), at=datetime.now(UTC))
        assert [link.subject for link in result.content.chain] == ["CN=Kept,O=imds-verifier emulator"]

"""Emulator, service and agent together: each cloud and each kind of machine, and each rollover while they run."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.command_line import call, run
from support.emulated import EXAMPLES, emulated_machines, write_common_trust
from support.services import RunningServer, running_service

from verifier.emulator.controls import Conditions
from verifier.emulator.faults import Fault, FaultKind
from verifier.emulator.scenarios import ChainChoice, Scenario
from verifier.emulator.server import RunningEmulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulated:
    machines: Mapping[str, RunningEmulator]
    service: RunningServer

    def attest(self, machine: str, *options: str) -> tuple[int, str, str]:
        """How the agent on the machine ends, and what it prints."""
        arguments = ("--verifier", self.service.url, "--imds", self.machines[machine].url, *options)
        ended = call("attest", *arguments)
        return ended.status, ended.out, ended.err


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    directory = tmp_path_factory.mktemp("emulated")
    with emulated_machines(EXAMPLES) as machines:
        trust_dir = write_common_trust(directory / "trust", machines)
        store = f"sqlite://{directory}/nonces.sqlite3"
        with running_service(nonce_store=store, trust_dir=trust_dir, workers=1) as service:
            yield Emulated(machines=machines, service=service)


@pytest.fixture
def emulated(shared: Emulated) -> Emulated:
    for machine in shared.machines.values():
        machine.reset()
    return shared


def change_one_byte(document: Mapping[str, str]) -> dict[str, object]:
    octets = bytearray(base64.b64decode(document["signature"]))
    octets[octets.index(b'"vmId":"') + len(b'"vmId":"')] ^= 1
    return {**document, "signature": base64.b64encode(octets).decode("ascii")}


@pytest.mark.parametrize("machine", [file.stem for file in EXAMPLES])
def test_is_verified_once_and_cheated_never(emulated: Emulated, machine: str, tmp_path: Path) -> None:
    vm = emulated.machines[machine].vm
    saved = tmp_path / "document.json"

    status, out, err = emulated.attest(machine, "--json", "--save-document", str(saved))

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
    replayed = emulated.service.post_json("/v1/attestations", document)
    assert (replayed.status, replayed.code) == (409, "nonce-replayed")
    changed = emulated.service.post_json("/v1/attestations", change_one_byte(document))
    assert (changed.status, changed.code) == (422, "signature-invalid")


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        (Scenario.STABLE, None),
        (Scenario.STAGED, None),
        (Scenario.UNKNOWN_ISSUER, "issuer-unpinned"),
        (Scenario.EXPIRED_SIGNER, "chain-untrusted"),
        (Scenario.EXPIRED_ISSUER, "chain-untrusted"),
        (Scenario.CROSS_SIGNED_ROOT, None),
        (Scenario.CROSS_SIGNED_ISSUER, None),
    ],
)
def test_a_rollover_while_they_run_ends_as_the_trust_that_was_written_says(
    emulated: Emulated, scenario: Scenario, code: str | None
) -> None:
    emulated.machines["government"].put(Conditions(chain=ChainChoice(scenario=scenario)))

    status, _, err = emulated.attest("government")

    assert status == (0 if code is None else 1)
    assert code is None or code in err


def test_an_embedded_unknown_issuer_is_refused_too(emulated: Emulated) -> None:
    choice = ChainChoice(scenario=Scenario.UNKNOWN_ISSUER, embed_issuer=True)
    emulated.machines["china"].put(Conditions(chain=choice))
    status, _, err = emulated.attest("china")
    assert status == 1
    assert "issuer-unpinned" in err


def test_a_cached_nonce_is_refused_and_the_agents_next_document_verified(emulated: Emulated) -> None:
    assert emulated.attest("scale-set")[0] == 0
    cached = Fault(kind=FaultKind.CACHED_NONCE, requests=1)
    emulated.machines["scale-set"].put(Conditions(faults=(cached,)))
    assert emulated.attest("scale-set")[0] == 0
    assert emulated.machines["scale-set"].controls.conditions().faults == ()


def test_the_demonstration_shows_the_machine_of_a_file() -> None:
    (file,) = [file for file in EXAMPLES if file.stem == "classic"]
    ended = run("demo", "--vm", str(file))
    assert ended.status == 0, ended.err
    assert "vmId: d3e0e374-fda6-4649-bbc9-7f20dc379f34" in ended.out
    assert "Verified once, and cheated never." in ended.out

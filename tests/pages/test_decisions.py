"""docs/operate/decisions.md: decisions are searched, counted and erased as the page says."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.documents import imds_answer
from support.live_documents import current_document, write_current_trust
from support.page_blocks import Block, blocks_of, run_commands, steady
from support.processes import await_that
from support.services import Answer, RunningServer, running_service
from support.tenant_keys import hash_of

from verifier.emulator import MarketplacePlan, VirtualMachine

PAGE = "docs/operate/decisions.md"
RUNS_BLOCKS = {
    "docs/operate/decisions.md": {"Why was a VM refused?": 2, "How many VMs?": 3, "Erase records": 1},
}
WHY, USAGE, ERASE = "Why was a VM refused?", "How many VMs?", "Erase records"
BACKEND, AGENT = "a-backend-key", "an-agent-key"
SETTINGS = f"""
[tenants.contoso]
keys = ["{hash_of(BACKEND)}"]
agent_keys = ["{hash_of(AGENT)}"]
policy = "appliance"

[policies.appliance]
plans = ["gold"]
"""
#: The VM of the page.
VM = VirtualMachine(
    vm_id="5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90",
    subscription_id="8d10da13-8125-4ba9-a717-bf7490507b3d",
    plan=MarketplacePlan(publisher="contoso", product="appliance", name="silver"),
)
GUID = "02aab8a4-74ef-476e-8182-f6d2ba4166a"
GOLD = replace(VM.plan, name="gold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A service that has refused the VM of the page."""

    service: RunningServer
    environment: dict[str, str]
    directory: Path
    refused: Answer

    def run(self, block: Block, **environment: str) -> str:
        # The day may end during the test.
        today = datetime.now(UTC)
        first, last = f"{today - timedelta(days=1):%Y-%m-%d}", f"{today:%Y-%m-%d}"
        script = block.commands.replace("https://verifier.example", self.service.url)
        script = script.replace("2026-11-01", first).replace("2026-11-30", last)
        return run_commands(script, directory=self.directory, environment={**self.environment, **environment})

    def found(self, query: str) -> list[dict[str, object]]:
        path = f"/v1/decisions?{query}"
        answer = self.service.request("GET", path, headers={"Authorization": f"Bearer {BACKEND}"})
        decisions: list[dict[str, object]] = json.loads(answer.body)["decisions"]
        return decisions


def attest(service: RunningServer, vm: VirtualMachine) -> Answer:
    headers = {"Authorization": f"Bearer {AGENT}", "Content-Type": "application/json"}
    nonce = service.request("POST", "/v1/nonces", headers=headers).json["nonce"]
    body = json.dumps(imds_answer(current_document(str(nonce), vm=vm))).encode()
    return service.request("POST", "/v1/attestations", body, headers=headers)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("decisions")
    store, config = f"sqlite://{directory}/nonces.sqlite3", directory / "verifier.toml"
    config.write_text(SETTINGS, "utf-8")
    trust = write_current_trust(directory / "trust")
    with running_service(nonce_store=store, trust_dir=trust, workers=1, VERIFIER_CONFIG=str(config)) as service:
        made = Scene(
            service=service,
            environment={"VERIFIER_NONCE_STORE": store, "VERIFIER_CONFIG": str(config), "KEY": BACKEND},
            directory=directory,
            refused=attest(service, VM),
        )
        await_that(lambda: bool(made.found(f"vmId={VM.vm_id}")))
        yield made


def test_search_shows_the_refusal_of_the_page(scene: Scene) -> None:
    search, _ = blocks_of(PAGE, WHY, "console", "sh")
    [shown] = blocks_of(PAGE, WHY, "text")
    request_id = str(scene.refused.json["requestId"])
    printed = scene.run(search, REQUEST_ID=request_id, VM_ID=VM.vm_id).splitlines()
    expected = shown.text.replace("agent:3f2a91bc", f"agent:{hash_of(AGENT)[:8]}").splitlines()
    # Each of the two commands finds it.
    assert [steady(line) for line in printed if line] == [steady(line) for line in expected] * 2
    assert f"request: {request_id} POST /v1/attestations" in printed[len(expected) - 1]


def test_search_over_http_finds_the_refusal(scene: Scene) -> None:
    _, search = blocks_of(PAGE, WHY, "console", "sh")
    [decision] = json.loads(scene.run(search))["decisions"]
    assert (decision["requestId"], decision["code"]) == (scene.refused.json["requestId"], "policy-denied")


def test_usage_counts_vms_by_plan(scene: Scene) -> None:
    vm = replace(VM, vm_id=f"{GUID}1", plan=GOLD)
    command, over_http, export = blocks_of(PAGE, USAGE, "console", "sh")
    for _ in range(2):
        assert attest(scene.service, vm).status == 200
    await_that(lambda: len(scene.found(f"vmId={vm.vm_id}")) == 2)
    assert "contoso/appliance/gold" in scene.run(command)
    assert scene.run(export).strip() == "1"
    groups = json.loads(scene.run(over_http))["groups"]
    assert [(group["value"], group["virtualMachines"]) for group in groups] == [("contoso/appliance/gold", 1)]


def test_erased_records_are_gone(scene: Scene) -> None:
    [erase] = blocks_of(PAGE, ERASE, "console")
    one, other = (replace(VM, vm_id=f"{GUID}{digit}", subscription_id=f"{GUID}{digit + 1}") for digit in (2, 4))
    for vm in (one, other):
        attest(scene.service, vm)
        await_that(lambda: bool(scene.found(f"vmId={vm.vm_id}")))  # noqa: B023 - called at once
    scene.run(erase, VM_ID=one.vm_id, SUBSCRIPTION_ID=other.subscription_id)
    assert scene.found(f"vmId={one.vm_id}") == scene.found(f"vmId={other.vm_id}") == []
    assert scene.found(f"vmId={VM.vm_id}")

"""docs/operate/monitoring.md: the lines of the log that it shows are those of a service."""

import json

import pytest
from support.documents import imds_answer
from support.live_documents import current_document, write_current_trust
from support.page_blocks import blocks_of, steady
from support.services import running_service
from support.tenant_keys import hash_of

from verifier.emulator import MarketplacePlan, VirtualMachine

PAGE = "docs/operate/monitoring.md"
RUNS_BLOCKS = {"docs/operate/monitoring.md": {"Log": 1, "`decided`": 1}}
AGENT = "an-agent-key"
SETTINGS = f"""
[tenants.contoso]
keys = ["{hash_of("a-backend-key")}"]
agent_keys = ["{hash_of(AGENT)}"]
policy = "appliance"

[policies.appliance]
publishers = ["contoso"]

[policies.gold]
skus = ["premium"]
"""
#: The VM of the page.
VM = VirtualMachine(
    vm_id="02aab8a4-74ef-476e-8182-f6d2ba4166a6",
    subscription_id="8d10da13-8125-4ba9-a717-bf7490507b3d",
    plan=MarketplacePlan(publisher="contoso", product="appliance", name="standard"),
    sku="standard",
)
#: Members whose values differ between two requests.
DIFFERS = {"requestId", "key", "signerSerial", "issuer", "documentSha256", "milliseconds", "steps", "time"}

Line = dict[str, object]


def shown(section: str) -> Line:
    [block] = blocks_of(PAGE, section, "json")
    line: Line = json.loads(block.text)
    return line


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """The log of a service that refused the VM of the page, and then its document a second time."""
    directory = tmp_path_factory.mktemp("monitoring")
    config = directory / "verifier.toml"
    config.write_text(SETTINGS, "utf-8")
    store, trust = f"sqlite://{directory}/nonces.sqlite3", write_current_trust(directory / "trust")
    headers = {"Authorization": f"Bearer {AGENT}", "Content-Type": "application/json"}
    with running_service(nonce_store=store, trust_dir=trust, workers=1, VERIFIER_CONFIG=str(config)) as service:
        nonce = str(service.request("POST", "/v1/nonces", headers=headers).json["nonce"])
        body = json.dumps({**imds_answer(current_document(nonce, vm=VM)), "policy": "gold"}).encode()
        named = {**headers, "X-Request-Id": "order-4711"}
        assert service.request("POST", "/v1/attestations", body, headers=named).code == "policy-denied"
        assert service.request("POST", "/v1/attestations", body, headers=headers).code == "nonce-replayed"
    return [json.loads(line) for line in service.log if line.startswith("{")]


@pytest.mark.parametrize("section", ["Log", "`decided`"])
def test_line_has_the_members_and_values_of_the_page(log: list[Line], section: str) -> None:
    expected = shown(section)
    [made] = [line for line in log if (line["event"], line.get("code")) == (expected["event"], expected["code"])]
    assert list(made) == list(expected)
    for name, value in expected.items():
        assert type(made[name]) is type(value), name
        assert name in DIFFERS or made[name] == value, name


def test_steps_are_those_of_the_page_in_order(log: list[Line]) -> None:
    [made] = [line for line in log if line.get("code") == "policy-denied" and line["event"] == "decided"]
    steps, expected = made["steps"], shown("`decided`")["steps"]
    assert isinstance(steps, dict)
    assert isinstance(expected, dict)
    assert list(steps) == list(expected)


def test_key_and_hashes_have_the_form_of_the_page(log: list[Line]) -> None:
    [made] = [line for line in log if line.get("code") == "policy-denied" and line["event"] == "decided"]
    assert made["key"] == f"agent:{hash_of(AGENT)[:8]}"
    assert steady(str(made["documentSha256"])) == steady(str(shown("`decided`")["documentSha256"]))

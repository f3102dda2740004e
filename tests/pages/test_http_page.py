"""docs/integrate/http.md: a running service answers in the form of each JSON block."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.documents import VM, imds_answer
from support.live_documents import current_document, write_current_trust
from support.page_blocks import blocks_of, steady
from support.processes import await_that
from support.redis_server import running_redis_server
from support.services import ADMIN_KEYS, AS_ADMIN, Client, running_service
from support.tenant_keys import hash_of

from verifier.emulator import MarketplacePlan

PAGE = "docs/integrate/http.md"
RUNS_BLOCKS = {"docs/integrate/http.md": {"`POST /v1/nonces`": 1, "Decisions": 2, "Readiness": 1}}
KEY = "key-of-the-page"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
SETTINGS = {
    "VERIFIER_TENANTS": json.dumps({"contoso": {"keys": [hash_of(KEY)], "policy": "gold"}}),
    "VERIFIER_POLICIES": json.dumps({"gold": {"plans": ["gold"]}}),
    "VERIFIER_ADMIN_KEYS": ADMIN_KEYS,
}
GOLD = MarketplacePlan(publisher="contoso", product="appliance", name="gold")
REFUSED_VM = "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90"


@pytest.fixture(scope="module")
def trust_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_current_trust(tmp_path_factory.mktemp("trust") / "trust")


@pytest.fixture(scope="module")
def service(trust_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A service that verified three VMs, and refused two documents of another one."""
    store = f"sqlite://{tmp_path_factory.mktemp('store')}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=1, **SETTINGS) as running:
        for number in range(3):
            assert attest(running, vm_id=f"{number}{VM.vm_id[1:]}", plan=GOLD) == 200
        for _ in range(2):
            assert attest(running, vm_id=REFUSED_VM) == 403
        await_that(lambda: len(get(running, "/v1/decisions")["decisions"]) == 5)
        yield running


def attest(service: Client, **machine: Any) -> int:  # noqa: ANN401 - fields of any type
    nonce = service.request("POST", "/v1/nonces", headers=HEADERS).json["nonce"]
    document = current_document(str(nonce), vm=replace(VM, **machine))
    body = json.dumps(imds_answer(document)).encode()
    return service.request("POST", "/v1/attestations", body, headers=HEADERS).status


def get(service: Client, path: str) -> Any:  # noqa: ANN401 - JSON of our own
    return service.request("GET", path, headers=HEADERS).json


def shown_in(section: str, number: int = 0) -> Any:  # noqa: ANN401 - JSON of the page
    return json.loads(blocks_of(PAGE, section, "json")[number].text)


def test_nonce(service: Client) -> None:
    shown, made = shown_in("`POST /v1/nonces`"), service.request("POST", "/v1/nonces", headers=HEADERS).json
    assert list(shown) == list(made)
    assert [steady(value) for value in shown.values()] == [steady(str(value)) for value in made.values()]
    for answer in (shown, made):
        issued, expires = (datetime.fromisoformat(str(answer[name])) for name in ("issuedAt", "expiresAt"))
        assert (expires - issued).total_seconds() == 300


def test_page_of_decisions(service: Client) -> None:
    shown, made = shown_in("Decisions"), get(service, "/v1/decisions?verdict=refused&limit=1")
    assert list(shown) == list(made)
    assert made["cursor"]
    [one], [decision] = shown["decisions"], made["decisions"]
    names = [name for name in one if name != "…"]
    assert [name for name in decision if name in names] == names
    for name in names:
        assert steady(str(decision[name])) == steady(str(one[name])), name


def test_usage(service: Client) -> None:
    day = datetime.now(UTC).date().isoformat()
    await_that(lambda: get(service, "/v1/usage")["total"] == 3)
    shown, made = shown_in("Decisions", 1), get(service, f"/v1/usage?from={day}&to={day}")
    assert list(shown) == list(made)
    assert {**shown, "from": day, "to": day, "countedSince": day} == made


def test_service_without_its_store_is_not_ready(trust_dir: Path) -> None:
    with (
        running_redis_server() as redis,
        running_service(nonce_store=redis.url, trust_dir=trust_dir, workers=1, **SETTINGS) as service,
    ):
        await_that(lambda: service.request("GET", "/readyz").status == 200)
        with redis.hanging():
            made = service.request("GET", "/readyz", headers=AS_ADMIN)
    text = blocks_of(PAGE, "Readiness", "json")[0].text.replace("redis.internal:6379", redis.address)
    assert (made.status, made.json) == (503, json.loads(text))

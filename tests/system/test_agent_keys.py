"""A hostile customer with an agent key: each attempt is refused by its code, and all others are served meanwhile."""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.documents import VM
from support.machines import Machine
from support.redis_server import RedisServer
from support.services import RunningServer, running_service
from support.tenant_keys import hash_of

HOSTILE, NEIGHBOUR, OFFICE = "127.0.0.66", "127.0.0.67", "127.0.0.68"
OTHER_VM = replace(VM, vm_id="11111111-2222-4333-8444-555555555555")


def settings_of(name: str) -> dict[str, str]:
    """Two tenants with names of their own: tests share a Redis, and keep apart by the names of tenants."""
    vendor = {
        "keys": [hash_of("backend")],
        "rate": "1000/hour",
        "agent_keys": [hash_of("agent")],
        "agent_address_rate": "100/hour",
        "agent_vm_rate": "5/hour",
        "agent_address_nonces": 20,
        "agent_nonces": 1000,
    }
    other = {"keys": [hash_of("other-backend")], "agent_keys": [hash_of("other-agent")], "policy": "strict"}
    return {
        "VERIFIER_TENANTS": json.dumps({f"{name}-vendor": vendor, f"{name}-other": other}),
        "VERIFIER_POLICIES": json.dumps({"strict": {"publishers": ["secret-publisher"]}}),
    }


@pytest.fixture(params=["sqlite", "redis"])
def service(
    request: pytest.FixtureRequest, tmp_path: Path, trust_dir: Path, redis_server: RedisServer
) -> Iterator[RunningServer]:
    store = f"sqlite://{tmp_path}/nonces.sqlite3" if request.param == "sqlite" else redis_server.url
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=2, **settings_of(uuid.uuid4().hex)) as running:
        yield running


def test_flood_of_one_customer_changes_nothing_for_the_others(service: RunningServer) -> None:
    hostile = Machine(service=service, address=HOSTILE)
    neighbour = Machine(service=service, address=NEIGHBOUR, vm=OTHER_VM)
    backend = Machine(service=service, address=HOSTILE, key="backend")
    stopping = threading.Event()
    flood: Counter[object] = Counter()

    def attack(_: int) -> None:
        while not stopping.is_set():
            flood[hostile.ask("POST", "/v1/attestations", {"signature": "x"}).code] += 1
            flood[hostile.ask("POST", "/v1/nonces").code] += 1

    with ThreadPoolExecutor(4) as pool:
        attackers = [pool.submit(attack, number) for number in range(4)]
        try:
            while flood["rate-limited"] < 50:
                assert not any(attacker.done() for attacker in attackers)
            served = [neighbour.attest().status for _ in range(5)]
            answers = [backend.attest() for _ in range(10)]
        finally:
            stopping.set()
        for attacker in attackers:
            attacker.result()
    assert served == [200] * 5
    assert [answer.status for answer in answers] == [200] * 10
    # The backend's budget counts its own requests only, although they come from the same address.
    assert answers[-1].headers["RateLimit"].startswith('"attestations";r=990;')
    # Two workers and four threads send far more than the 100 requests that the rate admits.
    assert flood["malformed-evidence"] == 100
    assert set(flood) <= {"malformed-evidence", "rate-limited", None}
    assert flood[None] == 20


def test_hoarded_nonces_are_refused_and_others_get_theirs(service: RunningServer) -> None:
    hostile = Machine(service=service, address=HOSTILE)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: hostile.ask("POST", "/v1/nonces"), range(60)))
    refused = [answer for answer in answers if answer.status != 201]
    assert len(answers) - len(refused) == 20
    assert {(answer.status, answer.code) for answer in refused} == {(429, "rate-limited")}
    assert all(1 <= int(answer.headers["Retry-After"]) <= 300 for answer in refused)
    assert "outstanding nonces" in str(refused[0].json["detail"])
    assert Machine(service=service, address=NEIGHBOUR).attest().status == 200
    assert Machine(service=service, address=HOSTILE, key="backend").attest().status == 200
    # A redeemed nonce is no longer outstanding.
    issued = next(answer for answer in answers if answer.status == 201)
    assert hostile.post(str(issued.json["nonce"])).status == 200
    assert hostile.ask("POST", "/v1/nonces").status == 201
    assert hostile.ask("POST", "/v1/nonces").status == 429


def test_captured_document_does_not_use_up_the_budget_of_its_vm(service: RunningServer) -> None:
    victim = Machine(service=service, address=NEIGHBOUR, vm=OTHER_VM)
    hostile = Machine(service=service, address=HOSTILE, vm=OTHER_VM)
    nonce = victim.nonce()
    assert victim.post(nonce).status == 200
    for _ in range(10):
        answer = hostile.post(nonce)
        assert (answer.status, answer.code) == (409, "nonce-replayed")
    assert [victim.attest().status for _ in range(4)] == [200] * 4
    limited = victim.attest()
    assert (limited.status, limited.code) == (429, "rate-limited")
    assert "one VM is 5 requests per hour" in str(limited.json["detail"])
    assert Machine(service=service, address=OFFICE, key="backend", vm=OTHER_VM).attest().status == 200


def test_agent_key_reaches_neither_another_tenant_nor_administration(service: RunningServer) -> None:
    hostile = Machine(service=service, address=HOSTILE)
    other = Machine(service=service, address=NEIGHBOUR, key="other-agent")
    answer = hostile.post(other.nonce())
    assert (answer.status, answer.code) == (422, "nonce-unknown")
    for method, path in (
        ("GET", "/v1/trust"),
        ("POST", "/v1/trust/pins"),
        ("DELETE", f"/v1/trust/pins/{'0' * 64}"),
        ("PUT", f"/v1/trust/denied/{'0' * 64}"),
        ("POST", f"/v1/trust/discovered/{'0' * 64}/approve"),
    ):
        answer = hostile.ask(method, path)
        assert (answer.status, answer.code) == (403, "forbidden"), path
        assert "agent key" in str(answer.json["detail"])
    shown = [Machine(service=service, address=HOSTILE, key=key).ask("GET", "/readyz") for key in ("agent", "wrong")]
    assert shown[0].body == shown[1].body


def test_agent_cannot_widen_the_policy_and_learns_only_the_rule(service: RunningServer) -> None:
    agent = Machine(service=service, address=HOSTILE, key="other-agent")
    wide = (agent.post(agent.nonce(policy="default")), agent.post(agent.nonce(), policy="default"), agent.attest())
    for answer in wide:
        assert (answer.status, answer.code) == (403, "policy-denied")
        assert answer.json["detail"] == "The document does not satisfy the rule 'plan.publisher is allowed'."
        assert b"strict" not in answer.body
        assert b"secret-publisher" not in answer.body
    backend = Machine(service=service, address=OFFICE, key="other-backend").attest()
    assert "strict" in str(backend.json["detail"])


@pytest.mark.parametrize(
    ("hostile", "neighbour"),
    [
        ("203.0.113.7", "203.0.113.8"),
        ("2001:db8:1:2::{}", "2001:db8:1:3::1"),
        ("198.51.100.{}, 203.0.113.7", "198.51.100.1"),
    ],
)
def test_customers_behind_a_proxy_are_told_apart(tmp_path: Path, trust_dir: Path, hostile: str, neighbour: str) -> None:
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
        trust_dir=trust_dir,
        workers=2,
        VERIFIER_TRUSTED_PROXIES="1",
        **settings_of("behind"),
    ) as service:
        codes = Counter(
            Machine(service=service, address=OFFICE, headers={"X-Forwarded-For": hostile.format(number % 200)})
            .ask("POST", "/v1/attestations", {"signature": "x"})
            .code
            for number in range(120)
        )
        assert codes == {"malformed-evidence": 100, "rate-limited": 20}
        assert Machine(service=service, address=OFFICE, headers={"X-Forwarded-For": neighbour}).attest().status == 200


def test_forwarding_header_without_trusted_proxies_is_warned_about_once(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir, workers=1, **settings_of("direct")
    ) as service:
        codes = [
            Machine(service=service, address=HOSTILE, headers={"X-Forwarded-For": f"198.51.100.{number}"})
            .ask("POST", "/v1/nonces")
            .status
            for number in range(25)
        ]
    assert codes == [201] * 20 + [429] * 5
    warnings = [line for line in map(json.loads, service.log) if line["event"] == "forwarding mismatch"]
    assert len(warnings) == 1
    assert "VERIFIER_TRUSTED_PROXIES" in warnings[0]["detail"]

"""Test that a refused customer is found over HTTP and on the command line, with real processes, on both stores."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.command_line import run
from support.documents import VM, imds_answer
from support.live_documents import current_document
from support.machines import Machine
from support.processes import await_that
from support.redis_server import running_redis_server
from support.services import ADMIN_KEY, ADMIN_KEYS, Answer, RunningServer, running_service
from support.tenant_keys import hash_of

from verifier.usecases.decisions import Cursor

TENANTS = {
    "north": {"keys": [hash_of("north")], "agent_keys": [hash_of("agent")], "policy": "gold"},
    "south": {"keys": [hash_of("south")]},
}
POLICIES = {"gold": {"plans": ["gold", "platinum"]}}


class Asked:
    """A service that refused the document of a customer, which an agent posted."""

    def __init__(self, service: RunningServer, nonce_store: str) -> None:
        self.service = service
        self.environment = {"VERIFIER_NONCE_STORE": nonce_store}
        agent = Machine(service=service, address="127.0.0.2", key="agent")
        nonce = str(agent.ask("POST", "/v1/nonces").json["nonce"])
        self.refused = agent.ask("POST", "/v1/attestations", imds_answer(current_document(nonce)))

    def ask(self, path: str, key: str) -> Answer:
        return self.service.request("GET", path, headers={"Authorization": f"Bearer {key}"})

    def decisions(self, path: str, key: str) -> list[dict[str, object]]:
        found = self.ask(path, key).json["decisions"]
        assert isinstance(found, list)
        return found


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[Asked]:
    with ExitStack() as stack:
        store = f"sqlite://{tmp_path_factory.mktemp('nonces')}/nonces.sqlite3"
        if request.param == "redis":
            store = stack.enter_context(running_redis_server()).url
        service = stack.enter_context(
            running_service(
                nonce_store=store,
                trust_dir=trust_dir,
                VERIFIER_TENANTS=json.dumps(TENANTS),
                VERIFIER_POLICIES=json.dumps(POLICIES),
                VERIFIER_ADMIN_KEYS=ADMIN_KEYS,
            )
        )
        found = Asked(service, store)
        await_that(lambda: len(found.decisions("/v1/decisions", "north")) > 0)
        yield found


def test_an_agent_learns_only_the_rule(asked: Asked) -> None:
    assert (asked.refused.status, asked.refused.code) == (403, "policy-denied")
    assert "gold" not in asked.refused.body.decode()


def test_support_finds_the_refusal_by_vm_and_by_request(asked: Asked) -> None:
    request_id = asked.refused.headers["X-Request-Id"]
    for key in ("north", ADMIN_KEY):
        for path in (f"/v1/decisions?vmId={VM.vm_id.upper()}&verdict=refused", "/v1/decisions?code=policy-denied"):
            [decision] = asked.decisions(path, key)
            assert decision["requestId"] == request_id
            assert decision["policies"] == ["gold"]
            assert decision["key"] == f"agent:{hash_of('agent')[:8]}"
            assert decision["denial"] == {
                "policy": "gold",
                "rule": "plan.name is allowed",
                "found": VM.plan.name,
                "allowed": ["gold", "platinum"],
                "allowedCount": 2,
            }
            assert asked.ask(f"/v1/decisions/{request_id}", key).json == decision


def test_the_command_line_finds_it_too(asked: Asked) -> None:
    request_id = asked.refused.headers["X-Request-Id"]
    for option, value in (("--vm-id", VM.vm_id), ("--request-id", request_id)):
        ended = run("decisions", option, value, environment=asked.environment)
        assert ended.status == 0, ended.err
        assert "rule: plan.name is allowed (policy 'gold')" in ended.out
        assert 'allowed: "gold", "platinum"' in ended.out
        assert request_id in ended.out


def test_another_tenant_and_an_agent_find_nothing(asked: Asked) -> None:
    request_id = asked.refused.headers["X-Request-Id"]
    assert asked.decisions(f"/v1/decisions?vmId={VM.vm_id}&verdict=refused", "south") == []
    assert asked.ask(f"/v1/decisions/{request_id}", "south").status == 404
    assert asked.ask(f"/v1/decisions?vmId={VM.vm_id}&tenant=north", "south").status == 403
    cursor = Cursor(moment=2**60, sequence=0, tenant="north").text()
    assert {found["tenant"] for found in asked.decisions(f"/v1/decisions?cursor={cursor}", "south")} <= {"south"}
    for path in ("/v1/decisions", f"/v1/decisions/{request_id}", "/v1/usage"):
        assert asked.ask(path, "agent").status == 403


def test_refused_machines_are_not_in_use(asked: Asked) -> None:
    assert asked.ask("/v1/usage", "north").json["total"] == 0
    # Its own policy accepts the same machine.
    backend = Machine(service=asked.service, address="127.0.0.1", key="south")
    nonce = str(backend.ask("POST", "/v1/nonces").json["nonce"])
    assert backend.ask("POST", "/v1/attestations", imds_answer(current_document(nonce))).status == 200
    await_that(lambda: asked.ask("/v1/usage", "south").json["total"] == 1)
    ended = run("usage", "--tenant", "south", "--csv", environment=asked.environment)
    assert ended.out.splitlines()[-1].split(",")[3:6] == ["total", "", "1"]

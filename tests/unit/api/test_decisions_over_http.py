"""Test who sees which decisions over HTTP, the filters, and the numbers of VMs, over a real store."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from support import documents
from support.applications import Application, make_application
from support.clocks import ManualClock
from support.decisions import SUBSCRIPTION, VM, claims_of, garbage_of, record_of
from support.services import ADMIN_KEY
from support.tenant_keys import hash_of
from werkzeug.test import TestResponse

from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.api.authentication import Tenants
from verifier.core.policy import Denial
from verifier.core.reasons import Check
from verifier.core.tenancy import Rate, Tenant
from verifier.ports.decisions import NO_TENANT, AppraisalRecord, Verdict

NORTH, SOUTH = Tenant(name="north"), Tenant(name="south")
LIMITED = Tenant(name="limited", rate=Rate.parse("2/hour"))
TENANTS = Tenants(
    key_hashes={NORTH: [hash_of("north-1")], SOUTH: [hash_of("south-1")], LIMITED: [hash_of("limited-1")]},
    agent_key_hashes={NORTH: [hash_of("north-agent")]},
)
NOW = documents.NOW
OTHER_VM = "11111111-2222-3333-4444-555555555555"


def request_id(number: int) -> str:
    return f"{number:032x}"


REFUSED = record_of(
    NOW - timedelta(minutes=2),
    "north",
    request_id=request_id(1),
    verdict=Verdict.REFUSED,
    code="policy-denied",
    failed_check=Check.POLICY,
    policies=("appliance", "gold-only"),
    denial=Denial(policy="gold-only", rule="plan.name is allowed", found="Gold", allowed=("silver",), allowed_count=1),
)
RECORDS: list[AppraisalRecord] = [
    REFUSED,
    record_of(NOW - timedelta(minutes=1), "north", request_id=request_id(2), claims=claims_of(OTHER_VM)),
    garbage_of(NOW, "north", request_id=request_id(3), code="malformed-evidence"),
    record_of(NOW, "south", request_id=request_id(4)),
    garbage_of(NOW, NO_TENANT, request_id=request_id(5), code="unauthenticated"),
]


@pytest.fixture
def application(tmp_path: Path) -> Application:
    store = SqliteDecisionStore(tmp_path / "decisions.sqlite3", bytes_per_tenant=2**26, clock=ManualClock(NOW))
    store.append(RECORDS)
    return make_application(tmp_path, tenants=TENANTS, decisions=store)


def ask(
    application: Application,
    path: str,
    key: str | None = "north-1",
    **query: Any,  # noqa: ANN401 - parameters of any type
) -> TestResponse:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return application.client.get(f"{path}?{urlencode(query)}" if query else path, headers=headers)


def read(answer: TestResponse) -> dict[str, Any]:
    """Return the JSON object of an answer."""
    fields = answer.json
    assert isinstance(fields, dict)
    return fields


def found(
    application: Application,
    key: str = "north-1",
    **query: Any,  # noqa: ANN401 - parameters of any type
) -> list[int]:
    """Return the numbers of the request ids of the first page."""
    answer = ask(application, "/v1/decisions", key, **query)
    assert answer.status_code == 200, read(answer)
    return [int(decision["requestId"], 16) for decision in read(answer)["decisions"]]


def code_of(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, read(answer)["code"]


def test_refused_customer_is_found_by_vm_with_rule_value_and_policies(application: Application) -> None:
    answer = ask(application, "/v1/decisions", vmId=VM.upper(), verdict="refused")
    [decision] = read(answer)["decisions"]
    assert decision["denial"] == {
        "policy": "gold-only",
        "rule": "plan.name is allowed",
        "found": "Gold",
        "allowed": ["silver"],
        "allowedCount": 1,
    }
    assert decision["policies"] == ["appliance", "gold-only"]
    assert decision["failedCheck"] == "policy"
    assert read(answer)["cursor"] is None
    assert read(ask(application, f"/v1/decisions/{request_id(1)}")) == decision


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [3, 2, 1]),
        ({"vmId": OTHER_VM}, [2]),
        ({"vmId": f"{{{OTHER_VM}}}"}, [2]),
        ({"subscriptionId": SUBSCRIPTION}, [2, 1]),
        ({"verdict": "verified"}, [2]),
        ({"code": "malformed-evidence"}, [3]),
        ({"plan": "GOLD"}, [2, 1]),
        ({"plan": "silver"}, []),
        ({"since": (NOW - timedelta(seconds=90)).isoformat()}, [3, 2]),
        ({"until": (NOW - timedelta(seconds=90)).isoformat().replace("+00:00", "Z")}, [1]),
        ({"limit": 1}, [3]),
        ({"tenant": "north"}, [3, 2, 1]),
    ],
)
def test_filters(application: Application, query: dict[str, Any], numbers: list[int]) -> None:
    assert found(application, **query) == numbers


def test_another_tenant_finds_nothing(application: Application) -> None:
    assert found(application, "south-1") == [4]
    assert found(application, "south-1", vmId=OTHER_VM) == []
    for number in (1, 2, 3, 5):
        assert code_of(ask(application, f"/v1/decisions/{request_id(number)}", "south-1")) == (404, "not-found")
    assert code_of(ask(application, "/v1/decisions", "south-1", tenant="north")) == (403, "forbidden")
    assert code_of(ask(application, "/v1/usage", "south-1", tenant="north")) == (403, "forbidden")
    assert code_of(ask(application, "/v1/decisions", "south-1", tenant="")) == (403, "forbidden")
    cursor = read(ask(application, "/v1/decisions", "north-1", limit=1))["cursor"]
    assert found(application, "south-1", cursor=cursor) in ([], [4])


def test_administrator_sees_all_tenants(application: Application) -> None:
    assert sorted(found(application, ADMIN_KEY)) == [1, 2, 3, 4, 5]
    assert found(application, ADMIN_KEY, tenant="south") == [4]
    assert found(application, ADMIN_KEY, tenant="") == [5]
    assert ask(application, f"/v1/decisions/{request_id(4)}", ADMIN_KEY).status_code == 200
    assert code_of(ask(application, "/v1/usage", ADMIN_KEY)) == (400, "malformed-request")
    assert read(ask(application, "/v1/usage", ADMIN_KEY, tenant="south"))["total"] == 1


@pytest.mark.parametrize("path", ["/v1/decisions", f"/v1/decisions/{request_id(1)}", "/v1/usage"])
def test_agent_keys_and_strangers_see_none(application: Application, path: str) -> None:
    assert code_of(ask(application, path, "north-agent")) == (403, "forbidden")
    assert code_of(ask(application, path, "unknown")) == (401, "unauthenticated")
    assert code_of(ask(application, path, None)) == (401, "unauthenticated")


def test_open_service_shows_decisions_to_administrators_alone(tmp_path: Path) -> None:
    store = SqliteDecisionStore(tmp_path / "decisions.sqlite3", bytes_per_tenant=2**26, clock=ManualClock(NOW))
    store.append([record_of(NOW, "default", request_id=request_id(1))])
    application = make_application(tmp_path, decisions=store)
    assert code_of(ask(application, "/v1/decisions", None)) == (401, "unauthenticated")
    assert found(application, ADMIN_KEY) == [1]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"vmid": VM}, "Did you mean 'vmId'?"),
        ({"vmId": "x' OR 1=1"}, "expected a GUID"),
        ({"vmId": VM + "\n"}, "expected a GUID"),
        ({"subscriptionId": "%"}, "expected a GUID"),
        ({"verdict": "VERIFIED"}, "verdict"),
        ({"code": "policy"}, "the code of a problem"),
        ({"code": "x" * 10_000}, "the code of a problem"),
        ({"plan": "x" * 129}, "plan"),
        ({"since": "2026-11-30"}, "RFC 3339"),
        ({"since": "2026-11-30T08:00:00 00:00"}, "RFC 3339"),
        ({"until": "99999-01-01T00:00:00Z"}, "RFC 3339"),
        ({"limit": "0"}, "1 to 200"),
        ({"limit": "201"}, "1 to 200"),
        ({"limit": "1e2"}, "1 to 200"),
        ({"limit": "²"}, "1 to 200"),
        ({"cursor": "AAAA"}, "not one of this service"),
        ({"cursor": "x" * 300}, "cursor"),
        ({"request_id": "1"}, "Unknown field"),
    ],
)
def test_hostile_parameters_are_refused_by_name(application: Application, query: dict[str, Any], message: str) -> None:
    answer = ask(application, "/v1/decisions", **query)
    assert code_of(answer) == (400, "malformed-request")
    assert message in read(answer)["detail"]


@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/usage"])
@pytest.mark.parametrize("query", [b"\xff=1", b"vmId=\xe4", "größe=1".encode()])
def test_query_string_with_raw_bytes_is_refused(application: Application, path: str, query: bytes) -> None:
    overrides = {"QUERY_STRING": query.decode("latin-1")}
    headers = {"Authorization": "Bearer north-1"}
    answer = application.client.get(path, headers=headers, environ_overrides=overrides)
    assert code_of(answer) == (400, "malformed-request")


def test_repeated_parameter_is_refused(application: Application) -> None:
    answer = ask(application, "/v1/decisions?limit=1&limit=2")
    assert code_of(answer) == (400, "malformed-request")


@pytest.mark.parametrize("text", ["0", "x", request_id(1) + "0", "%00", "..", "a" * 5000, "'--"])
def test_hostile_request_id_is_not_found(application: Application, text: str) -> None:
    assert code_of(ask(application, f"/v1/decisions/{quote(text, safe='%')}")) == (404, "not-found")


def test_pages_lead_to_every_decision(application: Application) -> None:
    numbers: list[int] = []
    query: dict[str, Any] = {"limit": 1}
    for _ in range(3):
        answer = ask(application, "/v1/decisions", ADMIN_KEY, **query)
        numbers += [int(decision["requestId"], 16) for decision in read(answer)["decisions"]]
        query["cursor"] = read(answer)["cursor"]
    assert len(set(numbers)) == 3
    assert len(found(application, ADMIN_KEY, cursor=query["cursor"])) == 2


def test_usage_counts_distinct_machines(application: Application) -> None:
    day = NOW.date().isoformat()
    answer = read(ask(application, "/v1/usage", **{"from": day, "to": day}))
    assert answer == {
        "tenant": "north",
        "from": day,
        "to": day,
        "by": "plan",
        "total": 1,
        "groups": [{"value": "contoso/appliance/gold", "virtualMachines": 1}],
        "exact": True,
        "standardError": 0,
        "countedSince": day,
        "isComplete": True,
    }
    by_cloud = read(ask(application, "/v1/usage", by="cloud"))
    assert by_cloud["groups"] == [{"value": "AzurePublicCloud", "virtualMachines": 1}]
    assert by_cloud["from"] == NOW.date().replace(day=1).isoformat()
    assert by_cloud["to"] == day
    assert by_cloud["isComplete"] is (NOW.day == 1)


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-11-31"},
        {"to": "yesterday"},
        {"from": "2026-11-02", "to": "2026-11-01"},
        {"from": "2020-01-01", "to": "2026-01-01"},
        {"by": "vmId"},
        {"month": "11"},
    ],
)
def test_hostile_period_is_refused(application: Application, query: dict[str, str]) -> None:
    assert code_of(ask(application, "/v1/usage", **query)) == (400, "malformed-request")


def test_reading_has_a_rate_of_its_own(application: Application) -> None:
    for _ in range(2):
        assert ask(application, "/v1/decisions", "limited-1").status_code == 200
    answer = ask(application, "/v1/usage", "limited-1")
    assert code_of(answer) == (429, "rate-limited")
    assert answer.headers["RateLimit-Policy"].startswith('"decisions"')
    nonce = application.client.post("/v1/nonces", headers={"Authorization": "Bearer limited-1"})
    assert nonce.status_code == 201


def test_service_that_keeps_none_says_so(tmp_path: Path) -> None:
    application = make_application(tmp_path, tenants=TENANTS)
    answer = ask(application, "/v1/decisions")
    assert code_of(answer) == (404, "not-found")
    assert "VERIFIER_DECISION_STORE" in read(answer)["detail"]


def test_answers_are_not_cached_and_hold_no_more_than_the_records(application: Application) -> None:
    answer = ask(application, "/v1/decisions", ADMIN_KEY)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "nonce" not in json.dumps(read(answer)["decisions"]).lower()

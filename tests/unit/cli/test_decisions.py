"""`imds-verifier decisions` and `imds-verifier usage`, over a real store."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.clocks import ManualClock
from support.command_line import Ended, call
from support.decisions import SUBSCRIPTION, VM, claims_of, garbage_of, record_of

from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.core.model import Plan
from verifier.core.policy import Denial
from verifier.core.reasons import Check
from verifier.ports.decisions import AppraisalRecord, Verdict

OTHER_VM = "11111111-2222-3333-4444-555555555555"
NOW = datetime.now(UTC)


def request_id(number: int) -> str:
    return f"{number:032x}"


REFUSED = record_of(
    NOW - timedelta(seconds=2),
    "north",
    request_id=request_id(1),
    client_request_id="ticket-7",
    key="agent:3f2a91bc",
    route="POST /v1/attestations",
    verdict=Verdict.REFUSED,
    code="policy-denied",
    detail="Policy 'gold', rule 'plan.name is allowed': no.",
    failed_check=Check.POLICY,
    claims=claims_of(plan=Plan(publisher="contoso", product="appliance", name="sil\x1bver")),
    policies=("appliance", "gold"),
    denial=Denial(policy="gold", rule="plan.name is allowed", found="sil\x1bver", allowed=("gold",), allowed_count=21),
)
RECORDS = [
    REFUSED,
    record_of(NOW - timedelta(seconds=1), "north", request_id=request_id(2), claims=claims_of(OTHER_VM)),
    garbage_of(NOW, "south", request_id=request_id(3)),
]


class Store:
    """A store of decisions in a file, and the command line over it."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "decisions.sqlite3"
        self.environment = {"VERIFIER_DECISION_STORE": f"sqlite://{self.file}"}

    def append(self, *records: AppraisalRecord) -> None:
        store = SqliteDecisionStore(self.file, bytes_per_tenant=2**26, clock=ManualClock(NOW))
        store.append(records)
        store.close()

    def run(self, *arguments: str) -> Ended:
        return call(*arguments, environment=self.environment)

    def found(self, *arguments: str) -> list[int]:
        ended = self.run("decisions", "--json", *arguments)
        assert ended.status == 0, ended.err
        return [int(json.loads(line)["requestId"], 16) for line in ended.out.splitlines()]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.append(*RECORDS)
    return store


def test_refused_customer_is_found_by_vm_with_rule_value_and_policies(store: Store) -> None:
    ended = store.run("decisions", "--vm-id", VM.upper(), "--verdict", "refused")
    assert (ended.status, ended.err) == (0, "")
    first, *lines = ended.out.splitlines()
    assert first.endswith("Z refused: policy-denied")
    assert lines == [
        f"  vmId: {VM}",
        f"  subscriptionId: {SUBSCRIPTION}",
        "  plan: contoso/appliance/sil\\x1bver",
        "  sku: gen2",
        "  cloud: AzurePublicCloud",
        "  tenant: north",
        "  key: agent:3f2a91bc",
        "  policies: appliance, gold",
        "  failed check: policy",
        "  detail: Policy 'gold', rule 'plan.name is allowed': no.",
        "  rule: plan.name is allowed (policy 'gold')",
        '  found: "sil\\u001bver"',
        '  allowed: "gold", and 20 more',
        f"  request: {request_id(1)} POST /v1/attestations",
        "  client request: ticket-7",
    ]


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ((), [3, 2, 1]),
        (("--tenant", "north"), [2, 1]),
        (("--tenant", ""), []),
        (("--subscription-id", SUBSCRIPTION), [2, 1]),
        (("--code", "policy-denied"), [1]),
        (("--plan", "gold"), [2]),
        (("--since", (NOW - timedelta(seconds=1)).isoformat()), [3, 2]),
        (("--until", (NOW - timedelta(seconds=1)).isoformat()), [1]),
        (("--limit", "1"), [3]),
        (("--all",), [3, 2, 1]),
        (("--request-id", request_id(2)), [2]),
    ],
)
def test_filters(store: Store, arguments: tuple[str, ...], numbers: list[int]) -> None:
    assert store.found(*arguments) == numbers


def test_unknown_request_ends_with_1(store: Store) -> None:
    ended = store.run("decisions", "--request-id", request_id(9))
    assert (ended.status, ended.out) == (1, "")
    assert store.run("decisions", "--request-id", request_id(2), "--tenant", "south").status == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--vm-id", "x"),
        ("--request-id", "1"),
        ("--code", "nonsense"),
        ("--since", "yesterday"),
        ("--limit", "0"),
        ("--limit", "²"),
        ("--follow", "--all"),
        ("erase",),
        ("erase", "--vm-id", VM, "--subscription-id", SUBSCRIPTION),
        ("erase", "--vm-id", VM, "--code", "verified"),
        ("delete",),
        ("erase", "--vm-id", VM, "--request-id", request_id(1)),
        ("erase", "--vm-id", VM, "--limit", "1"),
        ("erase", "--vm-id", VM, "--json"),
        ("erase", "--vm-id", VM, "--follow"),
        ("erase", "--vm-id", VM, "--tenant", "nrth"),
        ("--request-id", request_id(1), "--follow"),
        ("--request-id", request_id(1), "--verdict", "verified"),
        ("--request-id", request_id(1), "--all"),
    ],
)
def test_wrong_usage_ends_with_2_and_changes_nothing(store: Store, arguments: tuple[str, ...]) -> None:
    assert store.run("decisions", *arguments).status == 2
    assert store.found() == [3, 2, 1]


def test_erasure_removes_the_records_and_counts_of_a_vm(store: Store) -> None:
    ended = store.run("decisions", "erase", "--vm-id", OTHER_VM, "--tenant", "south")
    assert (ended.status, ended.out) == (0, "erased: 0 decisions\n")
    ended = store.run("decisions", "erase", "--vm-id", OTHER_VM.upper())
    assert (ended.status, ended.out) == (0, "erased: 1 decisions\n")
    assert store.found() == [3, 1]
    assert store.run("usage", "--tenant", "north").out.startswith("north: 0 VMs")
    assert store.run("decisions", "erase", "--subscription-id", SUBSCRIPTION).out == "erased: 1 decisions\n"
    assert store.found() == [3]


def test_usage_as_text_csv_and_json(store: Store) -> None:
    day = NOW.date().isoformat()
    period = ("usage", "--tenant", "north", "--from", day, "--to", day)
    assert store.run(*period).out.splitlines() == [
        f"north: 1 VM from {day} to {day}",
        "          1  contoso/appliance/gold",
    ]
    rows = list(csv.DictReader(io.StringIO(store.run(*period, "--by", "cloud", "--csv").out)))
    assert [(row["by"], row["value"], row["virtualMachines"], row["exact"]) for row in rows] == [
        ("cloud", "AzurePublicCloud", "1", "True"),
        ("total", "", "1", "True"),
    ]
    answer = json.loads(store.run(*period, "--json").out)
    assert (answer["total"], answer["exact"], answer["isComplete"]) == (1, True, True)
    assert store.run("usage", "--from", "2026-02-30").status == 2
    assert store.run("usage", "--from", "2026-02-02", "--to", "2026-02-01").status == 2


def test_spreadsheets_run_no_value_as_a_formula(store: Store) -> None:
    plan = Plan(publisher="=cmd|' /C calc'!A0\x1b[31m", product="", name="")
    store.append(record_of(NOW, "north", request_id=request_id(7), claims=claims_of(OTHER_VM, plan=plan)))
    printed = store.run("usage", "--csv").out
    assert "\x1b" not in printed
    assert any(row["value"].startswith("'=cmd") for row in csv.DictReader(io.StringIO(printed)))


def test_follow_shows_new_decisions_once(store: Store) -> None:
    command = [sys.executable, "-P", "-m", "verifier", "decisions", "--follow", "--json"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}
    with subprocess.Popen(
        command,
        env={**inherited, **store.environment},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            for number in (10, 11):
                later = datetime.now(UTC) + timedelta(seconds=60)
                store.append(record_of(later, "north", request_id=request_id(number)))
                line = process.stdout.readline()
                assert json.loads(line)["requestId"] == request_id(number)
            time.sleep(1.5)  # the command asks again each second, and must print no decision twice
        finally:
            process.terminate()
        rest, _ = process.communicate(timeout=20)
        assert (process.returncode, rest) == (-signal.SIGTERM, "")


def test_missing_store_is_not_created(tmp_path: Path) -> None:
    file = tmp_path / "decisions.sqlite3"
    for command in (("decisions",), ("usage",), ("decisions", "erase", "--vm-id", VM)):
        ended = call(*command, environment={"VERIFIER_DECISION_STORE": f"sqlite://{file}"})
        assert ended.status == 2
        assert "VERIFIER_DECISION_STORE" in ended.err
    assert not file.exists()


def test_service_that_keeps_none_says_so() -> None:
    ended = call("decisions", environment={"VERIFIER_DECISION_STORE": "none"})
    assert ended.status == 2
    assert "none" in ended.err


def test_unreachable_redis_ends_with_3() -> None:
    ended = call("decisions", environment={"VERIFIER_DECISION_STORE": "redis://127.0.0.1:1/0"})
    assert ended.status == 3
    assert "VERIFIER_DECISION_STORE" in ended.err

"""Make the records of appraisals that tests append to a store of decisions."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from support.clocks import ManualClock

from verifier.adapters.redis.decision_store import RedisDecisionStore
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.core.model import Claims, Plan
from verifier.core.trust.clouds import Cloud
from verifier.ports.clock import Clock
from verifier.ports.decisions import DECISION_STORE_SETTING, AppraisalRecord, Stage, Verdict

VM = "02aab8a4-74ef-476e-8182-f6d2ba4166a6"
SUBSCRIPTION = "8d10da13-8125-4ba9-a717-bf7490507b3d"
PLAN = Plan(publisher="Contoso", product="Appliance", name="Gold")


def claims_of(
    vm_id: str = VM, subscription_id: str | None = SUBSCRIPTION, *, plan: Plan | None = PLAN, sku: str | None = "gen2"
) -> Claims:
    return Claims(
        vm_id=vm_id,
        subscription_id=subscription_id,
        sku=sku,
        license_type=None,
        nonce=None,
        plan=plan,
        created_on=None,
        expires_on=None,
    )


def record_of(at: datetime, tenant: str, **changes: Any) -> AppraisalRecord:  # noqa: ANN401 - fields of any type
    """Return the record of a verified document, except for the changes."""
    fields: dict[str, Any] = {
        "request_id": str(uuid.uuid4()),
        "verdict": Verdict.VERIFIED,
        "code": "verified",
        "stage": Stage.FRESH,
        "claims": claims_of(),
        "cloud": Cloud.PUBLIC,
        "policies": ("default",),
        "issuer": "CN=Microsoft Azure RSA TLS Issuing CA 04",
        "document_sha256": "ab" * 32,
    }
    return AppraisalRecord(at=at, tenant=tenant, **{**fields, **changes})


def garbage_of(at: datetime, tenant: str, **changes: Any) -> AppraisalRecord:  # noqa: ANN401 - fields of any type
    """Return the record of a document that no cloud signed."""
    unknown = {"claims": None, "cloud": None, "policies": (), "stage": Stage.UNVERIFIED}
    return record_of(at, tenant, **{"verdict": Verdict.REFUSED, "code": "untrusted-chain", **unknown, **changes})


def open_at(place: str, *, bytes_per_tenant: int, clock: Clock) -> SqliteDecisionStore | RedisDecisionStore:
    """Open the store at a path, or at a URL of Redis."""
    if "://" not in place:
        return SqliteDecisionStore(Path(place), bytes_per_tenant=bytes_per_tenant, clock=clock)
    link = RedisLink.open(place, setting=DECISION_STORE_SETTING)
    return RedisDecisionStore(link, bytes_per_tenant=bytes_per_tenant, clock=clock)


def append_many(meet: Callable[[], None], place: str, tenant: str, at: str, first: str, number: str) -> str:
    """Append one record after the other to a store, in a process of `support.forking`."""
    moment = datetime.fromisoformat(at)
    store = open_at(place, bytes_per_tenant=2**26, clock=ManualClock(moment))
    meet()
    for index in range(int(first), int(first) + int(number)):
        store.append([record_of(moment + timedelta(seconds=index), tenant, request_id=f"request-{index}")])
    return "appended"

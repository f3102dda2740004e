"""Random sequences of issue, redeem, replay, expiry and clock moves, on two replicas and for two tenants.

Two verifiers have one store object and one clock each, over the same store. A model in plain Python says which answers
each document may get. The suite tries few sequences; `make fuzz` tries more.
"""

import os
import uuid
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support import documents
from support.applications import FixedTrust
from support.clocks import ManualClock
from support.documents import VM, raw, shared_bundle

from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.core.model import Limits
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, Redemption
from verifier.core.policy import ClaimIn, ClaimName, Policies
from verifier.core.reasons import Reason, Refused
from verifier.emulator.documents import MarketplacePlan
from verifier.ports.stores import NonceKey, NonceStore
from verifier.usecases.appraise import NonceBinding, Verifier

SETTINGS = settings() if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else settings(max_examples=25)
LIMITS = Limits(nonce_lifetime=timedelta(seconds=60), maximum_age=timedelta(seconds=600))
#: Each clock is off by at most this, so that two clocks differ by at most the skew.
MOST_OFFSET = 30
VMS = (
    VM,
    replace(VM, vm_id="11111111-2222-4333-8444-555555555555"),
    replace(VM, plan=MarketplacePlan(publisher="contoso", product="contoso-appliance", name="silver")),
)
SILVER = "silver"
POLICIES = Policies({SILVER: ClaimIn(ClaimName.PLAN, frozenset({"silver"}))})
ACCEPTED = "accepted"

replicas = st.integers(0, 1)
tenants = st.integers(0, 1)
vms = st.integers(0, len(VMS) - 1)
vm_ids = st.sampled_from(("", *(vm.vm_id for vm in VMS[:2])))
policies = st.sampled_from(("", SILVER))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Two replicas over one store."""

    clocks: tuple[ManualClock, ManualClock]
    verifiers: tuple[Verifier, Verifier]

    @classmethod
    def over(cls, first: NonceStore, second: NonceStore) -> "Service":
        clocks = (ManualClock(documents.NOW), ManualClock(documents.NOW))
        trust = FixedTrust(in_force=shared_bundle())
        one, other = (
            Verifier(trust=trust, nonces=store, clock=clock, limits=LIMITS, policies=POLICIES)
            for store, clock in zip((first, second), clocks, strict=True)
        )
        return cls(clocks=clocks, verifiers=(one, other))


@dataclass(slots=True, kw_only=True)
class Issued:
    """What the model knows of one nonce of one tenant."""

    record: NonceRecord
    #: The earliest time, by any clock, at which the store may forget it.
    kept_until: datetime
    is_used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    nonce: str
    #: A place in VMS.
    vm: int
    created_on: datetime


@cache
def encoded(document: Document) -> bytes:
    return documents.document(nonce=document.nonce, vm=VMS[document.vm], created_on=document.created_on)


class NonceStates(RuleBasedStateMachine):
    """Call a service over one store, and compare each answer with the model."""

    nonces = Bundle("nonces")
    made = Bundle("documents")

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service
        self.now = documents.NOW
        self.offsets = [0, 0]
        # The store is the same for all sequences, so each has its own tenants.
        self.tenants = [f"{uuid.uuid4()}" for _ in range(2)]
        self.model: dict[NonceKey, Issued] = {}
        self.acceptances: Counter[str] = Counter()
        self._set_clocks()

    def _set_clocks(self) -> None:
        for clock, offset in zip(self.service.clocks, self.offsets, strict=True):
            clock.moment = self.now + timedelta(seconds=offset)

    def _key(self, tenant: int, nonce: str) -> NonceKey:
        return NonceKey(tenant=self.tenants[tenant], nonce=nonce)

    @rule(target=nonces, replica=replicas, tenant=tenants, vm_id=vm_ids, policy=policies)
    def issue(self, replica: int, tenant: int, vm_id: str, policy: str) -> str:
        binding = NonceBinding(vm_id=vm_id, policy=policy)
        issued = self.service.verifiers[replica].issue_nonce(tenant=self.tenants[tenant], binding=binding)
        assert issued.expires_at - issued.issued_at == LIMITS.nonce_lifetime
        record = NonceRecord(issued_at=issued.issued_at, expires_at=issued.expires_at, vm_id=vm_id, policy=policy)
        self._note(self._key(tenant, issued.nonce), record)
        return issued.nonce

    def _note(self, key: NonceKey, record: NonceRecord) -> None:
        self.model[key] = Issued(record=record, kept_until=record.issued_at + LIMITS.unused_nonce_memory)

    @rule(replica=replicas, tenant=tenants, nonce=nonces, vm_id=vm_ids, policy=policies)
    def rebind(self, replica: int, tenant: int, nonce: str, vm_id: str, policy: str) -> None:
        """Issue a nonce that exists again, with other bindings: only another tenant can get the same text."""
        now = self.service.clocks[replica].now()
        record = NonceRecord(issued_at=now, expires_at=now + LIMITS.nonce_lifetime, vm_id=vm_id, policy=policy)
        key = self._key(tenant, nonce)
        known = self.model.get(key)
        if known is not None and self._may_be_forgotten(known):
            return
        store = self.service.verifiers[replica].nonces
        assert store.issue(key, record, keep=LIMITS.unused_nonce_memory, now=now) is (known is None)
        if known is None:
            self._note(key, record)

    @rule(target=made, nonce=nonces, vm=vms, seconds=st.integers(-120, 90))
    def make(self, nonce: str, vm: int, seconds: int) -> Document:
        return Document(nonce=nonce, vm=vm, created_on=self.now + timedelta(seconds=seconds))

    @rule(replica=replicas, tenant=tenants, document=made, names=st.sampled_from(("", "own", "other")))
    def redeem(self, replica: int, tenant: int, document: Document, names: str) -> None:
        named = {"": None, "own": document.nonce, "other": "0000000000"}[names]
        allowed = self._allowed(replica, tenant, document, named)
        verifier = self.service.verifiers[replica]
        try:
            result = verifier.appraise(raw(encoded(document)), tenant=self.tenants[tenant], nonce=named)
        except Refused as refused:
            answer = refused.code
        else:
            answer = ACCEPTED
            assert (result.claims.nonce, result.claims.vm_id) == (document.nonce, VMS[document.vm].vm_id)
            self.acceptances[f"{self.tenants[tenant]} {document.nonce}"] += 1
        assert answer in allowed, (answer, allowed)

    @rule(replica=replicas, tenant=tenants, nonce=nonces, vm=vms)
    def answer_at_once(self, replica: int, tenant: int, nonce: str, vm: int) -> None:
        self.redeem(replica, tenant, Document(nonce=nonce, vm=vm, created_on=self.now), "")

    @rule(seconds=st.one_of(st.integers(1, 30), st.sampled_from((60, 61, 120, 180, 181, 600, 800))))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self._set_clocks()

    @rule(replica=replicas, offset=st.integers(-MOST_OFFSET, MOST_OFFSET))
    def set_clock(self, replica: int, offset: int) -> None:
        """Move one clock, also back."""
        self.offsets[replica] = offset
        self._set_clocks()

    @invariant()
    def each_nonce_is_accepted_once(self) -> None:
        assert all(count == 1 for count in self.acceptances.values())

    def _may_be_forgotten(self, known: Issued) -> bool:
        return self.now + timedelta(seconds=MOST_OFFSET) >= known.kept_until

    def _allowed(self, replica: int, tenant: int, document: Document, named: str | None) -> set[str]:
        """Return the answers that are right, and note in the model that a redemption uses the nonce."""
        now = self.service.clocks[replica].now()
        if document.created_on > now + LIMITS.clock_skew:
            return {Reason.DOCUMENT_NOT_YET_VALID}
        if now - document.created_on > LIMITS.maximum_age:
            return {Reason.DOCUMENT_EXPIRED}
        if named not in {None, document.nonce}:
            return {Reason.NONCE_MISMATCH}
        known = self.model.get(self._key(tenant, document.nonce))
        if known is None:
            return {Reason.NONCE_UNKNOWN}
        may_be_forgotten, was_used = self._may_be_forgotten(known), known.is_used
        known.is_used = True
        if not may_be_forgotten:
            known.kept_until = max(known.kept_until, now + LIMITS.used_nonce_memory)
        forgotten = {Reason.NONCE_UNKNOWN} if may_be_forgotten else set()
        return forgotten | ({Reason.NONCE_REPLAYED} if was_used else {self._first(known.record, document, now)})

    @staticmethod
    def _first(record: NonceRecord, document: Document, now: datetime) -> str:
        """Return the answer to the first document with this nonce."""
        if now > record.expires_at:
            return Reason.NONCE_UNKNOWN
        if document.created_on < record.issued_at - LIMITS.clock_skew:
            return Reason.NONCE_MISMATCH
        if record.vm_id not in {"", VMS[document.vm].vm_id}:
            return Reason.NONCE_MISMATCH
        if record.policy == SILVER and VMS[document.vm].plan.name != SILVER:
            return Reason.POLICY_DENIED
        return ACCEPTED


def run(service: Service, *, phases: Collection[Phase] = tuple(Phase)) -> None:
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    chosen = settings(SETTINGS, stateful_step_count=30, suppress_health_check=health, phases=phases)

    class States(NonceStates):
        def __init__(self) -> None:
            super().__init__(service)

    run_state_machine_as_test(States, settings=chosen)


def test_sqlite_agrees_with_the_model(tmp_path: Path) -> None:
    run(Service.over(*(SqliteNonceStore(tmp_path / "nonces.sqlite3") for _ in range(2))))


def test_redis_agrees_with_the_model(redis_url: str) -> None:
    run(Service.over(*(RedisNonceStore.from_url(redis_url, connections=2) for _ in range(2))))


class _ForgetfulStore(SqliteNonceStore):
    """Answer every redemption of a nonce like the first one."""

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:
        found = super().redeem(key, keep=keep, now=now)
        return FirstUse(record=self.records[key]) if isinstance(found, AlreadyUsed) else found

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        self.records[key] = record
        return super().issue(key, record, keep=keep, now=now)

    records: ClassVar[dict[NonceKey, NonceRecord]] = {}


def test_a_store_that_redeems_twice_is_found(tmp_path: Path) -> None:
    store = _ForgetfulStore(tmp_path / "nonces.sqlite3")
    with pytest.raises(AssertionError):
        run(Service.over(store, store), phases=[Phase.generate])

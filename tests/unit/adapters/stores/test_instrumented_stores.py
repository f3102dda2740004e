"""Check that instrumented stores measure each call and return the answer of the store."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from support.documents import NOW

from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.adapters.stores.factory import open_stores
from verifier.adapters.stores.instrumented_stores import instrument_stores
from verifier.adapters.stores.rate_batches import RateCounters
from verifier.core.nonces import FirstUse, NonceRecord
from verifier.core.tenancy import Rate, Unit
from verifier.ports.stores import DocumentKey, NonceKey, NonceStore, OutstandingNonces, StoreUnavailable
from verifier.ports.telemetry import Event, StoreCallMeasured
from verifier.ports.trust import TrustAuditEvent, TrustRegistry

KEY = NonceKey(tenant="default", nonce="0123456789")
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))


@dataclass(slots=True)
class KeptCalls:
    """Implements the Recorder port: keeps the calls of stores."""

    calls: list[tuple[str, str, bool]] = field(default_factory=list)

    def record(self, event: Event) -> None:
        assert isinstance(event, StoreCallMeasured)
        assert 0 <= event.seconds < 60
        self.calls.append((event.store, event.operation, event.failed))


def methods_of(port: type) -> set[str]:
    return {name for name, value in vars(port).items() if callable(value) and not name.startswith("_")}


def test_each_call_is_measured_under_its_name_and_returns_the_stores_answer(tmp_path: Path) -> None:
    recorder = KeptCalls()
    kept = SqliteDecisionStore(tmp_path / "d.sqlite3", bytes_per_tenant=2**20)
    opened = replace(open_stores(f"sqlite://{tmp_path}/n.sqlite3", connections=3), decisions=kept)
    stores = instrument_stores(opened, recorder)
    stores.nonces.ping()
    assert stores.nonces.issue(KEY, RECORD, keep=timedelta(hours=1), now=NOW) is True
    assert stores.nonces.redeem(KEY, keep=timedelta(hours=1), now=NOW) == FirstUse(record=RECORD)
    assert stores.nonces.remember(DocumentKey(tenant="default", digest="00"), keep=timedelta(hours=1), now=NOW) is True
    decisions, revision = stores.registry.decisions()
    event = TrustAuditEvent(at=NOW, by="test", what="deny", subject="", before="", after="")
    assert stores.registry.decide(decisions, event, expected=revision) is True
    assert stores.registry.revision() != revision
    assert stores.registry.discovered() == ()
    assert stores.registry.nonconforming() == ()
    state, looked = stores.registry.feed()
    assert stores.registry.keep_feed(state, expected=looked) is True
    assert stores.registry.claim("lease", lasting=timedelta(minutes=1)) is True
    assert stores.registry.is_claimed("lease") is True
    assert stores.registry.audit_log(most=1) == (event,)
    assert stores.limiter.hit("default/nonces", Rate(amount=1, unit=Unit.MINUTE)).admitted
    assert stores.outstanding.reserve("default/agents", "n", limit=1, lifetime=timedelta(minutes=1)) is None
    stores.outstanding.release("default/agents", "n")
    assert stores.decisions is not None
    stores.decisions.append(())
    assert stores.decisions.tenants() == ()
    answered = {(store, operation) for store, operation, failed in recorder.calls if not failed}
    assert len(answered) == len(recorder.calls)
    expected = {("nonces", name) for name in methods_of(NonceStore)}
    expected |= {("registry", name) for name in methods_of(TrustRegistry) - {"record", "record_nonconforming"}}
    expected |= {("rates", name) for name in methods_of(RateCounters)}
    expected |= {("outstanding", name) for name in methods_of(OutstandingNonces)}
    expected |= {("decisions", "append"), ("decisions", "tenants")}
    assert answered == expected


def test_failed_call_is_measured_and_raises_its_error(tmp_path: Path) -> None:
    recorder = KeptCalls()
    path = tmp_path / "n.sqlite3"
    stores = instrument_stores(open_stores(f"sqlite://{path}", connections=3), recorder)
    path.unlink()
    with pytest.raises(StoreUnavailable):
        stores.nonces.ping()
    assert recorder.calls == [("nonces", "ping", True)]


def test_unexpected_error_does_not_count_as_a_failure_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = KeptCalls()
    inner = open_stores(f"sqlite://{tmp_path}/n.sqlite3", connections=3)

    def fail() -> NoReturn:
        raise ValueError("a fault")

    monkeypatch.setattr(inner.nonces, "ping", fail)
    with pytest.raises(ValueError, match="a fault"):
        instrument_stores(inner, recorder).nonces.ping()
    assert recorder.calls == [("nonces", "ping", False)]

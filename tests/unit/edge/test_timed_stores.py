"""Stores that tell how long each call took, and change nothing."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from support.documents import NOW

from verifier.core.model import FirstUse, NonceRecord
from verifier.core.tenancy import LimitedPath, Rate, Unit
from verifier.edge.stores import open_stores
from verifier.edge.timed_stores import timed_stores
from verifier.ports import AuditEvent, DocumentKey, NonceKey, NonceStore, RateLimiter, StoreUnavailable, TrustRegistry

KEY = NonceKey(tenant="default", nonce="0123456789")
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))


@dataclass(slots=True)
class KeptUses:
    """Implements the StoreCounts protocol."""

    uses: list[tuple[str, str, bool]] = field(default_factory=list)

    def used_store(self, store: str, operation: str, seconds: float, *, failed: bool) -> None:
        assert 0 <= seconds < 60
        self.uses.append((store, operation, failed))

    def stores_away(self, servers: int) -> None:
        raise AssertionError(f"SQLite has no servers, and {servers} of them are away")


def methods_of(port: type) -> set[str]:
    return {name for name, value in vars(port).items() if callable(value) and not name.startswith("_")}


def test_tells_each_call_by_its_name_and_answers_as_the_store(tmp_path: Path) -> None:
    counts = KeptUses()
    stores = timed_stores(open_stores(f"sqlite://{tmp_path}/n.sqlite3", connections=3), counts)
    stores.nonces.ping()
    assert stores.nonces.issue(KEY, RECORD, keep=timedelta(hours=1), now=NOW) is True
    assert stores.nonces.redeem(KEY, now=NOW) == FirstUse(record=RECORD)
    assert stores.nonces.remember(DocumentKey(tenant="default", digest="00"), keep=timedelta(hours=1), now=NOW) is True
    decisions, revision = stores.registry.decisions()
    event = AuditEvent(at=NOW, by="test", what="deny", subject="", before="", after="")
    assert stores.registry.decide(decisions, event, expected=revision) is True
    assert stores.registry.revision() != revision
    assert stores.registry.discovered() == ()
    assert stores.registry.claim("lease", lasting=timedelta(minutes=1)) is True
    assert stores.registry.is_claimed("lease") is True
    assert stores.registry.audit_trail(most=1) == (event,)
    assert stores.limiter.hit("default", LimitedPath.NONCES, Rate(amount=1, unit=Unit.MINUTE)).admitted
    told = {(store, operation) for store, operation, failed in counts.uses if not failed}
    assert len(told) == len(counts.uses)
    expected = {("nonces", name) for name in methods_of(NonceStore)}
    expected |= {("registry", name) for name in methods_of(TrustRegistry) - {"record"}}
    expected |= {("rates", name) for name in methods_of(RateLimiter)}
    assert told == expected


def test_tells_that_a_call_failed_and_lets_the_error_through(tmp_path: Path) -> None:
    counts = KeptUses()
    path = tmp_path / "n.sqlite3"
    stores = timed_stores(open_stores(f"sqlite://{path}", connections=3), counts)
    path.unlink()
    with pytest.raises(StoreUnavailable):
        stores.nonces.ping()
    assert counts.uses == [("nonces", "ping", True)]


def test_an_error_of_another_kind_is_not_the_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = KeptUses()
    inner = open_stores(f"sqlite://{tmp_path}/n.sqlite3", connections=3)

    def fail() -> NoReturn:
        raise ValueError("a fault")

    monkeypatch.setattr(inner.nonces, "ping", fail)
    with pytest.raises(ValueError, match="a fault"):
        timed_stores(inner, counts).nonces.ping()
    assert counts.uses == [("nonces", "ping", False)]

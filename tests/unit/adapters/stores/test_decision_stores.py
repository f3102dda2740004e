"""Test that the settings select the decision store, its link and its file."""

from pathlib import Path

import pytest
from support.documents import NOW

from verifier.adapters.redis.decision_store import RedisDecisionStore
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.settings.settings import Settings, SettingsError
from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.adapters.stores.factory import Stores
from verifier.adapters.stores.instrumented_stores import instrument_stores
from verifier.ports.decisions import AppraisalRecord, Verdict
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Event, StoreCircuitsChanged
from verifier.startup import connect_decisions, connect_stores

RECORD = AppraisalRecord(at=NOW, request_id="r", tenant="north", verdict=Verdict.REFUSED, code="c")
#: No server listens there: links connect at their first command.
REDIS, OTHER = "redis://127.0.0.1:1/0", "redis://127.0.0.1:1/1"


def connected(*, nonces: str, **settings: object) -> Stores:
    chosen = Settings.model_validate({"nonce_store": nonces, **settings})
    return connect_decisions(chosen, connect_stores(chosen))


@pytest.fixture
def nonces(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/nonces.sqlite3"


def test_decisions_are_in_a_file_beside_the_nonces_unless_set(tmp_path: Path, nonces: str) -> None:
    for stores in (connected(nonces=nonces), connected(nonces=nonces, decision_store=nonces)):
        assert isinstance(stores.decisions, SqliteDecisionStore)
        assert stores.decision_link is None
    assert (tmp_path / "nonces-decisions.sqlite3").exists()


def test_decisions_are_in_the_file_that_is_set(tmp_path: Path, nonces: str) -> None:
    for nonce_store in (nonces, REDIS):
        stores = connected(nonces=nonce_store, decision_store=f"sqlite://{tmp_path}/d.sqlite3")
        assert isinstance(stores.decisions, SqliteDecisionStore)
        assert (tmp_path / "d.sqlite3").exists()


def test_decisions_share_the_link_of_the_same_redis() -> None:
    for stores in (connected(nonces=REDIS), connected(nonces=REDIS, decision_store=REDIS)):
        assert isinstance(stores.decisions, RedisDecisionStore)
        assert stores.decision_link is stores.link


def test_decisions_have_their_own_link_to_another_redis(nonces: str) -> None:
    for nonce_store in (nonces, REDIS):
        stores = connected(nonces=nonce_store, decision_store=OTHER)
        assert isinstance(stores.decisions, RedisDecisionStore)
        assert stores.decision_link is not stores.link
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1, VERIFIER_DECISION_STORE"):
            stores.decisions.append((RECORD,))


def test_none_keeps_no_decisions(nonces: str) -> None:
    stores = connected(nonces=nonces, decision_store="none")
    assert (stores.decisions, stores.decision_link) == (None, None)


@pytest.mark.parametrize("url", ["decisions.sqlite3", "http://a", "sqlite://host/a", "redis://u:s3cret@:x"])
def test_invalid_url_is_refused_and_not_repeated(nonces: str, url: str) -> None:
    with pytest.raises(SettingsError, match="decision_store: ") as refusal:
        connected(nonces=nonces, decision_store=url)
    assert url not in str(refusal.value)


def test_file_that_cannot_be_opened_is_opened_later_unless_decisions_are_required(tmp_path: Path, nonces: str) -> None:
    directory = tmp_path / "later"
    directory.touch()
    url = f"sqlite://{directory}/d.sqlite3"
    with pytest.raises(StoreUnavailable, match="VERIFIER_DECISION_STORE"):
        connected(nonces=nonces, decision_store=url, audit_required=True)
    store = connected(nonces=nonces, decision_store=url).decisions
    assert store is not None
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="VERIFIER_DECISION_STORE"):
            store.append((RECORD,))
    directory.unlink()
    store.append((RECORD,))
    assert store.find("r", tenant="north") is not None


def test_open_circuits_of_both_links_are_added_up() -> None:
    seen: list[int] = []

    class Seen:
        def record(self, event: Event) -> None:
            if isinstance(event, StoreCircuitsChanged):
                seen.append(event.open_circuits)

    stores = instrument_stores(connected(nonces=REDIS, decision_store=OTHER), Seen())
    assert isinstance(stores.link, RedisLink)
    assert stores.decisions is not None
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            stores.nonces.ping()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            stores.decisions.tenants()
    assert seen == [1, 2]

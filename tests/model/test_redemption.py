"""One nonce is accepted at most once in every interleaving that the model visits, or the shortest history is known."""

import re
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from model.claims import DEPLOYMENTS, MUTANTS, Claim
from model.redemption import Result, explore, initial, steps
from model.states import Clock, Post, Role, Server, Setup, State, Step, Value

from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.core.nonces import FirstUse, NonceRecord
from verifier.ports.stores import DocumentKey, NonceKey

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
KEEP = timedelta(minutes=5)
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + KEEP)


#: Of post 1, with A for each server.
EVENTS = {
    "A copies the data set of A",
    "A crashes",
    "A gets the write: unused",
    "A gets the write: used",
    "A is promoted (absent)",
    "A is promoted (unused)",
    "A is promoted (used)",
    "A is told to follow A",
    "A restarts as joining",
    "A restarts as primary",
    "post 1: 503 (answer lost, too few replicas), or the process dies",
    "post 1: A finds it unknown, so it is refused",
    "post 1: A finds it unused and marks it",
    "post 1: A finds it used, so it is refused",
    "post 1: A is read-only",
    "post 1: no answer in time, or the process dies; the command is under way",
    "post 1: refused or 503 before a command is sent",
    "post 1: the service accepts",
    "post 1: the service sends the command to A",
    "time passes: document expired",
    "time passes: expired for some",
    "time passes: unused forgotten",
    "time passes: used forgotten",
}


SHORT = [claim for claim in DEPLOYMENTS if not claim.is_long]


def explore_two_posts(claim: Claim) -> Result:
    return explore(replace(claim.setup, posts=2))


@pytest.mark.parametrize("claim", SHORT, ids=lambda claim: claim.title)
def test_nonce_is_accepted_as_often_as_claimed(claim: Claim) -> None:
    result = explore_two_posts(claim)
    assert (result.most_accepted, bool(result.counterexample)) == (claim.accepted, claim.accepted > 1)


@pytest.mark.parametrize("claim", MUTANTS, ids=lambda claim: claim.title)
def test_model_finds_the_fault(claim: Claim) -> None:
    history = explore_two_posts(claim).counterexample
    assert sum(event.endswith(": the service accepts") for event in history) == 2


def test_shortest_history_without_wait_is_a_promotion_without_the_mark() -> None:
    history = explore(Setup(posts=2, has_two_primaries=False)).counterexample
    assert history == (
        "post 1: the service sends the command to A",
        "post 1: A finds it unused and marks it",
        "post 1: the service accepts",
        "B gets the write: unused",
        "A crashes",
        "B is promoted (unused)",
        "post 2: the service sends the command to B",
        "post 2: B finds it unused and marks it",
        "post 2: the service accepts",
    )


def test_every_kind_of_event_is_visited() -> None:
    """A model without failures would show every claim about safety."""
    setup = Setup(posts=2, wait_replicas=1)
    waiting, seen = [initial(setup)], {initial(setup)}
    events: set[str] = set()
    while waiting:
        for event, after in steps(waiting.pop(), setup):
            events.add(event.replace("post 2", "post 1"))
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    assert {re.sub(r"\b[AB]\b", "A", event) for event in events} == EVENTS


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisNonceStore]:
    with closing(RedisNonceStore.from_url(redis_url)) as opened:
        yield opened


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.mark.parametrize(
    ("value", "remembers_documents"),
    [
        (Value.ABSENT, False),
        (Value.UNUSED, False),
        (Value.USED, False),
        (Value.ABSENT, True),
        (Value.USED, True),
    ],
)
def test_model_executes_a_command_as_the_store_does(
    store: RedisNonceStore, client: redis.Redis, value: Value, *, remembers_documents: bool
) -> None:
    tenant = uuid.uuid4().hex
    nonce, document = NonceKey(tenant=tenant, nonce="1"), DocumentKey(tenant=tenant, digest="1")
    if value is not Value.ABSENT and not remembers_documents:
        assert store.issue(nonce, RECORD, keep=KEEP, now=NOW)
    if value is Value.USED:
        is_first(store, document if remembers_documents else nonce)

    found = is_first(store, document if remembers_documents else nonce)

    setup = Setup(posts=1, replicas=0, remembers_documents=remembers_documents)
    before = State((Server(Role.PRIMARY, value, 0),), (Post(Step.SENT, 0, can_pass=True),), Clock.VALID)
    after = next(state for _, state in steps(before, setup))
    assert (after.posts[0].step is Step.FIRST) == found
    stored = [client.get(name) for name in client.scan_iter(match=f"*{tenant}*", count=10_000)]
    assert (after.servers[0].value is Value.USED) == (stored == [b"used"])


def is_first(store: RedisNonceStore, key: NonceKey | DocumentKey) -> bool:
    if isinstance(key, DocumentKey):
        return store.remember(key, keep=KEEP, now=NOW)
    return isinstance(store.redeem(key, keep=KEEP, now=NOW), FirstUse)

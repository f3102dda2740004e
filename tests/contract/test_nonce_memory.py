"""How long a store knows a nonce, and that no document is accepted twice, whenever it comes."""

import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import documents
from support.applications import FixedTrust
from support.clocks import ManualClock
from support.documents import NONCE, NOW, raw, shared_bundle

from verifier.adapters.records.nonces import decode_record, encode_text, microseconds
from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.core.model import Limits, RawDocument
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.core.reasons import Reason, Refused
from verifier.ports.stores import NonceKey, NonceStore
from verifier.usecases.appraise import Verifier
from verifier.usecases.chain_cache import ChainCache

SECOND = timedelta(seconds=1)
#: The clock of a Redis runs on by itself while a test sets the other one. So a test stays this far from the end.
SLACK = 9 * SECOND
LIMITS = Limits()
CHAINS = ChainCache()


class SqlitePlace:
    """A SQLite store. Its callers say what time it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store: NonceStore = SqliteNonceStore(path)

    def pass_time(self, tenant: str, by: timedelta) -> None:
        """Do nothing: the caller's clock has advanced."""

    def redeem_as_before(self, key: NonceKey, *, now: datetime) -> Redemption:
        """Redeem as the release before does: the nonce keeps its expiry."""
        statement = (
            "UPDATE nonces SET uses = uses + 1 WHERE tenant = ? AND nonce = ? AND forget_at > ? RETURNING uses, record"
        )
        row = (encode_text(key.tenant), encode_text(key.nonce), microseconds(now))
        with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
            found = connection.execute(statement, row).fetchall()
        if not found:
            return UnknownNonce()
        [(uses, record)] = found
        return FirstUse(record=decode_record(record)) if uses == 1 else AlreadyUsed()


class RedisPlace:
    """A Redis, whose own clock counts. Time passes for a tenant when the expiry of its nonces moves towards now."""

    def __init__(self, url: str, client: redis.Redis) -> None:
        self.client = client
        self.store: NonceStore = RedisNonceStore.from_url(url, connections=8)

    def pass_time(self, tenant: str, by: timedelta) -> None:
        for name in self.client.scan_iter(match=f"imds-verifier:nonce:{tenant}:*", count=10_000):
            self.client.pexpireat(name, self.client.pexpiretime(name) - by // timedelta(milliseconds=1))

    def redeem_as_before(self, key: NonceKey, *, now: datetime) -> Redemption:
        """Redeem as the release before does: the nonce keeps its expiry."""
        del now
        name = f"imds-verifier:nonce:{key.tenant}:{key.nonce}"
        before = self.client.set(name, b"used", xx=True, get=True, keepttl=True)
        if before is None:
            return UnknownNonce()
        assert isinstance(before, bytes)
        return AlreadyUsed() if before == b"used" else FirstUse(record=decode_record(before.decode()))


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SqlitePlace | RedisPlace]:
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path_factory.mktemp("memory") / "nonces.sqlite3")
        return
    url: str = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(url) as client:
        yield RedisPlace(url, client)


@dataclass(kw_only=True)
class Timeline:
    """One nonce of a tenant of its own, and a service, while time passes."""

    place: SqlitePlace | RedisPlace
    limits: Limits = LIMITS
    key: NonceKey = field(default_factory=lambda: NonceKey(tenant=uuid.uuid4().hex, nonce=NONCE))
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    def advance(self, by: timedelta) -> None:
        self.clock.advance(by)
        self.place.pass_time(self.key.tenant, by)

    @property
    def record(self) -> NonceRecord:
        return NonceRecord(issued_at=self.clock.now(), expires_at=self.clock.now() + self.limits.nonce_lifetime)

    def issue(self, *, keep: timedelta | None = None) -> bool:
        keep = keep or self.limits.unused_nonce_memory
        return self.place.store.issue(self.key, self.record, keep=keep, now=self.clock.now())

    def redeem(self) -> Redemption:
        return self.place.store.redeem(self.key, keep=self.limits.used_nonce_memory, now=self.clock.now())

    def redeem_as_before(self) -> Redemption:
        return self.place.redeem_as_before(self.key, now=self.clock.now())

    def appraise(self, document: RawDocument) -> Reason | None:
        """Return the reason of the refusal, or None for a document that is accepted."""
        verifier = Verifier(
            trust=FixedTrust(in_force=shared_bundle()),
            nonces=self.place.store,
            clock=self.clock,
            chains=CHAINS,
            limits=self.limits,
        )
        try:
            verifier.appraise(document, tenant=self.key.tenant)
        except Refused as refused:
            return refused.reason
        return None


def document(created_on: datetime | None) -> RawDocument:
    """Return a document for NONCE that is valid as long as the limits permit. A classic VM's has no times."""
    fields = documents.content(nonce=NONCE)
    del fields["timeStamp"]
    if created_on is not None:
        ends = created_on + timedelta(days=9)
        fields["timeStamp"] = {
            "createdOn": f"{created_on:%m/%d/%y %H:%M:%S} -0000",
            "expiresOn": f"{ends:%m/%d/%y %H:%M:%S} -0000",
        }
    return raw(documents.sign(documents.encode(fields)))


def seconds(least: int, most: int) -> st.SearchStrategy[timedelta]:
    return st.integers(min_value=least, max_value=most).map(lambda number: number * SECOND)


def between(least: timedelta, most: timedelta) -> st.SearchStrategy[timedelta]:
    """Return whole seconds from `least` to `most`, with both."""
    return seconds(least // SECOND, most // SECOND)


#: All that the settings permit.
_limits = st.builds(
    Limits, clock_skew=seconds(0, 600), maximum_age=seconds(60, 604_800), nonce_lifetime=seconds(10, 3600)
)
# The places outlive the examples on purpose: each example has a tenant of its own.
_many = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_many
@given(data=st.data(), limits=_limits)
def test_a_document_that_was_accepted_is_a_replay_as_long_as_it_is_valid(
    place: SqlitePlace | RedisPlace, data: st.DataObject, limits: Limits
) -> None:
    time = Timeline(place=place, limits=limits)
    after = data.draw(between(timedelta(0), limits.nonce_lifetime - SLACK), label="appraised after")
    youngest = after + limits.clock_skew
    oldest = max(-limits.clock_skew, after - limits.maximum_age)
    age = data.draw(between(oldest, youngest), label="created after")
    shown = document(NOW + age)
    assert time.issue()
    time.advance(after)
    assert time.appraise(shown) is None
    last = age + limits.maximum_age
    time.advance(data.draw(between(timedelta(0), last - after), label="replayed after"))
    assert time.appraise(shown) is Reason.NONCE_REPLAYED
    time.advance(NOW + last + SECOND - time.clock.now())
    assert time.appraise(shown) is Reason.DOCUMENT_EXPIRED


@_many
@given(data=st.data(), limits=_limits)
def test_no_document_is_accepted_twice_at_any_times(
    place: SqlitePlace | RedisPlace, data: st.DataObject, limits: Limits
) -> None:
    time = Timeline(place=place, limits=limits)
    is_classic = data.draw(st.booleans(), label="of a classic VM")
    spans = (2 * limits.unused_nonce_memory, limits.used_nonce_memory, timedelta(0))
    gaps = st.sampled_from(spans).flatmap(lambda span: between(timedelta(0), span + SECOND))
    shown = document(None if is_classic else NOW + data.draw(between(-limits.clock_skew, 2 * limits.nonce_lifetime)))
    assert time.issue()
    outcomes = []
    for _ in range(data.draw(st.integers(min_value=2, max_value=6), label="posted")):
        time.advance(data.draw(gaps, label="after"))
        outcomes.append(time.appraise(shown))
    assert outcomes.count(None) <= 1
    if None in outcomes:
        assert Reason.NONCE_REPLAYED not in outcomes[: outcomes.index(None)]


@_many
@given(data=st.data(), limits=_limits)
def test_knows_an_unused_nonce_for_one_time_and_a_used_one_for_another(
    place: SqlitePlace | RedisPlace, data: st.DataObject, limits: Limits
) -> None:
    time = Timeline(place=place, limits=limits)
    record = time.record
    assert time.issue()
    time.advance(data.draw(between(timedelta(0), limits.unused_nonce_memory - SLACK), label="redeemed after"))
    assert not time.issue()
    assert time.redeem() == FirstUse(record=record)
    for _ in range(2):
        time.advance(data.draw(between(timedelta(0), limits.used_nonce_memory - SLACK), label="replayed after"))
        assert not time.issue()
        assert time.redeem() == AlreadyUsed()
    time.advance(limits.used_nonce_memory)
    assert time.redeem() == UnknownNonce()


@pytest.mark.parametrize("limits", [LIMITS, Limits(clock_skew=timedelta(0))], ids=["skew", "no skew"])
def test_an_unused_nonce_is_gone_after_its_time(place: SqlitePlace | RedisPlace, limits: Limits) -> None:
    time = Timeline(place=place, limits=limits)
    assert time.issue()
    time.advance(limits.unused_nonce_memory)
    assert time.redeem() == UnknownNonce()
    assert time.appraise(document(time.clock.now())) is Reason.NONCE_UNKNOWN
    # A failed redemption leaves nothing behind, and the nonce can be drawn again.
    assert time.issue()


def test_a_nonce_that_expired_is_unknown_before_and_after_the_store_forgets_it(
    place: SqlitePlace | RedisPlace,
) -> None:
    for late in (SECOND, LIMITS.unused_nonce_memory - LIMITS.nonce_lifetime):
        time = Timeline(place=place)
        assert time.issue()
        time.advance(LIMITS.nonce_lifetime + late)
        assert time.appraise(document(time.clock.now())) is Reason.NONCE_UNKNOWN


def test_a_nonce_can_be_redeemed_by_a_clock_that_is_behind(place: SqlitePlace | RedisPlace) -> None:
    """The clock of the replica that issued it is ahead by the skew, that of the other one is behind by the skew."""
    time = Timeline(place=place)
    assert time.issue()
    time.advance(LIMITS.unused_nonce_memory - SLACK)
    behind = time.clock.now() - 2 * LIMITS.clock_skew
    time.clock.moment = behind
    assert time.appraise(document(behind)) is None


class TestRollingUpgrade:
    """The release before keeps every nonce for one time from its issue, which a redemption does not change."""

    def test_what_the_release_before_issued_is_remembered_from_its_redemption_on(
        self, place: SqlitePlace | RedisPlace
    ) -> None:
        time = Timeline(place=place)
        shown = document(NOW + LIMITS.nonce_lifetime)
        assert time.issue(keep=LIMITS.used_nonce_memory)
        time.advance(LIMITS.nonce_lifetime - SLACK)
        assert time.appraise(shown) is None
        time.advance(LIMITS.used_nonce_memory - SLACK)
        assert time.redeem() == AlreadyUsed()

    def test_what_the_release_before_redeemed_is_a_replay_to_this_one(self, place: SqlitePlace | RedisPlace) -> None:
        for keep in (LIMITS.used_nonce_memory, LIMITS.unused_nonce_memory):
            time = Timeline(place=place)
            record = time.record
            assert time.issue(keep=keep)
            assert time.redeem_as_before() == FirstUse(record=record)
            assert time.redeem() == AlreadyUsed()
            assert time.redeem_as_before() == AlreadyUsed()

    @pytest.mark.parametrize("after", [timedelta(0), LIMITS.nonce_lifetime], ids=["at once", "at the last moment"])
    def test_a_redemption_that_the_release_before_forgets_early_is_never_accepted_again(
        self, place: SqlitePlace | RedisPlace, after: timedelta
    ) -> None:
        time = Timeline(place=place)
        shown = document(NOW + after)
        record = time.record
        assert time.issue()
        time.advance(after)
        assert time.redeem_as_before() == FirstUse(record=record)
        time.advance(LIMITS.unused_nonce_memory - after)
        # The document is valid for hours, and the mark is gone: the nonce is unknown, which accepts nothing.
        for _ in range(3):
            assert time.redeem_as_before() == UnknownNonce()
            assert time.appraise(shown) is Reason.NONCE_UNKNOWN
        # Even if chance draws the same nonce again: the document is older than this issue.
        assert time.issue()
        assert time.appraise(shown) is Reason.NONCE_MISMATCH

    def test_of_threads_of_both_releases_exactly_one_is_first(self, place: SqlitePlace | RedisPlace) -> None:
        threads = 16
        for _ in range(5):
            time = Timeline(place=place)
            record = time.record
            assert time.issue()
            barrier = threading.Barrier(threads)

            def redeem(number: int, time: Timeline = time, barrier: threading.Barrier = barrier) -> Redemption:
                barrier.wait()
                return time.redeem() if number % 2 else time.redeem_as_before()

            with ThreadPoolExecutor(threads) as pool:
                outcomes = Counter(pool.map(redeem, range(threads)))
            assert outcomes == {FirstUse(record=record): 1, AlreadyUsed(): threads - 1}

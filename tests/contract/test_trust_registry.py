"""What every TrustRegistry promises (verifier.ports), on the real servers."""

import hashlib
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.forking import from_processes
from support.registrar import register

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.trust_registry import RedisTrustRegistry
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.core.discovery import DiscoveredIssuer, IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import AuthorityIdentity, Denials
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import FollowedBundle, OperatorDecisions, PinDecision, RejectedBundle
from verifier.ports.trust import (
    MAX_AUDIT_EVENTS,
    MAX_DISCOVERED,
    MAX_FEED_METADATA_BYTES,
    MAX_NONCONFORMING,
    FeedState,
    NonconformingRecord,
    TrustAuditEvent,
    TrustRegistry,
)

NOW = datetime(2026, 11, 23, 8, 0, 0, 123_456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
THREADS = 32
PROCESSES = 4

AUTHORITIES = (b"\x30\x82 the issuer", b"\x30\x82 the one above it")


def identity(spki_sha256: str) -> AuthorityIdentity:
    return AuthorityIdentity(subject_der=b"", spki_sha256=spki_sha256, subject="")


DECIDED = OperatorDecisions(
    pins={
        "ab" * 32: PinDecision(
            der=b"\x30\x00\xff",
            clouds=frozenset({Cloud.PUBLIC, Cloud.CHINA}),
            decided_by="größte \N{LOCK} Vorsicht",
            decided_at=NOW,
            note="a note\n",
        ),
        "01" * 32: PinDecision(der=b"", clouds=frozenset({Cloud.GERMANY}), decided_by="", decided_at=NOW),
    },
    rejected=frozenset({identity("cd" * 32), identity("ef" * 32)}),
    denials=Denials(serial_numbers=frozenset({0, 1, 2**159, -7}), spki_sha256=frozenset({"12" * 32})),
    denied_authorities={1: frozenset({identity("34" * 32)})},
    followed=FollowedBundle(raw=b'{"format": 1}', version=2**53, decided_by="feed", decided_at=NOW),
    rejected_bundle=RejectedBundle(version=2**53 + 1, sha256="56" * 32, decided_by="ann", decided_at=NOW),
)
FEED = FeedState(
    metadata={"1.root.json": b"\x00\xff", "timestamp.json": b"{}"},
    offered=b"{}",
    checked_at=NOW,
    problem="none \N{LOCK}",
)


class Place:
    """Where one kind of registry keeps what it knows, and how another process finds it."""

    def __init__(self, kind: str, where: str) -> None:
        self.kind = kind
        self.where = where
        self.prefix = f"imds-verifier:{{trust-{uuid.uuid4()}}}:"

    def open(self, clock: Callable[[], datetime] | None = None) -> SqliteTrustRegistry | RedisTrustRegistry:
        """`clock` is heard where the machine's clock counts and not a server's."""
        if self.kind == "sqlite":
            path = Path(self.where)
            return SqliteTrustRegistry(path) if clock is None else SqliteTrustRegistry(path, clock=clock)
        return RedisTrustRegistry(RedisLink.open(self.where, connections=8), prefix=self.prefix)


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place("sqlite", str(tmp_path / "trust.sqlite3"))
    return Place("redis", request.getfixturevalue("redis_url"))


@pytest.fixture
def registry(place: Place) -> Iterator[TrustRegistry]:
    registry = place.open()
    yield registry
    registry.close()


def observation(
    issuer: str = "CN=Unknown CA", *, seen_at: datetime = NOW, signer_sha256: str = "aa" * 32
) -> IssuerObservation:
    return IssuerObservation(
        cloud=Cloud.PUBLIC,
        issuer=issuer,
        authority_key_identifier="0011",
        issuer_urls=("http://www.microsoft.com/pkiops/certs/unknown.crt",),
        signer_sha256=signer_sha256,
        seen_at=seen_at,
    )


def nonconforming(
    detail: str = "Two of an element.", *, pin_sha256: str = "aa" * 32, seen_at: datetime = NOW
) -> NonconformingDocument:
    return NonconformingDocument(
        issuer="CN=Pinned CA",
        pin_sha256=pin_sha256,
        clouds=frozenset({Cloud.PUBLIC, Cloud.US_GOVERNMENT}),
        signer_sha256="bb" * 32,
        document_sha256="cc" * 32,
        detail=detail,
        seen_at=seen_at,
    )


def event(subject: str = "ab" * 32) -> TrustAuditEvent:
    return TrustAuditEvent(
        at=NOW, by="ann \N{LOCK}", what="approve", subject=subject, before="undecided", after="pinned"
    )


def issuers(registry: TrustRegistry) -> list[str]:
    return [found.observation.issuer for found in registry.discovered()]


def at_once(threads: int, act: Callable[[int], object]) -> list[object]:
    """What `threads` threads get that do it together."""
    barrier = threading.Barrier(threads)

    def meet_and_act(index: int) -> object:
        barrier.wait()
        return act(index)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(meet_and_act, range(threads)))


def registered(place: Place, *arguments: Callable[[int], str]) -> list[str]:
    """What several processes say that do it together."""
    return from_processes(
        register,
        [
            (place.kind, place.where, place.prefix, *(argument(index) for argument in arguments))
            for index in range(PROCESSES)
        ],
    )


# Decisions, their revision, and the audit log.


def test_nothing_is_decided_discovered_or_audited_at_first(registry: TrustRegistry) -> None:
    assert registry.decisions() == (OperatorDecisions(), registry.revision())
    assert registry.discovered() == ()
    assert registry.audit_log(most=10) == ()


def test_a_decision_is_in_force_audited_and_of_another_revision(registry: TrustRegistry) -> None:
    before = registry.revision()
    assert registry.decide(DECIDED, event(), expected=before)
    decisions, after = registry.decisions()
    assert decisions == DECIDED
    assert after == registry.revision() != before
    assert registry.audit_log(most=10) == (event(),)


def test_a_decision_on_what_is_not_in_force_any_more_changes_nothing(registry: TrustRegistry) -> None:
    before = registry.revision()
    registry.decide(DECIDED, event(), expected=before)
    after = registry.revision()
    for stale in (before, after + 1, -1):
        assert not registry.decide(OperatorDecisions(), event("another"), expected=stale)
    assert registry.decisions() == (DECIDED, after)
    assert registry.audit_log(most=10) == (event(),)


def test_every_decision_is_another_revision_even_one_that_says_the_same(registry: TrustRegistry) -> None:
    revisions = [registry.revision()]
    for _ in range(5):
        assert registry.decide(DECIDED, event(), expected=revisions[-1])
        revisions.append(registry.revision())
    assert len(set(revisions)) == len(revisions)


def test_a_decision_is_made_again_where_an_authority_was_discovered_meanwhile(registry: TrustRegistry) -> None:
    _, before = registry.decisions()
    registry.record(observation(), AUTHORITIES)
    assert not registry.decide(DECIDED, event(), expected=before)
    assert registry.decide(DECIDED, event(), expected=registry.decisions()[1])
    assert registry.decisions()[0] == DECIDED


def test_of_many_decisions_on_one_state_exactly_one_counts(registry: TrustRegistry) -> None:
    revision = registry.revision()

    def decide(index: int) -> bool:
        return registry.decide(
            OperatorDecisions(rejected=frozenset({identity(str(index))})), event(str(index)), expected=revision
        )

    decided = at_once(THREADS, decide)
    assert decided.count(True) == 1
    winner = str(decided.index(True))
    assert registry.decisions()[0].rejected == {identity(winner)}
    assert registry.audit_log(most=THREADS) == (event(winner),)


def test_no_decision_of_many_threads_is_lost(registry: TrustRegistry) -> None:
    def decide(index: int) -> None:
        while True:
            decisions, revision = registry.decisions()
            after = replace(decisions, rejected=decisions.rejected | {identity(str(index))})
            if registry.decide(after, event(str(index)), expected=revision):
                return

    at_once(THREADS, decide)
    assert registry.decisions()[0].rejected == {identity(str(index)) for index in range(THREADS)}
    audited = [change.subject for change in registry.audit_log(most=1000)]
    assert sorted(audited) == sorted(map(str, range(THREADS)))


def test_no_decision_of_several_processes_is_lost(place: Place, registry: TrustRegistry) -> None:
    times = 25
    said = registered(place, lambda _: "decide", lambda index: f"process-{index}", lambda _: str(times))
    assert said == ["decided"] * PROCESSES
    expected = {f"process-{index}-{time}" for index in range(PROCESSES) for time in range(times)}
    assert registry.decisions()[0].rejected == set(map(identity, expected))
    assert Counter(change.subject for change in registry.audit_log(most=1000)) == Counter(expected)


def test_the_audit_log_is_told_latest_first_and_no_longer_than_asked(registry: TrustRegistry) -> None:
    for index in range(5):
        # Their own times go backwards: what counts is which came later.
        at = NOW - index * SECOND
        registry.decide(OperatorDecisions(), replace(event(str(index)), at=at), expected=registry.revision())
    assert [change.subject for change in registry.audit_log(most=1000)] == ["4", "3", "2", "1", "0"]
    assert [change.subject for change in registry.audit_log(most=2)] == ["4", "3"]
    assert registry.audit_log(most=0) == ()
    assert registry.audit_log(most=-1) == ()


def test_the_audit_log_is_bounded(registry: TrustRegistry) -> None:
    slack = 200  # Redis drops by the hundred
    revision = registry.revision()
    last = MAX_AUDIT_EVENTS + slack
    for index in range(last + 1):
        assert registry.decide(OperatorDecisions(), event(str(index)), expected=revision)
        revision = registry.revision()
    trail = [int(change.subject) for change in registry.audit_log(most=2 * MAX_AUDIT_EVENTS)]
    assert MAX_AUDIT_EVENTS <= len(trail) < MAX_AUDIT_EVENTS + slack
    assert trail == list(range(last, last - len(trail), -1))


# Discovered issuers.


def test_a_recorded_issuer_is_discovered(registry: TrustRegistry) -> None:
    assert registry.record(observation(), [])
    assert registry.discovered() == (
        DiscoveredIssuer(observation=observation(), first_seen=NOW, last_seen=NOW, documents=1),
    )


def test_counts_documents_and_keeps_the_first_time_and_the_latest_observation(registry: TrustRegistry) -> None:
    latest = replace(observation(seen_at=NOW + HOUR), signer_sha256="bb" * 32, issuer_urls=())
    assert registry.record(observation(), [])
    assert not registry.record(observation(seen_at=NOW + SECOND), [])
    assert not registry.record(latest, [])
    assert registry.discovered() == (
        DiscoveredIssuer(observation=latest, first_seen=NOW, last_seen=NOW + HOUR, documents=3),
    )


def test_an_observation_that_arrives_late_counts_and_is_not_the_latest(registry: TrustRegistry) -> None:
    early = observation(seen_at=NOW - HOUR, signer_sha256="bb" * 32)
    registry.record(observation(), [])
    registry.record(early, [])
    assert registry.discovered() == (
        DiscoveredIssuer(observation=observation(), first_seen=NOW - HOUR, last_seen=NOW, documents=2),
    )


@pytest.mark.parametrize(
    "other",
    [
        replace(observation(), cloud=Cloud.CHINA),
        replace(observation(), authority_key_identifier="0012"),
        replace(observation(), issuer="CN=Another CA"),
    ],
    ids=["cloud", "key", "name"],
)
def test_keeps_issuers_apart_by_cloud_key_and_name(registry: TrustRegistry, other: IssuerObservation) -> None:
    assert registry.record(observation(), [])
    assert registry.record(other, [])
    assert [issuer.documents for issuer in registry.discovered()] == [1, 1]


def test_tells_the_latest_seen_first(registry: TrustRegistry) -> None:
    for issuer, minutes in (("b", 2), ("d", 4), ("a", 1), ("c", 3)):
        registry.record(observation(issuer, seen_at=NOW + timedelta(minutes=minutes)), [])
    assert issuers(registry) == ["d", "c", "b", "a"]
    registry.record(observation("a", seen_at=NOW + HOUR), [])
    assert issuers(registry) == ["a", "d", "c", "b"]


def test_checked_authorities_are_kept_in_their_order_and_told_once(registry: TrustRegistry) -> None:
    assert registry.record(observation(), [])
    assert registry.record(observation(), AUTHORITIES)
    assert not registry.record(observation(), AUTHORITIES)
    assert not registry.record(observation(), [])
    [found] = registry.discovered()
    assert found.authorities == AUTHORITIES
    assert found.documents == 4


def test_other_authorities_take_their_place(registry: TrustRegistry) -> None:
    registry.record(observation(), AUTHORITIES)
    assert registry.record(observation(), AUTHORITIES[:1])
    assert registry.discovered()[0].authorities == AUTHORITIES[:1]


def test_the_revision_is_another_one_where_authorities_are_new_and_only_then(registry: TrustRegistry) -> None:
    def changes(authorities: tuple[bytes, ...]) -> bool:
        before = registry.revision()
        registry.record(observation(), authorities)
        return registry.revision() != before

    assert not changes(())
    assert not changes(())
    assert changes(AUTHORITIES)
    assert not changes(AUTHORITIES)
    assert not changes(())
    assert changes(AUTHORITIES[:1])


# Nonconforming documents.


def test_a_nonconforming_document_is_new_once_for_its_pin_and_detail(registry: TrustRegistry) -> None:
    latest = replace(nonconforming(seen_at=NOW + HOUR), document_sha256="dd" * 32)
    assert registry.nonconforming() == ()
    assert registry.record_nonconforming(nonconforming())
    assert not registry.record_nonconforming(latest)
    assert registry.record_nonconforming(nonconforming("Another detail."))
    assert registry.record_nonconforming(nonconforming(pin_sha256="ee" * 32))
    first, *others = registry.nonconforming()
    assert first == NonconformingRecord(document=latest, first_seen=NOW, documents=2)
    assert first.last_seen == NOW + HOUR
    assert [record.documents for record in others] == [1, 1]


def test_a_nonconforming_document_that_arrives_late_counts_and_is_not_the_latest(registry: TrustRegistry) -> None:
    registry.record_nonconforming(nonconforming())
    early = replace(nonconforming(seen_at=NOW - HOUR), document_sha256="dd" * 32)
    assert not registry.record_nonconforming(early)
    assert registry.nonconforming() == (
        NonconformingRecord(document=nonconforming(), first_seen=NOW - HOUR, documents=2),
    )


def test_the_least_recently_seen_nonconforming_documents_give_way(registry: TrustRegistry) -> None:
    for index in range(MAX_NONCONFORMING + 3):
        assert registry.record_nonconforming(nonconforming(f"Detail {index}.", seen_at=NOW + index * SECOND))
    kept = [record.document.detail for record in registry.nonconforming()]
    assert kept == [f"Detail {index}." for index in reversed(range(3, MAX_NONCONFORMING + 3))]
    assert registry.record_nonconforming(nonconforming("Detail 0.", seen_at=NOW + HOUR))


def test_what_a_nonconforming_document_says_is_kept_at_a_bounded_length(registry: TrustRegistry) -> None:
    assert registry.record_nonconforming(nonconforming("x" * 20_000))
    assert not registry.record_nonconforming(nonconforming("x" * 30_000))
    assert len(registry.nonconforming()[0].document.detail) == 512


def test_a_nonconforming_document_changes_no_revision_and_is_no_issuer(registry: TrustRegistry) -> None:
    before = registry.revision()
    registry.record_nonconforming(nonconforming())
    registry.nonconforming()
    assert registry.revision() == before
    assert registry.discovered() == ()


def test_a_nonconforming_document_is_new_to_one_of_several_processes(place: Place, registry: TrustRegistry) -> None:
    said = registered(place, lambda _: "record-nonconforming", lambda _: "aa" * 32, lambda _: "25")
    assert sorted(said) == ["0"] * (PROCESSES - 1) + ["1"]
    assert [record.documents for record in registry.nonconforming()] == [25 * PROCESSES]


# The trust feed.


def test_no_feed_was_looked_at_at_first(registry: TrustRegistry) -> None:
    state, revision = registry.feed()
    assert state == FeedState()
    assert registry.feed() == (state, revision)


def test_the_state_of_a_feed_is_kept_under_another_revision(registry: TrustRegistry) -> None:
    revisions = [registry.feed()[1]]
    for state in (FEED, FEED, replace(FEED, problem=""), replace(FEED, offered=None), FeedState()):
        assert registry.keep_feed(state, expected=revisions[-1])
        kept, revision = registry.feed()
        assert kept == state
        revisions.append(revision)
    assert len(set(revisions)) == len(revisions)


def test_a_state_of_a_feed_from_an_earlier_one_changes_nothing(registry: TrustRegistry) -> None:
    before = registry.feed()[1]
    assert registry.keep_feed(FEED, expected=before)
    after = registry.feed()[1]
    for stale in (before, after + 1, -1):
        assert not registry.keep_feed(FeedState(), expected=stale)
    assert registry.feed() == (FEED, after)


def test_of_many_looks_from_one_state_exactly_one_counts(registry: TrustRegistry) -> None:
    revision = registry.feed()[1]

    def keep(index: int) -> bool:
        return registry.keep_feed(replace(FEED, offered=str(index).encode()), expected=revision)

    kept = at_once(THREADS, keep)
    assert kept.count(True) == 1
    assert registry.feed()[0].offered == str(kept.index(True)).encode()


def test_keeps_the_largest_bundle_and_metadata(registry: TrustRegistry) -> None:
    large = bytes(range(256)) * 4096
    metadata = {
        "1.root.json": large[: MAX_FEED_METADATA_BYTES // 2],
        "2.root.json": large[: MAX_FEED_METADATA_BYTES // 2],
    }
    state = replace(FEED, metadata=metadata, offered=large)
    assert registry.keep_feed(state, expected=registry.feed()[1])
    assert registry.feed()[0] == state
    followed = FollowedBundle(raw=large, version=1, decided_by="feed", decided_at=NOW)
    decided = replace(DECIDED, followed=followed)
    assert registry.decide(decided, event(), expected=registry.revision())
    assert registry.decisions()[0] == decided


def test_feeds_and_decisions_change_each_other_in_nothing(registry: TrustRegistry) -> None:
    decided, looked = registry.revision(), registry.feed()[1]
    assert registry.keep_feed(FEED, expected=looked)
    assert registry.revision() == decided
    looked = registry.feed()[1]
    assert registry.decide(DECIDED, event(), expected=decided)
    assert registry.feed() == (FEED, looked)


def test_reading_and_claiming_change_no_revision(registry: TrustRegistry) -> None:
    registry.record(observation(), AUTHORITIES)
    before = registry.revision()
    registry.decisions()
    registry.feed()
    registry.discovered()
    registry.audit_log(most=10)
    registry.claim("a", lasting=HOUR)
    registry.is_claimed("a")
    assert registry.revision() == before


def test_what_a_stranger_says_is_kept_at_a_bounded_length(registry: TrustRegistry) -> None:
    url = "http://www.microsoft.com/pkiops/certs/"
    endless = IssuerObservation(
        cloud=Cloud.PUBLIC,
        issuer="CN=\N{LOCK}" + "x" * 100_000,
        authority_key_identifier="ab" * 10_000,
        issuer_urls=(url + "x" * 1000, *(f"{url}{index}" for index in range(10))),
        signer_sha256="aa" * 32,
        seen_at=NOW,
    )
    assert registry.record(endless, [bytes([index]) for index in range(10)])
    assert not registry.record(endless, [])
    [found] = registry.discovered()
    assert found.observation.issuer == endless.issuer[:1024]
    assert found.observation.authority_key_identifier == "ab" * 64
    # Half a URL is another one: the long one is left out.
    assert found.observation.issuer_urls == (f"{url}0", f"{url}1", f"{url}2")
    assert found.authorities == (b"\0", b"\1", b"\2", b"\3")
    assert found.documents == 2


@pytest.mark.parametrize("issuer", ["", "CN=a\x00b", "\ud83d\ude00", "\udfff", 'CN="\\"', "CN={x}:y", "\N{LOCK}\n"])
def test_an_odd_issuer_is_one_issuer(registry: TrustRegistry, issuer: str) -> None:
    assert registry.record(observation(issuer), [])
    assert not registry.record(observation(issuer), [])
    assert [found.documents for found in registry.discovered()] == [2]


def test_the_least_recently_seen_gives_way(registry: TrustRegistry) -> None:
    for index in range(MAX_DISCOVERED):
        registry.record(observation(str(index), seen_at=NOW + index * SECOND), [])
    registry.record(observation("0", seen_at=NOW + HOUR), [])
    registry.record(observation("new", seen_at=NOW + HOUR + SECOND), [])
    kept = issuers(registry)
    assert len(kept) == MAX_DISCOVERED
    assert kept[:2] == ["new", "0"]
    assert "1" not in kept
    assert "2" in kept


def test_an_issuer_that_gave_way_is_new_again(registry: TrustRegistry) -> None:
    for index in range(MAX_DISCOVERED + 1):
        registry.record(observation(str(index), seen_at=NOW + index * SECOND), [])
    assert registry.record(observation("0", seen_at=NOW + HOUR), [])
    assert registry.discovered()[0] == DiscoveredIssuer(
        observation=observation("0", seen_at=NOW + HOUR), first_seen=NOW + HOUR, last_seen=NOW + HOUR, documents=1
    )


def test_a_flood_of_made_up_issuers_stays_bounded_and_pushes_no_checked_one_out(registry: TrustRegistry) -> None:
    checked = [f"CN=Checked {index}" for index in range(5)]
    for issuer in checked:
        registry.record(observation(issuer), AUTHORITIES)
    before = registry.revision()
    for index in range(10_000):
        made_up = hashlib.sha256(str(index).encode()).hexdigest()
        assert registry.record(observation(f"CN={made_up}", seen_at=NOW + (index + 1) * SECOND), [])
    found = registry.discovered()
    assert len(found) == MAX_DISCOVERED
    assert {issuer.observation.issuer for issuer in found if issuer.authorities} == set(checked)
    assert found[0].last_seen == NOW + 10_000 * SECOND
    assert registry.revision() == before


def test_where_all_are_checked_the_least_recently_seen_gives_way_and_that_is_another_revision(
    registry: TrustRegistry,
) -> None:
    for index in range(MAX_DISCOVERED):
        registry.record(observation(str(index), seen_at=NOW + index * SECOND), AUTHORITIES)
    before = registry.revision()
    # One that is not checked comes last, whenever it was seen.
    assert registry.record(observation("made up", seen_at=NOW + HOUR), [])
    assert "made up" not in issuers(registry)
    assert registry.revision() == before
    assert registry.record(observation("checked", seen_at=NOW + HOUR), AUTHORITIES)
    kept = issuers(registry)
    assert len(kept) == MAX_DISCOVERED
    assert "checked" in kept
    assert "0" not in kept
    assert registry.revision() != before


def test_loses_no_document_of_many_threads(registry: TrustRegistry) -> None:
    each = 10

    def record(index: int) -> int:
        return sum(
            registry.record(observation("CN=Common", seen_at=NOW + index * SECOND), AUTHORITIES) for _ in range(each)
        )

    before = registry.revision()
    assert sum(int(str(news)) for news in at_once(THREADS, record)) == 1
    assert registry.discovered() == (
        DiscoveredIssuer(
            observation=observation("CN=Common", seen_at=NOW + (THREADS - 1) * SECOND),
            first_seen=NOW,
            last_seen=NOW + (THREADS - 1) * SECOND,
            documents=THREADS * each,
            authorities=AUTHORITIES,
        ),
    )
    assert registry.revision() != before


def test_loses_no_document_of_several_processes(place: Place, registry: TrustRegistry) -> None:
    times = 50
    news = registered(place, lambda _: "record", lambda _: "CN=Common", lambda _: str(times))
    assert sum(map(int, news)) == 1
    assert [found.documents for found in registry.discovered()] == [PROCESSES * times]


# Claims.


def test_a_claim_is_one_callers_alone(registry: TrustRegistry) -> None:
    assert not registry.is_claimed("fetch")
    assert registry.claim("fetch", lasting=HOUR)
    assert registry.is_claimed("fetch")
    assert not registry.claim("fetch", lasting=HOUR)
    assert registry.is_claimed("fetch")


def test_claims_of_different_names_do_not_meet(registry: TrustRegistry) -> None:
    names = ["", "a", "A", "a:b", "a%3Ab", "{a}", "a\x00b", "\ud800", "ä", "x" * 2000]
    assert all(registry.claim(name, lasting=HOUR) for name in names)
    assert all(registry.is_claimed(name) for name in names)
    assert not registry.is_claimed("b")


@pytest.mark.parametrize("lasting", [timedelta(0), -SECOND])
def test_refuses_a_claim_for_no_time(registry: TrustRegistry, lasting: timedelta) -> None:
    with pytest.raises(ValueError, match="lasting is not positive"):
        registry.claim("fetch", lasting=lasting)
    assert not registry.is_claimed("fetch")


def test_of_many_threads_exactly_one_claims(registry: TrustRegistry) -> None:
    for round_ in range(5):
        name = f"in-flight:{round_}"

        def claim(_: int, name: str = name) -> bool:
            return registry.claim(name, lasting=HOUR)

        assert Counter(at_once(THREADS, claim)) == {True: 1, False: THREADS - 1}


def test_of_several_processes_exactly_one_claims(place: Place, registry: TrustRegistry) -> None:
    said = registered(place, lambda _: "claim", lambda _: "fetch")
    assert Counter(said) == {"True": 1, "False": PROCESSES - 1}
    assert registry.is_claimed("fetch")


# Replicas.


def test_two_openings_of_one_registry_see_each_others_changes(place: Place, registry: TrustRegistry) -> None:
    other = place.open()
    try:
        revision = other.revision()
        assert registry.decide(DECIDED, event(), expected=revision)
        assert other.decisions() == registry.decisions()
        assert other.revision() != revision
        assert other.audit_log(most=1) == (event(),)
        assert other.record(observation(), AUTHORITIES)
        assert not registry.record(observation(), AUTHORITIES)
        assert other.discovered() == registry.discovered()
        assert other.revision() == registry.revision()
        assert registry.claim("fetch", lasting=HOUR)
        assert other.is_claimed("fetch")
        assert not other.claim("fetch", lasting=HOUR)
    finally:
        other.close()


def test_survives_a_restart_and_works_on_after_close(place: Place) -> None:
    registry = place.open()
    registry.decide(DECIDED, event(), expected=registry.revision())
    registry.record(observation(), AUTHORITIES)
    registry.close()
    other = place.open()
    assert other.decisions() == registry.decisions()
    assert other.discovered() == registry.discovered()
    registry.close()
    other.close()

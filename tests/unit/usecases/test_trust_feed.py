"""Following a feed, over a real registry: look, apply, propose, approve, leave, and every refusal.

The client is a double: the tests of adapters.feed use the real one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from support.chains import authority, root
from support.clocks import ManualClock
from support.documents import NOW, shared_pki
from support.feeds import anchor, entry, published
from support.trust_operations import new_authority, read, stranger, write_trust

from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.trust.live_trust import LiveTrust
from verifier.adapters.trust.published import read_bundle, write_bundle
from verifier.core.trust.bundle import Origin
from verifier.core.trust.operator_decisions import FollowedBundle, OperatorDecisions
from verifier.core.trust.published import FeedMode, PublishedBundle
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Event, FeedChecked, FeedOutcome, TrustReloaded
from verifier.ports.trust import MAX_FEED_METADATA_BYTES, FeedFailed, FeedState, FetchedFeed, TrustAuditEvent
from verifier.usecases.trust_administration import TrustAdministration, UnfitAuthorityError, UnknownAuthorityError
from verifier.usecases.trust_feed import FeedStatus, Offer, TrustFeed

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NEW = new_authority()
WITH_PIN = published(entry(NEW), version=2)
WITH_ANCHOR = published(entry(NEW), anchor(root("Feed Root")), version=3)


@dataclass(slots=True)
class Server:
    """Implements the FeedClient port: the feed as its publisher left it, and what was asked of it."""

    bundle: bytes = b""
    problem: str = ""
    root: str = "aa"
    metadata: dict[str, bytes] = field(default_factory=lambda: {"1.root.json": b"{}"})
    asked: list[Mapping[str, bytes]] = field(default_factory=list)
    during: Callable[[], object] = lambda: None

    def publish(self, bundle: PublishedBundle) -> None:
        self.bundle, self.problem = write_bundle(bundle), ""
        self.metadata["timestamp.json"] = f"{bundle.version}".encode()

    def fetch(self, metadata: Mapping[str, bytes]) -> FetchedFeed:
        self.asked.append(dict(metadata))
        self.during()
        if self.problem:
            raise FeedFailed(self.problem)
        return FetchedFeed(
            metadata=dict(self.metadata), bundle=self.bundle, root_sha256=self.root, fresh_until=NOW + DAY
        )


@dataclass(slots=True)
class Events:
    """Implements the Recorder port."""

    kept: list[Event] = field(default_factory=list)

    def record(self, event: Event) -> None:
        self.kept.append(event)

    @property
    def looks(self) -> list[FeedChecked]:
        return [event for event in self.kept if isinstance(event, FeedChecked)]

    @property
    def reloads(self) -> list[TrustReloaded]:
        return [event for event in self.kept if isinstance(event, TrustReloaded)]


class Registry(SqliteTrustRegistry):
    """The real one, which a test can take away, and between whose steps another replica can act."""

    is_away = False
    after_keep: Callable[[], object] | None = None
    before_decide: Callable[[], object] | None = None

    def keep_feed(self, state: FeedState, *, expected: int) -> bool:
        kept = super().keep_feed(state, expected=expected)
        act, self.after_keep = self.after_keep, None
        if act is not None:
            act()
        return kept

    def decide(self, decisions: OperatorDecisions, event: TrustAuditEvent, *, expected: int) -> bool:
        act, self.before_decide = self.before_decide, None
        if act is not None:
            act()
        return super().decide(decisions, event, expected=expected)

    def feed(self) -> tuple[FeedState, int]:
        if self.is_away:
            raise StoreUnavailable("The registry is away.")
        return super().feed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    feed: TrustFeed
    trust: LiveTrust
    registry: Registry
    server: Server
    events: Events
    clock: ManualClock

    @property
    def version(self) -> int:
        """The version that the operators' decisions name; 0 without one."""
        followed = self.feed.administration.decisions().followed
        return 0 if followed is None or followed.raw is None else followed.version

    def trusts(self, sha256: str) -> bool:
        self.trust.refresh()
        return sha256 in {one.certificate.sha256 for one in self.trust.bundle().entries}


Make = Callable[..., Replica]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that makes replicas of one service: they share the registry, the feed and the clock."""
    server, clock = Server(), ManualClock(NOW)
    overlay = tmp_path / "trust"
    write_trust(overlay)

    def make(mode: FeedMode = FeedMode.PROPOSE) -> Replica:
        events = Events()
        registry = Registry(tmp_path / "trust.sqlite3", clock=clock.now)
        trust = LiveTrust(overlay, registry, admit=False, recorder=events)
        administration = TrustAdministration(trust=trust, registry=registry, recorder=events, clock=clock)
        feed = TrustFeed(
            client=server,
            administration=administration,
            registry=registry,
            read=read_bundle,
            recorder=events,
            clock=clock,
            mode=mode,
            interval=HOUR,
            source="https://feed.example/",
        )
        return Replica(feed=feed, trust=trust, registry=registry, server=server, events=events, clock=clock)

    return make


PIN = read(NEW).sha256


@cache
def many_paths() -> PublishedBundle:
    """Return a bundle of 24 pins in 8 layers. Each one may be the issuer of each one in the layer below."""
    layers = [[root("Feed Root")]]
    for depth in range(8):
        layers.append([authority(f"Feed Layer {depth}", issuer=layers[-1][0]) for _ in range(3)])
    return published(*(entry(one) for layer in layers[1:] for one in layer))


def keep(replica: Replica, *, offered: bytes) -> None:
    """Offer these bytes, as another release may have done."""
    state, revision = replica.registry.feed()
    assert replica.registry.keep_feed(replace(state, offered=offered), expected=revision)


def put(replica: Replica, *, version: int, raw: bytes | None) -> None:
    """Put these bytes in force, or a version out of force without any."""
    bundle = FollowedBundle(raw=raw, version=version, decided_by="ann", decided_at=NOW)
    replica.feed.administration.follow(bundle, by="ann", judge=lambda _: None)


class TestPropose:
    def test_offers_a_bundle_and_changes_no_trust(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        status = replica.feed.look()
        assert status.offer is not None
        assert status.offer.bundle == WITH_PIN
        assert [str(change) for change in status.offer.changes] == [
            f"adds the pin {read(NEW).subject} (AzurePublicCloud)"
        ]
        assert (status.in_force, status.checked_at, status.problem) == (None, NOW, "")
        assert not replica.trusts(PIN)
        assert replica.registry.audit_log(most=9) == ()
        [look] = replica.events.looks
        assert (look.outcome, look.is_news) == (FeedOutcome.VERIFIED, True)
        assert look.detail == "no bundle is in force, version 2 waits for approval"

    def test_an_operator_approves_the_version_that_is_offered(self, make: Make) -> None:
        replica, other = make(), make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        other.feed.approve(2, by="ann")
        assert replica.trusts(PIN)
        assert other.trusts(PIN)
        [change] = replica.registry.audit_log(most=9)
        assert (change.by, change.what, change.subject) == ("ann", "follow feed", "version 2")
        assert (change.before, change.after) == ("none", "version 2")
        status = replica.feed.status()
        assert (status.in_force, status.offer) == (WITH_PIN, None)
        assert {one.origin for one in replica.trust.bundle().entries} == {Origin.LISTED, Origin.PUBLISHED}

    def test_an_offer_names_the_parts_without_effect(self, make: Make) -> None:
        replica = make()
        replica.server.publish(published(entry(stranger()), entry(NEW), version=2))
        offer = replica.feed.look().offer
        assert offer is not None
        assert offer.ignored == (f"{read(stranger()).subject}: no trusted authority of AzurePublicCloud issued it",)

    def test_a_status_names_the_feed_and_its_mode(self, make: Make) -> None:
        for mode in FeedMode:
            assert make(mode).feed.status() == FeedStatus(
                source="https://feed.example/",
                mode=mode,
                in_force=None,
                ignored=(),
                unreadable="",
                offer=None,
                checked_at=None,
                problem="",
                rejected=None,
            )

    @pytest.mark.parametrize("version", [0, 1, 3])
    def test_no_other_version_can_be_approved(self, make: Make, version: int) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        with pytest.raises(UnknownAuthorityError, match=f"no offer of version {version}: run `trust update`"):
            replica.feed.approve(version, by="ann")
        assert replica.version == 0

    def test_a_bundle_that_expires_before_its_approval_is_refused(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.clock.advance(30 * DAY - timedelta.resolution)
        status = replica.feed.status()
        assert status.offer is not None
        assert status.offer.reasons == ()
        replica.clock.advance(timedelta.resolution)
        refused = Offer(bundle=WITH_PIN, changes=(), ignored=(), reasons=("version 2 has expired",))
        assert replica.feed.status().offer == refused
        with pytest.raises(UnfitAuthorityError, match="version 2 has expired"):
            replica.feed.approve(2, by="ann")

    def test_anchors_can_be_approved(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_ANCHOR)
        replica.feed.look()
        replica.feed.approve(3, by="ann")
        assert replica.trusts(anchor(root("Feed Root")).certificate.sha256)

    def test_a_version_does_not_change_after_it_was_offered(self, make: Make) -> None:
        """An operator who approves version 2 approves what `trust status` showed."""
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.server.publish(replace(WITH_ANCHOR, version=2))
        status = replica.feed.look()
        assert status.problem == ("The bundle is refused: version 2 differs from the version 2 that was offered.")
        assert status.offer is not None
        assert status.offer.bundle == WITH_PIN

    def test_an_earlier_version_does_not_replace_the_offered_one(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_ANCHOR)
        replica.feed.look()
        replica.server.publish(WITH_PIN)
        assert "version 2 is older than version 3, which was offered" in replica.feed.look().problem


class TestApply:
    def test_puts_a_newer_bundle_in_force(self, make: Make) -> None:
        replica, other = make(FeedMode.APPLY), make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        status = replica.feed.look()
        assert (status.in_force, status.offer) == (WITH_PIN, None)
        assert replica.trusts(PIN)
        assert other.trusts(PIN)
        [change] = replica.registry.audit_log(most=9)
        assert (change.by, change.what, change.subject) == ("feed", "follow feed", "version 2")
        assert replica.events.looks[-1].detail == "version 2 in force"

    def test_the_same_bundle_again_is_no_change(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.feed.look()
        assert len(replica.registry.audit_log(most=9)) == 1
        assert [look.is_news for look in replica.events.looks] == [True, False]

    def test_a_new_anchor_stays_offered_and_is_told(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.server.publish(WITH_ANCHOR)
        status = replica.feed.look()
        assert status.offer is not None
        [reason] = status.offer.reasons
        assert reason.startswith("it adds the anchor ")
        assert replica.version == 2
        assert f"version 2 in force, version 3 waits for approval: {reason}" == replica.events.looks[-1].detail
        replica.feed.approve(3, by="ann")
        assert replica.version == 3

    def test_a_bundle_that_ends_the_chains_of_a_cloud_stays_offered(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        ending = entry(shared_pki().issuing_ca, retire_at=NOW - DAY, clouds=frozenset(replica.trust.bundle().clouds))
        replica.server.publish(published(ending, version=2))
        status = replica.feed.look()
        assert status.offer is not None
        assert "it leaves AzurePublicCloud without a usable chain" in status.offer.reasons
        assert replica.version == 0

    def test_a_bundle_that_starts_the_last_chain_of_a_cloud_later_stays_offered(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        clouds = frozenset(replica.trust.bundle().clouds)
        replica.server.publish(published(entry(shared_pki().issuing_ca, activate_at=NOW + DAY, clouds=clouds)))
        status = replica.feed.look()
        assert status.offer is not None
        assert "it leaves AzurePublicCloud without a usable chain" in status.offer.reasons
        assert replica.version == 0

    def test_a_pin_of_the_future_is_not_trusted_before(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(published(entry(NEW, activate_at=NOW + DAY)))
        replica.feed.look()
        assert replica.version == 1
        assert replica.trusts(PIN)
        [pin] = [one for one in replica.trust.bundle().entries if one.certificate.sha256 == PIN]
        assert (pin.state_at(NOW).is_usable, pin.state_at(NOW + DAY).is_usable) == (False, True)

    def test_a_bundle_without_certificates_changes_no_trust(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        before = replica.trust.bundle()
        replica.server.publish(published())
        status = replica.feed.look()
        assert (status.in_force, status.problem) == (published(), "")
        replica.trust.refresh()
        assert replica.trust.bundle() == before

    def test_an_offer_that_waits_is_approved_in_the_other_mode(self, make: Make) -> None:
        replica, other = make(FeedMode.APPLY), make(FeedMode.PROPOSE)
        replica.server.publish(WITH_ANCHOR)
        replica.feed.look()
        assert other.feed.look().offer == replica.feed.status().offer
        assert other.version == 0
        other.feed.approve(3, by="ann")
        assert replica.version == 3

    def test_an_offer_of_the_other_mode_is_applied(self, make: Make) -> None:
        replica, other = make(FeedMode.PROPOSE), make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        assert replica.version == 0
        assert other.feed.look().offer is None
        assert replica.version == 2

    def test_a_pin_without_an_issuer_is_ignored_and_told(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(published(entry(stranger()), entry(NEW), version=2))
        status = replica.feed.look()
        assert replica.version == 2
        assert status.ignored == (f"{read(stranger()).subject}: no trusted authority of AzurePublicCloud issued it",)
        assert f"without effect in the trust feed: {status.ignored[0]}" in replica.events.reloads[-1].detail

    def test_a_refused_bundle_is_followed_by_a_good_one(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.server.publish(published(version=3))
        status = replica.feed.look()
        assert "version 3 removes" in status.problem
        assert (status.in_force, status.offer) == (WITH_PIN, None)
        replica.server.publish(published(entry(NEW), version=4))
        assert replica.feed.look().problem == ""
        assert replica.version == 4
        assert [look.is_news for look in replica.events.looks] == [True, True, True]

    def test_an_earlier_offer_is_not_applied_if_the_look_fails(self, make: Make) -> None:
        replica, other = make(FeedMode.PROPOSE), make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.server.problem = "The feed does not answer."
        status = other.feed.look()
        assert (status.problem, other.version) == ("The feed does not answer.", 0)
        assert status.offer is not None


class TestMode:
    def test_an_offer_that_waits_still_waits_after_the_change_to_propose(self, make: Make) -> None:
        make(FeedMode.APPLY).server.publish(WITH_ANCHOR)
        offered = make(FeedMode.APPLY).feed.look().offer
        assert offered is not None
        changed = make(FeedMode.PROPOSE)
        assert changed.feed.look().offer == offered
        changed.server.publish(replace(WITH_ANCHOR, version=4))
        changed.feed.look()
        assert changed.version == 0
        changed.feed.approve(4, by="ann")
        assert changed.version == 4

    def test_an_offer_that_waits_comes_in_force_after_the_change_to_apply(self, make: Make) -> None:
        make().server.publish(WITH_PIN)
        assert make().feed.look().offer is not None
        changed = make(FeedMode.APPLY)
        assert changed.feed.look().offer is None
        assert changed.version == 2

    def test_a_bundle_without_certificates_changes_no_trust(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        before = replica.trust.bundle().entries
        replica.server.publish(published())
        assert replica.feed.look().problem == ""
        assert (replica.version, replica.trust.bundle().entries) == (1, before)


class TestRefusals:
    @pytest.mark.parametrize(
        ("bundle", "problem"),
        [
            (b"{", "The bundle is refused: the bundle is not strict JSON: it ends too early."),
            (b'{"format":2}', "this release knows format 1: update imds-verifier."),
            (write_bundle(published(version=2, at=NOW - 40 * DAY)), "version 2 has expired."),
        ],
    )
    def test_a_bundle_is_refused_and_told(self, make: Make, bundle: bytes, problem: str) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.bundle = bundle
        status = replica.feed.look()
        assert status.problem.endswith(problem)
        assert [look.detail for look in replica.events.looks] == [status.problem]
        assert status.offer is None
        assert replica.version == 0
        # The metadata were verified, so that no replica accepts older ones.
        assert replica.registry.feed()[0].metadata == replica.server.metadata

    def test_an_unreachable_feed_changes_no_trust_and_is_told_once(self, make: Make) -> None:
        replica, other = make(FeedMode.APPLY), make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.server.problem = "The feed does not answer."
        replica.clock.advance(HOUR)
        for one in (replica, other, replica):
            status = one.feed.look()
            assert (status.problem, status.checked_at) == ("The feed does not answer.", NOW)
            assert status.in_force == WITH_PIN
        assert [look.is_news for look in replica.events.looks] == [True, True, False]
        assert [look.is_news for look in other.events.looks] == [False]
        assert {look.outcome for look in other.events.looks} == {FeedOutcome.REFUSED}

    def test_an_expired_bundle_in_force_stays_in_force(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.clock.advance(365 * DAY)
        assert "version 2 has expired" in replica.feed.look().problem
        assert replica.trusts(PIN)

    def test_too_many_metadata_are_refused_and_not_kept(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.server.metadata["9.root.json"] = b" " * MAX_FEED_METADATA_BYTES
        assert replica.feed.look().problem == "The feed has more than 524288 bytes of metadata."
        assert replica.registry.feed()[0].metadata == {}

    def test_metadata_may_have_exactly_the_bytes_of_the_bound(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.server.metadata = {"1.root.json": b" " * MAX_FEED_METADATA_BYTES}
        assert replica.feed.look().problem == ""

    def test_a_bundle_with_very_many_paths_is_neither_offered_nor_approved(self, make: Make) -> None:
        replica = make()
        raw = write_bundle(many_paths())
        replica.server.bundle = raw
        problem = "its certificates allow more than "
        assert replica.feed.look().problem.startswith(f"The bundle is refused: {problem}")
        keep(replica, offered=raw)
        with pytest.raises(UnfitAuthorityError, match=problem):
            replica.feed.approve(1, by="ann")
        assert replica.version == 0

    def test_an_offer_of_another_release_is_none(self, make: Make) -> None:
        replica = make()
        keep(replica, offered=b'{"format":2}')
        assert replica.feed.status().offer is None
        with pytest.raises(UnknownAuthorityError, match="no offer of version 1"):
            replica.feed.approve(1, by="ann")
        replica.server.publish(WITH_PIN)
        assert replica.feed.look().offer is not None

    def test_a_bundle_in_force_of_another_release_is_told_and_can_be_replaced(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        put(replica, version=2, raw=b'{"format":2}')
        status = replica.feed.status()
        assert (status.in_force, status.ignored) == (None, ())
        assert status.unreadable.startswith("version 2: ")
        assert "update imds-verifier" in status.unreadable
        keep(replica, offered=write_bundle(WITH_PIN))
        offer = replica.feed.status().offer
        assert offer is not None
        assert (offer.bundle, offer.reasons) == (WITH_PIN, ())
        replica.server.publish(WITH_PIN)
        assert replica.feed.look().in_force == WITH_PIN

    def test_without_a_feed_a_look_names_the_setting(self, make: Make) -> None:
        replica = make()
        with pytest.raises(UnknownAuthorityError, match="VERIFIER_TRUST_FEED"):
            replace(replica.feed, client=None).look()


class TestReplicas:
    def test_share_the_claims_and_the_defaults_of_every_release(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.feed.poll()
        assert [replica.registry.is_claimed(name) for name in ("trust-feed", "trust-feed-rest")] == [True, True]
        plain = TrustFeed(
            client=None,
            administration=replica.feed.administration,
            registry=replica.registry,
            read=read_bundle,
            recorder=replica.events,
            clock=replica.clock,
        )
        assert (plain.mode, plain.interval, plain.source) == (FeedMode.PROPOSE, HOUR, "")

    @pytest.mark.parametrize(("fails", "minutes"), [(True, 5), (False, 2)], ids=["feed", "registry"])
    def test_look_again_minutes_after_an_outage(self, make: Make, *, fails: bool, minutes: int) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        if fails:
            replica.server.problem = "The feed does not answer."
            replica.feed.poll()
            replica.server.problem = ""
        else:
            replica.registry.is_away = True
            with pytest.raises(StoreUnavailable):
                replica.feed.poll()
            replica.registry.is_away = False
        asked = len(replica.server.asked)
        replica.clock.advance(timedelta(minutes=minutes, seconds=-1))
        replica.feed.poll()
        assert len(replica.server.asked) == asked
        replica.clock.advance(timedelta(seconds=1))
        replica.feed.poll()
        assert len(replica.server.asked) == asked + 1

    def test_share_one_look_in_the_interval(self, make: Make) -> None:
        replicas = [make(), make(), make()]
        replicas[0].server.publish(WITH_PIN)
        for replica in replicas:
            replica.feed.poll()
        assert len(replicas[0].server.asked) == 1
        replicas[0].clock.advance(HOUR)
        for replica in reversed(replicas):
            replica.feed.poll()
        # The second look starts from the metadata of the first one, which another replica made.
        assert replicas[0].server.asked == [{}, replicas[0].server.metadata]

    @pytest.mark.parametrize("fails", [False, True])
    def test_an_outage_costs_minutes_and_not_an_interval(self, make: Make, *, fails: bool) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        if fails:
            replica.server.problem = "The feed does not answer."
            replica.feed.poll()
            replica.server.problem = ""
        else:
            # The registry is away after the claim.
            replica.registry.is_away = True
            with pytest.raises(StoreUnavailable):
                replica.feed.poll()
            replica.registry.is_away = False
        replica.feed.poll()
        assert replica.feed.status().offer is None
        replica.clock.advance(timedelta(minutes=5))
        replica.feed.poll()
        assert replica.feed.status().offer is not None
        asked = len(replica.server.asked)
        replica.clock.advance(timedelta(minutes=59))
        replica.feed.poll()
        assert len(replica.server.asked) == asked

    def test_a_look_during_another_one_starts_again(self, make: Make) -> None:
        replica, other = make(FeedMode.APPLY), make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)

        def look_once() -> None:
            replica.server.during = lambda: None
            other.feed.look()

        replica.server.during = look_once
        replica.feed.look()
        assert [bool(metadata) for metadata in replica.server.asked] == [False, False, True]
        assert len(replica.registry.audit_log(most=9)) == 1

    def test_looks_that_always_collide_end(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)

        def collide() -> None:
            state, revision = replica.registry.feed()
            assert replica.registry.keep_feed(state, expected=revision)

        replica.server.during = collide
        with pytest.raises(StoreUnavailable, match="Other replicas looked"):
            replica.feed.look()
        assert len(replica.server.asked) == 4

    def test_a_version_is_not_forgotten_if_looks_always_collide(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        monkeypatch.setattr(replica.registry, "keep_feed", lambda _, *, expected: expected < 0)
        with pytest.raises(StoreUnavailable, match="Other replicas looked"):
            replica.feed.forget(by="ann")
        assert replica.version == 2

    def test_a_bundle_is_judged_again_if_a_later_one_came_in_force(self, make: Make) -> None:
        replica, other = make(), make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()

        def approve_later() -> None:
            other.server.publish(WITH_ANCHOR)
            other.feed.look()
            other.feed.approve(3, by="ann")

        replica.registry.before_decide = approve_later
        with pytest.raises(UnfitAuthorityError, match="version 2 is older than version 3"):
            replica.feed.approve(2, by="bob")
        assert replica.version == 3
        assert [event.by for event in replica.registry.audit_log(most=9)] == ["ann"]

    def test_the_mode_apply_puts_in_force_only_what_it_judged(self, make: Make) -> None:
        """Another replica sees a harmless version 3 while this one puts version 2, with an anchor, to the test."""
        replica, other = make(FeedMode.APPLY), make()
        replica.server.publish(replace(WITH_ANCHOR, version=2))

        def see_later() -> None:
            other.server.publish(replace(WITH_PIN, version=3))
            other.feed.look()

        replica.registry.after_keep = see_later
        replica.feed.look()
        followed = replica.feed.administration.decisions().followed
        assert followed is None
        assert not replica.trusts(anchor(root("Feed Root")).certificate.sha256)

    def test_the_mode_apply_asks_again_if_an_operator_left_the_version_meanwhile(self, make: Make) -> None:
        replica, other = make(FeedMode.APPLY), make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)

        def apply_and_leave() -> None:
            other.feed.look()
            other.feed.leave(by="ann")

        replica.registry.before_decide = apply_and_leave
        status = replica.feed.look()
        assert replica.version == 0
        assert status.offer is not None
        assert status.offer.reasons == ("ann took it out of force",)

    def test_an_operator_leaves_only_the_version_that_was_in_force(self, make: Make) -> None:
        replica, other = make(FeedMode.APPLY), make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()

        def apply_later() -> None:
            other.server.publish(replace(WITH_PIN, version=3))
            other.feed.look()

        replica.registry.before_decide = apply_later
        with pytest.raises(UnknownAuthorityError, match="changed meanwhile"):
            replica.feed.leave(by="ann")
        assert replica.version == 3

    def test_a_registry_that_is_away_is_no_problem_of_the_feed(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.registry.is_away = True
        with pytest.raises(StoreUnavailable):
            replica.feed.look()
        replica.registry.is_away = False
        assert replica.feed.look().offer is not None


class TestReject:
    def test_the_version_is_not_offered_again_and_changes_no_trust(self, make: Make) -> None:
        replica, other = make(), make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        other.feed.reject(2, by="ann")
        for status in (replica.feed.status(), replica.feed.look()):
            assert (status.offer, status.in_force, status.problem) == (None, None, "")
            assert status.rejected is not None
            assert (status.rejected.version, status.rejected.decided_by, status.rejected.decided_at) == (2, "ann", NOW)
        assert not replica.trusts(PIN)
        [change] = replica.registry.audit_log(most=9)
        assert (change.by, change.what, change.subject) == ("ann", "reject feed", "version 2")
        assert (change.before, change.after) == ("version 2 undecided", "version 2 rejected")
        assert replica.events.looks[-1].detail == "no bundle is in force, version 2 is rejected"

    def test_the_mode_apply_does_not_put_it_in_force(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        make().server.publish(WITH_PIN)
        make().feed.look()
        make().feed.reject(2, by="ann")
        assert replica.feed.look().offer is None
        assert replica.version == 0

    def test_the_mode_apply_heeds_a_rejection_during_its_look(self, make: Make) -> None:
        replica, other = make(FeedMode.APPLY), make()
        replica.server.publish(WITH_PIN)
        replica.registry.before_decide = lambda: other.feed.reject(2, by="ann")
        assert replica.feed.look().rejected is not None
        assert replica.version == 0
        assert [event.what for event in replica.registry.audit_log(most=9)] == ["reject feed"]

    def test_a_later_version_is_offered_and_applied(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.feed.reject(2, by="ann")
        replica.server.publish(replace(WITH_PIN, version=3))
        status = replica.feed.look()
        assert status.offer is not None
        assert (status.offer.bundle.version, status.rejected) == (3, None)
        make(FeedMode.APPLY).feed.look()
        assert replica.version == 3

    def test_an_operator_can_still_approve_it(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.feed.reject(2, by="ann")
        replica.feed.approve(2, by="bob")
        assert replica.trusts(PIN)
        assert replica.feed.status().rejected is None

    def test_it_stays_rejected_after_the_versions_are_forgotten(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        make().server.publish(WITH_PIN)
        make().feed.look()
        replica.feed.reject(2, by="ann")
        replica.feed.forget(by="ann")
        assert replica.feed.status().rejected is None  # no bundle is offered before the next look
        assert replica.feed.look().rejected is not None
        assert replica.version == 0

    @pytest.mark.parametrize("version", [0, 1, 3])
    def test_no_other_version_can_be_rejected(self, make: Make, version: int) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        with pytest.raises(UnknownAuthorityError, match=f"no offer of version {version}"):
            replica.feed.reject(version, by="ann")
        assert replica.feed.status().offer is not None

    def test_a_version_in_force_is_not_rejected(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        with pytest.raises(UnknownAuthorityError, match="version 2 is not offered, because version 2 is in force"):
            replica.feed.reject(2, by="ann")
        assert replica.trusts(PIN)

    def test_a_later_version_than_that_in_force_is_rejected(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.feed.approve(2, by="ann")
        replica.server.publish(replace(WITH_PIN, version=3))
        replica.feed.look()
        replica.feed.reject(3, by="ann")
        assert replica.feed.status().rejected is not None
        assert replica.version == 2

    def test_a_version_that_was_left_can_be_rejected(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.feed.leave(by="ann")
        replica.feed.reject(2, by="ann")
        status = replica.feed.look()
        assert (status.offer, replica.version) == (None, 0)


class TestLeave:
    def test_returns_to_the_trust_of_the_manifests(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.feed.leave(by="ann")
        assert not replica.trusts(PIN)
        assert replica.feed.status().in_force is None
        change = replica.registry.audit_log(most=1)[0]
        assert (change.by, change.what, change.before, change.after) == ("ann", "leave feed", "version 2", "none")

    def test_the_version_is_not_applied_again_and_can_be_approved(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.feed.leave(by="ann")
        status = replica.feed.look()
        assert status.offer is not None
        assert status.offer.reasons == ("ann took it out of force",)
        assert not replica.trusts(PIN)
        replica.feed.approve(2, by="bob")
        assert replica.trusts(PIN)

    def test_a_later_version_is_applied(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.feed.leave(by="ann")
        replica.server.publish(published(entry(NEW), version=3))
        replica.feed.look()
        assert replica.version == 3

    def test_needs_a_bundle_in_force(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        with pytest.raises(UnknownAuthorityError, match="no bundle of a feed is in force"):
            replica.feed.leave(by="ann")
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.feed.leave(by="ann")
        with pytest.raises(UnknownAuthorityError):
            replica.feed.leave(by="ann")


class TestVersions:
    """A thief of keys publishes a version that no honest one reaches."""

    def test_another_feed_begins_again(self, make: Make) -> None:
        replica = make()
        replica.server.publish(replace(WITH_ANCHOR, version=2**53))
        replica.feed.look()
        replica.server.publish(WITH_PIN)
        assert "is older than version" in replica.feed.look().problem
        replica.server.root = "bb"
        status = replica.feed.look()
        assert status.problem == ""
        assert status.offer is not None
        assert status.offer.bundle == WITH_PIN

    def test_a_version_far_from_the_offered_one_is_refused(self, make: Make) -> None:
        replica = make()
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        replica.server.publish(replace(WITH_PIN, version=1_000_003))
        assert "version 1000003 is more than 1000000 after version 2" in replica.feed.look().problem

    @pytest.mark.parametrize(
        ("version", "problem"),
        [
            (2, "version 2 is older than version 3, which was in force"),
            (1_000_004, "version 1000004 is more than 1000000 after version 3"),
        ],
    )
    def test_the_version_that_was_in_force_limits_those_of_another_feed(
        self, make: Make, version: int, problem: str
    ) -> None:
        replica = make()
        put(replica, version=3, raw=None)
        replica.server.publish(replace(WITH_PIN, version=version))
        assert replica.feed.look().problem == f"The bundle is refused: {problem}."
        keep(replica, offered=replica.server.bundle)
        offer = replica.feed.status().offer
        assert offer is not None
        assert offer.reasons == (problem,)

    @pytest.mark.parametrize("leaves", [False, True])
    def test_a_far_version_is_refused(self, make: Make, *, leaves: bool) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        if leaves:
            replica.feed.leave(by="ann")
        replica.server.publish(replace(WITH_PIN, version=1_000_003))
        assert "version 1000003 is more than 1000000 after version 2" in replica.feed.look().problem
        replica.server.publish(replace(WITH_PIN, version=1_000_002))
        assert replica.feed.look().problem == ""

    def test_an_operator_forgets_every_version(self, make: Make) -> None:
        replica = make(FeedMode.APPLY)
        replica.server.publish(replace(WITH_PIN, version=2**53))
        replica.feed.look()
        assert replica.version == 2**53
        replica.feed.forget(by="ann")
        assert not replica.trusts(PIN)
        assert replica.feed.status().offer is None
        change = replica.registry.audit_log(most=1)[0]
        assert (change.by, change.what, change.after) == ("ann", "forget feed", "none")
        assert change.before == f"version {2**53}"
        replica.server.publish(WITH_PIN)
        replica.feed.look()
        assert replica.version == 2

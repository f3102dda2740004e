"""What a published bundle adds to the manifests, what it cannot do, and when an operator is asked."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from support.chains import authority, key, root
from support.documents import NOW, around
from support.feeds import PUBLIC, anchor, entry, published

from verifier.adapters.trust.files import load_bundle
from verifier.core.trust.bundle import (
    EXPIRY_WARNING,
    AuthorityIdentity,
    Origin,
    Role,
    TrustBundle,
    TrustedCertificate,
    TrustError,
)
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.horizon import horizon
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.core.trust.published import (
    MAX_STEPS,
    Effect,
    FeedMode,
    Merged,
    PublishedBundle,
    changes_between,
    check_steps,
    check_version_step,
    merge,
    reasons_to_ask,
)
from verifier.emulator import pki

DAY = timedelta(days=1)
BOTH = frozenset({Cloud.PUBLIC, Cloud.CHINA})
ROOT = root("Feed Root")
LISTED = authority("Feed Listed CA", issuer=ROOT)
NEW = authority("Feed New CA", issuer=ROOT)
OTHER_ROOT = root("Feed Other Root")
STRANGER = authority("Feed Stranger CA", issuer=OTHER_ROOT)


def listed(*extra: TrustedCertificate) -> TrustBundle:
    own = (anchor(ROOT, origin=Origin.LISTED), entry(LISTED, origin=Origin.LISTED))
    return TrustBundle.of((*own, *extra))


def merged(
    *entries: TrustedCertificate,
    files: TrustBundle | None = None,
    allowed: frozenset[Cloud] = PUBLIC,
    decisions: OperatorDecisions | None = None,
) -> Merged:
    return merge(files or listed(), published(*entries), allowed=allowed, decisions=decisions or OperatorDecisions())


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the fingerprints of the certificates whose signature is checked from now on."""
    checked: list[str] = []
    check = Certificate.is_issued_by

    def count(self: Certificate, authority: Certificate) -> bool:
        checked.append(self.sha256)
        return check(self, authority)

    monkeypatch.setattr(Certificate, "is_issued_by", count)
    return checked


def after(
    *entries: TrustedCertificate, files: TrustBundle | None = None, allowed: frozenset[Cloud] = PUBLIC
) -> TrustBundle:
    """Return the merged bundle, in which every part has an effect."""
    result = merged(*entries, files=files, allowed=allowed)
    assert result.ignored == ()
    return TrustBundle.of(result.entries)


def found(result: Merged, wanted: TrustedCertificate) -> TrustedCertificate | None:
    by_fingerprint = {one.certificate.sha256: one for one in result.entries}
    return by_fingerprint.get(wanted.certificate.sha256)


class TestMerge:
    def test_adds_a_pin_that_a_listed_anchor_issued(self) -> None:
        result = merged(entry(NEW))
        assert result.ignored == ()
        assert found(result, entry(NEW)) == entry(NEW)
        assert result.entries[: len(listed().entries)] == listed().entries

    def test_adds_no_pin_that_no_trusted_authority_issued(self) -> None:
        result = merged(entry(STRANGER))
        assert result.entries == listed().entries
        [sentence] = result.ignored
        assert sentence == f"{entry(STRANGER).certificate.subject}: no trusted authority of AzurePublicCloud issued it"

    def test_adds_no_pin_that_only_has_the_name_of_a_trusted_issuer(self) -> None:
        impostor = replace(ROOT, key=OTHER_ROOT.key)
        assert merged(entry(authority("Feed Forged CA", issuer=impostor))).entries == listed().entries

    def test_adds_an_anchor_and_a_pin_under_it(self) -> None:
        result = merged(entry(STRANGER), anchor(OTHER_ROOT))
        assert result.ignored == ()
        assert found(result, anchor(OTHER_ROOT)) == anchor(OTHER_ROOT)
        assert found(result, entry(STRANGER)) == entry(STRANGER)

    def test_adds_pins_under_each_other_in_any_order(self) -> None:
        middle = authority("Feed Middle CA", issuer=ROOT)
        lower = authority("Feed Lower CA", issuer=middle)
        lowest = authority("Feed Lowest CA", issuer=lower)
        wanted = [entry(one) for one in (middle, lower, lowest)]
        for order in permutations(wanted):
            result = merged(*order)
            assert result.ignored == ()
            assert all(found(result, one) == one for one in wanted)

    def test_adds_no_pins_that_issued_only_each_other(self) -> None:
        first, second = authority("Feed Loop A", issuer=OTHER_ROOT), authority("Feed Loop B", issuer=OTHER_ROOT)
        loop = entry(authority("Feed Loop A", issuer=second)), entry(authority("Feed Loop B", issuer=first))
        result = merged(*loop)
        assert result.entries == listed().entries
        assert len(result.ignored) == 2

    def test_a_pin_serves_only_the_clouds_of_its_issuer(self) -> None:
        china = anchor(OTHER_ROOT, clouds=frozenset({Cloud.CHINA}), origin=Origin.LISTED)
        result = merged(entry(NEW, clouds=BOTH), files=listed(china), allowed=BOTH)
        assert found(result, entry(NEW)) == entry(NEW)
        assert [one.endswith("no trusted authority of AzureChinaCloud issued it") for one in result.ignored] == [True]

    def test_gives_a_cloud_without_an_anchor_no_pin(self) -> None:
        result = merged(entry(LISTED, clouds=BOTH), entry(NEW, clouds=frozenset({Cloud.CHINA})), allowed=BOTH)
        assert TrustBundle.of(result.entries).clouds.keys() == {Cloud.PUBLIC}
        assert len(result.ignored) == 2

    def test_gives_a_listed_pin_another_cloud_that_its_issuer_serves(self) -> None:
        files = TrustBundle.of((anchor(ROOT, clouds=BOTH, origin=Origin.LISTED), entry(LISTED, origin=Origin.LISTED)))
        result = merged(entry(LISTED, clouds=BOTH), files=files, allowed=BOTH)
        assert result.ignored == ()
        assert found(result, entry(LISTED)) == entry(LISTED, clouds=BOTH, origin=Origin.LISTED)

    def test_an_anchor_may_open_a_cloud_that_is_allowed(self) -> None:
        china = frozenset({Cloud.CHINA})
        result = merged(anchor(OTHER_ROOT, clouds=china), entry(STRANGER, clouds=china), allowed=BOTH)
        assert result.ignored == ()
        assert TrustBundle.of(result.entries).clouds.keys() == BOTH

    def test_ignores_a_cloud_that_is_not_allowed_in_part(self) -> None:
        result = merged(entry(NEW, clouds=BOTH))
        assert found(result, entry(NEW)) == entry(NEW)
        [sentence] = result.ignored
        assert sentence.endswith(": AzureChinaCloud is not allowed to follow the feed")

    def test_ignores_an_entry_of_clouds_that_are_not_allowed(self) -> None:
        china = frozenset({Cloud.CHINA})
        result = merged(anchor(OTHER_ROOT, clouds=china), entry(NEW, clouds=china))
        assert result.entries == listed().entries
        assert len(result.ignored) == 2

    def test_stages_and_retires_a_listed_entry(self) -> None:
        result = merged(entry(LISTED, activate_at=NOW, retire_at=NOW + DAY), anchor(ROOT, retire_at=NOW + 2 * DAY))
        assert result.ignored == ()
        retimed = found(result, entry(LISTED))
        assert retimed is not None
        assert (retimed.activate_at, retimed.retire_at) == (NOW, NOW + DAY)
        assert retimed.origin is Origin.LISTED
        assert found(result, anchor(ROOT)) == anchor(ROOT, origin=Origin.LISTED, retire_at=NOW + 2 * DAY)

    @pytest.mark.parametrize("days", [1, 3])
    def test_cannot_lengthen_the_times_of_a_listed_entry(self, days: int) -> None:
        own = entry(LISTED, origin=Origin.LISTED, activate_at=NOW, retire_at=NOW + 2 * DAY)
        files = TrustBundle.of((anchor(ROOT, origin=Origin.LISTED), own))
        result = merged(entry(LISTED, activate_at=NOW - DAY, retire_at=NOW + days * DAY), files=files)
        assert found(result, own) == replace(own, retire_at=NOW + min(days, 2) * DAY)

    def test_a_listed_entry_without_times_in_the_feed_does_not_change(self) -> None:
        own = entry(LISTED, origin=Origin.LISTED, retire_at=NOW + DAY)
        files = TrustBundle.of((anchor(ROOT, origin=Origin.LISTED), own))
        assert merged(entry(LISTED), files=files) == Merged(entries=files.entries, ignored=())

    def test_does_not_retime_an_entry_that_also_serves_a_cloud_that_is_not_allowed(self) -> None:
        files = TrustBundle.of((anchor(ROOT, clouds=BOTH, origin=Origin.LISTED),))
        result = merged(anchor(ROOT, retire_at=NOW), files=files)
        assert result.entries == files.entries
        assert [one.endswith("its times also hold for AzureChinaCloud") for one in result.ignored] == [True]

    def test_ignores_times_that_leave_no_time(self) -> None:
        own = entry(LISTED, origin=Origin.LISTED, activate_at=NOW)
        files = TrustBundle.of((anchor(ROOT, origin=Origin.LISTED), own))
        result = merged(entry(LISTED, retire_at=NOW), files=files)
        assert result.entries == files.entries
        assert [one.endswith("retire_at is not after activate_at") for one in result.ignored] == [True]

    def test_ignores_another_role_than_the_manifest_says(self) -> None:
        result = merged(entry(ROOT))
        assert result.entries == listed().entries
        assert [one.endswith("a manifest lists it as root") for one in result.ignored] == [True]

    @pytest.mark.parametrize("rejected", [NEW, ROOT])
    def test_ignores_a_rejected_authority(self, rejected: object) -> None:
        certificates = {id(NEW): entry(NEW), id(ROOT): anchor(ROOT, retire_at=NOW)}
        wanted = certificates[id(rejected)]
        decisions = OperatorDecisions(rejected=frozenset({AuthorityIdentity.of(wanted.certificate)}))
        result = merged(wanted, decisions=decisions)
        assert result.entries == listed().entries
        assert result.ignored == (f"{wanted.certificate.subject}: an operator rejected this authority",)

    @pytest.mark.parametrize(
        "ignored",
        [
            anchor(OTHER_ROOT, clouds=frozenset({Cloud.CHINA})),
            anchor(OTHER_ROOT),
            entry(LISTED, activate_at=NOW),
        ],
        ids=["cloud", "rejected", "times"],
    )
    def test_an_entry_that_is_ignored_does_not_stop_the_next(self, ignored: TrustedCertificate) -> None:
        rejected = OperatorDecisions(rejected=frozenset({AuthorityIdentity.of(anchor(OTHER_ROOT).certificate)}))
        own = entry(LISTED, origin=Origin.LISTED, retire_at=NOW)
        files = TrustBundle.of((anchor(ROOT, origin=Origin.LISTED), own))
        result = merged(ignored, entry(NEW), files=files, decisions=rejected)
        assert len(result.ignored) == 1
        assert found(result, entry(NEW)) == entry(NEW)

    def test_a_listed_entry_of_more_clouds_is_not_ignored_without_times(self) -> None:
        files = TrustBundle.of((anchor(ROOT, clouds=BOTH, origin=Origin.LISTED),))
        assert merged(anchor(ROOT), files=files) == Merged(entries=files.entries, ignored=())

    def test_ignores_every_certificate_of_a_rejected_authority(self) -> None:
        renewed = entry(authority("Feed New CA", issuer=ROOT, validity=around(days=30)))
        decisions = OperatorDecisions(rejected=frozenset({AuthorityIdentity.of(entry(NEW).certificate)}))
        assert merged(renewed, decisions=decisions).entries == listed().entries

    def test_removes_no_certificate(self) -> None:
        assert merged().entries == listed().entries

    def test_takes_long_chains_and_many_pins_in_little_time(self) -> None:
        issuers = [ROOT]
        for index in range(20):
            issuers.append(authority(f"Feed Link {index}", issuer=issuers[-1]))
        pins = [entry(one) for one in reversed(issuers[1:])]
        assert merged(*pins).ignored == ()

    def test_the_limit_of_steps_leaves_room_for_twice_the_shipped_certificates(self) -> None:
        shipped = load_bundle()
        issuers = [replace(ROOT, certificate=one.certificate.parsed) for one in shipped.entries]
        more = [entry(authority(f"Feed More {number}", issuer=one)) for number, one in enumerate(issuers)]
        assert len(merged(*more, files=shipped).ignored) == len(more)

    def test_checks_no_signature_twice(self, checks: list[str]) -> None:
        """Every cloud and every path has the same steps, and each check costs up to a millisecond."""
        clouds = frozenset(Cloud)
        layers = [[root("Feed Counted Root")]]
        for depth in range(3):
            issuer = layers[-1][0]
            layers.append([authority(f"Feed Counted {depth}", issuer=issuer, path_length=0) for _ in range(4)])
        pins = [entry(one, clouds=clouds) for layer in layers[1:] for one in layer]
        files = TrustBundle.of((anchor(layers[0][0], origin=Origin.LISTED, clouds=clouds),))
        for _ in range(2):
            assert reasons_to_ask(files, after(*pins, files=files, allowed=clouds), now=NOW) == ()
        assert len(checks) == len(set(checks)) == len(pins)

    def test_checks_one_signature_for_a_pin_among_many_with_one_name_and_key(self, checks: list[str]) -> None:
        own = authority("Feed Twin", issuer=ROOT)
        twins = [entry(authority("Feed Twin", issuer=own)) for _ in range(30)]
        merged(entry(own), *twins)
        assert len(checks) == len(set(checks)) == len(twins) + 1

    def test_refuses_many_issuers_of_one_name(self) -> None:
        """Each pin could cost a check against each of them."""
        named = [replace(ROOT, key=key(f"Feed Root {number}")) for number in range(48)]
        roots = [
            anchor(pki.make_root(subject=ROOT.certificate.subject, key=one.key, validity=around(days=90)))
            for one in named
        ]
        pins = [entry(authority(f"Feed Many {number}", issuer=named[0])) for number in range(48)]
        with pytest.raises(TrustError, match=f"more than {MAX_STEPS} steps"):
            merged(*roots, *pins)

    def test_the_steps_are_bounded_exactly(self) -> None:
        # Each pin has the name of its issuer. The other pins have its key, so only the 16 anchors are steps.
        name = "Feed Steps"
        pins = [entry(authority(name, issuer=root(name))) for _ in range(16)]
        subject, validity = root(name).certificate.subject, around(days=90)
        roots = [anchor(pki.make_root(subject=subject, key=key("another"), validity=validity)) for _ in range(16)]
        assert MAX_STEPS == len(pins) * len(roots) == 256
        check_steps([*pins, *roots])
        with pytest.raises(TrustError, match=r"^its certificates allow more than 256 steps from a certificate to an"):
            check_steps([*pins, *roots, anchor(ROOT), entry(NEW)])

    def test_refuses_few_certificates_with_very_many_paths(self) -> None:
        layers = [[ROOT]]
        for depth in range(8):
            layers.append([authority(f"Feed Layer {depth}", issuer=layers[-1][0]) for _ in range(3)])
        pins = [entry(one) for layer in layers[1:] for one in layer]
        assert merged(*pins[:9]).ignored == ()
        with pytest.raises(TrustError, match=f"more than {MAX_STEPS} steps"):
            merged(*pins)


class TestPublishedBundle:
    @pytest.mark.parametrize(
        ("make", "fault"),
        [
            (lambda: published(version=0), "at least 1"),
            (lambda: published(lasting=timedelta(0)), "expires before it is published"),
            (lambda: published(entry(NEW), entry(NEW)), "lists a certificate twice"),
            (lambda: published(entry(NEW, origin=Origin.APPROVED)), "another origin"),
        ],
    )
    def test_refuses_what_is_no_bundle(self, make: Callable[[], PublishedBundle], fault: str) -> None:
        with pytest.raises(TrustError, match=fault):
            make()

    def test_may_be_followed_by_a_later_one_with_more(self) -> None:
        before = published(entry(NEW))
        before.check_successor(published(entry(NEW, retire_at=NOW), anchor(OTHER_ROOT), version=7))
        before.check_successor(published(entry(NEW, clouds=BOTH), version=2))
        before.check_successor(before)

    @pytest.mark.parametrize(
        ("newer", "fault"),
        [
            (published(entry(NEW), version=2), "version 2 is older than version 3, which is in force"),
            (published(entry(NEW), version=3), "version 3 differs from the version 3 that is in force"),
            (
                published(entry(NEW, clouds=BOTH), anchor(OTHER_ROOT), version=1_000_004),
                "version 1000004 is more than 1000000 after version 3",
            ),
            (published(anchor(OTHER_ROOT), version=4), "removes .*New CA.* as intermediate of AzureChinaCloud, Azure"),
            (published(entry(NEW, clouds=BOTH), version=4), "removes .*Other Root.* as root"),
            (published(entry(NEW), anchor(OTHER_ROOT), version=4), "removes .*New CA.*: list it with a retireAt"),
        ],
    )
    def test_may_not_be_followed_by(self, newer: PublishedBundle, fault: str) -> None:
        with pytest.raises(TrustError, match=fault):
            published(entry(NEW, clouds=BOTH), anchor(OTHER_ROOT), version=3).check_successor(newer)

    def test_a_certificate_may_not_change_its_role(self) -> None:
        with pytest.raises(TrustError, match="removes"):
            published(anchor(OTHER_ROOT)).check_successor(published(entry(OTHER_ROOT), version=2))


class TestChanges:
    def test_are_none_for_the_same_bundle(self) -> None:
        assert changes_between(listed(), after()) == ()
        assert reasons_to_ask(listed(), after(), now=NOW) == ()

    def test_name_each_effect(self) -> None:
        new = after(
            entry(NEW), anchor(OTHER_ROOT), entry(LISTED, retire_at=NOW + DAY), anchor(ROOT, retire_at=NOW + 2 * DAY)
        )
        assert {change.entry.certificate.subject: change.effect for change in changes_between(listed(), new)} == {
            entry(NEW).certificate.subject: Effect.ADD_PIN,
            anchor(OTHER_ROOT).certificate.subject: Effect.ADD_ANCHOR,
            entry(LISTED).certificate.subject: Effect.RESCHEDULE_PIN,
            anchor(ROOT).certificate.subject: Effect.RESCHEDULE_ANCHOR,
        }

    def test_say_what_and_for_which_cloud_and_when(self) -> None:
        [change] = changes_between(listed(), after(entry(NEW, activate_at=NOW, retire_at=NOW + DAY)))
        subject = entry(NEW).certificate.subject
        assert str(change) == (
            f"adds the pin {subject} (AzurePublicCloud) from 2026-11-23T08:00:00Z until 2026-11-24T08:00:00Z"
        )

    def test_a_new_cloud_of_a_known_pin_is_an_addition(self) -> None:
        files = TrustBundle.of((anchor(ROOT, clouds=BOTH, origin=Origin.LISTED), entry(LISTED, origin=Origin.LISTED)))
        new = merged(entry(LISTED, clouds=BOTH), files=files, allowed=BOTH)
        [change] = changes_between(files, TrustBundle.of(new.entries))
        assert (change.effect, change.clouds) == (Effect.ADD_PIN, frozenset({Cloud.CHINA}))


class TestReasonsToAsk:
    def test_are_none_for_added_staged_and_retired_pins(self) -> None:
        new = after(entry(NEW), entry(LISTED, retire_at=NOW - DAY))
        assert len(changes_between(listed(), new)) == 2
        assert reasons_to_ask(listed(), new, now=NOW) == ()

    def test_name_each_new_anchor(self) -> None:
        [reason] = reasons_to_ask(listed(), after(anchor(OTHER_ROOT)), now=NOW)
        assert reason == f"it adds the anchor {anchor(OTHER_ROOT).certificate.subject} (AzurePublicCloud)"

    def test_name_an_anchor_that_is_rescheduled(self) -> None:
        [reason] = reasons_to_ask(listed(), after(anchor(ROOT, retire_at=NOW + 365 * DAY)), now=NOW)
        assert reason.startswith("it changes the times of the anchor ")

    def test_name_a_cloud_that_loses_its_last_chain(self) -> None:
        assert reasons_to_ask(listed(), after(entry(LISTED, retire_at=NOW - DAY)), now=NOW) == (
            "it leaves AzurePublicCloud without a usable chain",
        )
        staged = after(entry(LISTED, activate_at=NOW + DAY))
        assert reasons_to_ask(listed(), staged, now=NOW) == ("it leaves AzurePublicCloud without a usable chain",)

    def test_name_a_cloud_whose_chains_end_soon(self) -> None:
        [reason] = reasons_to_ask(listed(), after(entry(LISTED, retire_at=NOW + DAY)), now=NOW)
        assert reason.startswith("it ends the chains of AzurePublicCloud at 2026-11-24T08:00:00Z instead of ")

    def test_are_none_if_the_chains_end_soon_as_before(self) -> None:
        own = entry(LISTED, origin=Origin.LISTED, retire_at=NOW + DAY)
        files = TrustBundle.of((anchor(ROOT, origin=Origin.LISTED), own))
        assert reasons_to_ask(files, files, now=NOW) == ()

    @pytest.mark.parametrize(("later", "count"), [(timedelta(0), 1), (timedelta.resolution, 0)])
    def test_name_a_cloud_whose_chains_end_within_the_time_of_the_warning(self, later: timedelta, count: int) -> None:
        new = after(entry(LISTED, retire_at=NOW + EXPIRY_WARNING + later))
        assert len(reasons_to_ask(listed(), new, now=NOW)) == count

    def test_name_a_cloud_behind_one_that_had_no_chain_before(self) -> None:
        china = frozenset({Cloud.CHINA})
        before, new = (
            TrustBundle.of((anchor(OTHER_ROOT, retire_at=NOW - DAY), anchor(ROOT, clouds=china, retire_at=end)))
            for end in (None, NOW - DAY)
        )
        assert [*before.clouds] == [Cloud.PUBLIC, Cloud.CHINA]
        assert reasons_to_ask(before, new, now=NOW)[1:] == ("it leaves AzureChinaCloud without a usable chain",)

    def test_are_none_if_there_was_no_chain_before(self) -> None:
        files = TrustBundle.of((anchor(ROOT, origin=Origin.LISTED), entry(LISTED, origin=Origin.LISTED, retire_at=NOW)))
        assert reasons_to_ask(files, after(entry(NEW), files=files), now=NOW) == ()


def test_the_words_for_modes_are_those_of_the_settings() -> None:
    assert [*FeedMode] == ["propose", "apply"]


def test_a_published_root_may_be_an_anchor_and_an_approved_one_may_not() -> None:
    assert anchor(OTHER_ROOT).role is Role.ROOT
    with pytest.raises(TrustError, match="only a manifest or a trust feed can trust a root"):
        anchor(OTHER_ROOT, origin=Origin.APPROVED)


def test_the_step_between_versions_is_bounded_exactly() -> None:
    check_version_step(7, 7 + 1_000_000)
    check_version_step(7, 1)
    with pytest.raises(TrustError, match=r"^version 1000008 is more than 1000000 after version 7$"):
        check_version_step(7, 1_000_008)


def test_a_cloud_without_a_chain_before_gives_no_reason_to_ask() -> None:
    alone = TrustBundle.of((anchor(ROOT, origin=Origin.LISTED, retire_at=NOW - DAY),))
    assert horizon(alone.clouds[Cloud.PUBLIC], now=NOW) is None
    assert reasons_to_ask(alone, alone, now=NOW) == ()

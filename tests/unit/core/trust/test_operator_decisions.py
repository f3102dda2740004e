"""Each change of the decisions of operators, and the fields that it must not change."""

import hashlib
from dataclasses import replace

import pytest
from support.chains import authority, key, root
from support.documents import NOW, around, der

from verifier.core.trust.bundle import AuthorityIdentity, Denials
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import (
    Allow,
    Deny,
    Follow,
    FollowedBundle,
    OperatorDecisions,
    Pin,
    PinDecision,
    Reject,
    RejectBundle,
    RejectedBundle,
    Unpin,
    decide,
)
from verifier.emulator import pki

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)


def pinned(raw: bytes = b"one", *, by: str = "alice") -> PinDecision:
    return PinDecision(der=raw, clouds=frozenset({Cloud.PUBLIC}), decided_by=by, decided_at=NOW)


def certificate(identity: pki.Identity) -> Certificate:
    return Certificate.from_der(der(identity.certificate))


def crossed(name: str) -> Certificate:
    """Return another certificate of the CA `name`, under another root."""
    return certificate(authority(name, issuer=root("Another Root")))


def identity(name: str) -> AuthorityIdentity:
    return AuthorityIdentity.of(certificate(authority(name)))


REJECTED, DENIED = identity("Rejected CA"), identity("Denied CA")
DECISIONS = OperatorDecisions(
    pins={ONE: pinned()},
    rejected=frozenset({REJECTED}),
    denials=Denials(serial_numbers=frozenset({7, 9}), spki_sha256=frozenset({THREE})),
    denied_authorities={7: frozenset({DENIED})},
)


class TestFollow:
    @staticmethod
    def bundle(version: int, raw: bytes | None = b"bundle") -> FollowedBundle:
        return FollowedBundle(raw=raw, version=version, decided_by="alice", decided_at=NOW)

    def test_puts_a_later_version_in_force(self) -> None:
        first = decide(DECISIONS, Follow(bundle=self.bundle(1)))
        assert replace(first, followed=None) == DECISIONS
        assert decide(first, Follow(bundle=self.bundle(2))).followed == self.bundle(2)

    def test_an_earlier_version_replaces_no_later_one(self) -> None:
        later = decide(DECISIONS, Follow(bundle=self.bundle(2)))
        assert decide(later, Follow(bundle=self.bundle(1))) == later

    def test_a_version_may_be_left_and_followed_again(self) -> None:
        left = decide(decide(DECISIONS, Follow(bundle=self.bundle(2))), Follow(bundle=self.bundle(2, raw=None)))
        assert left.followed == self.bundle(2, raw=None)
        assert decide(left, Follow(bundle=self.bundle(1))) == left
        assert decide(left, Follow(bundle=self.bundle(2))).followed == self.bundle(2)

    def test_any_version_may_follow_after_it_is_forgotten(self) -> None:
        later = decide(DECISIONS, Follow(bundle=self.bundle(2)))
        assert decide(later, Follow(bundle=None)) == DECISIONS


class TestRejectBundle:
    @staticmethod
    def bundle(version: int) -> RejectedBundle:
        return RejectedBundle(version=version, sha256=ONE, decided_by="alice", decided_at=NOW)

    def test_changes_no_other_decision(self) -> None:
        after = decide(DECISIONS, RejectBundle(bundle=self.bundle(2)))
        assert after.rejected_bundle == self.bundle(2)
        assert replace(after, rejected_bundle=None) == DECISIONS

    def test_a_later_version_replaces_an_earlier_one_and_not_the_reverse(self) -> None:
        first = decide(DECISIONS, RejectBundle(bundle=self.bundle(2)))
        assert decide(first, RejectBundle(bundle=self.bundle(1))) == first
        assert decide(first, RejectBundle(bundle=self.bundle(3))).rejected_bundle == self.bundle(3)

    def test_other_bytes_of_the_same_version_replace_those_before(self) -> None:
        first = decide(DECISIONS, RejectBundle(bundle=self.bundle(2)))
        other = replace(self.bundle(2), sha256=TWO)
        assert decide(first, RejectBundle(bundle=other)).rejected_bundle == other

    @pytest.mark.parametrize(
        ("version", "raw", "ends"), [(2, b"", True), (3, b"", True), (1, b"", False), (3, None, False)]
    )
    def test_ends_when_its_version_or_a_later_one_comes_in_force(
        self, version: int, raw: bytes | None, *, ends: bool
    ) -> None:
        rejected = decide(DECISIONS, RejectBundle(bundle=self.bundle(2)))
        followed = decide(rejected, Follow(bundle=TestFollow.bundle(version, raw)))
        assert followed.followed == TestFollow.bundle(version, raw)
        assert followed.rejected_bundle == (None if ends else self.bundle(2))

    def test_survives_if_the_versions_in_force_are_forgotten(self) -> None:
        rejected = decide(DECISIONS, RejectBundle(bundle=self.bundle(2)))
        assert decide(rejected, Follow(bundle=None)) == rejected

    def test_names_exactly_one_content(self) -> None:
        bundle = replace(self.bundle(2), sha256=hashlib.sha256(b"bundle").hexdigest())
        assert bundle.is_of(b"bundle")
        assert not bundle.is_of(b"bundle\n")


class TestIdentity:
    def test_is_the_same_for_every_certificate_of_the_authority(self) -> None:
        direct = certificate(authority("Rejected CA"))
        renewed = certificate(authority("Rejected CA", validity=around(days=30)))
        assert len({direct.sha256, renewed.sha256, crossed("Rejected CA").sha256}) == 3
        assert {AuthorityIdentity.of(one) for one in (direct, renewed, crossed("Rejected CA"))} == {REJECTED}

    def test_differs_for_another_name_or_key(self) -> None:
        renamed = certificate(authority("Another CA", own_key=key("Rejected CA")))
        rekeyed = certificate(authority("Rejected CA", own_key=key("another key")))
        assert len({REJECTED, AuthorityIdentity.of(renamed), AuthorityIdentity.of(rekeyed)}) == 3


class TestPin:
    def test_adds_to_the_other_pins(self) -> None:
        after = decide(DECISIONS, Pin(pins={THREE: pinned(b"three")}))
        assert dict(after.pins) == {ONE: pinned(), THREE: pinned(b"three")}
        assert replace(after, pins=DECISIONS.pins) == DECISIONS

    def test_replaces_an_earlier_pin_of_the_certificate(self) -> None:
        assert decide(DECISIONS, Pin(pins={ONE: pinned(by="bob")})).pins[ONE].decided_by == "bob"

    def test_revokes_the_rejection_of_its_ca_for_every_certificate(self) -> None:
        other = crossed("Rejected CA")
        after = decide(DECISIONS, Pin(pins={other.sha256: pinned(other.der)}))
        assert after.rejected == frozenset()
        assert other.sha256 in after.pins
        assert after.denied_authorities == DECISIONS.denied_authorities


class TestUnpin:
    def test_removes_only_the_pin(self) -> None:
        after = decide(DECISIONS, Unpin(sha256=ONE))
        assert dict(after.pins) == {}
        assert replace(after, pins=DECISIONS.pins) == DECISIONS

    def test_does_not_reject_the_ca(self) -> None:
        assert decide(DECISIONS, Unpin(sha256=ONE)).rejected == {REJECTED}


class TestReject:
    def test_keeps_all_pins_even_those_of_the_rejected_ca(self) -> None:
        other = crossed("Pinned CA")
        before = decide(DECISIONS, Pin(pins={other.sha256: pinned(other.der)}))
        after = decide(before, Reject(authority=identity("Pinned CA")))
        assert after.rejected == {REJECTED, identity("Pinned CA")}
        assert replace(after, rejected=before.rejected) == before

    def test_needs_no_earlier_decision(self) -> None:
        authority = identity("Unknown CA")
        assert decide(OperatorDecisions(), Reject(authority=authority)) == OperatorDecisions(
            rejected=frozenset({authority})
        )


class TestDenials:
    def test_accumulate(self) -> None:
        after = decide(DECISIONS, Deny(denials=Denials(serial_numbers=frozenset({8}), spki_sha256=frozenset({ONE}))))
        assert after.denials == Denials(serial_numbers=frozenset({7, 8, 9}), spki_sha256=frozenset({ONE, THREE}))
        assert replace(after, denials=DECISIONS.denials) == DECISIONS

    def test_are_revoked_one_by_one(self) -> None:
        after = decide(DECISIONS, Allow(denials=Denials(serial_numbers=frozenset({7}))))
        assert after.denials == Denials(serial_numbers=frozenset({9}), spki_sha256=frozenset({THREE}))
        assert after.denied_authorities == {}

    def test_record_the_cas_of_a_denied_serial_number(self) -> None:
        change = Deny(
            denials=Denials(serial_numbers=frozenset({7, 8})),
            denied_authorities={7: frozenset({REJECTED}), 8: frozenset()},
        )
        after = decide(DECISIONS, change)
        assert after.denied_authorities == {7: frozenset({DENIED, REJECTED})}
        assert after.denied_among([]) == {DENIED, REJECTED}

    def test_include_the_ca_of_each_known_denied_certificate(self) -> None:
        denied = certificate(authority("Seen CA"))
        pin = certificate(authority("Pinned CA"))
        decisions = OperatorDecisions(
            pins={pin.sha256: pinned(pin.der), ONE: pinned()},
            denials=Denials(serial_numbers=frozenset({denied.serial_number}), spki_sha256=frozenset({pin.spki_sha256})),
        )
        assert decisions.denied_among([denied, crossed("Another CA")]) == {identity("Seen CA"), identity("Pinned CA")}

    def test_are_required_for_each_recorded_ca(self) -> None:
        with pytest.raises(ValueError, match="not denied"):
            OperatorDecisions(denied_authorities={7: frozenset({DENIED})})

    def test_do_not_remove_a_pin(self) -> None:
        assert decide(DECISIONS, Deny(denials=Denials(spki_sha256=frozenset({ONE})))).pins == DECISIONS.pins


@pytest.mark.parametrize(
    "change",
    [
        Pin(pins={ONE: pinned()}),
        Unpin(sha256=THREE),
        Reject(authority=REJECTED),
        Deny(denials=DECISIONS.denials),
        Allow(denials=Denials(serial_numbers=frozenset({10}))),
    ],
    ids=lambda change: type(change).__name__,
)
def test_a_repeated_change_has_no_effect(change: Pin | Unpin | Reject | Deny | Allow) -> None:
    assert decide(DECISIONS, change) == DECISIONS


def test_decisions_are_immutable() -> None:
    pins = {ONE: pinned()}
    decisions = OperatorDecisions(pins=pins)
    pins[TWO] = pinned(b"two")
    assert set(decisions.pins) == {ONE}
    with pytest.raises(TypeError):
        decisions.pins[TWO] = pinned(b"two")  # type: ignore[index]  # the test expects this to fail


def test_the_representation_of_a_pin_hides_its_certificate() -> None:
    assert "secret" not in repr(pinned(b"secret"))


def test_a_second_pin_adds_its_clouds_to_the_first() -> None:
    more = replace(pinned(by="bob"), clouds=frozenset({Cloud.CHINA}))
    decided = decide(DECISIONS, Pin(pins={ONE: more, TWO: more}))
    assert decided.pins[ONE].clouds == {Cloud.PUBLIC, Cloud.CHINA}
    assert decided.pins[TWO].clouds == {Cloud.CHINA}
    assert decided.pins[ONE].decided_by == "bob"


def test_a_decision_has_no_note_by_default_and_shows_no_bytes() -> None:
    assert pinned().note == ""
    assert "der" not in repr(pinned())
    assert "raw" not in repr(FollowedBundle(raw=b"bundle", version=1, decided_by="alice", decided_at=NOW))

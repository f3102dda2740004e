"""What each change makes of the decisions, and that nothing else moves."""

from dataclasses import replace

import pytest
from support.documents import NOW

from verifier.core.clouds import Cloud
from verifier.core.decisions import Allow, Decisions, Deny, Pin, PinDecision, Reject, Unpin, decide
from verifier.core.trust import Denials

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)


def pinned(der: bytes = b"one", *, by: str = "alice") -> PinDecision:
    return PinDecision(der=der, clouds=frozenset({Cloud.PUBLIC}), decided_by=by, decided_at=NOW)


STANDING = Decisions(
    pins={ONE: pinned()},
    rejected=frozenset({TWO}),
    denials=Denials(serial_numbers=frozenset({7}), spki_sha256=frozenset({THREE})),
)


class TestPin:
    def test_is_beside_the_others(self) -> None:
        after = decide(STANDING, Pin(pins={THREE: pinned(b"three")}))
        assert dict(after.pins) == {ONE: pinned(), THREE: pinned(b"three")}
        assert replace(after, pins=STANDING.pins) == STANDING

    def test_stands_in_the_place_of_an_earlier_one(self) -> None:
        assert decide(STANDING, Pin(pins={ONE: pinned(by="bob")})).pins[ONE].decided_by == "bob"

    def test_takes_a_rejection_back(self) -> None:
        after = decide(STANDING, Pin(pins={TWO: pinned(b"two")}))
        assert after.rejected == frozenset()
        assert TWO in after.pins


class TestUnpin:
    def test_takes_the_pin_and_nothing_else(self) -> None:
        after = decide(STANDING, Unpin(sha256=ONE))
        assert dict(after.pins) == {}
        assert replace(after, pins=STANDING.pins) == STANDING

    def test_rejects_nothing(self) -> None:
        assert decide(STANDING, Unpin(sha256=ONE)).rejected == {TWO}


class TestReject:
    def test_takes_an_operators_pin_too(self) -> None:
        after = decide(STANDING, Reject(sha256=ONE))
        assert dict(after.pins) == {}
        assert after.rejected == {ONE, TWO}

    def test_may_come_before_anybody_saw_it(self) -> None:
        assert decide(Decisions(), Reject(sha256=ONE)) == Decisions(rejected=frozenset({ONE}))


class TestDenials:
    def test_add_up(self) -> None:
        after = decide(STANDING, Deny(denials=Denials(serial_numbers=frozenset({8}), spki_sha256=frozenset({ONE}))))
        assert after.denials == Denials(serial_numbers=frozenset({7, 8}), spki_sha256=frozenset({ONE, THREE}))
        assert replace(after, denials=STANDING.denials) == STANDING

    def test_are_taken_back_one_by_one(self) -> None:
        after = decide(STANDING, Allow(denials=Denials(serial_numbers=frozenset({7}))))
        assert after.denials == Denials(spki_sha256=frozenset({THREE}))

    def test_do_not_take_a_pin_away(self) -> None:
        assert decide(STANDING, Deny(denials=Denials(spki_sha256=frozenset({ONE})))).pins == STANDING.pins


@pytest.mark.parametrize(
    "change",
    [
        Pin(pins={ONE: pinned()}),
        Unpin(sha256=THREE),
        Reject(sha256=TWO),
        Deny(denials=STANDING.denials),
        Allow(denials=Denials(serial_numbers=frozenset({9}))),
    ],
    ids=lambda change: type(change).__name__,
)
def test_what_stands_already_changes_nothing(change: Pin | Unpin | Reject | Deny | Allow) -> None:
    assert decide(STANDING, change) == STANDING


def test_decisions_are_not_changed_behind_their_back() -> None:
    pins = {ONE: pinned()}
    decisions = Decisions(pins=pins)
    pins[TWO] = pinned(b"two")
    assert set(decisions.pins) == {ONE}
    with pytest.raises(TypeError):
        decisions.pins[TWO] = pinned(b"two")  # type: ignore[index]  # that it cannot is the test


def test_a_pins_certificate_is_not_in_its_text() -> None:
    assert "secret" not in repr(pinned(b"secret"))

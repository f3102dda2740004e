"""Check each decision of an operator: what it changes, the audit event that it leaves, and what it refuses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from support.documents import NOW, der, shared_pki
from support.feeds import entry, published
from support.trust_operations import Operations, make_operations, new_authority, read, renewed_authority, stranger

from verifier.adapters.trust.published import write_bundle
from verifier.core.trust.bundle import AuthorityIdentity, Denials
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.trust.operator_decisions import FollowedBundle, OperatorDecisions, PinDecision, RejectedBundle
from verifier.ports.stores import StoreUnavailable
from verifier.ports.trust import TrustAuditEvent, TrustRegistry
from verifier.usecases.trust_administration import (
    TrustAdministration,
    UnfitAuthorityError,
    UnknownAuthorityError,
    read_authority,
)

NEW = read(new_authority())
PUBLIC = frozenset({Cloud.PUBLIC})
BOTH = frozenset({Cloud.PUBLIC, Cloud.US_GOVERNMENT})


@pytest.fixture
def operations(tmp_path: Path) -> Operations:
    return make_operations(tmp_path)


@pytest.fixture
def administration(operations: Operations) -> TrustAdministration:
    return operations.administration


def issuing_ca() -> Certificate:
    return read(shared_pki().issuing_ca)


def denials_of(*serials: int, spki: str = "") -> Denials:
    return Denials(serial_numbers=frozenset(serials), spki_sha256=frozenset({spki} - {""}))


def followed(version: int, raw: bytes | None = b"raw") -> FollowedBundle:
    return FollowedBundle(raw=raw, version=version, decided_by="alice", decided_at=NOW)


def accept(decisions: OperatorDecisions) -> None:
    assert decisions is not None


@dataclass(slots=True, kw_only=True)
class ContestedRegistry:
    """Stands before a TrustRegistry in which another operator is faster for `losses` times."""

    inner: TrustRegistry
    losses: int
    tries: int = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def decide(self, decisions: OperatorDecisions, event: TrustAuditEvent, *, expected: int) -> bool:
        self.tries += 1
        return self.tries > self.losses and self.inner.decide(decisions, event, expected=expected)


class TestEvents:
    """Each decision leaves one event with the state before and after it, in the log and at the recorder."""

    def check(
        self,
        operations: Operations,
        decide: Callable[[TrustAdministration], None],
        *expected: tuple[str, str, str, str],
    ) -> None:
        seen = len(operations.events.changes)
        decide(operations.administration)
        assert [
            TrustAuditEvent(at=NOW, by="alice", what=what, subject=subject, before=before, after=after)
            for what, subject, before, after in expected
        ] == operations.events.changes[seen:]
        assert operations.administration.audit_log(most=len(expected)) == tuple(operations.events.changes[seen:])

    def test_pin_and_unpin(self, operations: Operations) -> None:
        undecided, pinned = f"{NEW.sha256} undecided", f"{NEW.sha256} pinned for AzurePublicCloud by alice"
        both = f"{NEW.sha256} pinned for AzurePublicCloud, AzureUSGovernmentCloud by alice"
        self.check(operations, lambda of: of.pin(NEW, PUBLIC, by="alice"), ("pin", NEW.sha256, undecided, pinned))
        self.check(operations, lambda of: of.pin(NEW, BOTH, by="alice"), ("pin", NEW.sha256, pinned, both))
        self.check(operations, lambda of: of.unpin(NEW.sha256, by="alice"), ("unpin", NEW.sha256, both, undecided))

    def test_approve_with_the_authority_above(self, operations: Operations) -> None:
        low, high = read(new_authority("Low CA", under="High CA")), read(new_authority("High CA"))
        operations.discover(new_authority("Low CA", under="High CA"), new_authority("High CA"))
        before = f"{low.sha256} undecided; {high.sha256} undecided"
        after = "; ".join(f"{one.sha256} pinned for AzurePublicCloud by alice" for one in (low, high))
        self.check(operations, lambda of: of.approve(low.sha256, by="alice"), ("approve", low.sha256, before, after))

    def test_reject_and_approve(self, operations: Operations) -> None:
        operations.discover(new_authority())
        named = f"{NEW.subject} with the key {NEW.spki_sha256}"
        rejected, pinned = f"{NEW.sha256} rejected", f"{NEW.sha256} pinned for AzurePublicCloud by alice"
        self.check(
            operations,
            lambda of: of.reject(NEW.sha256, by="alice"),
            ("reject", NEW.sha256, f"{named} undecided", f"{named} rejected"),
        )
        self.check(operations, lambda of: of.approve(NEW.sha256, by="alice"), ("approve", NEW.sha256, rejected, pinned))

    def test_deny_and_allow_an_unknown_serial_number_and_key(self, operations: Operations) -> None:
        spki = "ab" * 32
        denials, text = denials_of(0xABCD, 0x1234, spki=spki), f"spki:{spki} serial:1234 serial:abcd"
        self.check(operations, lambda of: of.deny(denials, by="alice"), ("deny", text, "not denied", f"denied {text}"))
        self.check(
            operations,
            lambda of: of.allow(denials_of(0xABCD), by="alice"),
            ("allow", "serial:abcd", "denied serial:abcd", "not denied"),
        )
        assert operations.administration.decisions().denials == denials_of(0x1234, spki=spki)

    def test_deny_and_allow_the_serial_number_of_an_authority(self, operations: Operations) -> None:
        ca = issuing_ca()
        denials, text = denials_of(ca.serial_number), f"serial:{ca.serial_number:x}"
        denied = f"denied {text} of {ca.subject} with the key {ca.spki_sha256}"
        self.check(operations, lambda of: of.deny(denials, by="alice"), ("deny", text, "not denied", denied))
        assert operations.administration.decisions().denied_authorities == {
            ca.serial_number: frozenset({AuthorityIdentity.of(ca)})
        }
        self.check(operations, lambda of: of.allow(denials, by="alice"), ("allow", text, denied, "not denied"))

    def test_several_denied_authorities_are_sorted(self, operations: Operations) -> None:
        names = sorted(f"{one.subject} with the key {one.spki_sha256}" for one in (issuing_ca(), NEW))
        operations.administration.pin(NEW, PUBLIC, by="alice")
        denials = denials_of(issuing_ca().serial_number, NEW.serial_number)
        text = " ".join(f"serial:{serial:x}" for serial in sorted(denials.serial_numbers))
        self.check(
            operations,
            lambda of: of.deny(denials, by="alice"),
            ("deny", text, "not denied", f"denied {text} of {names[0]}; {names[1]}"),
        )

    def test_reject_bundles_of_a_feed(self, operations: Operations) -> None:
        """Another bundle of the same version is another one."""
        for version, digest, before in ((7, "aa", "undecided"), (7, "aa", "rejected"), (7, "bb", "undecided")):
            bundle = RejectedBundle(version=version, sha256=digest * 32, decided_by="alice", decided_at=NOW)
            self.check(
                operations,
                lambda of, bundle=bundle: of.reject_bundle(bundle, by="alice", judge=accept),  # type: ignore[misc]  # the default of a lambda has no type
                ("reject feed", "version 7", f"version 7 {before}", "version 7 rejected"),
            )

    def test_follow_leave_and_forget_a_feed(self, operations: Operations) -> None:
        raw = write_bundle(published(entry(new_authority()), version=7))
        for bundle, expected in (
            (followed(7, raw), ("follow feed", "version 7", "none", "version 7")),
            (followed(7, None), ("leave feed", "version 7", "version 7", "none")),
            (followed(8, raw), ("follow feed", "version 8", "none", "version 8")),
        ):
            self.check(operations, lambda of, bundle=bundle: of.follow(bundle, by="alice", judge=accept), expected)  # type: ignore[misc]  # the default of a lambda has no type
        forgotten = ("forget feed", "every version", "version 8", "none")
        self.check(operations, lambda of: of.forget_followed(by="alice"), forgotten)
        assert operations.administration.decisions().followed is None

    def test_the_log_shows_100_events_unless_the_caller_says_otherwise(self, operations: Operations) -> None:
        for number in range(1, 102):
            event = TrustAuditEvent(at=NOW, by="alice", what="deny", subject=str(number), before="", after="")
            operations.registry.decide(OperatorDecisions(), event, expected=operations.registry.revision())
        assert len(operations.administration.audit_log()) == 100
        assert len(operations.administration.audit_log(most=101)) == 101


class TestPins:
    def test_a_pin_has_the_operator_the_time_and_the_note(self, operations: Operations) -> None:
        operations.clock.advance(timedelta(hours=1))
        operations.administration.pin(NEW, BOTH, by="alice", note="from the page")
        assert operations.administration.decisions().pins == {
            NEW.sha256: PinDecision(
                der=NEW.der,
                clouds=BOTH,
                decided_by="alice",
                decided_at=NOW + timedelta(hours=1),
                note="from the page",
            )
        }
        assert NEW.sha256 in {one.certificate.sha256 for one in operations.administration.bundle().entries}

    def test_a_pin_without_a_note_and_an_approval_have_none(self, operations: Operations) -> None:
        operations.administration.pin(NEW, PUBLIC, by="alice")
        operations.discover(new_authority("High CA"))
        operations.administration.approve(read(new_authority("High CA")).sha256, by="alice")
        assert [pin.note for pin in operations.administration.decisions().pins.values()] == ["", ""]

    def test_an_approval_is_for_each_cloud_and_for_the_authorities_above_alone(self, operations: Operations) -> None:
        low, high = new_authority("Low CA", under="High CA"), new_authority("High CA")
        operations.discover(low, high)
        operations.discover(high, cloud=Cloud.US_GOVERNMENT)
        operations.discover(new_authority(), cloud=Cloud.US_GOVERNMENT)
        operations.administration.approve(read(high).sha256, by="alice")
        pins = operations.administration.decisions().pins
        assert {sha256: pin.clouds for sha256, pin in pins.items()} == {read(high).sha256: BOTH}

    @pytest.mark.parametrize("certificate", [read(shared_pki().root), read(shared_pki().signer)], ids=["root", "leaf"])
    def test_only_an_intermediate_authority_can_be_pinned(
        self, administration: TrustAdministration, certificate: Certificate
    ) -> None:
        with pytest.raises(UnfitAuthorityError, match="only an intermediate authority can be pinned"):
            administration.pin(certificate, PUBLIC, by="alice")

    def test_a_pin_needs_an_issuer_in_each_cloud(self, administration: TrustAdministration) -> None:
        for certificate, clouds, named in (
            (read(stranger()), BOTH, Cloud.PUBLIC),
            (NEW, frozenset({Cloud.PUBLIC, Cloud.CHINA}), Cloud.CHINA),
        ):
            with pytest.raises(UnfitAuthorityError, match=f"no trusted authority of {named} issued it: pin its issuer"):
                administration.pin(certificate, clouds, by="alice")
        assert administration.decisions().pins == {}

    def test_a_pinned_authority_can_be_the_issuer_of_the_next_pin(self, administration: TrustAdministration) -> None:
        low, high = read(new_authority("Low CA", under="High CA")), read(new_authority("High CA"))
        with pytest.raises(UnfitAuthorityError, match="pin its issuer first"):
            administration.pin(low, PUBLIC, by="alice")
        administration.pin(high, PUBLIC, by="alice")
        administration.pin(low, PUBLIC, by="alice")
        assert set(administration.decisions().pins) == {low.sha256, high.sha256}


class TestKnownAuthorities:
    def test_are_the_trusted_the_pinned_and_the_discovered_ones_each_once(self, operations: Operations) -> None:
        operations.administration.pin(NEW, PUBLIC, by="alice")
        operations.discover(renewed_authority(), key_identifier="01")
        operations.discover(new_authority(), key_identifier="02")
        known = [one.sha256 for one in operations.administration.known_authorities()]
        assert sorted(known) == sorted(
            one.sha256 for one in (read(shared_pki().root), issuing_ca(), NEW, read(renewed_authority()))
        )

    def test_a_pin_that_trust_does_not_use_is_known(self, operations: Operations) -> None:
        pins = {
            NEW.sha256: PinDecision(der=NEW.der, clouds=frozenset({Cloud.CHINA}), decided_by="alice", decided_at=NOW)
        }
        event = TrustAuditEvent(at=NOW, by="alice", what="pin", subject="", before="", after="")
        operations.registry.decide(OperatorDecisions(pins=pins), event, expected=operations.registry.revision())
        assert NEW in operations.administration.known_authorities()

    def test_the_default_clouds_are_served(self, administration: TrustAdministration) -> None:
        assert administration.served == SERVED_BY_DEFAULT

    @pytest.mark.parametrize(
        ("act", "message"),
        [
            (lambda of: of.approve("0" * 64, by="alice"), "no discovered authority has the SHA-256 0{64}"),
            (lambda of: of.reject("0" * 64, by="alice"), "no trusted or discovered authority has the SHA-256 0{64}"),
            (lambda of: of.unpin("0" * 64, by="alice"), "no operator pinned an authority with the SHA-256 0{64}"),
            (lambda of: of.allow(denials_of(1), by="alice"), "this key or serial number is not denied"),
            (lambda of: of.allow(denials_of(spki="0" * 64), by="alice"), "this key or serial number is not denied"),
        ],
        ids=["approve", "reject", "unpin", "allow a serial number", "allow a key"],
    )
    def test_a_decision_about_an_unknown_one_is_refused(
        self, operations: Operations, act: Callable[[TrustAdministration], None], message: str
    ) -> None:
        operations.administration.deny(denials_of(2, spki="ab" * 32), by="alice")
        with pytest.raises(UnknownAuthorityError, match=f"^{message}$"):
            act(operations.administration)
        assert len(operations.events.changes) == 1

    def test_an_approval_under_a_rejected_authority_is_refused(self, operations: Operations) -> None:
        low, high = new_authority("Low CA", under="High CA"), new_authority("High CA")
        operations.discover(low, high)
        operations.administration.reject(read(high).sha256, by="alice")
        message = f"it needs {read(high).subject}, which is rejected: approve {read(high).sha256} first"
        with pytest.raises(UnfitAuthorityError) as refused:
            operations.administration.approve(read(low).sha256, by="alice")
        assert str(refused.value) == message


class TestDenials:
    @pytest.mark.parametrize(
        ("text", "denials"),
        [
            ("1", denials_of(1)),
            ("0x0ABC", denials_of(0xABC)),
            ("0a:bc", denials_of(0xABC)),
            ("00" + "7f" * 20, denials_of(int("7f" * 20, 16))),
            ("AB" * 32, denials_of(spki="ab" * 32)),
            (":".join(["ab"] * 32), denials_of(spki="ab" * 32)),
            ("0" * 64, denials_of(spki="0" * 64)),
        ],
    )
    def test_a_key_or_a_serial_number_is_read(
        self, administration: TrustAdministration, text: str, denials: Denials
    ) -> None:
        assert administration.read_denial(text) == denials

    @pytest.mark.parametrize("text", ["", "0x", "0", "00", "g1", "1 2", "1" * 43, "a" * 63, "a" * 65, "-1", "0x0x1"])
    def test_another_text_is_refused(self, administration: TrustAdministration, text: str) -> None:
        with pytest.raises(ValueError, match=r"^expected the SHA-256 of a public key"):
            administration.read_denial(text)

    def test_the_fingerprint_of_a_certificate_is_refused(self, administration: TrustAdministration) -> None:
        with pytest.raises(ValueError, match="This is the SHA-256 of a certificate") as refused:
            administration.read_denial(issuing_ca().sha256)
        assert issuing_ca().spki_sha256 in str(refused.value)
        assert issuing_ca().serial_hex in str(refused.value)


class TestOtherOperators:
    @pytest.mark.parametrize("losses", [0, 1, 7])
    def test_a_decision_is_made_again_on_the_decisions_of_another(self, operations: Operations, losses: int) -> None:
        registry = ContestedRegistry(inner=operations.registry, losses=losses)
        judged: list[OperatorDecisions] = []
        administration = replace(operations.administration, registry=registry)  # type: ignore[arg-type]  # the rest is the inner one's
        administration.follow(followed(1, None), by="alice", judge=judged.append)
        assert judged == [OperatorDecisions()] * (losses + 1)
        assert registry.tries == losses + 1
        assert len(operations.events.changes) == 1

    def test_the_eighth_loss_ends_it(self, operations: Operations) -> None:
        registry = ContestedRegistry(inner=operations.registry, losses=8)
        administration = replace(operations.administration, registry=registry)  # type: ignore[arg-type]  # as above
        with pytest.raises(StoreUnavailable):
            administration.pin(NEW, PUBLIC, by="alice")
        assert registry.tries == 8
        assert operations.events.changes == []
        assert operations.administration.decisions() == OperatorDecisions()

    def test_a_judge_that_raises_ends_the_decision(self, operations: Operations) -> None:
        def refuse(decisions: OperatorDecisions) -> None:
            raise UnfitAuthorityError(decisions)

        with pytest.raises(UnfitAuthorityError):
            operations.administration.follow(followed(1, None), by="alice", judge=refuse)
        rejected = RejectedBundle(version=1, sha256="aa" * 32, decided_by="alice", decided_at=NOW)
        with pytest.raises(UnfitAuthorityError):
            operations.administration.reject_bundle(rejected, by="alice", judge=refuse)
        assert operations.administration.decisions() == OperatorDecisions()


class TestReadAuthority:
    @pytest.mark.parametrize(
        "raw",
        [
            der(new_authority().certificate),
            new_authority().certificate.public_bytes(Encoding.PEM),
            b"\n " + new_authority().certificate.public_bytes(Encoding.PEM),
        ],
        ids=["DER", "PEM", "PEM after white space"],
    )
    def test_der_and_pem_are_read(self, raw: bytes) -> None:
        assert read_authority(raw) == NEW

    @pytest.mark.parametrize(
        "raw",
        [b"", b"text", der(new_authority().certificate) + b"\0", b"-----BEGIN CERTIFICATE-----\n"],
    )
    def test_another_content_is_refused(self, raw: bytes) -> None:
        with pytest.raises(UnfitAuthorityError, match=r"^not one certificate: "):
            read_authority(raw)

"""States of certificates over time, and entries that do not make a valid bundle."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.certificates import make_authority
from support.chains import root
from support.documents import der

from verifier.core.trust.bundle import (
    EXPIRY_WARNING,
    AuthorityIdentity,
    CloudTrust,
    Denials,
    Origin,
    Role,
    State,
    TrustBundle,
    TrustedCertificate,
    TrustError,
    oddities_of,
)
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki

NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2027, 1, 1, tzinfo=UTC)
ACTIVATE_AT = datetime(2026, 3, 1, tzinfo=UTC)
RETIRE_AT = datetime(2026, 9, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(subject: str = "CA", *, issuer: str | None = None, is_ca: bool = True) -> Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    built = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer or subject))
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .sign(KEY, hashes.SHA256())
    )
    return Certificate.from_der(built.public_bytes(Encoding.DER))


def read(identity: pki.Identity) -> Certificate:
    return Certificate.from_der(der(identity.certificate))


def entry(
    of: Certificate | None = None,
    *,
    role: Role = Role.ROOT,
    clouds: Iterable[Cloud] = (Cloud.PUBLIC,),
    source: str = "https://ca.example/ca.crt",
    note: str = "",
    activate_at: datetime | None = None,
    retire_at: datetime | None = None,
) -> TrustedCertificate:
    return TrustedCertificate(
        certificate=of or certificate(),
        role=role,
        clouds=frozenset(clouds),
        source=source,
        note=note,
        activate_at=activate_at,
        retire_at=retire_at,
    )


class TestState:
    @pytest.mark.parametrize(
        ("moment", "state"),
        [
            (NOT_BEFORE - MICROSECOND, State.STAGED),
            (NOT_BEFORE, State.ACTIVE),
            (NOT_AFTER - EXPIRY_WARNING, State.ACTIVE),
            (NOT_AFTER - EXPIRY_WARNING + MICROSECOND, State.EXPIRING),
            (NOT_AFTER, State.EXPIRING),
            (NOT_AFTER + MICROSECOND, State.EXPIRED),
        ],
    )
    def test_follows_the_validity_period_without_planned_times(self, moment: datetime, state: State) -> None:
        assert entry().state_at(moment) is state

    @pytest.mark.parametrize(
        ("moment", "state"),
        [
            (NOT_BEFORE, State.STAGED),
            (ACTIVATE_AT - MICROSECOND, State.STAGED),
            (ACTIVATE_AT, State.ACTIVE),
            (RETIRE_AT - EXPIRY_WARNING, State.ACTIVE),
            (RETIRE_AT - EXPIRY_WARNING + MICROSECOND, State.EXPIRING),
            (RETIRE_AT - MICROSECOND, State.EXPIRING),
            (RETIRE_AT, State.RETIRED),
            (NOT_AFTER + MICROSECOND, State.RETIRED),
        ],
    )
    def test_follows_the_planned_times(self, moment: datetime, state: State) -> None:
        assert entry(activate_at=ACTIVATE_AT, retire_at=RETIRE_AT).state_at(moment) is state

    def test_planned_times_do_not_extend_the_validity_period(self) -> None:
        planned = entry(activate_at=NOT_BEFORE - timedelta(days=9), retire_at=NOT_AFTER + timedelta(days=9))
        assert planned.state_at(NOT_BEFORE - MICROSECOND) is State.STAGED
        assert planned.state_at(NOT_AFTER) is State.EXPIRING
        assert planned.state_at(NOT_AFTER + MICROSECOND) is State.EXPIRED

    def test_a_certificate_retired_before_its_start_is_retired_and_not_staged(self) -> None:
        assert entry(retire_at=NOT_BEFORE).state_at(NOT_BEFORE - MICROSECOND) is State.STAGED
        assert entry(retire_at=NOT_BEFORE).state_at(NOT_BEFORE) is State.RETIRED

    def test_the_caller_sets_the_warning_time(self) -> None:
        warning = timedelta(days=1)
        assert entry().state_at(NOT_AFTER - warning, warning=warning) is State.ACTIVE
        assert entry().state_at(NOT_AFTER - warning + MICROSECOND, warning=warning) is State.EXPIRING
        assert entry().state_at(NOT_AFTER, warning=timedelta(0)) is State.ACTIVE

    def test_does_not_depend_on_the_time_zone(self) -> None:
        elsewhere = timezone(timedelta(hours=-8))
        assert entry(retire_at=RETIRE_AT).state_at(RETIRE_AT.astimezone(elsewhere)) is State.RETIRED

    def test_only_active_and_expiring_are_usable(self) -> None:
        assert {state for state in State if state.is_usable} == {State.ACTIVE, State.EXPIRING}


class TestTrustedCertificate:
    def test_refuses_a_certificate_that_is_not_an_authority(self) -> None:
        with pytest.raises(TrustError, match="not a certificate authority"):
            entry(certificate(is_ca=False))

    def test_refuses_a_root_that_another_authority_issued(self) -> None:
        with pytest.raises(TrustError, match="a root that another authority issued"):
            entry(certificate(issuer="Other"))

    def test_accepts_an_intermediate_that_another_authority_issued(self) -> None:
        assert entry(certificate(issuer="Other"), role=Role.INTERMEDIATE).role is Role.INTERMEDIATE

    def test_refuses_an_entry_without_clouds(self) -> None:
        with pytest.raises(TrustError, match="serves no cloud"):
            entry(clouds=())

    def test_refuses_an_entry_without_a_source(self) -> None:
        with pytest.raises(TrustError, match="its source is missing"):
            entry(source="")

    @pytest.mark.parametrize("field", ["activate_at", "retire_at"])
    def test_refuses_a_planned_time_without_a_time_zone(self, field: str) -> None:
        naive = RETIRE_AT.replace(tzinfo=None)
        with pytest.raises(TrustError, match="need a time zone"):
            entry(**{field: naive})  # type: ignore[arg-type] # mypy checks the value against every keyword

    @pytest.mark.parametrize("activate_at", [RETIRE_AT, RETIRE_AT + MICROSECOND])
    def test_refuses_to_retire_an_entry_before_its_activation(self, activate_at: datetime) -> None:
        with pytest.raises(TrustError, match="retire_at is not after activate_at"):
            entry(activate_at=activate_at, retire_at=RETIRE_AT)

    def test_has_no_note_and_is_listed_without_times_by_default(self) -> None:
        least = TrustedCertificate(
            certificate=certificate(), role=Role.ROOT, clouds=frozenset({Cloud.PUBLIC}), source="x"
        )
        assert (least.note, least.origin, least.activate_at, least.retire_at) == ("", Origin.LISTED, None, None)


class TestCloudTrust:
    def test_requires_an_anchor(self) -> None:
        with pytest.raises(TrustError, match="without an anchor"):
            CloudTrust(anchors=(), pins=(entry(role=Role.INTERMEDIATE),))

    def test_returns_only_entries_that_are_usable_at_the_moment(self) -> None:
        anchor, retired_anchor = entry(), entry(retire_at=RETIRE_AT)
        pin = entry(role=Role.INTERMEDIATE)
        staged_pin = entry(role=Role.INTERMEDIATE, activate_at=RETIRE_AT + MICROSECOND)
        trust = CloudTrust(anchors=(anchor, retired_anchor), pins=(pin, staged_pin))
        assert trust.usable_anchors(RETIRE_AT) == (anchor,)
        assert trust.usable_pins(RETIRE_AT) == (pin,)
        assert trust.usable_anchors(NOT_AFTER + MICROSECOND) == ()
        assert trust.usable_pins(NOT_AFTER + MICROSECOND) == ()

    def test_finds_anchors_and_pins_by_fingerprint(self) -> None:
        anchor, pin = entry(), entry(role=Role.INTERMEDIATE)
        trust = CloudTrust(anchors=(anchor,), pins=(pin,))
        assert trust.entry(anchor.certificate.sha256) is anchor
        assert trust.entry(pin.certificate.sha256) is pin
        with pytest.raises(KeyError):
            trust.entry("0" * 64)

    def test_is_shown_by_its_certificates_and_denials(self) -> None:
        anchor, pin = entry(), entry(role=Role.INTERMEDIATE)
        trust = CloudTrust(anchors=(anchor,), pins=(pin,))
        assert repr(trust) == f"CloudTrust(anchors={(anchor,)!r}, pins={(pin,)!r}, denials={Denials()!r})"


class TestBundle:
    def test_requires_an_entry(self) -> None:
        with pytest.raises(TrustError, match="an empty trust bundle"):
            TrustBundle.of(())

    def test_requires_an_anchor_of_each_cloud(self) -> None:
        pin = entry(role=Role.INTERMEDIATE, clouds=[Cloud.PUBLIC, Cloud.CHINA])
        with pytest.raises(TrustError, match="AzureChinaCloud: a cloud without an anchor"):
            TrustBundle.of((entry(), pin))

    def test_refuses_a_duplicate_certificate(self) -> None:
        twice = certificate("Twice")
        with pytest.raises(TrustError, match="CN=Twice: listed twice"):
            TrustBundle.of((entry(twice), entry(twice, clouds=[Cloud.CHINA])))

    def test_accepts_several_certificates_of_one_name_and_key(self) -> None:
        direct, crossed = certificate("CA"), certificate("CA", issuer="Other")
        bundle = TrustBundle.of((entry(direct), entry(crossed, role=Role.INTERMEDIATE)))
        assert [pin.certificate for pin in bundle.clouds[Cloud.PUBLIC].pins] == [crossed]

    def test_separates_the_entries_of_each_cloud(self) -> None:
        public, china = entry(clouds=[Cloud.PUBLIC]), entry(clouds=[Cloud.CHINA])
        both = entry(role=Role.INTERMEDIATE, clouds=[Cloud.PUBLIC, Cloud.CHINA])
        bundle = TrustBundle.of((public, china, both))
        assert set(bundle.clouds) == {Cloud.PUBLIC, Cloud.CHINA}
        assert bundle.clouds[Cloud.PUBLIC] == CloudTrust(anchors=(public,), pins=(both,))
        assert bundle.clouds[Cloud.CHINA] == CloudTrust(anchors=(china,), pins=(both,))


class TestGeneration:
    ANCHOR = entry(clouds=Cloud)
    PIN = entry(role=Role.INTERMEDIATE, clouds=[Cloud.PUBLIC], activate_at=ACTIVATE_AT, retire_at=RETIRE_AT)

    def test_does_not_depend_on_order_notes_and_sources(self) -> None:
        before = TrustBundle.of((self.ANCHOR, self.PIN)).generation
        reworded = replace(self.PIN, note="another note", source="https://ca.example/moved.crt")
        assert TrustBundle.of((self.PIN, self.ANCHOR)).generation == before
        assert TrustBundle.of((self.ANCHOR, reworded)).generation == before

    @pytest.mark.parametrize(
        "changed",
        [
            replace(PIN, role=Role.ROOT),
            replace(PIN, clouds=frozenset({Cloud.CHINA})),
            replace(PIN, clouds=frozenset({Cloud.PUBLIC, Cloud.CHINA})),
            replace(PIN, activate_at=None),
            replace(PIN, retire_at=None),
            replace(PIN, activate_at=None, retire_at=ACTIVATE_AT),
            replace(PIN, activate_at=ACTIVATE_AT + MICROSECOND),
            replace(PIN, retire_at=RETIRE_AT + MICROSECOND),
            replace(PIN, certificate=certificate("Other")),
        ],
    )
    def test_changes_with_each_field_that_affects_trust(self, changed: TrustedCertificate) -> None:
        before = TrustBundle.of((self.ANCHOR, self.PIN)).generation
        assert TrustBundle.of((self.ANCHOR, changed)).generation != before

    def test_changes_if_an_entry_is_added_or_removed(self) -> None:
        one = TrustBundle.of((self.ANCHOR,)).generation
        assert TrustBundle.of((self.ANCHOR, self.PIN)).generation != one

    def test_distinguishes_activation_from_retirement(self) -> None:
        activated = replace(self.PIN, activate_at=RETIRE_AT, retire_at=None)
        retired = replace(self.PIN, activate_at=None, retire_at=RETIRE_AT)
        assert TrustBundle.of((self.ANCHOR, activated)).generation != TrustBundle.of((self.ANCHOR, retired)).generation

    def test_is_a_digest_of_what_affects_trust(self) -> None:
        denials = Denials(serial_numbers=frozenset({255, 16}), spki_sha256=frozenset({"bb", "aa"}))
        bundle = TrustBundle.of((self.ANCHOR, self.PIN), denials=denials)
        clouds = ",".join(sorted(Cloud))
        times = "2026-03-01T00:00:00+00:00|2026-09-01T00:00:00+00:00"
        anchor = f"{self.ANCHOR.certificate.sha256}|root|listed|{clouds}||\n"
        pin = f"{self.PIN.certificate.sha256}|intermediate|listed|{Cloud.PUBLIC}|{times}\n"
        denied = "denied|aa\ndenied|bb\ndenied|10\ndenied|ff\n"
        text = "".join(sorted((anchor, pin))) + denied
        assert bundle.generation == hashlib.sha256(text.encode()).hexdigest()[:16]

    def test_does_not_depend_on_the_time_zone(self) -> None:
        moved = replace(self.PIN, activate_at=ACTIVATE_AT.astimezone(timezone(timedelta(hours=5))))
        one, other = (TrustBundle.of((self.ANCHOR, pin)) for pin in (self.PIN, moved))
        assert one.generation == other.generation

    @pytest.mark.usefixtures("tokyo")
    def test_does_not_depend_on_the_time_zone_of_the_host(self) -> None:
        assert datetime.now().astimezone().utcoffset() == timedelta(hours=9)
        self.test_is_a_digest_of_what_affects_trust()


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Move the process to another time zone than UTC."""
    with monkeypatch.context() as context:
        context.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


class TestPlannedTimes:
    """The times that a bundle plans for a CA, over all of its certificates."""

    def test_are_the_latest_start_and_the_earliest_end(self) -> None:
        day = timedelta(days=1)
        early, late, unplanned = (
            entry(certificate("CA"), activate_at=ACTIVATE_AT, retire_at=RETIRE_AT),
            entry(certificate("CA"), activate_at=ACTIVATE_AT + day, retire_at=RETIRE_AT + day),
            entry(certificate("CA")),
        )
        other = entry(certificate("Other"), activate_at=ACTIVATE_AT + 2 * day, retire_at=RETIRE_AT - day)
        bundle = TrustBundle.of((late, unplanned, early, other))
        identity = AuthorityIdentity.of(certificate("CA"))
        assert bundle.planned_times(identity) == (ACTIVATE_AT + day, RETIRE_AT)
        assert TrustBundle.of((unplanned,)).planned_times(identity) == (None, None)
        assert TrustBundle.of((unplanned,)).planned_times(AuthorityIdentity.of(certificate("Other"))) == (None, None)

    def test_an_identity_is_a_name_and_a_key(self) -> None:
        one = certificate("CA")
        identity = AuthorityIdentity.of(one)
        fields = (identity.subject_der, identity.spki_sha256, identity.subject)
        assert fields == (one.subject_der, one.spki_sha256, one.subject)
        assert replace(identity, subject="Other") == identity
        assert replace(identity, spki_sha256="") != identity
        assert replace(identity, subject_der=b"") != identity
        assert repr(identity) == f"AuthorityIdentity(spki_sha256={one.spki_sha256!r}, subject='CN=CA')"


def test_the_words_for_origins_and_states_are_those_of_the_api() -> None:
    assert [*Origin] == ["listed", "published", "approved", "admitted"]
    assert [*State] == ["staged", "active", "expiring", "retired", "expired"]


@pytest.mark.parametrize("origin", Origin)
def test_only_a_manifest_or_a_feed_trusts_a_root(origin: Origin) -> None:
    pin = entry(certificate("Pin", issuer="CA"), role=Role.INTERMEDIATE)
    assert replace(pin, origin=origin).origin is origin
    if origin in {Origin.LISTED, Origin.PUBLISHED}:
        assert replace(entry(), origin=origin).origin is origin
    else:
        with pytest.raises(TrustError, match="only a manifest or a trust feed can trust a root"):
            replace(entry(), origin=origin)


def test_a_certificate_is_denied_by_its_number_or_by_its_key() -> None:
    one = certificate()
    assert Denials(serial_numbers=frozenset({one.serial_number})).names(one)
    assert Denials(spki_sha256=frozenset({one.spki_sha256})).names(one)
    assert not Denials(serial_numbers=frozenset({1}), spki_sha256=frozenset({"aa"})).names(one)


def test_authorities_that_issued_one_another_are_each_found_once() -> None:
    one, two = (
        entry(certificate(name, issuer=issuer), role=Role.INTERMEDIATE) for name, issuer in (("A", "B"), ("B", "A"))
    )
    cloud = CloudTrust(anchors=(entry(),), pins=(one, two))
    assert cloud.pins_above(certificate("Leaf", issuer="B", is_ca=False)) == (one, two)


def test_the_clouds_of_a_bundle_cannot_be_changed_and_have_its_denials() -> None:
    denials = Denials(serial_numbers=frozenset({1}))
    bundle = TrustBundle.of((entry(),), denials=denials)
    assert (bundle.denials, bundle.clouds[Cloud.PUBLIC].denials) == (denials, denials)
    with pytest.raises(TypeError):
        bundle.clouds[Cloud.CHINA] = bundle.clouds[Cloud.PUBLIC]  # type: ignore[index]  # which is tested
    with pytest.raises(KeyError, match="absent"):
        bundle.clouds[Cloud.PUBLIC].entry("absent")


class TestUsable:
    """The entries of a cloud that build chains at a moment."""

    def test_are_those_in_their_times_that_are_not_denied(self) -> None:
        now, later = (entry(certificate(name, issuer="CA"), role=Role.INTERMEDIATE) for name in ("Now", "Later"))
        later = replace(later, activate_at=RETIRE_AT)
        denied = entry(certificate("Denied", issuer="CA"), role=Role.INTERMEDIATE)
        serials = Denials(serial_numbers=frozenset({denied.certificate.serial_number}))
        cloud = CloudTrust(anchors=(entry(),), pins=(now, later, denied), denials=serials)
        assert cloud.usable_pins(ACTIVATE_AT) == (now,)
        assert cloud.usable_pins(RETIRE_AT) == (now, later)
        assert len(cloud.usable_anchors(ACTIVATE_AT)) == 1
        assert cloud.usable_anchors(NOT_AFTER + MICROSECOND) == ()
        leaf = certificate("Leaf", issuer="Denied", is_ca=False)
        assert cloud.pins_above(leaf) == (denied,)
        assert cloud.usable_pins_above(leaf, ACTIVATE_AT) == ()
        assert cloud.usable_pins_above(certificate("Leaf", issuer="Now", is_ca=False), ACTIVATE_AT) == (now,)

    def test_from_the_later_start_to_the_earlier_end(self) -> None:
        plain, planned = entry(), entry(activate_at=ACTIVATE_AT, retire_at=RETIRE_AT)
        assert (plain.usable_from, plain.usable_until) == (NOT_BEFORE, NOT_AFTER)
        assert (planned.usable_from, planned.usable_until) == (ACTIVATE_AT, RETIRE_AT)
        wide = entry(activate_at=NOT_BEFORE - MICROSECOND, retire_at=NOT_AFTER + MICROSECOND)
        assert (wide.usable_from, wide.usable_until) == (NOT_BEFORE, NOT_AFTER)


class TestClosed:
    def test_a_cloud_is_closed_if_every_anchor_is_retired(self) -> None:
        retired = replace(entry(), retire_at=RETIRE_AT)
        other = replace(entry(of=certificate("Other")), retire_at=RETIRE_AT + timedelta(days=1))
        cloud = CloudTrust(anchors=(retired, other), pins=())
        assert not cloud.is_closed(RETIRE_AT)
        assert not cloud.is_closed(RETIRE_AT + timedelta(days=1) - MICROSECOND)
        assert cloud.is_closed(RETIRE_AT + timedelta(days=1))

    def test_a_cloud_with_expired_or_denied_anchors_is_not_closed(self) -> None:
        denials = Denials(spki_sha256=frozenset({entry().certificate.spki_sha256}))
        cloud = CloudTrust(anchors=(entry(),), pins=(), denials=denials)
        assert not cloud.is_closed(NOT_BEFORE)
        assert not cloud.is_closed(NOT_AFTER + timedelta(days=1))


class TestOddities:
    def made(self, **kinds: Any) -> Certificate:  # noqa: ANN401 - of make_authority
        return read(make_authority(issuer=root(), name="Odd CA", key=kinds.pop("key", KEY), **kinds))

    def test_an_ordinary_authority_has_none(self) -> None:
        assert oddities_of(self.made()) == ()
        assert oddities_of(read(root())) == ()

    def test_each_oddity_is_described(self) -> None:
        short = rsa.generate_private_key(public_exponent=65537, key_size=2047)  # noqa: S505 - it is what is odd
        without = (x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid)
        assert oddities_of(self.made(without=without, key=short)) == (
            "no subject key identifier",
            "no authority key identifier",
            "an RSA key of 2047 bits",
        )

    @pytest.mark.parametrize(
        ("bits", "is_odd"), [(2040, True), (2047, True), (2048, False), (2049, True), (2056, False)]
    )
    def test_the_bits_of_an_rsa_key_are_a_multiple_of_8_and_at_least_2048(self, bits: int, *, is_odd: bool) -> None:
        made = replace(self.made(), public_key=rsa.RSAPublicNumbers(65537, (1 << bits - 1) + 1).public_key())
        assert oddities_of(made) == ((f"an RSA key of {bits} bits",) if is_odd else ())

    def test_a_root_with_an_extended_key_usage_has_an_oddity(self) -> None:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        limited = make_authority(issuer=root(), name="Odd Root", key=root().key, extensions=(usage,))
        own = replace(read(limited), issuer_der=read(limited).subject_der)
        assert oddities_of(own) == ("a root with an extended key usage",)
        assert oddities_of(self.made(extensions=(usage,))) == ()

    def test_a_bundle_lists_each_oddity_with_its_certificate(self) -> None:
        odd = TrustedCertificate(
            certificate=self.made(without=(x509.SubjectKeyIdentifier.oid,)),
            role=Role.INTERMEDIATE,
            clouds=frozenset({Cloud.PUBLIC}),
            source="urn:imds-verifier:test",
        )
        bundle = TrustBundle.of((entry(), odd))
        assert f"{odd.certificate.subject}: no subject key identifier" in bundle.oddities()


def test_an_anchor_is_a_root() -> None:
    pin = entry(certificate("Pin", issuer="CA"), role=Role.INTERMEDIATE)
    with pytest.raises(TrustError, match="an anchor that is not a root"):
        CloudTrust(anchors=(entry(), pin), pins=())
    with pytest.raises(TrustError, match="a cloud without an anchor"):
        CloudTrust(anchors=(), pins=())
    with pytest.raises(TrustError, match=f"^{Cloud.PUBLIC}: a cloud without an anchor$"):
        TrustBundle.of((pin,))


def test_the_next_change_is_the_first_moment_with_another_state() -> None:
    planned = entry(activate_at=ACTIVATE_AT, retire_at=RETIRE_AT)
    warning = RETIRE_AT - EXPIRY_WARNING + MICROSECOND
    moments = [ACTIVATE_AT, warning, RETIRE_AT]
    for before, after in zip([NOT_BEFORE, *moments], moments, strict=False):
        assert planned.next_change(before) == after
        assert planned.next_change(after - MICROSECOND) == after
    end = NOT_AFTER + MICROSECOND
    assert planned.next_change(RETIRE_AT) == end
    assert planned.next_change(end) is None
    assert entry().next_change(NOT_BEFORE) == NOT_AFTER - EXPIRY_WARNING + MICROSECOND
    assert entry().next_change(NOT_BEFORE, warning=timedelta(days=1)) == NOT_AFTER - timedelta(days=1) + MICROSECOND
    assert entry().next_change(NOT_AFTER) == end


def test_a_cloud_changes_when_the_first_of_its_certificates_does() -> None:
    pin = entry(certificate("Pin", issuer="CA"), role=Role.INTERMEDIATE, activate_at=ACTIVATE_AT)
    cloud = CloudTrust(anchors=(entry(),), pins=(pin,))
    assert cloud.next_change(NOT_BEFORE) == ACTIVATE_AT
    assert cloud.next_change(ACTIVATE_AT) == NOT_AFTER - EXPIRY_WARNING + MICROSECOND
    assert cloud.next_change(NOT_AFTER + MICROSECOND) is None


def test_an_open_cloud_is_served_configured_and_not_retired() -> None:
    both = [Cloud.PUBLIC, Cloud.CHINA]
    bundle = TrustBundle.of(
        (entry(clouds=both, retire_at=RETIRE_AT), entry(certificate("Other"), clouds=[Cloud.CHINA]))
    )
    served = {Cloud.PUBLIC, Cloud.CHINA, Cloud.GERMANY}
    assert bundle.open_clouds(served, at=RETIRE_AT - MICROSECOND) == bundle.clouds
    assert bundle.open_clouds(served, at=RETIRE_AT).keys() == {Cloud.CHINA}
    assert bundle.open_clouds({Cloud.PUBLIC}, at=ACTIVATE_AT).keys() == {Cloud.PUBLIC}
    assert bundle.open_clouds({Cloud.GERMANY}, at=ACTIVATE_AT) == {}

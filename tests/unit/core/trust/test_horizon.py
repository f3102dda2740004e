"""The horizon of each cloud of the shipped bundle, and of generated bundles with gaps, overlaps and alternatives."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from support.chains import authority, key, root
from support.documents import NOW, trusted

from verifier.adapters.trust.files import load_bundle
from verifier.core.trust.bundle import CloudTrust, Denials, TrustBundle, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.trust.horizon import horizon, is_chainable, issuing_spans
from verifier.emulator import pki

TODAY = datetime(2026, 11, 23, tzinfo=UTC)


def day(number: int) -> datetime:
    return NOW + timedelta(days=number)


def span(start: int, end: int) -> pki.Validity:
    """Return the time between two days, counted from NOW."""
    return pki.Validity(not_before=day(start), not_after=day(end))


def anchor(name: str = "Horizon Root", validity: pki.Validity | None = None) -> pki.Identity:
    return pki.make_root(subject=pki.make_name(name), key=key(name), validity=validity or span(-1000, 3000))


def issuer(name: str, validity: pki.Validity, *, under: pki.Identity | None = None) -> x509.Certificate:
    return authority(name, issuer=under or anchor(), validity=validity).certificate


def cross_signed(name: str, *, under: pki.Identity, validity: pki.Validity) -> x509.Certificate:
    """Cross-sign the root `name`, which has its own key."""
    return authority(name, issuer=under, own_key=key(name), validity=validity).certificate


def trust(*certificates: x509.Certificate | TrustedCertificate, denials: Denials | None = None) -> CloudTrust:
    entries = tuple(one if isinstance(one, TrustedCertificate) else trusted(one) for one in certificates)
    return TrustBundle.of(entries, denials=denials or Denials()).clouds[Cloud.PUBLIC]


class TestShippedBundle:
    @pytest.mark.parametrize(
        ("cloud", "end"),
        [
            # The last of the Microsoft TLS G2 RSA CA OCSP NN. Their self-signed root lasts longer. Its cross-signed
            # form, the only chain to DigiCert, lasts until 2029-06-19. Every other pin ends before.
            (Cloud.PUBLIC, datetime(2029, 6, 3, 23, 3, 41, tzinfo=UTC)),
            (Cloud.US_GOVERNMENT, datetime(2029, 6, 3, 23, 3, 41, tzinfo=UTC)),
            # The last end of an authority, one second before the end of DigiCert Global Root CA above it.
            (Cloud.CHINA, datetime(2031, 11, 9, 23, 59, 59, tzinfo=UTC)),
        ],
    )
    def test_the_horizon_of_each_cloud(self, cloud: Cloud, end: datetime) -> None:
        assert horizon(load_bundle().clouds[cloud], now=TODAY) == end

    def test_the_horizon_of_germany_is_its_closing(self) -> None:
        germany = load_bundle().clouds[Cloud.GERMANY]
        closed = datetime(2021, 10, 29, 23, 59, 59, tzinfo=UTC)
        assert horizon(germany, now=TODAY) is None
        assert horizon(germany, now=datetime(2021, 1, 1, tzinfo=UTC)) == closed
        assert not germany.is_closed(closed - timedelta(microseconds=1))
        assert germany.is_closed(closed)

    def test_the_horizon_of_the_public_cloud_is_the_end_of_an_authority_of_the_g2_root(self) -> None:
        public = load_bundle().clouds[Cloud.PUBLIC]
        end = horizon(public, now=TODAY)
        lasting = [pin.certificate.subject for pin in public.pins if pin.usable_until == end]
        assert lasting
        assert all(subject.startswith("CN=Microsoft TLS G2 RSA CA OCSP ") for subject in lasting)
        # The cross-signed root lasts longer, but it issues no signers.
        assert any(pin.usable_until > TODAY and pin.usable_until > end for pin in public.pins if end is not None)

    @pytest.mark.parametrize("cloud", sorted(SERVED_BY_DEFAULT))
    def test_is_the_same_at_each_moment_up_to_its_end(self, cloud: Cloud) -> None:
        shipped = load_bundle().clouds[cloud]
        end = horizon(shipped, now=TODAY)
        assert end is not None
        for part in range(5):
            assert horizon(shipped, now=TODAY + (end - TODAY) * part / 4) == end


class TestHorizon:
    def test_is_the_last_end_if_authorities_overlap(self) -> None:
        made = trust(anchor().certificate, issuer("First CA", span(-10, 100)), issuer("Second CA", span(50, 200)))
        assert horizon(made, now=NOW) == day(200)

    def test_ends_before_a_gap(self) -> None:
        made = trust(anchor().certificate, issuer("First CA", span(-10, 100)), issuer("Second CA", span(101, 200)))
        assert horizon(made, now=NOW) == day(100)
        assert horizon(made, now=day(150)) == day(200)

    def test_is_none_inside_a_gap(self) -> None:
        made = trust(anchor().certificate, issuer("First CA", span(-10, 100)), issuer("Second CA", span(102, 200)))
        assert horizon(made, now=day(101)) is None

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
    def test_does_not_depend_on_the_order_of_the_entries(self, order: Sequence[int]) -> None:
        pins = (
            issuer("First CA", span(-10, 100)),
            issuer("Second CA", span(50, 200)),
            issuer("Third CA", span(190, 300)),
        )
        assert horizon(trust(anchor().certificate, *(pins[i] for i in order)), now=NOW) == day(300)

    def test_includes_a_staged_pin_that_starts_in_time(self) -> None:
        old = trusted(issuer("Old CA", span(-10, 1000)), retire_at=day(30))
        new = issuer("New CA", span(-10, 500))
        assert horizon(trust(anchor().certificate, old, trusted(new, activate_at=day(20))), now=NOW) == day(500)
        assert horizon(trust(anchor().certificate, old, trusted(new, activate_at=day(30))), now=NOW) == day(500)
        late = trusted(new, activate_at=day(30) + timedelta(seconds=1))
        assert horizon(trust(anchor().certificate, old, late), now=NOW) == day(30)

    def test_ends_with_the_anchor_if_that_ends_first(self) -> None:
        short = anchor("Short Root", span(-10, 40))
        made = trust(short.certificate, issuer("Long CA", span(-10, 1000), under=short))
        assert horizon(made, now=NOW) == day(40)

    def test_is_none_if_no_anchor_issued_a_pin(self) -> None:
        assert horizon(trust(root("Unknown Root").certificate, issuer("First CA", span(-10, 100))), now=NOW) is None

    def test_is_none_if_all_entries_are_retired(self) -> None:
        retired = trusted(issuer("First CA", span(-10, 100)), retire_at=day(-1))
        assert horizon(trust(anchor().certificate, retired), now=NOW) is None

    @pytest.mark.parametrize("denied", ["First CA", "Horizon Root"])
    def test_ignores_denied_certificates(self, denied: str) -> None:
        certificates = {"Horizon Root": anchor().certificate, "First CA": issuer("First CA", span(-10, 100))}
        spki = Certificate.from_der(trusted(certificates[denied]).certificate.der).spki_sha256
        made = trust(*certificates.values(), denials=Denials(spki_sha256=frozenset({spki})))
        assert horizon(made, now=NOW) is None

    def test_is_that_of_another_authority_if_the_longest_one_is_denied(self) -> None:
        long = issuer("Long CA", span(-10, 500))
        denials = Denials(serial_numbers=frozenset({long.serial_number}))
        made = trust(anchor().certificate, long, issuer("First CA", span(-10, 100)), denials=denials)
        assert horizon(made, now=NOW) == day(100)

    def test_is_that_of_the_anchors_without_pins(self) -> None:
        made = trust(anchor().certificate, anchor("Short Root", span(-10, 40)).certificate)
        assert horizon(made, now=NOW) == day(3000)


class TestCrossSigned:
    """Check a root that is self-signed and cross-signed by another root, and an authority under it."""

    def test_either_certificate_of_the_root_completes_the_chain(self) -> None:
        old, new = anchor("Old Root"), anchor("New Root", span(-10, 50))
        other = cross_signed("New Root", under=old, validity=span(-10, 300))
        ca = issuer("G2 CA", span(-10, 400), under=new)
        assert horizon(trust(new.certificate, ca), now=NOW) == day(50)
        assert horizon(trust(old.certificate, other, ca), now=NOW) == day(300)
        assert horizon(trust(old.certificate, new.certificate, other, ca), now=NOW) == day(300)

    def test_a_cross_signed_root_alone_is_not_an_issuing_authority(self) -> None:
        old, new = anchor("Old Root"), anchor("New Root")
        other = cross_signed("New Root", under=old, validity=span(-10, 2000))
        made = trust(old.certificate, new.certificate, other, issuer("G2 CA", span(-10, 100), under=new))
        assert horizon(made, now=NOW) == day(100)

    def test_two_certificates_of_one_authority_extend_the_horizon(self) -> None:
        old, new = anchor("Old Root"), anchor("New Root")
        first = issuer("Cross CA", span(-10, 100), under=old)
        second = issuer("Cross CA", span(90, 250), under=new)
        assert horizon(trust(old.certificate, new.certificate, first, second), now=NOW) == day(250)

    def test_authorities_that_issued_one_another_end_the_search(self) -> None:
        here = pki.Identity(certificate=issuer("Here CA", span(-10, 100)), key=key("Here CA"))
        there = pki.Identity(certificate=issuer("There CA", span(-10, 100), under=here), key=key("There CA"))
        back = issuer("Here CA", span(-10, 200), under=there)
        made = trust(anchor().certificate, here.certificate, there.certificate, back)
        assert horizon(made, now=NOW) == day(100)
        assert len(issuing_spans(made)) == 2


def test_an_authority_is_chainable_while_it_and_its_anchor_are_usable() -> None:
    own, above = issuer("Chainable CA", span(-10, 20)), anchor(validity=span(-20, 10))
    public = trust(above.certificate, own)
    [pin] = public.pins
    for at, expected in ((day(-11), False), (day(-10), True), (day(10), True), (day(11), False)):
        assert is_chainable(pin, public, at=at) is expected
    assert not is_chainable(pin, trust(anchor("Another Root").certificate, own), at=NOW)


def test_two_times_that_do_not_overlap_are_no_span() -> None:
    assert issuing_spans(trust(anchor(validity=span(-20, -10)).certificate, issuer("Late CA", span(-9, 20)))) == ()


def test_an_authority_is_not_chainable_from_the_moment_of_its_retirement() -> None:
    pin = trusted(issuer("Retired CA", span(-10, 20)), retire_at=day(5))
    public = trust(anchor().certificate, pin)
    assert is_chainable(pin, public, at=day(5) - timedelta(microseconds=1))
    assert not is_chainable(pin, public, at=day(5))


def test_two_times_that_meet_are_a_span_of_one_moment() -> None:
    [one] = issuing_spans(trust(anchor(validity=span(-20, 0)).certificate, issuer("Meeting CA", span(0, 20))))
    assert one.start == one.end == NOW


def test_an_anchor_of_the_same_name_and_another_key_does_not_chain() -> None:
    namesake = pki.make_root(
        subject=pki.make_name("Horizon Root"), key=key("Namesake"), validity=span(-1000, 3000)
    ).certificate
    assert issuing_spans(trust(namesake, issuer("Stranger CA", span(-10, 20)))) == ()

"""The chain: it leads to an anchor of the signer's cloud and is valid at the time of the appraisal."""

import inspect
import itertools
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import datetime, timedelta
from time import process_time
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from pyhanko_certvalidator import ValidationContext
from support.certificate_mutants import element, mint, sequence, with_extension
from support.certificates import make_authority, make_self_signed, make_signer
from support.chains import authority, claims_of, key, root
from support.documents import NOW, around, bundle_of, der, shared_bundle, shared_pki, spare_key, trusted

from verifier.core import chain
from verifier.core.chain import MAX_AUTHORITIES, MAX_SEARCHES, build_chain
from verifier.core.encoding.asn1 import x509 as asn1_x509
from verifier.core.reasons import ChainRefused, Check, ProfileRefused, Reason
from verifier.core.trust.bundle import Denials, Origin, Role, State, TrustBundle, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
PAST = pki.Validity(not_before=NOW - timedelta(days=700), not_after=NOW - SECOND)
BOTH = frozenset({Cloud.PUBLIC, Cloud.CHINA})


def build(
    signer: pki.Identity, bundle: TrustBundle, *, now: datetime = NOW, cloud: Cloud = Cloud.PUBLIC
) -> list[x509.Certificate]:
    """Build a chain, and return its authorities."""
    content = build_chain(claims_of(signer.certificate, cloud=cloud), now=now, bundle=bundle)
    assert content.trust_generation == bundle.generation
    trust = bundle.clouds[cloud]
    return [trust.entry(link.sha256).certificate.parsed for link in content.chain]


def refused(
    signer: pki.Identity, bundle: TrustBundle, *, now: datetime = NOW, cloud: Cloud = Cloud.PUBLIC
) -> ChainRefused:
    with pytest.raises(ChainRefused) as caught:
        build(signer, bundle, now=now, cloud=cloud)
    assert caught.value.check is Check.CHAIN
    assert not caught.value.retryable
    return caught.value


def levels(authorities: int) -> list[pki.Identity]:
    """Return an anchor and the authorities under it, in order."""
    found = [root()]
    for level in range(1, authorities):
        found.append(authority(f"Level {level}", issuer=found[-1]))
    return found


def test_lists_the_authorities_from_the_issuer_to_the_anchor() -> None:
    made = shared_pki()
    assert build(made.signer, shared_bundle()) == [made.issuing_ca.certificate, made.root.certificate]


def test_the_content_of_the_document_is_that_of_the_claims() -> None:
    claims = claims_of(shared_pki().signer.certificate)
    assert build_chain(claims, now=NOW, bundle=shared_bundle()).decoded is claims.decoded


def test_lists_the_state_of_each_authority() -> None:
    issuing = authority("Issuing")
    bundle = TrustBundle.of(
        (trusted(root().certificate), trusted(issuing.certificate, retire_at=NOW + timedelta(days=1)))
    )
    content = build_chain(claims_of(make_signer(issuer=issuing).certificate), now=NOW, bundle=bundle)
    assert [link.state for link in content.chain] == [State.EXPIRING, State.ACTIVE]


def test_lists_the_name_fingerprint_end_and_origin_of_each_authority() -> None:
    issuing = authority("Issuing")
    bundle = bundle_of(root().certificate, issuing.certificate)
    content = build_chain(claims_of(make_signer(issuer=issuing).certificate), now=NOW, bundle=bundle)
    read = [Certificate.from_der(der(one.certificate)) for one in (issuing, root())]
    assert [(link.subject, link.sha256, link.not_before, link.not_after, link.origin) for link in content.chain] == [
        (one.subject, one.sha256, one.not_before, one.not_after, Origin.LISTED) for one in read
    ]


def test_the_signer_of_an_accepted_chain_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered: list[Certificate] = []

    def record(signer: Certificate) -> None:
        remembered.append(signer)

    monkeypatch.setattr(Certificate, "remember_signer", record)
    issuing = authority("Issuing")
    signer = make_signer(issuer=issuing)
    refused(signer, bundle_of(root().certificate))
    assert remembered == []
    build(signer, bundle_of(root().certificate, issuing.certificate))
    assert [one.der for one in remembered] == [der(signer.certificate)]


def test_the_bounds_are_those_of_the_specification() -> None:
    assert (MAX_AUTHORITIES, MAX_SEARCHES) == (4, 8)
    assert chain._AUTHORITIES._weigh(b"abc", None) == 60  # noqa: SLF001 - the weight bounds the memory


def test_only_pins_that_names_connect_with_the_signer_are_considered() -> None:
    found = levels(4)
    twin = make_authority(issuer=found[1], name="Level 2", key=key("a twin"))
    pins = [found[3], authority("Unrelated"), twin, found[2], found[1]]
    bundle = bundle_of(found[0].certificate, *(pin.certificate for pin in pins))
    signer = Certificate.from_der(der(make_signer(issuer=found[3]).certificate))
    above = bundle.clouds[Cloud.PUBLIC].pins_above(signer)
    assert [pin.certificate.parsed for pin in above] == [
        pin.certificate for pin in (found[3], twin, found[2], found[1])
    ]


def test_an_authority_is_decoded_once_for_many_signers(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    load = asn1_x509.Certificate.load

    def count(raw: bytes, **options: bool) -> object:
        decoded.append(raw)
        return load(raw, **options)

    monkeypatch.setattr(asn1_x509.Certificate, "load", count)
    issuing = authority("Decoded once")
    signers = [make_signer(issuer=issuing) for _ in range(3)]
    for signer in signers:
        build(signer, bundle_of(root().certificate, issuing.certificate))
    assert [raw for raw in decoded if raw != der(root().certificate)] == [
        *(der(signers[0].certificate), der(issuing.certificate)),
        *map(der, (signer.certificate for signer in signers[1:])),
    ]


def test_an_anchor_may_issue_the_signer() -> None:
    assert build(make_signer(issuer=root()), bundle_of(root().certificate)) == [root().certificate]


@pytest.mark.parametrize("authorities", range(2, MAX_AUTHORITIES + 1))
def test_accepts_up_to_the_maximum_of_authorities(authorities: int) -> None:
    found = levels(authorities)
    chain = build(make_signer(issuer=found[-1]), bundle_of(*(one.certificate for one in found)))
    assert chain == [one.certificate for one in reversed(found)]


@pytest.mark.parametrize("authorities", [MAX_AUTHORITIES + 1, MAX_AUTHORITIES + 3])
def test_refuses_more_authorities_than_the_maximum(authorities: int) -> None:
    found = levels(authorities)
    refusal = refused(make_signer(issuer=found[-1]), bundle_of(*(one.certificate for one in found)))
    assert refusal.reason is Reason.CHAIN_UNTRUSTED
    assert refusal.detail.startswith("No valid chain leads from ")


def test_counts_a_self_issued_authority_for_the_maximum() -> None:
    # A self-issued authority does not count for a path length (RFC 5280 4.2.1.9), but it counts for our limit.
    found = levels(MAX_AUTHORITIES)
    twin = make_authority(issuer=found[-1], name=f"Level {MAX_AUTHORITIES - 1}", key=key("another"))
    assert twin.certificate.subject == twin.certificate.issuer
    bundle = TrustBundle.of((*(trusted(one.certificate) for one in found), as_pin(twin.certificate)))
    assert refused(make_signer(issuer=twin), bundle).reason is Reason.CHAIN_UNTRUSTED


def as_pin(certificate: x509.Certificate) -> TrustedCertificate:
    """Return an entry that is a pin even if the certificate is self-issued."""
    return TrustedCertificate(
        certificate=Certificate.from_der(der(certificate)),
        role=Role.INTERMEDIATE,
        clouds=frozenset({Cloud.PUBLIC}),
        source="urn:imds-verifier:test",
    )


class TestClouds:
    def test_an_anchor_of_another_cloud_is_refused(self) -> None:
        china = root("China Root")
        issuing = authority("Issuing", issuer=china)
        bundle = TrustBundle.of(
            (
                trusted(root().certificate),
                trusted(china.certificate, clouds=frozenset({Cloud.CHINA})),
                trusted(issuing.certificate, clouds=BOTH),
            )
        )
        signer = make_signer(issuer=issuing)
        assert refused(signer, bundle).reason is Reason.CHAIN_UNTRUSTED
        assert build_chain(
            claims_of(china_signer(issuing).certificate, cloud=Cloud.CHINA), now=NOW, bundle=bundle
        ).chain

    def test_a_pin_of_another_cloud_is_refused(self) -> None:
        issuing = authority("Issuing")
        bundle = TrustBundle.of(
            (
                trusted(root().certificate, clouds=BOTH),
                trusted(issuing.certificate, clouds=frozenset({Cloud.CHINA})),
            )
        )
        assert refused(make_signer(issuer=issuing), bundle).reason is Reason.ISSUER_UNPINNED
        assert build(china_signer(issuing), bundle, cloud=Cloud.CHINA)

    def test_a_cloud_without_trust_is_refused(self) -> None:
        issuing = authority("Issuing")
        bundle = bundle_of(root().certificate, issuing.certificate)
        assert refused(china_signer(issuing), bundle, cloud=Cloud.CHINA).reason is Reason.CHAIN_UNTRUSTED


def china_signer(issuer: pki.Identity) -> pki.Identity:
    return make_signer(issuer=issuer, common_names=("metadata.azure.cn",), names=("metadata.azure.cn",))


class TestTime:
    def test_the_signer_is_valid_from_its_first_to_its_last_second(self) -> None:
        issuing = authority("Issuing")
        validity = pki.Validity(not_before=NOW, not_after=NOW + timedelta(days=1))
        signer = make_signer(issuer=issuing, validity=validity)
        bundle = bundle_of(root().certificate, issuing.certificate)
        for moment in (validity.not_before, validity.not_after):
            assert build(signer, bundle, now=moment)
        for moment in (validity.not_before - MICROSECOND, validity.not_after + SECOND):
            assert refused(signer, bundle, now=moment).reason is Reason.CHAIN_UNTRUSTED

    def test_the_issuer_is_valid_from_its_first_to_its_last_second(self) -> None:
        validity = pki.Validity(not_before=NOW, not_after=NOW + timedelta(days=1))
        issuing = authority("Issuing", validity=validity)
        signer = make_signer(issuer=issuing)
        bundle = bundle_of(root().certificate, issuing.certificate)
        for moment in (validity.not_before, validity.not_after):
            assert build(signer, bundle, now=moment)
        before, after = validity.not_before - MICROSECOND, validity.not_after + MICROSECOND
        assert refused(signer, bundle, now=before).reason is Reason.CHAIN_UNTRUSTED
        assert refused(signer, bundle, now=after).reason is Reason.ISSUER_UNPINNED

    def test_an_expired_anchor_is_refused(self) -> None:
        old = pki.make_root(subject=pki.make_name("Old"), key=key("Old"), validity=PAST)
        issuing = authority("Issuing", issuer=old)
        bundle = bundle_of(old.certificate, root().certificate, issuing.certificate)
        assert refused(make_signer(issuer=issuing), bundle).reason is Reason.CHAIN_UNTRUSTED

    def test_a_cloud_without_a_usable_anchor_is_refused(self) -> None:
        old = pki.make_root(subject=pki.make_name("Old"), key=key("Old"), validity=PAST)
        issuing = authority("Issuing", issuer=old)
        refusal = refused(make_signer(issuer=issuing), bundle_of(old.certificate, issuing.certificate))
        assert refusal.reason is Reason.CHAIN_UNTRUSTED
        assert refusal.detail == "No anchor of the signer's cloud is usable now."

    @pytest.mark.parametrize(
        ("moment", "usable"),
        [
            (NOW - MICROSECOND, False),
            (NOW, True),
            (NOW + timedelta(days=1) - MICROSECOND, True),
            (NOW + timedelta(days=1), False),
        ],
    )
    def test_a_pin_is_activated_and_retired_exactly_at_its_planned_times(
        self, moment: datetime, *, usable: bool
    ) -> None:
        issuing = authority("Issuing")
        planned = trusted(issuing.certificate, activate_at=NOW, retire_at=NOW + timedelta(days=1))
        bundle = TrustBundle.of((trusted(root().certificate), planned))
        signer = make_signer(issuer=issuing)
        if usable:
            assert build(signer, bundle, now=moment)
        else:
            assert refused(signer, bundle, now=moment).reason is Reason.CHAIN_UNTRUSTED

    def test_a_retired_anchor_is_refused(self) -> None:
        issuing = authority("Issuing")
        bundle = TrustBundle.of((trusted(root().certificate, retire_at=NOW), trusted(issuing.certificate)))
        assert build(make_signer(issuer=issuing), bundle, now=NOW - MICROSECOND)
        assert refused(make_signer(issuer=issuing), bundle).reason is Reason.CHAIN_UNTRUSTED

    def test_the_detail_names_the_state_of_the_pin(self) -> None:
        issuing = authority("Issuing")
        bundle = TrustBundle.of((trusted(root().certificate), trusted(issuing.certificate, retire_at=NOW)))
        assert "retired" in refused(make_signer(issuer=issuing), bundle).detail


class TestCrossSigned:
    """Check one subject and key under several issuers, as Azure has them in every rollover."""

    @staticmethod
    def entries(*, other_validity: pki.Validity | None) -> tuple[pki.Identity, list[x509.Certificate]]:
        """Return two certificates of one authority under two roots, and the roots. The other root may have expired."""
        other = pki.make_root(
            subject=pki.make_name("Other Root"), key=key("Other Root"), validity=other_validity or around(days=3650)
        )
        one = authority("Crossed")
        two = authority("Crossed", issuer=other)
        return one, [root().certificate, other.certificate, one.certificate, two.certificate]

    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
    def test_a_chain_over_either_root_is_built_for_every_order_of_entries(self, order: tuple[int, ...]) -> None:
        one, certificates = self.entries(other_validity=None)
        chain = build(make_signer(issuer=one), bundle_of(*(certificates[index] for index in order)))
        assert [chain[0].issuer] == [chain[1].subject]
        assert chain[0].subject == one.certificate.subject

    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
    def test_the_valid_root_is_found_beside_an_expired_one(self, order: tuple[int, ...]) -> None:
        one, certificates = self.entries(other_validity=PAST)
        chain = build(make_signer(issuer=one), bundle_of(*(certificates[index] for index in order)))
        assert chain == [one.certificate, root().certificate]

    @pytest.mark.parametrize("is_first_expired", [True, False])
    @pytest.mark.parametrize("reverse", [True, False])
    def test_the_valid_certificate_is_found_beside_an_expired_one(
        self, *, is_first_expired: bool, reverse: bool
    ) -> None:
        """Expire a certificate of the authority itself, and not a root."""
        other = root("Other Root")
        one = authority("Crossed", validity=PAST if is_first_expired else None)
        two = authority("Crossed", issuer=other, validity=None if is_first_expired else PAST)
        certificates = [root().certificate, other.certificate, one.certificate, two.certificate]
        chain = build(make_signer(issuer=one), bundle_of(*(reversed(certificates) if reverse else certificates)))
        assert chain[0] == (two if is_first_expired else one).certificate

    def test_a_cross_signed_root_may_be_pinned(self) -> None:
        young = root("Young Root")
        crossed = authority("Young Root", own_key=key("Young Root"))
        issuing = authority("Issuing", issuer=young)
        signer = make_signer(issuer=issuing)
        over_old = build(signer, bundle_of(root().certificate, crossed.certificate, issuing.certificate))
        assert over_old == [issuing.certificate, crossed.certificate, root().certificate]
        over_young = build(
            signer, bundle_of(root().certificate, young.certificate, crossed.certificate, issuing.certificate)
        )
        assert over_young[0] == issuing.certificate
        assert over_young[-1] in {root().certificate, young.certificate}

    def test_several_keys_may_have_one_name(self) -> None:
        one = authority("Namesake")
        two = authority("Namesake", own_key=key("another key"))
        bundle = bundle_of(root().certificate, one.certificate, two.certificate)
        for issuer in (one, two):
            assert build(make_signer(issuer=issuer), bundle)[0] == issuer.certificate

    def test_another_key_of_the_name_without_an_identifier_does_not_hide_the_issuer(self) -> None:
        one = authority("Namesake")
        other = authority("Namesake", own_key=key("another key"), without=[x509.SubjectKeyIdentifier.oid])
        bundle = bundle_of(root().certificate, other.certificate, one.certificate)
        assert build(make_signer(issuer=one), bundle)[0] == one.certificate

    def test_an_expired_issuer_does_not_count_beside_a_valid_certificate_of_its_name(self) -> None:
        expired = authority("Namesake", validity=PAST)
        other = authority("Namesake", own_key=key("another key"), without=[x509.SubjectKeyIdentifier.oid])
        bundle = bundle_of(root().certificate, expired.certificate, other.certificate)
        assert "was not signed by its issuer" in refused(make_signer(issuer=expired), bundle).detail


class TestUnpinned:
    def test_the_refusal_names_an_unpinned_issuer(self) -> None:
        unknown = authority("Unknown Issuing")
        refusal = refused(make_signer(issuer=unknown), bundle_of(root().certificate))
        assert refusal.reason is Reason.ISSUER_UNPINNED
        assert "Unknown Issuing" in refusal.detail

    def test_another_key_with_the_name_of_a_pin_is_not_pinned(self) -> None:
        pinned = authority("Namesake")
        bundle = bundle_of(root().certificate, pinned.certificate)
        unknown = authority("Namesake", own_key=key("another key"))
        assert refused(make_signer(issuer=unknown), bundle).reason is Reason.ISSUER_UNPINNED

    def test_an_expired_signer_of_an_unpinned_issuer_is_untrusted(self) -> None:
        signer = make_signer(issuer=authority("Unknown Issuing"), validity=PAST)
        assert refused(signer, bundle_of(root().certificate)).reason is Reason.CHAIN_UNTRUSTED

    @pytest.mark.parametrize("without", [(), (x509.AuthorityKeyIdentifier.oid,)])
    def test_a_forgery_with_the_name_of_a_pin_is_untrusted(self, without: tuple[x509.ObjectIdentifier, ...]) -> None:
        issuing = authority("Issuing")
        forged = make_signer(issuer=issuing, issuer_key=key("a forger"), without=without)
        refusal = refused(forged, bundle_of(root().certificate, issuing.certificate))
        assert refusal.reason is Reason.CHAIN_UNTRUSTED
        issuer = Certificate.from_der(der(issuing.certificate)).subject
        assert refusal.detail == f"The signer's certificate was not signed by its issuer, {issuer}."

    def test_a_ca_whose_pins_have_all_expired_counts_as_unpinned(self) -> None:
        expired = [authority("Renewed", validity=around(NOW - timedelta(days=days))) for days in (400, 800)]
        bundle = bundle_of(root().certificate, *(one.certificate for one in expired))
        refusal = refused(make_signer(issuer=authority("Renewed")), bundle)
        assert refusal.reason is Reason.ISSUER_UNPINNED
        assert "have expired" in refusal.detail

    @pytest.mark.parametrize(
        ("plan", "states"),
        [({"retire_at": NOW}, "expired, retired"), ({"activate_at": NOW + MICROSECOND}, "expired, staged")],
    )
    def test_a_ca_with_a_retired_or_staged_pin_is_untrusted(self, plan: dict[str, Any], states: str) -> None:
        expired, other = authority("Planned", validity=PAST), authority("Planned", validity=around(days=90))
        planned = replace(trusted(other.certificate), **plan)
        bundle = TrustBundle.of((trusted(root().certificate), trusted(expired.certificate), planned))
        refusal = refused(make_signer(issuer=authority("Planned")), bundle)
        assert (refusal.reason, refusal.detail.endswith(f"{states}.")) == (Reason.CHAIN_UNTRUSTED, True)

    @pytest.mark.parametrize(
        ("faulty", "fault"),
        [
            ({"without": (x509.AuthorityKeyIdentifier.oid,)}, "authorityKeyIdentifier: Certificate is missing"),
            ({"extensions": (x509.BasicConstraints(ca=True, path_length=None),)}, "basicConstraints.cA must not be"),
        ],
    )
    def test_a_fault_of_the_signers_own_certificate_is_named(self, faulty: dict[str, Any], fault: str) -> None:
        refusal = refused(make_signer(**faulty), shared_bundle())
        assert refusal.reason is Reason.CHAIN_UNTRUSTED
        assert refusal.detail.startswith("The path validator refuses the signer's own certificate: ")
        assert fault in refusal.detail

    def test_a_fault_above_the_signer_names_its_issuer(self) -> None:
        unanchored = bundle_of(root("Another Root").certificate, authority("Issuing").certificate)
        refusal = refused(make_signer(issuer=authority("Issuing")), unanchored)
        assert refusal.detail.startswith("No valid chain leads from CN=Issuing")

    @pytest.mark.parametrize("is_denied", [0, 1])
    def test_a_ca_with_a_denied_pin_is_untrusted(self, is_denied: int) -> None:
        pins = [authority("Denied", validity=around(NOW - timedelta(days=days))).certificate for days in (400, 800)]
        denials = Denials(serial_numbers=frozenset({pins[is_denied].serial_number}))
        bundle = TrustBundle.of(tuple(map(trusted, (root().certificate, *pins))), denials=denials)
        refusal = refused(make_signer(issuer=authority("Denied")), bundle)
        assert (refusal.reason, refusal.detail.endswith("denied, expired.")) == (Reason.CHAIN_UNTRUSTED, True)

    @pytest.mark.parametrize("without", [(), (x509.AuthorityKeyIdentifier.oid,)])
    def test_a_forgery_with_the_name_of_an_expired_pin_is_untrusted(
        self, without: tuple[x509.ObjectIdentifier, ...]
    ) -> None:
        expired = authority("Renewed", validity=PAST)
        forged = make_signer(issuer=expired, issuer_key=key("a forger"), without=without)
        refusal = refused(forged, bundle_of(root().certificate, expired.certificate))
        assert refusal.reason is Reason.CHAIN_UNTRUSTED

    def test_a_self_signed_signer_is_untrusted(self) -> None:
        assert refused(make_self_signed(key=spare_key()), shared_bundle()).reason is Reason.CHAIN_UNTRUSTED


class TestDenied:
    def test_a_denied_signer_has_no_chain(self) -> None:
        signer = make_signer(issuer=authority("Issuing"))
        entries = (trusted(root().certificate), trusted(authority("Issuing").certificate))
        read = Certificate.from_der(der(signer.certificate))
        for denials in (
            Denials(serial_numbers=frozenset({read.serial_number})),
            Denials(spki_sha256=frozenset({read.spki_sha256})),
        ):
            assert refused(signer, TrustBundle.of(entries, denials=denials)).reason is Reason.CHAIN_UNTRUSTED
        assert build(signer, TrustBundle.of(entries, denials=Denials(serial_numbers=frozenset({1}))))

    def test_a_denied_authority_builds_no_chain(self) -> None:
        issuing = authority("Issuing")
        entries = (trusted(root().certificate), trusted(issuing.certificate))
        for certificate in (issuing.certificate, root().certificate):
            spki = Certificate.from_der(der(certificate)).spki_sha256
            bundle = TrustBundle.of(entries, denials=Denials(spki_sha256=frozenset({spki})))
            assert refused(make_signer(issuer=issuing), bundle).reason is Reason.CHAIN_UNTRUSTED


def test_a_signer_without_an_alternative_name_has_no_chain() -> None:
    issuing = authority("Issuing")
    bundle = bundle_of(root().certificate, issuing.certificate)
    claims = claims_of(make_signer(issuer=issuing).certificate)
    named = replace(claims.decoded.named, server_name=None)
    with pytest.raises(ChainRefused, match="no alternative name"):
        build_chain(replace(claims, decoded=replace(claims.decoded, named=named)), now=NOW, bundle=bundle)


class TestUnreadable:
    """A field that only a later step reads refuses the document, and says whether a pin issued the signer."""

    SENTENCE = "The signer's certificate has a field that cannot be read"

    def test_a_signer_that_a_pin_issued_breaks_the_profile(self) -> None:
        made = mint("EC")
        address = sequence(element(0x82, b"metadata.azure.com"), element(0x87, b"12345"))
        raw = made.certify(with_extension(made.tbs, ExtensionOID.SUBJECT_ALTERNATIVE_NAME, address))
        with pytest.raises(ProfileRefused) as caught:
            build_chain(claims_of(x509.load_der_x509_certificate(raw)), now=NOW, bundle=made.bundle)
        assert (caught.value.reason, caught.value.detail) == (Reason.CHAIN_UNTRUSTED, f"{self.SENTENCE}: ValueError.")

    def test_a_signer_whose_issuer_cannot_be_checked_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(signer: Certificate, authority: Certificate) -> bool:
            raise KeyError(signer, authority)

        monkeypatch.setattr(Certificate, "is_issued_by", fail)
        refusal = refused(shared_pki().signer, shared_bundle())
        assert (type(refusal), refusal.reason) == (ChainRefused, Reason.CHAIN_UNTRUSTED)
        assert refusal.detail == f"{self.SENTENCE}: KeyError."


def test_an_invalid_server_name_is_refused() -> None:
    issuing = authority("Issuing")
    claims = claims_of(make_signer(issuer=issuing).certificate)
    for name in ("", ".", "a b", "xn--a..metadata.azure.com", "a" * 300):
        named = replace(claims.decoded.named, server_name=name)
        with pytest.raises(ChainRefused, match="first path validator"):
            build_chain(
                replace(claims, decoded=replace(claims.decoded, named=named)),
                now=NOW,
                bundle=bundle_of(root().certificate, issuing.certificate),
            )


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[str]]:
    """Return the fingerprints of the authorities of each search from now on."""
    searches: list[frozenset[str]] = []
    find = chain._find_path  # noqa: SLF001 - one call is one search

    def record(signer: Certificate, name: str, entries: tuple[TrustedCertificate, ...], now: datetime) -> object:
        searches.append(frozenset(entry.certificate.sha256 for entry in entries))
        return find(signer, name, entries, now)

    monkeypatch.setattr(chain, "_find_path", record)
    return searches


class TestOddPins:
    """Check a certificate that only the second validator refuses, beside others of the same authority."""

    #: certificatePolicies with NULL instead of a policy.
    UNREADABLE = x509.UnrecognizedExtension(x509.CertificatePolicies.oid, b"\x30\x02\x05\x00")

    def twins(self, count: int) -> list[x509.Certificate]:
        """Return unreadable certificates of one authority under this number of roots, and the roots."""
        roots = [root(f"Twins Root {number}") for number in range(count)]
        odd = [authority("Twin", issuer=one, extensions=[self.UNREADABLE]) for one in roots]
        return [one.certificate for one in (*roots, *odd)]

    def test_a_path_over_the_only_certificate_is_refused_with_its_reason(self) -> None:
        signer = make_signer(issuer=authority("Twin"))
        refusal = refused(signer, bundle_of(*self.twins(1)))
        assert "second path validator cannot read" in refusal.detail

    @pytest.mark.parametrize("count", [1, 2])
    def test_the_good_certificate_is_found_beside_them(self, count: int) -> None:
        good = authority("Twin")
        bundle = bundle_of(*self.twins(count), root().certificate, good.certificate)
        assert build(make_signer(issuer=good), bundle) == [good.certificate, root().certificate]

    def test_the_good_certificate_is_found_beside_some_that_end_the_search(
        self, searched: list[frozenset[str]]
    ) -> None:
        # The first validator gives up after 1,048,576 comparisons. Each odd pin costs 490 for each of 256 names.
        excluded = [*(x509.DNSName(f"a.{number}") for number in range(489)), x509.DNSName("last.metadata.azure.com")]
        odd = [authority("Twin", extensions=[x509.NameConstraints(None, excluded)]).certificate for _ in range(9)]
        good = authority("Twin")
        names = [*(f"{number}.metadata.azure.com" for number in range(254)), "metadata.azure.com"]
        signer = make_signer(issuer=good, names=[*names, "last.metadata.azure.com"])
        assert build(signer, bundle_of(root().certificate, *odd, good.certificate)) == [
            good.certificate,
            root().certificate,
        ]
        first, second = searched
        assert first - second == {Certificate.from_der(der(odd[0])).sha256}

    def test_the_number_of_searches_is_bounded(self, searched: list[frozenset[str]]) -> None:
        signer = make_signer(issuer=authority("Twin"))
        bundle = bundle_of(*self.twins(4 * MAX_SEARCHES))
        assert cpu_seconds(lambda: refused(signer, bundle)) < 2
        assert len(searched) == MAX_SEARCHES
        assert [len(one) - len(searched[0]) for one in searched[1:3]] == [-1, -1]

    def test_no_search_is_made_twice(self, searched: list[frozenset[str]]) -> None:
        # Without the first pin and then the first root, and without the same in the other order.
        pins = [authority("Twin", extensions=[self.UNREADABLE]).certificate for _ in range(2)]
        renewed = pki.make_root(subject=root().certificate.subject, key=root().key, validity=around(days=90))
        refused(make_signer(issuer=authority("Twin")), bundle_of(root().certificate, renewed.certificate, *pins))
        assert len(set(searched)) == len(searched) > 3


def cpu_seconds(work: Callable[[], object]) -> float:
    started = process_time()
    work()
    return process_time() - started


class TestWork:
    """Bound the cost of a pinned authority's signer, and of an unusual set of pins."""

    def test_the_cost_of_names_under_name_constraints_is_bounded(self) -> None:
        excluded = [x509.DNSName(f"{number}.example.com") for number in range(100)]
        issuing = authority("Constrained", extensions=[x509.NameConstraints(None, excluded)])
        names = ["metadata.azure.com", *(f"{number}.metadata.azure.com" for number in range(255))]
        signer = make_signer(issuer=issuing, names=names)
        bundle = bundle_of(root().certificate, issuing.certificate)
        assert cpu_seconds(lambda: build(signer, bundle)) < 2

    @pytest.mark.parametrize("is_one_key", [True, False])
    def test_the_cost_of_authorities_that_issued_one_another_is_bounded(self, *, is_one_key: bool) -> None:
        keys = [key("Ring" if is_one_key else f"Ring {number}") for number in range(40)]
        ring = [
            make_authority(
                issuer=pki.Identity(certificate=authority("Ring").certificate, key=one), name="Ring", key=two
            )
            for one, two in itertools.pairwise((*keys, keys[0]))
        ]
        signer = make_signer(issuer=ring[-1])
        bundle = TrustBundle.of((trusted(root().certificate), *(as_pin(one.certificate) for one in ring)))
        assert cpu_seconds(lambda: refused(signer, bundle)) < 2

    def test_the_cost_of_many_policies_is_bounded(self) -> None:
        oids = [x509.ObjectIdentifier(f"1.2.{number}") for number in range(300)]
        policies = x509.CertificatePolicies([x509.PolicyInformation(oid, None) for oid in oids])
        issuing = authority("Issuing")
        signer = make_signer(issuer=issuing, extensions=[policies])
        bundle = bundle_of(root().certificate, issuing.certificate)
        assert cpu_seconds(lambda: build(signer, bundle)) < 2


class TestSecondOpinion:
    """What the first validator must return, and what the second must not do."""

    def test_a_path_must_start_at_the_signer_and_end_at_the_only_anchor(self) -> None:
        pki_of = shared_pki()
        certificates = [one.certificate for one in (pki_of.signer, pki_of.issuing_ca, pki_of.root)]
        signer = Certificate.from_der(der(certificates[0]))
        entries = tuple(trusted(one) for one in certificates[1:])
        known = chain._known  # noqa: SLF001 - the first validator returns no such paths
        assert [entry.role for entry in known(signer, certificates, entries)] == [Role.INTERMEDIATE, Role.ROOT]
        leaf, issuer, anchor = certificates
        longest = [leaf, *[issuer] * (MAX_AUTHORITIES - 1), anchor]
        assert len(known(signer, longest, entries)) == MAX_AUTHORITIES
        # A signer that is itself trusted is no authority of its path.
        assert [entry.role for entry in known(entries[0].certificate, [issuer, anchor], entries)] == [Role.ROOT]
        for path in (
            [issuer, issuer, anchor],
            [leaf, issuer],
            [leaf, anchor, anchor],
            [leaf, anchor, issuer],
            [leaf],
            [leaf, *[issuer] * MAX_AUTHORITIES, anchor],
        ):
            with pytest.raises(ChainRefused, match="did not return a path over pins to an anchor") as caught:
                known(signer, path, entries)
            assert caught.value.reason is Reason.CHAIN_UNTRUSTED

    def test_the_second_validator_fetches_nothing_and_tolerates_no_weak_digest_or_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        used: list[dict[str, Any]] = []

        def record(**options: Any) -> ValidationContext:  # noqa: ANN401 - the options of the library
            used.append(options)
            return ValidationContext(**options)

        monkeypatch.setattr(chain, "ValidationContext", record)
        build(shared_pki().signer, shared_bundle())
        expected = {"trust_roots": [], "moment": NOW, "allow_fetching": False, "revocation_mode": "none"}
        assert used == [
            {**expected, "weak_hash_algos": ("md2", "md5", "sha1"), "time_tolerance": timedelta(0)},
        ]

    @pytest.mark.parametrize(
        ("purposes", "is_confirmed"),
        [
            ([ExtendedKeyUsageOID.SERVER_AUTH], True),
            ([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH], True),
            ([ExtendedKeyUsageOID.CLIENT_AUTH], False),
            ([], True),
        ],
    )
    def test_the_second_validator_requires_a_tls_server(
        self, purposes: list[x509.ObjectIdentifier], *, is_confirmed: bool
    ) -> None:
        issuing = authority("Issuing")
        signer = make_signer(
            issuer=issuing,
            extensions=[x509.ExtendedKeyUsage(purposes)] if purposes else [],
            without=() if purposes else (x509.ExtendedKeyUsage.oid,),
        )
        read = Certificate.from_der(der(signer.certificate))
        refusal = "" if is_confirmed else "The second path validator does not accept the signer's chain."
        assert self.refusal_of(read, issuing, root()) == refusal

    def test_the_second_validator_requires_the_signature_of_the_issuer(self) -> None:
        signer = Certificate.from_der(der(make_signer(issuer=authority("Issuing")).certificate))
        refusal = self.refusal_of(signer, authority("Another"), root())
        assert refusal == "The second path validator does not accept the signer's chain."

    @pytest.mark.parametrize("place", [None, 0, 1, 2])
    def test_the_second_validator_reads_no_bytes_behind_a_certificate(self, place: int | None) -> None:
        issuing = authority("Issuing")
        read = [Certificate.from_der(der(one.certificate)) for one in (make_signer(issuer=issuing), issuing, root())]
        signer, *path = [replace(one, der=one.der + b"\0" * (index == place)) for index, one in enumerate(read)]
        entries = tuple(
            replace(trusted(one.certificate), certificate=other)
            for one, other in zip((issuing, root()), path, strict=True)
        )
        if place is None:
            chain._confirm_path(signer, entries, NOW)  # noqa: SLF001 - the reader refuses such certificates
        else:
            with pytest.raises(ChainRefused, match="second path validator cannot read"):
                chain._confirm_path(signer, entries, NOW)  # noqa: SLF001 - as above

    @staticmethod
    def refusal_of(signer: Certificate, *path: pki.Identity) -> str:
        try:
            chain._confirm_path(signer, tuple(trusted(one.certificate) for one in path), NOW)  # noqa: SLF001 - as above
        except ChainRefused as refusal:
            return refusal.detail
        return ""

    def test_the_fault_that_the_first_validator_names_is_limited_and_printable(self) -> None:
        signer = Certificate.from_der(der(shared_pki().signer.certificate))
        fault_of = chain._fault_of_signer  # noqa: SLF001 - the library has no such long sentence

        def error(fault: str, certificate: object) -> verification.VerificationError:
            return verification.VerificationError(
                f"validation failed: {fault} (encountered processing {certificate!r})"
            )

        sentence = "The path validator refuses the signer's own certificate: "
        assert fault_of(signer, error("a" * 201, signer.parsed)) == f"{sentence}{'a' * 200}."
        assert fault_of(signer, error("2.5.29.35 \n", signer.parsed)) == f"{sentence}authorityKeyIdentifier \\n."
        assert fault_of(signer, error("a", root().certificate)) == ""
        named = make_signer(common_names=("a (encountered processing b",)).certificate
        assert fault_of(Certificate.from_der(der(named)), error("a", named)) == f"{sentence}a."
        assert fault_of(signer, verification.VerificationError("validation failed: a")) == ""

    def test_a_lack_of_memory_is_no_fault_of_the_document(self) -> None:
        with pytest.raises(MemoryError), chain._refusing("It fails"):  # noqa: SLF001 - no document causes it
            raise MemoryError
        with pytest.raises(ChainRefused, match=r"It fails: KeyError\.$"), chain._refusing("It fails"):  # noqa: SLF001 - as above
            raise KeyError

    def test_a_validator_that_waits_is_refused(self) -> None:
        class Waiting:
            def __await__(self) -> Generator[None, None, None]:
                yield

        async def fetch() -> None:
            await Waiting()

        async def work() -> None:
            pass

        chain._run(work())  # noqa: SLF001 - the second validator never waits
        waiting = fetch()
        with pytest.raises(ChainRefused, match="tried to fetch data") as caught:
            chain._run(waiting)  # noqa: SLF001 - as above
        assert caught.value.reason is Reason.CHAIN_UNTRUSTED
        assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED

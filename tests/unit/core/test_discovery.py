"""Issuers that are not pinned: their observations, and the embedded certificates that are confirmed to chain."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from support.certificates import make_signer
from support.chains import authority, claims_of, key, root
from support.documents import NOW, around, bundle_of, der, trusted

from verifier.core import discovery
from verifier.core.chain import build_chain
from verifier.core.discovery import (
    MAX_CANDIDATES,
    DiscoveredIssuer,
    DiscoveryMode,
    admit,
    confirm_authorities,
    extend,
    observe_issuer,
    read_candidates,
)
from verifier.core.model import UnverifiedClaims
from verifier.core.trust.bundle import AuthorityIdentity, Denials, Origin, TrustBundle, TrustError
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.emulator import pki

EXPIRED = pki.Validity(not_before=NOW - timedelta(days=900), not_after=NOW - timedelta(days=1))
#: Certificates of one CA, each with a bundle of its anchors.
FORMS = {
    "direct": (authority("Seen CA"), bundle_of(root().certificate)),
    "cross-signed": (
        authority("Seen CA", issuer=root("Another Root")),
        bundle_of(root().certificate, root("Another Root").certificate),
    ),
    "renewed": (authority("Seen CA", validity=around(days=900)), bundle_of(root().certificate)),
}


def read(identity: pki.Identity) -> Certificate:
    return Certificate.from_der(der(identity.certificate))


def claims_under(issuer: pki.Identity, *, cloud: Cloud = Cloud.PUBLIC) -> UnverifiedClaims:
    names = (cloud.domain,)
    return claims_of(make_signer(issuer=issuer, names=names, key=key("signer")).certificate, cloud=cloud)


def confirm(
    claims: UnverifiedClaims,
    *candidates: pki.Identity,
    bundle: TrustBundle | None = None,
    decisions: OperatorDecisions | None = None,
) -> list[str]:
    found = confirm_authorities(
        claims,
        [read(one) for one in candidates],
        now=NOW,
        bundle=bundle or bundle_of(root().certificate),
        decisions=decisions or OperatorDecisions(),
    )
    return [one.sha256 for one in found]


def fingerprints(*identities: pki.Identity) -> list[str]:
    return [read(one).sha256 for one in identities]


class TestObservation:
    def test_has_the_issuer_that_the_signer_names(self) -> None:
        claims = claims_under(authority("Seen CA"))
        signer = claims.signer
        observation = observe_issuer(claims, now=NOW)
        assert observation.cloud is Cloud.PUBLIC
        assert observation.issuer == signer.issuer
        assert observation.authority_key_identifier == (signer.authority_key_identifier or b"").hex() != ""
        assert (observation.signer_sha256, observation.seen_at) == (signer.sha256, NOW)

    def test_has_no_key_identifier_if_the_signer_names_none(self) -> None:
        signer = make_signer(issuer=authority("Seen CA"), without=[x509.AuthorityKeyIdentifier.oid])
        assert observe_issuer(claims_of(signer.certificate), now=NOW).authority_key_identifier == ""

    def test_a_discovered_issuer_has_no_authorities_by_default_and_does_not_show_them(self) -> None:
        seen = observe_issuer(claims_under(authority("Seen CA")), now=NOW)
        issuer = DiscoveredIssuer(observation=seen, first_seen=NOW, last_seen=NOW, documents=1)
        assert issuer.authorities == ()
        assert repr(replace(issuer, authorities=(b"DER",))) == repr(issuer)

    def test_has_at_most_as_many_urls_as_candidates_are_tried(self) -> None:
        claims = claims_under(authority("Seen CA"))
        named = claims.decoded.named
        urls = tuple(f"http://ca.example/{number}" for number in range(MAX_CANDIDATES + 1))
        signed = replace(named.signed, signer=replace(named.signed.signer, unverified_issuer_urls=urls))
        many = UnverifiedClaims(decoded=replace(claims.decoded, named=replace(named, signed=signed)))
        assert observe_issuer(many, now=NOW).issuer_urls == urls[:MAX_CANDIDATES]

    def test_has_the_same_id_for_all_signers_of_one_issuer(self) -> None:
        issuer = authority("Seen CA")
        first = observe_issuer(claims_under(issuer), now=NOW)
        second = observe_issuer(claims_of(make_signer(issuer=issuer, key=key("another")).certificate), now=NOW)
        assert first.signer_sha256 != second.signer_sha256
        assert first.id == second.id

    @pytest.mark.parametrize(
        "change",
        [{"cloud": Cloud.CHINA}, {"issuer": "CN=Another"}, {"authority_key_identifier": "00"}],
        ids=["cloud", "name", "key"],
    )
    def test_has_another_id_for_another(self, change: dict[str, object]) -> None:
        observation = observe_issuer(claims_under(authority("Seen CA")), now=NOW)
        assert replace(observation, **change).id != observation.id  # type: ignore[arg-type]  # the values of the fields named

    def test_has_an_id_if_the_issuer_is_not_unicode_text(self) -> None:
        observation = observe_issuer(claims_under(authority("Seen CA")), now=NOW)
        assert len(replace(observation, issuer="CN=\ud800").id) == 64


class TestCandidates:
    def test_are_authorities_that_are_not_self_issued(self) -> None:
        ca, leaf = authority("Seen CA"), make_signer(key=key("signer"))
        embedded = [der(one.certificate) for one in (leaf, root(), ca)]
        assert [one.sha256 for one in read_candidates(embedded)] == fingerprints(ca)

    def test_skip_bytes_that_cannot_be_read(self) -> None:
        ca = der(authority("Seen CA").certificate)
        assert [one.der for one in read_candidates([b"", b"\x30\x80", ca[:-1], ca])] == [ca]

    def test_are_limited_in_number(self) -> None:
        ca = der(authority("Seen CA").certificate)
        assert MAX_CANDIDATES == 4
        assert len(read_candidates([b""] * 3 + [ca])) == 1
        assert read_candidates([b""] * 4 + [ca]) == ()


class TestConfirmedAuthorities:
    def test_include_an_issuer_under_an_anchor(self) -> None:
        issuer = authority("Seen CA")
        assert confirm(claims_under(issuer), issuer) == fingerprints(issuer)

    def test_start_with_the_issuer_and_include_every_unpinned_authority(self) -> None:
        above = authority("Above CA")
        issuer = authority("Seen CA", issuer=above)
        assert confirm(claims_under(issuer), above, issuer) == fingerprints(issuer, above)

    def test_exclude_authorities_that_are_already_trusted(self) -> None:
        above = authority("Above CA")
        issuer = authority("Seen CA", issuer=above)
        bundle = bundle_of(root().certificate, above.certificate)
        assert confirm(claims_under(issuer), issuer, above, bundle=bundle) == fingerprints(issuer)

    def test_include_an_authority_that_is_listed_only_for_another_cloud(self) -> None:
        issuer = authority("Seen CA")
        both = frozenset({Cloud.PUBLIC, Cloud.CHINA})
        bundle = TrustBundle.of((trusted(root().certificate, clouds=both), trusted(issuer.certificate)))
        claims = claims_under(issuer, cloud=Cloud.CHINA)
        assert confirm(claims, issuer, bundle=bundle) == fingerprints(issuer)

    def test_exclude_candidates_that_issued_none_of_the_path(self) -> None:
        issuer = authority("Seen CA")
        assert confirm(claims_under(issuer), authority("Other CA"), issuer) == fingerprints(issuer)

    def test_include_the_valid_one_of_two_certificates_of_an_authority(self) -> None:
        issuer = authority("Seen CA")
        elsewhere = authority("Seen CA", issuer=root("Unknown Root"))
        assert confirm(claims_under(issuer), elsewhere, issuer) == fingerprints(issuer)

    def test_are_empty_without_an_anchor_above(self) -> None:
        issuer = authority("Seen CA", issuer=root("Unknown Root"))
        assert confirm(claims_under(issuer), issuer) == []

    def test_are_empty_if_another_key_signed_the_signer(self) -> None:
        issuer = authority("Seen CA")
        namesake = authority("Seen CA", own_key=key("Another key"))
        assert confirm(claims_under(issuer), namesake) == []

    def test_are_empty_if_an_authority_of_the_path_is_missing(self) -> None:
        issuer = authority("Seen CA", issuer=authority("Above CA"))
        assert confirm(claims_under(issuer), issuer) == []

    def test_are_empty_without_candidates(self) -> None:
        assert confirm(claims_under(authority("Seen CA"))) == []

    def test_are_empty_if_the_issuer_has_expired(self) -> None:
        issuer = authority("Seen CA", validity=around(NOW.replace(year=2020)))
        assert confirm(claims_under(issuer), issuer) == []

    def test_are_empty_for_a_cloud_without_trust(self) -> None:
        issuer = authority("Seen CA")
        assert confirm(claims_under(issuer, cloud=Cloud.CHINA), issuer) == []

    def test_are_empty_if_the_issuer_is_denied(self) -> None:
        issuer = authority("Seen CA")
        denials = Denials(serial_numbers=frozenset({issuer.certificate.serial_number}))
        bundle = TrustBundle.of((trusted(root().certificate),), denials=denials)
        assert confirm(claims_under(issuer), issuer, bundle=bundle) == []

    @pytest.mark.parametrize("form", FORMS)
    def test_exclude_every_certificate_of_a_rejected_ca(self, form: str) -> None:
        issuer, bundle = FORMS[form]
        rejected = OperatorDecisions(rejected=frozenset({AuthorityIdentity.of(read(authority("Seen CA")))}))
        assert confirm(claims_under(issuer), issuer, bundle=bundle) == fingerprints(issuer)
        assert confirm(claims_under(issuer), issuer, bundle=bundle, decisions=rejected) == []

    @pytest.mark.parametrize("form", FORMS)
    def test_exclude_a_rejected_ca_above_the_issuer(self, form: str) -> None:
        above, bundle = FORMS[form]
        issuer = authority("Below CA", issuer=above)
        rejected = OperatorDecisions(rejected=frozenset({AuthorityIdentity.of(read(authority("Seen CA")))}))
        assert confirm(claims_under(issuer), issuer, above, bundle=bundle) == fingerprints(issuer, above)
        assert confirm(claims_under(issuer), issuer, above, bundle=bundle, decisions=rejected) == []

    @pytest.mark.parametrize("form", ["cross-signed", "renewed"])
    def test_exclude_a_ca_with_a_known_certificate_whose_serial_number_is_denied(self, form: str) -> None:
        issuer, bundle = FORMS[form]
        denied = authority("Seen CA")
        decisions = OperatorDecisions(denials=Denials(serial_numbers=frozenset({denied.certificate.serial_number})))
        listed = TrustBundle.of((*bundle.entries, trusted(denied.certificate)), denials=decisions.denials)
        assert confirm(claims_under(issuer), issuer, bundle=bundle, decisions=decisions) == fingerprints(issuer)
        assert confirm(claims_under(issuer), issuer, bundle=listed, decisions=decisions) == []
        assert confirm(claims_under(issuer), issuer, denied, bundle=bundle, decisions=decisions) == []
        known = {denied.certificate.serial_number: frozenset({AuthorityIdentity.of(read(denied))})}
        recorded = replace(decisions, denied_authorities=known)
        assert confirm(claims_under(issuer), issuer, bundle=bundle, decisions=recorded) == []

    @pytest.mark.parametrize("form", ["cross-signed", "renewed"])
    @pytest.mark.parametrize(
        ("plan", "is_found"),
        [
            ({"retire_at": NOW}, False),
            ({"retire_at": NOW + timedelta(seconds=1)}, True),
            ({"activate_at": NOW + timedelta(seconds=1)}, False),
            ({"activate_at": NOW}, True),
        ],
    )
    def test_include_a_ca_only_within_the_planned_times_of_the_manifest(
        self, form: str, plan: dict[str, Any], *, is_found: bool
    ) -> None:
        """Place the CA above the issuer, so that only the planned times of its expired certificate decide."""
        above, bundle = FORMS[form]
        expired = authority("Seen CA", validity=EXPIRED)
        listed = TrustBundle.of((*bundle.entries, replace(trusted(expired.certificate), **plan)))
        issuer = authority("Below CA", issuer=above)
        found = confirm(claims_under(issuer), issuer, above, bundle=listed)
        assert found == (fingerprints(issuer, above) if is_found else [])

    def test_skip_only_the_candidate_whose_planned_times_leave_no_time(self) -> None:
        retired = trusted(authority("Seen CA", validity=EXPIRED).certificate, retire_at=NOW)
        later = NOW + timedelta(days=1)
        staged = trusted(authority("Seen CA", validity=around(days=3)).certificate, activate_at=later)
        bundle = TrustBundle.of((trusted(root().certificate), retired, staged))
        issuer, seen = authority("Other CA"), authority("Seen CA")
        crossed = authority("Other CA", issuer=seen)
        assert confirm(claims_under(issuer), crossed, seen, issuer, bundle=bundle) == fingerprints(issuer)

    def test_are_found_among_authorities_that_issued_one_another(self) -> None:
        issuer = authority("Seen CA")
        other = authority("Other CA", issuer=issuer)
        crossed = authority("Seen CA", issuer=other)
        assert confirm(claims_under(issuer), issuer, other, crossed) == fingerprints(issuer)

    def test_are_searched_only_if_a_candidate_issued_the_signer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(discovery, "build_chain", None)
        namesake = authority("Seen CA", own_key=key("Another key"))
        assert confirm(claims_under(authority("Seen CA")), namesake, authority("Other CA")) == []

    def test_do_not_change_the_bundle(self) -> None:
        issuer = authority("Seen CA")
        bundle = bundle_of(root().certificate)
        confirm(claims_under(issuer), issuer, bundle=bundle)
        assert bundle.clouds[Cloud.PUBLIC].pins == ()


class TestExtendedBundle:
    def test_builds_the_missing_chain(self) -> None:
        issuer = authority("Seen CA")
        trust = bundle_of(root().certificate)
        bundle = extend(trust, [admit(read(issuer), Cloud.PUBLIC, bundle=trust)])
        content = build_chain(claims_under(issuer), now=NOW, bundle=bundle)
        assert [link.origin for link in content.chain] == [Origin.ADMITTED, Origin.LISTED]
        assert bundle.clouds[Cloud.PUBLIC].pins[0].source == "discovered"

    def test_an_approved_certificate_serves_new_clouds_at_the_times_of_the_present_entry(self) -> None:
        both = frozenset({Cloud.PUBLIC, Cloud.CHINA})
        listed = trusted(authority("Seen CA").certificate, retire_at=NOW)
        bundle = TrustBundle.of((trusted(root().certificate, clouds=both), listed))
        approved = replace(listed, clouds=frozenset({Cloud.CHINA}), origin=Origin.APPROVED, retire_at=None)
        assert extend(bundle, [approved]).clouds[Cloud.CHINA].pins == (replace(listed, clouds=both),)

    def test_changes_only_the_clouds_of_a_present_entry(self) -> None:
        issuer = authority("Seen CA")
        both = frozenset({Cloud.PUBLIC, Cloud.CHINA})
        listed = trusted(issuer.certificate, retire_at=NOW)
        bundle = TrustBundle.of((trusted(root().certificate, clouds=both), listed))
        extended = extend(bundle, [admit(read(issuer), Cloud.CHINA, bundle=bundle)])
        assert extended.clouds[Cloud.CHINA].pins == (replace(listed, clouds=both),)
        assert extended.clouds[Cloud.PUBLIC].pins == (replace(listed, clouds=both),)

    def test_does_not_extend_an_operators_pin_of_a_retired_ca_to_other_clouds(self) -> None:
        both = frozenset({Cloud.PUBLIC, Cloud.CHINA})
        retired = trusted(authority("Seen CA", validity=EXPIRED).certificate, retire_at=NOW)
        pinned = replace(trusted(authority("Seen CA").certificate), origin=Origin.APPROVED)
        bundle = TrustBundle.of((trusted(root().certificate, clouds=both), retired, pinned))
        extended = extend(bundle, [admit(pinned.certificate, Cloud.CHINA, bundle=bundle)])
        assert extended.clouds[Cloud.PUBLIC].entry(pinned.certificate.sha256) == pinned
        assert extended.clouds[Cloud.CHINA].pins == ()

    def test_keeps_the_denials(self) -> None:
        denials = Denials(serial_numbers=frozenset({7}))
        bundle = TrustBundle.of((trusted(root().certificate),), denials=denials)
        extended = extend(bundle, [admit(read(authority("Seen CA")), Cloud.PUBLIC, bundle=bundle)])
        assert extended.denials == denials

    def test_is_the_same_without_new_entries(self) -> None:
        bundle = bundle_of(root().certificate)
        assert extend(bundle, []).generation == bundle.generation

    def test_does_not_admit_a_leaf(self) -> None:
        with pytest.raises(TrustError, match="not a certificate authority"):
            admit(read(make_signer(key=key("signer"))), Cloud.PUBLIC, bundle=bundle_of(root().certificate))


def test_only_the_mode_pinned_fetches_no_certificate() -> None:
    assert {mode.value: mode.fetches for mode in DiscoveryMode} == {"pinned": False, "observe": True, "admit": True}

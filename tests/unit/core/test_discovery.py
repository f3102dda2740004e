"""An issuer that nobody pinned: what is noted of it, and which of a stranger's certificates are found to chain."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.certificates import make_signer
from support.chains import authority, claims_of, key, root
from support.documents import NOW, around, bundle_of, der, trusted

from verifier.core.chain import build_chain
from verifier.core.discovery import MAX_CANDIDATES, admit, confirm_authorities, extend, observe_issuer, read_candidates
from verifier.core.model import UnverifiedClaims
from verifier.core.trust.bundle import AuthorityIdentity, Denials, Origin, TrustBundle, TrustError
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.emulator import pki

EXPIRED = pki.Validity(not_before=NOW - timedelta(days=900), not_after=NOW - timedelta(days=1))
#: Certificates of one CA, each with anchors that it chains to.
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


class TestSighting:
    def test_notes_the_issuer_as_the_signer_names_it(self) -> None:
        claims = claims_under(authority("Seen CA"))
        signer = claims.signer
        sighting = observe_issuer(claims, now=NOW)
        assert sighting.cloud is Cloud.PUBLIC
        assert sighting.issuer == signer.issuer
        assert sighting.authority_key_identifier == (signer.authority_key_identifier or b"").hex() != ""
        assert (sighting.signer_sha256, sighting.seen_at) == (signer.sha256, NOW)

    def test_notes_no_more_urls_than_are_looked_at(self) -> None:
        claims = claims_under(authority("Seen CA"))
        named = claims.decoded.named
        urls = tuple(f"http://ca.example/{number}" for number in range(MAX_CANDIDATES + 1))
        signed = replace(named.signed, signer=replace(named.signed.signer, unverified_issuer_urls=urls))
        many = UnverifiedClaims(decoded=replace(claims.decoded, named=replace(named, signed=signed)))
        assert observe_issuer(many, now=NOW).issuer_urls == urls[:MAX_CANDIDATES]

    def test_is_of_one_issuer_for_all_its_signers(self) -> None:
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
    def test_is_of_another_issuer_where_its(self, change: dict[str, object]) -> None:
        sighting = observe_issuer(claims_under(authority("Seen CA")), now=NOW)
        assert replace(sighting, **change).id != sighting.id  # type: ignore[arg-type]  # the values of the fields named

    def test_may_have_an_issuer_that_is_no_text(self) -> None:
        sighting = observe_issuer(claims_under(authority("Seen CA")), now=NOW)
        assert len(replace(sighting, issuer="CN=\ud800").id) == 64


class TestCandidates:
    def test_are_authorities_that_others_issued(self) -> None:
        ca, leaf = authority("Seen CA"), make_signer(key=key("signer"))
        embedded = [der(one.certificate) for one in (leaf, root(), ca)]
        assert [one.sha256 for one in read_candidates(embedded)] == fingerprints(ca)

    def test_may_be_anything_that_cannot_be_read(self) -> None:
        ca = der(authority("Seen CA").certificate)
        assert [one.der for one in read_candidates([b"", b"\x30\x80", ca[:-1], ca])] == [ca]

    def test_are_the_first_few(self) -> None:
        ca = der(authority("Seen CA").certificate)
        assert read_candidates([b""] * MAX_CANDIDATES + [ca]) == ()


class TestConfirmedAuthorities:
    def test_are_the_issuer_that_an_anchor_issued(self) -> None:
        issuer = authority("Seen CA")
        assert confirm(claims_under(issuer), issuer) == fingerprints(issuer)

    def test_are_all_that_nobody_pinned_the_signers_own_issuer_first(self) -> None:
        above = authority("Above CA")
        issuer = authority("Seen CA", issuer=above)
        assert confirm(claims_under(issuer), above, issuer) == fingerprints(issuer, above)

    def test_are_not_those_that_are_trusted_already(self) -> None:
        above = authority("Above CA")
        issuer = authority("Seen CA", issuer=above)
        bundle = bundle_of(root().certificate, above.certificate)
        assert confirm(claims_under(issuer), issuer, above, bundle=bundle) == fingerprints(issuer)

    def test_are_found_where_another_cloud_lists_them(self) -> None:
        issuer = authority("Seen CA")
        both = frozenset({Cloud.PUBLIC, Cloud.CHINA})
        bundle = TrustBundle.of((trusted(root().certificate, clouds=both), trusted(issuer.certificate)))
        claims = claims_under(issuer, cloud=Cloud.CHINA)
        assert confirm(claims, issuer, bundle=bundle) == fingerprints(issuer)

    def test_are_passed_over_that_issued_nothing_here(self) -> None:
        issuer = authority("Seen CA")
        assert confirm(claims_under(issuer), authority("Other CA"), issuer) == fingerprints(issuer)

    def test_are_one_form_of_an_authority_that_holds(self) -> None:
        issuer = authority("Seen CA")
        elsewhere = authority("Seen CA", issuer=root("Stranger"))
        assert confirm(claims_under(issuer), elsewhere, issuer) == fingerprints(issuer)

    def test_are_none_where_no_anchor_is_above_them(self) -> None:
        issuer = authority("Seen CA", issuer=root("Stranger"))
        assert confirm(claims_under(issuer), issuer) == []

    def test_are_none_where_the_signature_is_anothers(self) -> None:
        issuer = authority("Seen CA")
        namesake = authority("Seen CA", own_key=key("Another key"))
        assert confirm(claims_under(issuer), namesake) == []

    def test_are_none_where_one_between_is_missing(self) -> None:
        issuer = authority("Seen CA", issuer=authority("Above CA"))
        assert confirm(claims_under(issuer), issuer) == []

    def test_are_none_where_there_is_no_candidate(self) -> None:
        assert confirm(claims_under(authority("Seen CA"))) == []

    def test_are_none_where_they_have_expired(self) -> None:
        issuer = authority("Seen CA", validity=around(NOW.replace(year=2020)))
        assert confirm(claims_under(issuer), issuer) == []

    def test_are_none_for_a_cloud_without_trust(self) -> None:
        issuer = authority("Seen CA")
        assert confirm(claims_under(issuer, cloud=Cloud.CHINA), issuer) == []

    def test_are_none_where_they_are_denied(self) -> None:
        issuer = authority("Seen CA")
        denials = Denials(serial_numbers=frozenset({issuer.certificate.serial_number}))
        bundle = TrustBundle.of((trusted(root().certificate),), denials=denials)
        assert confirm(claims_under(issuer), issuer, bundle=bundle) == []

    @pytest.mark.parametrize("form", FORMS)
    def test_are_none_of_a_rejected_ca_in_any_form(self, form: str) -> None:
        issuer, bundle = FORMS[form]
        rejected = OperatorDecisions(rejected=frozenset({AuthorityIdentity.of(read(authority("Seen CA")))}))
        assert confirm(claims_under(issuer), issuer, bundle=bundle) == fingerprints(issuer)
        assert confirm(claims_under(issuer), issuer, bundle=bundle, decisions=rejected) == []

    @pytest.mark.parametrize("form", FORMS)
    def test_are_none_of_a_ca_above_that_is_rejected(self, form: str) -> None:
        above, bundle = FORMS[form]
        issuer = authority("Below CA", issuer=above)
        rejected = OperatorDecisions(rejected=frozenset({AuthorityIdentity.of(read(authority("Seen CA")))}))
        assert confirm(claims_under(issuer), issuer, above, bundle=bundle) == fingerprints(issuer, above)
        assert confirm(claims_under(issuer), issuer, above, bundle=bundle, decisions=rejected) == []

    @pytest.mark.parametrize("form", ["cross-signed", "renewed"])
    def test_are_none_of_a_ca_of_which_a_known_certificate_is_denied_by_its_serial_number(self, form: str) -> None:
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
    def test_are_those_of_a_ca_within_the_times_that_the_manifest_plans(
        self, form: str, plan: dict[str, Any], *, is_found: bool
    ) -> None:
        """Another certificate of the CA, above the issuer, so that the pinned one cannot speak for itself."""
        above, bundle = FORMS[form]
        expired = authority("Seen CA", validity=EXPIRED)
        listed = TrustBundle.of((*bundle.entries, replace(trusted(expired.certificate), **plan)))
        issuer = authority("Below CA", issuer=above)
        found = confirm(claims_under(issuer), issuer, above, bundle=listed)
        assert found == (fingerprints(issuer, above) if is_found else [])

    def test_are_not_kept_from_others_by_a_plan_that_leaves_no_time(self) -> None:
        retired = trusted(authority("Seen CA", validity=EXPIRED).certificate, retire_at=NOW)
        staged = trusted(authority("Seen CA", validity=around(days=3)).certificate, activate_at=NOW)
        bundle = TrustBundle.of((trusted(root().certificate), retired, staged))
        issuer = authority("Other CA")
        assert confirm(claims_under(issuer), issuer, authority("Seen CA"), bundle=bundle) == fingerprints(issuer)

    def test_are_not_trusted_by_that(self) -> None:
        issuer = authority("Seen CA")
        bundle = bundle_of(root().certificate)
        confirm(claims_under(issuer), issuer, bundle=bundle)
        assert bundle.clouds[Cloud.PUBLIC].pins == ()


class TestExtendedBundle:
    def test_builds_the_chain_that_was_missing(self) -> None:
        issuer = authority("Seen CA")
        trust = bundle_of(root().certificate)
        bundle = extend(trust, [admit(read(issuer), Cloud.PUBLIC, bundle=trust)])
        content = build_chain(claims_under(issuer), now=NOW, bundle=bundle)
        assert [link.origin for link in content.chain] == [Origin.ADMITTED, Origin.LISTED]

    def test_leaves_an_entry_as_it_is_but_for_its_clouds(self) -> None:
        issuer = authority("Seen CA")
        both = frozenset({Cloud.PUBLIC, Cloud.CHINA})
        listed = trusted(issuer.certificate, retire_at=NOW)
        bundle = TrustBundle.of((trusted(root().certificate, clouds=both), listed))
        extended = extend(bundle, [admit(read(issuer), Cloud.CHINA, bundle=bundle)])
        assert extended.clouds[Cloud.CHINA].pins == (replace(listed, clouds=both),)
        assert extended.clouds[Cloud.PUBLIC].pins == (replace(listed, clouds=both),)

    def test_leaves_an_operators_pin_of_a_retired_ca_to_its_clouds(self) -> None:
        both = frozenset({Cloud.PUBLIC, Cloud.CHINA})
        retired = trusted(authority("Seen CA", validity=EXPIRED).certificate, retire_at=NOW)
        pinned = replace(trusted(authority("Seen CA").certificate), origin=Origin.APPROVED)
        bundle = TrustBundle.of((trusted(root().certificate, clouds=both), retired, pinned))
        extended = extend(bundle, [admit(pinned.certificate, Cloud.CHINA, bundle=bundle)])
        assert extended.clouds[Cloud.PUBLIC].entry(pinned.certificate.sha256) == pinned
        assert extended.clouds[Cloud.CHINA].pins == ()

    def test_keeps_what_is_denied(self) -> None:
        denials = Denials(serial_numbers=frozenset({7}))
        bundle = TrustBundle.of((trusted(root().certificate),), denials=denials)
        extended = extend(bundle, [admit(read(authority("Seen CA")), Cloud.PUBLIC, bundle=bundle)])
        assert extended.denials == denials

    def test_is_the_same_where_nothing_is_new(self) -> None:
        bundle = bundle_of(root().certificate)
        assert extend(bundle, []).generation == bundle.generation

    def test_admits_no_leaf(self) -> None:
        with pytest.raises(TrustError, match="not a certificate authority"):
            admit(read(make_signer(key=key("signer"))), Cloud.PUBLIC, bundle=bundle_of(root().certificate))

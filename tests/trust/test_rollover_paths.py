"""Rollovers on the shipped bundle with the real document of 2026, and on generated PKIs.

An authority has two certificates, direct and cross-signed, and either of them completes the chain.
"""

from datetime import UTC, datetime, timedelta
from enum import Enum

import pytest
from cryptography import x509
from support.appraisals import authenticate_archived
from support.certificates import make_signer
from support.chains import authority, claims_of, key
from support.documents import NOW, around, raw, sample, trusted

from verifier.adapters.trust.files import load_bundle
from verifier.core.chain import build_chain
from verifier.core.model import AuthenticContent, Limits
from verifier.core.reasons import ChainRefused, Reason
from verifier.core.trust.bundle import Denials, TrustBundle
from verifier.emulator import pki

SAMPLED_AT = datetime(2026, 7, 28, 13, 24, tzinfo=UTC)
SELF_SIGNED_G2 = "6a170583db584151e1c454eeca2a64cc5d8e484a5bd1156e720b4458654ee9e5"
CROSS_SIGNED_G2 = "ddcd1e8a20638d4aaff7201bb1d56452acd2c759f1686bdc38f73dd15732bdc2"
DIGICERT_G2 = "cb3ccbb76031e5e0138f8dd39a23f9de47ffc35e43c1144cea27d46a5ab1cb5f"


def shipped_without(*fingerprints: str) -> TrustBundle:
    shipped = load_bundle()
    kept = tuple(entry for entry in shipped.entries if entry.certificate.sha256 not in fingerprints)
    assert len(kept) == len(shipped.entries) - len(fingerprints)
    return TrustBundle.of(kept)


def authenticate(bundle: TrustBundle) -> AuthenticContent:
    document = raw(sample("public-eastus-2026-07-28"))
    return authenticate_archived(document, at=SAMPLED_AT, bundle=bundle, limits=Limits())


class TestRealDocumentOf2026:
    def test_is_accepted_with_only_the_self_signed_root(self) -> None:
        content = authenticate(shipped_without(CROSS_SIGNED_G2))
        issuer, anchor = content.chain
        assert issuer.subject.startswith("CN=Microsoft TLS G2 RSA CA OCSP ")
        assert anchor.sha256 == SELF_SIGNED_G2

    def test_is_accepted_with_only_the_cross_signed_root(self) -> None:
        content = authenticate(shipped_without(SELF_SIGNED_G2))
        issuer, *above = content.chain
        assert issuer.subject.startswith("CN=Microsoft TLS G2 RSA CA OCSP ")
        assert [link.sha256 for link in above] == [CROSS_SIGNED_G2, DIGICERT_G2]

    def test_is_accepted_with_both_roots(self) -> None:
        assert authenticate(load_bundle()).chain[-1].sha256 in {SELF_SIGNED_G2, DIGICERT_G2}

    def test_is_refused_without_both_roots(self) -> None:
        with pytest.raises(ChainRefused) as refused:
            authenticate(shipped_without(SELF_SIGNED_G2, CROSS_SIGNED_G2))
        assert refused.value.reason is Reason.CHAIN_UNTRUSTED

    def test_has_an_unpinned_issuer_without_the_pin(self) -> None:
        issuer = authenticate(load_bundle()).chain[0].sha256
        with pytest.raises(ChainRefused) as refused:
            authenticate(shipped_without(issuer))
        assert refused.value.reason is Reason.ISSUER_UNPINNED

    def test_is_refused_if_the_key_of_both_certificates_is_denied(self) -> None:
        shipped = load_bundle()
        (key_of_both,) = {
            entry.certificate.spki_sha256
            for entry in shipped.entries
            if entry.certificate.sha256 in {SELF_SIGNED_G2, CROSS_SIGNED_G2}
        }
        with pytest.raises(ChainRefused):
            authenticate(TrustBundle.of(shipped.entries, denials=Denials(spki_sha256=frozenset({key_of_both}))))


class Fault(Enum):
    """Say why one of the two certificates cannot be used."""

    NONE = "none"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    STAGED = "staged"
    RETIRED = "retired"
    DENIED = "denied"


VALIDITY = {
    Fault.EXPIRED: pki.Validity(not_before=NOW - timedelta(days=700), not_after=NOW - timedelta(seconds=1)),
    Fault.NOT_YET_VALID: pki.Validity(not_before=NOW + timedelta(seconds=1), not_after=NOW + timedelta(days=700)),
}


def validity(fault: Fault) -> pki.Validity:
    return VALIDITY.get(fault, around(days=3650))


def bundle_of(faulty: x509.Certificate, fault: Fault, *others: x509.Certificate, order: int) -> TrustBundle:
    """Return all entries as a bundle, with the faulty one at either end of the list."""
    entry = trusted(
        faulty,
        activate_at=NOW + timedelta(days=1) if fault is Fault.STAGED else None,
        retire_at=NOW if fault is Fault.RETIRED else None,
    )
    denied = frozenset({faulty.serial_number}) if fault is Fault.DENIED else frozenset()
    entries = (entry, *(trusted(other) for other in others))
    return TrustBundle.of(entries[::order], denials=Denials(serial_numbers=denied))


def names(content: AuthenticContent) -> list[str]:
    return [link.subject.partition(",")[0] for link in content.chain]


@pytest.mark.parametrize("order", [1, -1], ids=["faulty-first", "faulty-last"])
@pytest.mark.parametrize("fault", list(Fault))
class TestAuthorityInTwoForms:
    """Check an issuing authority with one name and key under an old root and a new root."""

    @pytest.mark.parametrize("faulty", ["old", "new"])
    def test_the_other_certificate_completes_the_chain(self, fault: Fault, order: int, faulty: str) -> None:
        roots = {name: make_root(f"Forms {name} Root") for name in ("old", "new")}
        forms = {
            name: authority("Forms CA", issuer=root, validity=validity(fault if name == faulty else Fault.NONE))
            for name, root in roots.items()
        }
        (sound,) = set(forms) - {faulty}
        signer = claims_of(make_signer(issuer=forms[sound], key=key("signer")).certificate)
        bundle = bundle_of(
            forms[faulty].certificate,
            fault,
            forms[sound].certificate,
            *(root.certificate for root in roots.values()),
            order=order,
        )
        *_, anchor = build_chain(signer, now=NOW, bundle=bundle).chain
        assert fault is Fault.NONE or anchor.subject.startswith(f"CN=Forms {sound} Root")


@pytest.mark.parametrize("order", [1, -1], ids=["faulty-first", "faulty-last"])
@pytest.mark.parametrize("fault", list(Fault))
class TestRootInTwoForms:
    """Check a root that is an anchor and also a pin under an older anchor, like Microsoft TLS RSA Root G2."""

    def test_the_cross_signed_certificate_completes_the_chain(self, fault: Fault, order: int) -> None:
        old = make_root("Before Root")
        own = make_root("G2 Root", validity(fault))
        cross = authority("G2 Root", issuer=old, own_key=key("G2 Root"))
        ca = authority("G2 CA", issuer=own)
        signer = claims_of(make_signer(issuer=ca, key=key("signer")).certificate)
        bundle = bundle_of(own.certificate, fault, cross.certificate, ca.certificate, old.certificate, order=order)
        content = build_chain(signer, now=NOW, bundle=bundle)
        if fault is not Fault.NONE:
            assert names(content) == ["CN=G2 CA", "CN=G2 Root", "CN=Before Root"]

    def test_the_self_signed_certificate_completes_the_chain(self, fault: Fault, order: int) -> None:
        old, own = make_root("Before Root"), make_root("G2 Root")
        cross = authority("G2 Root", issuer=old, own_key=key("G2 Root"), validity=validity(fault))
        ca = authority("G2 CA", issuer=own)
        signer = claims_of(make_signer(issuer=ca, key=key("signer")).certificate)
        bundle = bundle_of(cross.certificate, fault, own.certificate, ca.certificate, old.certificate, order=order)
        content = build_chain(signer, now=NOW, bundle=bundle)
        if fault is not Fault.NONE:
            assert names(content) == ["CN=G2 CA", "CN=G2 Root"]


def make_root(name: str, lasting: pki.Validity | None = None) -> pki.Identity:
    return pki.make_root(subject=pki.make_name(name), key=key(name), validity=lasting or around(days=3650))


def test_several_authorities_may_have_one_name_and_different_keys() -> None:
    root = make_root("Forms old Root")
    forms = [authority("Same CA", issuer=root, own_key=key(f"Same CA {number}")) for number in range(3)]
    bundle = TrustBundle.of(tuple(trusted(one.certificate) for one in (root, *forms)))
    for form in forms:
        signer = claims_of(make_signer(issuer=form, key=key("signer")).certificate)
        assert (
            build_chain(signer, now=NOW, bundle=bundle).chain[0].sha256 == trusted(form.certificate).certificate.sha256
        )

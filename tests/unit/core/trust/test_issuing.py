"""Which trusted certificate issued which: each signature is checked once."""

from dataclasses import replace

import pytest
from support.documents import der, shared_pki

from verifier.core.trust import issuing
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.issuing import has_issued

ROOT = Certificate.from_der(der(shared_pki().root.certificate))
ISSUER = Certificate.from_der(der(shared_pki().issuing_ca.certificate))
SIGNER = Certificate.from_der(der(shared_pki().signer.certificate))


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = type(issuing._CACHE)(1 << 20, issuing._CACHE._weigh)  # noqa: SLF001 - the cache is what is tested
    monkeypatch.setattr(issuing, "_CACHE", cache)


def test_the_authority_that_signed_it_has_issued_it() -> None:
    assert has_issued(ROOT, ISSUER)
    assert has_issued(ISSUER, SIGNER)
    assert has_issued(ROOT, ROOT)


def test_an_authority_of_another_name_has_not_issued_it() -> None:
    assert not has_issued(ROOT, SIGNER)
    assert not has_issued(SIGNER, ISSUER)


def test_an_authority_of_the_same_name_and_another_key_has_not_issued_it() -> None:
    namesake = Certificate.from_der(der(shared_pki().signer.certificate))
    assert not has_issued(replace(namesake, subject_der=SIGNER.issuer_der), SIGNER)


@pytest.mark.parametrize("authority", [ISSUER, replace(SIGNER, subject_der=SIGNER.issuer_der)])
def test_a_signature_is_checked_once(authority: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    check = Certificate.is_issued_by

    def count(self: Certificate, of: Certificate) -> bool:
        checked.append(of)
        return check(self, of)

    monkeypatch.setattr(Certificate, "is_issued_by", count)
    answers = {has_issued(authority, SIGNER) for _ in range(3)}
    assert answers == {authority is ISSUER}
    assert len(checked) == 1


def test_an_entry_weighs_two_fingerprints_and_what_python_adds() -> None:
    has_issued(ISSUER, SIGNER)
    assert issuing._CACHE.weight == 512  # noqa: SLF001 - as above


def test_a_name_that_differs_needs_no_entry() -> None:
    has_issued(ROOT, SIGNER)
    assert len(issuing._CACHE) == 0  # noqa: SLF001 - as above

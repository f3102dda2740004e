"""Each scenario's chain is what its name says, held against the trust that the emulator writes."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from verifier.emulator.clouds import Cloud
from verifier.emulator.pki import Pki
from verifier.emulator.scenarios import Authorities, ChainChoice, Scenario

URL = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def authorities(now: datetime) -> Authorities:
    return Authorities.throw_away(now=now, cloud=Cloud.CHINA, region="chinaeast2")


def signer_of(authorities: Authorities, scenario: Scenario, now: datetime) -> x509.Certificate:
    return authorities.chain(ChainChoice(scenario=scenario), now=now, base_url=URL).signer.certificate


def trusted(authorities: Authorities, role: str) -> list[x509.Certificate]:
    return [one.certificate for one in authorities.trusted if one.role == role]


def judge(authorities: Authorities, signer: x509.Certificate, *, at: datetime) -> list[x509.Certificate]:
    verifier = PolicyBuilder().store(Store(trusted(authorities, "root"))).time(at)
    return verifier.build_server_verifier(x509.DNSName("metadata.azure.cn")).verify(
        signer, trusted(authorities, "intermediate")
    )


#: How many certificates a path has; None where there is none.
PATHS: Mapping[Scenario, int | None] = {
    Scenario.STABLE: 3,
    Scenario.STAGED: 3,
    Scenario.UNKNOWN_ISSUER: None,
    Scenario.EXPIRED_SIGNER: None,
    Scenario.EXPIRED_ISSUER: None,
    Scenario.CROSS_SIGNED_ROOT: 4,
    Scenario.CROSS_SIGNED_ISSUER: 3,
}


@pytest.mark.parametrize("scenario", list(Scenario))
def test_holds_or_not_over_the_trust_that_is_written(
    authorities: Authorities, now: datetime, scenario: Scenario
) -> None:
    signer = signer_of(authorities, scenario, now)
    if PATHS[scenario] is None:
        with pytest.raises(VerificationError):
            judge(authorities, signer, at=now)
    else:
        assert len(judge(authorities, signer, at=now)) == PATHS[scenario]


def test_the_unknown_issuer_is_under_the_root_that_is_trusted(authorities: Authorities, now: datetime) -> None:
    chain = authorities.chain(ChainChoice(scenario=Scenario.UNKNOWN_ISSUER, embed_issuer=True), now=now, base_url=URL)
    (issuer,) = chain.embedded
    assert issuer not in [one.certificate for one in authorities.trusted]
    chain.signer.certificate.verify_directly_issued_by(issuer)
    (root,) = [one for one in trusted(authorities, "root") if one.subject == issuer.issuer]
    issuer.verify_directly_issued_by(root)


def test_the_expired_ones_ended_yesterday_and_nothing_else_did(authorities: Authorities, now: datetime) -> None:
    yesterday = now - timedelta(days=1)
    signer = signer_of(authorities, Scenario.EXPIRED_SIGNER, now)
    assert signer.not_valid_after_utc == yesterday
    assert authorities.issuers[Scenario.EXPIRED_SIGNER].identity.certificate.not_valid_after_utc > now
    issuer = authorities.issuers[Scenario.EXPIRED_ISSUER].identity.certificate
    assert issuer.not_valid_after_utc == yesterday
    assert issuer in trusted(authorities, "intermediate")
    assert signer_of(authorities, Scenario.EXPIRED_ISSUER, now).not_valid_after_utc > now


def test_the_cross_signed_issuer_is_trusted_in_two_forms_of_one_name_and_key(
    authorities: Authorities, now: datetime
) -> None:
    signer = signer_of(authorities, Scenario.CROSS_SIGNED_ISSUER, now)
    forms = [one for one in trusted(authorities, "intermediate") if one.subject == signer.issuer]
    assert len(forms) == 2
    assert len({key_of(form) for form in forms}) == 1
    assert len({form.issuer for form in forms}) == 2
    for form in forms:
        signer.verify_directly_issued_by(form)


def test_the_new_root_is_trusted_as_the_old_one_signed_it_alone(authorities: Authorities, now: datetime) -> None:
    *_, new_root, anchor = judge(authorities, signer_of(authorities, Scenario.CROSS_SIGNED_ROOT, now), at=now)
    assert new_root.subject != new_root.issuer == anchor.subject
    assert new_root.subject not in [root.subject for root in trusted(authorities, "root")]


def test_every_chain_has_one_signers_key(authorities: Authorities, now: datetime) -> None:
    assert len({key_of(signer_of(authorities, scenario, now)) for scenario in Scenario}) == 1


@pytest.mark.parametrize("urls", [(), ("http://127.0.0.1/a.crt",), ("http://a.invalid/1", "http://a.invalid/2")])
def test_the_signer_names_the_issuer_urls_that_were_chosen(
    authorities: Authorities, now: datetime, urls: tuple[str, ...]
) -> None:
    chain = authorities.chain(ChainChoice(issuer_urls=urls), now=now, base_url=URL)
    assert issuer_urls(chain.signer.certificate) == list(urls)


def test_by_default_the_first_issuer_url_is_the_emulators_own(authorities: Authorities, now: datetime) -> None:
    assert issuer_urls(signer_of(authorities, Scenario.STAGED, now)) == [
        f"{URL}/emulator/issuers/emulator-staged-ca.crt",
        "http://caissuers.emulator.invalid/pkiops/certs/emulator-staged-ca.crt",
    ]


def test_a_kept_authority_has_the_chains_that_it_can_sign(pki: Pki, now: datetime) -> None:
    authorities = Authorities.kept(pki.root, cloud=Cloud.CHINA, region="chinaeast2")
    assert len(judge(authorities, signer_of(authorities, Scenario.STABLE, now), at=now)) == 2
    with pytest.raises(VerificationError):
        judge(authorities, signer_of(authorities, Scenario.EXPIRED_SIGNER, now), at=now)
    for scenario in set(Scenario) - {Scenario.STABLE, Scenario.EXPIRED_SIGNER}:
        with pytest.raises(ValueError, match=f"the scenario {scenario} needs"):
            signer_of(authorities, scenario, now)


def test_the_trust_says_what_each_certificate_is_for(authorities: Authorities) -> None:
    notes = " ".join(one.note for one in authorities.trusted)
    assert [scenario.value for scenario in Scenario if scenario.value not in notes] == []


@pytest.mark.parametrize("urls", [("x" * 1025,), ("http://ö/",), ("http://a.invalid/",) * 9])
def test_refuses_issuer_urls_that_are_none(urls: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="issuer URLs"):
        ChainChoice(issuer_urls=urls)


def key_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def issuer_urls(certificate: x509.Certificate) -> list[str]:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return []
    return [str(description.access_location.value) for description in access]

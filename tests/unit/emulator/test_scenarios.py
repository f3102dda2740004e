"""Each scenario's chain is valid or invalid against the trust that the emulator writes, as its name says."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from verifier.emulator.clouds import AzureCloud
from verifier.emulator.pki import Pki
from verifier.emulator.scenarios import Authorities, ChainChoice, Scenario

URL = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def authorities(now: datetime) -> Authorities:
    return Authorities.generate(now=now, cloud=AzureCloud.CHINA, region="chinaeast2")


def signer_of(authorities: Authorities, scenario: Scenario, now: datetime) -> x509.Certificate:
    return authorities.chain(ChainChoice(scenario=scenario), now=now, base_url=URL).signer.certificate


def trusted(authorities: Authorities, role: str) -> list[x509.Certificate]:
    return [one.certificate for one in authorities.trusted if one.role == role]


def validate(authorities: Authorities, signer: x509.Certificate, *, at: datetime) -> list[x509.Certificate]:
    verifier = PolicyBuilder().store(Store(trusted(authorities, "root"))).time(at)
    return verifier.build_server_verifier(x509.DNSName("metadata.azure.cn")).verify(
        signer, trusted(authorities, "intermediate")
    )


#: The number of certificates in the path; None if there is no path.
PATH_LENGTHS: Mapping[Scenario, int | None] = {
    Scenario.STABLE: 3,
    Scenario.STAGED: 3,
    Scenario.UNKNOWN_ISSUER: None,
    Scenario.EXPIRED_SIGNER: None,
    Scenario.EXPIRED_ISSUER: None,
    Scenario.CROSS_SIGNED_ROOT: 4,
    Scenario.CROSS_SIGNED_ISSUER: 3,
}


@pytest.mark.parametrize("scenario", list(Scenario))
def test_chain_of_the_scenario_is_valid_or_invalid(authorities: Authorities, now: datetime, scenario: Scenario) -> None:
    signer = signer_of(authorities, scenario, now)
    if PATH_LENGTHS[scenario] is None:
        with pytest.raises(VerificationError):
            validate(authorities, signer, at=now)
    else:
        assert len(validate(authorities, signer, at=now)) == PATH_LENGTHS[scenario]


def test_unknown_issuer_is_under_the_trusted_root(authorities: Authorities, now: datetime) -> None:
    chain = authorities.chain(ChainChoice(scenario=Scenario.UNKNOWN_ISSUER, embed_issuer=True), now=now, base_url=URL)
    (issuer,) = chain.embedded
    assert issuer not in [one.certificate for one in authorities.trusted]
    chain.signer.certificate.verify_directly_issued_by(issuer)
    (root,) = [one for one in trusted(authorities, "root") if one.subject == issuer.issuer]
    issuer.verify_directly_issued_by(root)


def test_only_the_expired_certificates_expired_yesterday(authorities: Authorities, now: datetime) -> None:
    yesterday = now - timedelta(days=1)
    signer = signer_of(authorities, Scenario.EXPIRED_SIGNER, now)
    assert signer.not_valid_after_utc == yesterday
    assert authorities.issuers[Scenario.EXPIRED_SIGNER].identity.certificate.not_valid_after_utc > now
    issuer = authorities.issuers[Scenario.EXPIRED_ISSUER].identity.certificate
    assert issuer.not_valid_after_utc == yesterday
    assert issuer in trusted(authorities, "intermediate")
    assert signer_of(authorities, Scenario.EXPIRED_ISSUER, now).not_valid_after_utc > now


def test_cross_signed_issuer_has_two_trusted_certificates_with_one_name_and_key(
    authorities: Authorities, now: datetime
) -> None:
    signer = signer_of(authorities, Scenario.CROSS_SIGNED_ISSUER, now)
    certificates = [one for one in trusted(authorities, "intermediate") if one.subject == signer.issuer]
    assert len(certificates) == 2
    assert len({key_of(one) for one in certificates}) == 1
    assert len({one.issuer for one in certificates}) == 2
    for certificate in certificates:
        signer.verify_directly_issued_by(certificate)


def test_new_root_is_trusted_only_as_cross_signed_by_the_old_root(authorities: Authorities, now: datetime) -> None:
    *_, new_root, anchor = validate(authorities, signer_of(authorities, Scenario.CROSS_SIGNED_ROOT, now), at=now)
    assert new_root.subject != new_root.issuer == anchor.subject
    assert new_root.subject not in [root.subject for root in trusted(authorities, "root")]


def test_signer_has_the_same_key_in_every_scenario(authorities: Authorities, now: datetime) -> None:
    assert len({key_of(signer_of(authorities, scenario, now)) for scenario in Scenario}) == 1


@pytest.mark.parametrize("urls", [(), ("http://127.0.0.1/a.crt",), ("http://a.invalid/1", "http://a.invalid/2")])
def test_signer_has_the_chosen_issuer_urls(authorities: Authorities, now: datetime, urls: tuple[str, ...]) -> None:
    chain = authorities.chain(ChainChoice(issuer_urls=urls), now=now, base_url=URL)
    assert issuer_urls(chain.signer.certificate) == list(urls)


def test_first_default_issuer_url_is_the_one_of_the_emulator(authorities: Authorities, now: datetime) -> None:
    assert issuer_urls(signer_of(authorities, Scenario.STAGED, now)) == [
        f"{URL}/emulator/issuers/emulator-staged-ca.crt",
        "http://caissuers.emulator.invalid/pkiops/certs/emulator-staged-ca.crt",
    ]


@pytest.mark.parametrize("region", ["CentralIndia", "centralindia"])
def test_signer_has_its_region_in_small_letters(pki: Pki, now: datetime, region: str) -> None:
    """Some recorded machines have `CentralIndia` as their location."""
    authorities = Authorities.from_ca(pki.issuing_ca, cloud=AzureCloud.PUBLIC, region=region)
    signer = signer_of(authorities, Scenario.STABLE, now)
    names = signer.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = names.get_values_for_type(x509.DNSName)
    assert found == ["centralindia.metadata.azure.com", "metadata.azure.com"]


def test_authority_from_files_has_only_the_scenarios_that_it_can_sign(pki: Pki, now: datetime) -> None:
    authorities = Authorities.from_ca(pki.root, cloud=AzureCloud.CHINA, region="chinaeast2")
    assert len(validate(authorities, signer_of(authorities, Scenario.STABLE, now), at=now)) == 2
    with pytest.raises(VerificationError):
        validate(authorities, signer_of(authorities, Scenario.EXPIRED_SIGNER, now), at=now)
    for scenario in set(Scenario) - {Scenario.STABLE, Scenario.EXPIRED_SIGNER}:
        with pytest.raises(ValueError, match=f"the scenario {scenario} is not available"):
            signer_of(authorities, scenario, now)


def test_notes_of_the_trust_directory_name_every_scenario(authorities: Authorities) -> None:
    notes = " ".join(one.note for one in authorities.trusted)
    assert [scenario.value for scenario in Scenario if scenario.value not in notes] == []


@pytest.mark.parametrize("urls", [("x" * 1025,), ("http://ö/",), ("http://a.invalid/",) * 9])
def test_invalid_issuer_urls_are_refused(urls: tuple[str, ...]) -> None:
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

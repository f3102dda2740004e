"""The eleven real documents of 2019 to 2026: each verifies with the shipped trust, soon after it was made."""

from datetime import timedelta

import pytest
from support.real_samples import REAL_SAMPLES, RealSample

from verifier.adapters.trust.files import TrustDirectory
from verifier.core.model import RawDocument
from verifier.core.trust.clouds import Cloud
from verifier.usecases.archive import ArchiveVerifier

VERIFIER = ArchiveVerifier(trust=TrustDirectory())


def test_there_are_eleven_samples_of_seven_issuers() -> None:
    assert len(REAL_SAMPLES) == 11
    assert len({sample.issuer for sample in REAL_SAMPLES}) == 7
    assert all(sample.source for sample in REAL_SAMPLES)


@pytest.mark.parametrize("sample", REAL_SAMPLES, ids=str)
def test_a_sample_verifies_five_seconds_after_its_creation(sample: RealSample) -> None:
    result = VERIFIER.appraise(RawDocument(raw_der=sample.der), at=sample.created_on + timedelta(seconds=5))

    assert result.content.cloud is Cloud.PUBLIC
    assert result.claims.created_on == sample.created_on
    assert result.claims.nonce == sample.nonce
    assert result.claims.vm_id
    signer = result.content.signer
    assert signer.common_names == (sample.common_name.encode(),)
    assert f"CN={sample.issuer}" in signer.issuer
    # "public-REGION-DATE"
    assert f"{sample.name.split('-')[1]}.metadata.azure.com".encode() in signer.dns_names


@pytest.mark.parametrize("sample", REAL_SAMPLES, ids=str)
def test_a_sample_is_far_below_every_bound(sample: RealSample) -> None:
    """A real leaf has a third of what the bounds allow, or less."""
    result = VERIFIER.appraise(RawDocument(raw_der=sample.der), at=sample.created_on)
    signer = result.content.signer
    assert len(sample.der) < 4096
    assert len(signer.der) < 2560
    assert len(signer.dns_names) + len(signer.unverified_issuer_urls) < 5

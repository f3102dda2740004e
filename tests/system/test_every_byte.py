"""Of the real documents, every byte counts: change any one of them, and the document is refused.

Every position of the whole document is tried with three changes: each flips the lowest bit, the highest bit, and to
a value that differs from position to position. All 255 changes of every byte outside the content, the signature and
the signed part of the certificate (which a single signature each protects) were tried once, on 2026-11-23: the one
change in ALIASES was accepted and no other.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from asn1crypto import cms
from support import documents

from verifier.adapters.trust.files import TrustDirectory
from verifier.core.model import RawDocument
from verifier.core.reasons import Check, Refused
from verifier.usecases.archive import ArchiveVerifier

# pyca warns of some names that it will refuse some day; the service goes on, so this does too.
pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length must be:UserWarning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    name: str
    at: datetime

    @property
    def der(self) -> bytes:
        return documents.sample(self.name)

    def __str__(self) -> str:
        return self.name


SAMPLES = (
    Sample(name="public-southcentralus-2022-04-19", at=datetime(2022, 4, 19, 2, 0, tzinfo=UTC)),
    Sample(name="public-eastus-2026-07-28", at=datetime(2026, 7, 28, 13, 24, tzinfo=UTC)),
)

#: The one byte that may change, and how: the last of the signature algorithm's OID, from 1 (rsaEncryption) to 11
#: (sha256WithRSAEncryption). Both are names of the algorithm that is used, PKCS #1 v1.5 with the SHA-256 that
#: digestAlgorithm states (RFC 5754 section 3.2: receivers take either). The field is not signed, and says nothing of
#: the VM; every other name in it is refused.
ALIASES = {"public-southcentralus-2022-04-19": (2618, 0x01, 0x0B), "public-eastus-2026-07-28": (2893, 0x01, 0x0B)}

# Made once: what it has read is kept between the tests, as in a service.
VERIFIER = ArchiveVerifier(trust=TrustDirectory())


def parts(der: bytes) -> dict[str, range]:
    """Where the signed content, the signature and the signer's certificate stand."""
    signed_data = cms.ContentInfo.load(der)["content"]
    found = {
        "signed content": signed_data["encap_content_info"]["content"].native,
        "signature": signed_data["signer_infos"][0]["signature"].native,
        "signer certificate": signed_data["certificates"][0].chosen.dump(),
    }
    places = {}
    for name, data in found.items():
        assert der.count(data) == 1
        start = der.index(data)
        places[name] = range(start, start + len(data))
    return places


def changes(position: int) -> tuple[int, ...]:
    """What the byte at `position` is XORed with: never 0, so never nothing."""
    return 0x01, 0x80, position * 73 % 255 + 1


def change(der: bytes, position: int, bits: int) -> bytes:
    return der[:position] + bytes([der[position] ^ bits]) + der[position + 1 :]


def accepted(sample: Sample, positions: range) -> list[tuple[int, int]]:
    """The changes that are not refused. Any other exception than Refused goes through."""
    der = sample.der
    found = []
    for position in positions:
        for bits in changes(position):
            try:
                VERIFIER.appraise(RawDocument(raw_der=change(der, position, bits)), at=sample.at)
            except Refused:
                continue
            found.append((position, bits))
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_accepts_the_document_as_it_is(sample: Sample) -> None:
    assert VERIFIER.appraise(RawDocument(raw_der=sample.der), at=sample.at).claims.vm_id


@pytest.mark.parametrize("part", ["signed content", "signature", "signer certificate"])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_refuses_any_changed_byte_of(sample: Sample, part: str) -> None:
    places = parts(sample.der)[part]
    assert len(places) > 200
    assert accepted(sample, places) == []


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_refuses_any_changed_byte_around_them(sample: Sample) -> None:
    """The rest of the document: tags, lengths, versions, algorithms, the signer's sid."""
    der = sample.der
    inside = {position for places in parts(der).values() for position in places}
    for position in set(range(len(der))) - inside:
        assert accepted(sample, range(position, position + 1)) == [], position


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_accepts_the_other_name_of_the_same_signature_algorithm(sample: Sample) -> None:
    position, before, after = ALIASES[sample.name]
    assert sample.der[position] == before
    renamed = change(sample.der, position, before ^ after)
    (info,) = cms.ContentInfo.load(renamed)["content"]["signer_infos"]
    assert info["signature_algorithm"]["algorithm"].dotted == "1.2.840.113549.1.1.11"
    result = VERIFIER.appraise(RawDocument(raw_der=renamed), at=sample.at)
    unchanged = VERIFIER.appraise(RawDocument(raw_der=sample.der), at=sample.at)
    assert result.claims == unchanged.claims
    for other in set(range(256)) - {before, after}:
        with pytest.raises(Refused) as refusal:
            VERIFIER.appraise(RawDocument(raw_der=change(sample.der, position, before ^ other)), at=sample.at)
        assert refusal.value.check in {Check.FORMAT, Check.SIGNATURE}


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_refuses_any_missing_or_doubled_byte(sample: Sample) -> None:
    der = sample.der
    for position in range(len(der)):
        for changed in (
            der[:position] + der[position + 1 :],
            der[:position] + der[position : position + 1] + der[position:],
        ):
            with pytest.raises(Refused):
                VERIFIER.appraise(RawDocument(raw_der=changed), at=sample.at)

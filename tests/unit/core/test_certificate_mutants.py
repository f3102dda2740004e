"""Correctly signed certificates with one change: each is refused or accepted, and raises no other exception.

The suite tries a sample. `make hostile` tries 10,000, and prints how the accepted ones differ.
"""

import random
from functools import cache

import pytest
from cryptography import x509
from support.certificate_mutants import EXPLAINED, Mint, all_mutants, differences, element, mint, with_extension
from support.chains import authority, claims_of, root
from support.documents import NOW, trusted
from support.mutations import mutants

from verifier.core.chain import build_chain
from verifier.core.reasons import ChainRefused, Reason
from verifier.core.trust.bundle import Role, TrustBundle, TrustedCertificate, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud

# cryptography warns of fields that a later version refuses. The service does not turn warnings into errors.
pytestmark = pytest.mark.filterwarnings("ignore")

SAMPLE = 300
PARTS = 3
SEED = 20261129


@cache
def sample_of(kind: str) -> list[bytes]:
    return random.Random(SEED).sample(all_mutants(kind), SAMPLE * PARTS)  # noqa: S311 - the same ones in every run


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", ["EC", "RSA"])
def test_a_mutant_of_the_signer_is_refused_or_has_a_permitted_difference(kind: str, part: int) -> None:
    made = mint(kind)
    outcomes: set[Reason | None] = set()
    for mutant in sample_of(kind)[part::PARTS]:
        reason = made.appraise(mutant)
        outcomes.add(reason)
        if reason is None:
            assert differences(made.tbs, mutant) <= EXPLAINED.keys(), mutant.hex()
    # Some mutants reach the path validators, and both accept some of them.
    assert outcomes >= {None, Reason.CHAIN_UNTRUSTED, Reason.MALFORMED_EVIDENCE}


@pytest.mark.parametrize("kind", ["EC", "RSA"])
def test_the_signer_itself_is_accepted(kind: str) -> None:
    assert mint(kind).appraise(mint(kind).tbs) is None


def test_a_signer_of_any_length_is_accepted() -> None:
    # asn1crypto reads a length that ends in the byte 0x80 as indefinite, and encodes the element again.
    made = mint("EC")
    for size in range(160):
        padded = with_extension(made.tbs, x509.ObjectIdentifier("1.2.3.4"), element(0x04, b"a" * size))
        assert made.appraise(padded) is None, size


@pytest.mark.parametrize("is_first", [True, False])
def test_a_mutant_of_a_pin_does_not_hide_the_pin(*, is_first: bool) -> None:
    anchor, good = trusted(root().certificate), trusted(authority("Mint").certificate)
    claims = claims_of(mint("EC").signer.certificate)
    count = 0
    for mutant in mutated_pins():
        pins = (mutant, good) if is_first else (good, mutant)
        assert build_chain(claims, now=NOW, bundle=TrustBundle.of((anchor, *pins))).chain
        count += 1
    assert count > 50


def test_a_mutant_of_the_only_pin_builds_a_chain_or_is_refused() -> None:
    anchor = trusted(root().certificate)
    claims = claims_of(mint("EC").signer.certificate)
    refused, accepted = 0, 0
    for mutant in mutated_pins():
        try:
            build_chain(claims, now=NOW, bundle=TrustBundle.of((anchor, mutant)))
        except ChainRefused:
            refused += 1
        else:
            accepted += 1
    assert refused
    assert accepted


@cache
def mutated_pins() -> tuple[TrustedCertificate, ...]:
    """Return every fourth mutant of the mint's CA, signed again by the root, if a trust bundle can hold it."""
    issuer = authority("Mint")
    maker = Mint(issuer=root(), signer=issuer, bundle=mint("EC").bundle)
    found = {}
    for tbs in list(dict.fromkeys(mutants(issuer.certificate.tbs_certificate_bytes)))[::4]:
        if tbs == issuer.certificate.tbs_certificate_bytes:
            continue
        try:
            found[tbs] = TrustedCertificate(
                certificate=Certificate.from_der(maker.certify(tbs)),
                role=Role.INTERMEDIATE,
                clouds=frozenset({Cloud.PUBLIC}),
                source="urn:imds-verifier:test",
            )
        except (CertificateError, TrustError):
            continue
    return tuple(found.values())

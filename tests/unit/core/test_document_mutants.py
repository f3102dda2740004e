"""Mutants of documents: each is refused, or is the same document in another form that this test names.

The suite tries a sample. `DOCUMENT_MUTANTS=20000 pytest tests/unit/core/test_document_mutants.py` tries 20,000.
"""

import os
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from support import cms
from support.appraisals import read_in_time
from support.document_bases import BASES, CONTENT, Base, elliptic
from support.document_mutants import NEGATED, OTHER_CERTIFICATES, OTHER_NAME, difference
from support.documents import NOW, der, raw, shared_bundle, sign
from support.mutations import random_mutants

from verifier.adapters.trust.files import load_bundle
from verifier.core.encoding.cms import read_signed_data
from verifier.core.model import Limits
from verifier.core.reasons import Refused
from verifier.usecases.chain_cache import ChainCache

NUMBER = int(os.environ.get("DOCUMENT_MUTANTS", "3000"))
SEED = 20261129


@pytest.mark.parametrize("base", BASES, ids=str)
def test_a_mutant_is_refused_or_is_the_same_document(base: Base) -> None:
    """Fail on any exception that is not a refusal."""
    original, bundle, chains = base.make(), base.bundle(), ChainCache()
    accepted: Counter[str] = Counter()
    for mutant in random_mutants(original, -(-NUMBER // len(BASES)), SEED):
        try:
            claims = read_in_time(raw(mutant), now=base.at, limits=Limits())
            chains.build(claims, now=base.at, bundle=bundle)
        except Refused:
            continue
        found = difference(mutant, original)
        assert found, mutant.hex()
        accepted[found] += 1
    allowed = {OTHER_NAME, OTHER_CERTIFICATES} if base.name == "two-certificates" else {OTHER_NAME}
    assert set(accepted) <= allowed, accepted


@pytest.mark.parametrize("base", BASES, ids=str)
def test_the_original_is_accepted(base: Base) -> None:
    claims = read_in_time(raw(base.make()), now=base.at, limits=Limits())
    assert ChainCache().build(claims, now=base.at, bundle=base.bundle()).claims.vm_id


def test_the_negated_ecdsa_signature_is_the_only_other_signature() -> None:
    """Accept (r, n - s) in place of (r, s), as every verifier does (SEC 1, 4.1.4).

    A replay is detected by the signed content and not by the document.
    """
    original = sign(CONTENT, signer=elliptic(), scheme=cms.ecdsa(cms.SHA256))
    signature = read_signed_data(original).signature
    r, s = utils.decode_dss_signature(signature)
    signer = elliptic()
    info = cms.sign_content(CONTENT, certificate=signer.certificate, key=signer.key, scheme=cms.ecdsa(cms.SHA256))
    negated = cms.SignedData(
        digest_algorithms=(info.digest_algorithm,),
        content=CONTENT,
        certificates=(der(signer.certificate),),
        signer_infos=(replace(info, signature=utils.encode_dss_signature(r, ec.SECP256R1().group_order - s)),),
    ).encode()
    claims = read_in_time(raw(negated), now=NOW, limits=Limits())
    assert ChainCache().build(claims, now=NOW, bundle=shared_bundle()).claims.vm_id
    assert difference(negated, original) == NEGATED


def test_samples_are_appraised_at_their_creation_time() -> None:
    assert all(base.at != NOW + timedelta(0) for base in BASES if base.bundle is load_bundle)

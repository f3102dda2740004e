"""The archive verifier asks for its policies and its trust at each document. More is in test_appraise.py."""

from datetime import timedelta

import pytest
from support.applications import FixedTrust
from support.documents import NONCE, NOW, document, raw, shared_bundle

from verifier.core.model import Limits
from verifier.core.policy import ClaimIn, ClaimName, Policies, UnknownPolicyError
from verifier.core.reasons import Reason, Refused
from verifier.usecases.archive import ArchiveVerifier
from verifier.usecases.chain_cache import ChainCache

FABRIKAM = ClaimIn(ClaimName.PUBLISHER, frozenset({"fabrikam"}))
DOCUMENT = raw(document())


def test_policies_are_those_of_the_moment() -> None:
    current = [Policies({"strict": FABRIKAM}), Policies()]
    archive = ArchiveVerifier(trust=FixedTrust(in_force=shared_bundle()), policies=lambda: current.pop(0))
    with pytest.raises(Refused) as caught:
        archive.appraise(DOCUMENT, at=NOW, policy="strict")
    assert caught.value.reason is Reason.POLICY_DENIED
    with pytest.raises(UnknownPolicyError):
        archive.appraise(DOCUMENT, at=NOW, policy="strict")


def test_the_default_policy_is_required_if_none_is_named() -> None:
    policies = Policies({"default": FABRIKAM, "open": ClaimIn(ClaimName.PUBLISHER, frozenset({"contoso"}))})
    archive = ArchiveVerifier(trust=FixedTrust(in_force=shared_bundle()), policies=policies)
    with pytest.raises(Refused) as caught:
        archive.appraise(DOCUMENT, at=NOW)
    assert caught.value.reason is Reason.POLICY_DENIED
    assert archive.appraise(DOCUMENT, at=NOW, policy="open").verified.policies == ("open",)


def test_an_unknown_policy_is_found_before_the_document_is_read() -> None:
    archive = ArchiveVerifier(trust=FixedTrust(in_force=shared_bundle()))
    with pytest.raises(UnknownPolicyError):
        archive.appraise(raw(b"no document"), at=NOW, policy="silver")


def test_chains_are_cached_for_the_trust_in_force() -> None:
    chains, bundle = ChainCache(), shared_bundle()
    archive = ArchiveVerifier(trust=FixedTrust(in_force=bundle), chains=chains)
    for at in (NOW, NOW, NOW + timedelta(seconds=1)):
        assert archive.appraise(DOCUMENT, at=at, nonce=NONCE).content.trust_generation == bundle.generation
    assert (chains.misses, chains.hits) == (1, 2)


def test_the_limits_are_those_of_the_verifier() -> None:
    archive = ArchiveVerifier(trust=FixedTrust(in_force=shared_bundle()), limits=Limits(clock_skew=timedelta(0)))
    with pytest.raises(Refused) as caught:
        archive.appraise(DOCUMENT, at=NOW - timedelta(seconds=30))
    assert caught.value.reason is Reason.DOCUMENT_NOT_YET_VALID

"""The types of the pipeline: what they pass on, what they never show, and which limits are limits."""

from dataclasses import fields, replace
from datetime import timedelta

import pytest
from support.appraisals import read_in_time
from support.documents import NONCE, NOW, VM, document, raw, shared_bundle

from verifier.core import model
from verifier.core.chain import build_chain
from verifier.core.model import AuthenticContent, FirstSight, Limits, LiveResult, Redeemed, Verified
from verifier.core.nonces import NonceRecord

LIMITS = Limits()


def authentic() -> AuthenticContent:
    return build_chain(read_in_time(raw(document()), now=NOW, limits=LIMITS), now=NOW, bundle=shared_bundle())


def test_each_type_passes_on_what_the_signer_signed() -> None:
    content = authentic()
    unverified = read_in_time(raw(document()), now=NOW, limits=LIMITS)
    named = content.decoded.named
    result = LiveResult(
        verified=Verified(fresh=FirstSight(content=content), policies=("one",)), checks=(), evaluated_at=NOW
    )

    assert content.claims is content.decoded.claims is result.claims
    assert content.document is content.decoded.document
    assert content.document["vmId"] == VM.vm_id
    assert content.cloud is named.cloud is unverified.cloud
    assert content.signer is named.signed.signer is content.decoded.signer
    assert unverified.signer is unverified.decoded.named.signed.signer
    assert unverified.unverified_candidates is unverified.decoded.named.signed.unverified_candidates
    assert content.signer_names is named.names
    assert content.signed_bytes is named.signed.content
    assert result.content is content
    assert result.policies == ("one",)


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("RawDocument", {"raw_der"}),
        ("SignedAttributes", {"signed_bytes", "message_digest"}),
        (
            "Envelope",
            {"unverified_content", "signature_parameters", "signature", "unverified_candidates"},
        ),
        ("SignedContent", {"content", "unverified_candidates"}),
        ("Claims", {"nonce"}),
        ("DecodedClaims", {"document"}),
    ],
)
def test_the_representation_hides_what_a_log_must_not_show(name: str, hidden: set[str]) -> None:
    assert {field.name for field in fields(getattr(model, name)) if not field.repr} == hidden


def test_the_representation_of_a_result_shows_no_nonce() -> None:
    record = NonceRecord(issued_at=NOW, expires_at=NOW)
    assert NONCE not in repr(Redeemed(content=authentic(), record=record))


def test_a_result_needs_a_policy() -> None:
    with pytest.raises(ValueError, match="no policy was applied"):
        Verified(fresh=FirstSight(content=authentic()), policies=())


def test_the_default_limits() -> None:
    assert timedelta(seconds=60) == LIMITS.clock_skew
    assert timedelta(hours=6) == LIMITS.maximum_age
    assert timedelta(minutes=5) == LIMITS.nonce_lifetime


def test_the_skew_may_be_zero_and_the_other_limits_may_not() -> None:
    smallest = timedelta(microseconds=1)
    assert Limits(clock_skew=timedelta(0), maximum_age=smallest, nonce_lifetime=smallest).maximum_age == smallest
    with pytest.raises(ValueError, match="clock_skew is negative"):
        Limits(clock_skew=-smallest)
    for of in (timedelta(0), -smallest):
        with pytest.raises(ValueError, match="maximum_age is not positive"):
            Limits(maximum_age=of)
        with pytest.raises(ValueError, match="nonce_lifetime is not positive"):
            Limits(nonce_lifetime=of)


def test_a_nonce_is_remembered_as_long_as_a_document_with_it_may_be_valid() -> None:
    limits = replace(
        LIMITS,
        clock_skew=timedelta(seconds=1),
        nonce_lifetime=timedelta(seconds=10),
        maximum_age=timedelta(seconds=100),
    )
    assert limits.unused_nonce_memory == timedelta(seconds=12)
    assert limits.used_nonce_memory == timedelta(seconds=112)

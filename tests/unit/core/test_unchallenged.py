"""What takes the place of a challenge: which documents, by what they are known again, and for how long."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.appraisals import read_in_time
from support.documents import NOW, document, raw, shared_bundle

from verifier.core.chain import build_chain
from verifier.core.freshness import check_window
from verifier.core.model import AuthenticContent, Claims, FirstSight, Limits
from verifier.core.nonces import NonceForm
from verifier.core.policy import applicable_policies
from verifier.core.reasons import (
    NONCE_RETRY_AFTER,
    Check,
    NonceRefused,
    Outcome,
    Reason,
    Remarks,
    WindowRefused,
    progress,
)
from verifier.core.trust.clouds import Cloud
from verifier.core.unchallenged import (
    LEAST_MARGIN,
    LONGEST_LIFE,
    accept_first_sight,
    answers_no_challenge,
    content_digest,
    memory_of,
)

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
LIMITS = Limits()
#: The greatest that can be set (verifier.adapters.settings.settings).
WIDEST = Limits(clock_skew=timedelta(seconds=600), maximum_age=timedelta(days=7))


@cache
def authentic() -> AuthenticContent:
    return build_chain(read_in_time(raw(document()), now=NOW, limits=LIMITS), now=NOW, bundle=shared_bundle())


def with_claims(claims: Claims) -> AuthenticContent:
    return replace(authentic(), decoded=replace(authentic().decoded, claims=claims))


def carrying(nonce: str | None) -> AuthenticContent:
    return with_claims(replace(authentic().claims, nonce=nonce))


def lasting(created_on: datetime | None, expires_on: datetime | None) -> AuthenticContent:
    return with_claims(replace(authentic().claims, created_on=created_on, expires_on=expires_on))


@pytest.mark.parametrize("nonce", [None, "", "20261123-140000", "00000000-000000"])
def test_no_nonce_and_the_one_of_imds_answer_nobody(nonce: str | None) -> None:
    assert answers_no_challenge(carrying(nonce))


@pytest.mark.parametrize(
    "nonce",
    [
        "0123456789",
        "AbCdEfGhIjKlMnOpQrStUvWxYz012345",
        "20261123140000",
        "20261123-14000",
        "20261123-1400000",
        "20261123-140000\n",
        " 20261123-140000",
        "20261123\N{NON-BREAKING HYPHEN}140000",
        "\N{ARABIC-INDIC DIGIT TWO}0261123-140000",
    ],
)
def test_any_other_nonce_answers_somebody(nonce: str) -> None:
    assert not answers_no_challenge(carrying(nonce))


@pytest.mark.parametrize("form", NonceForm)
def test_no_nonce_of_ours_is_taken_for_the_one_of_imds(form: NonceForm) -> None:
    assert "-" not in form.alphabet


def test_a_document_is_known_by_what_was_signed_and_by_its_cloud() -> None:
    content = authentic()
    signed = content.decoded.named.signed
    digest = content_digest(content)
    assert len(digest) == 64

    def changed(**fields: object) -> AuthenticContent:
        named = replace(content.decoded.named, signed=replace(signed, **fields))  # type: ignore[arg-type]  # it checks names
        return replace(content, decoded=replace(content.decoded, named=named))

    assert content_digest(changed(sha256="of other bytes", unverified_candidates=(b"more",))) == digest
    assert content_digest(changed(content=signed.content + b" ")) != digest
    other_cloud = replace(content.decoded.named, cloud=Cloud.CHINA)
    assert content_digest(replace(content, decoded=replace(content.decoded, named=other_cloud))) != digest


def test_replicas_of_every_release_compute_the_same_digest() -> None:
    content = authentic()
    digested = b"imds-verifier document 1\0AzurePublicCloud\0" + content.signed_bytes
    assert content_digest(content) == hashlib.sha256(digested).hexdigest()


def test_the_memory_covers_the_greatest_limits_that_can_be_set() -> None:
    assert timedelta(days=7) == LONGEST_LIFE
    assert timedelta(minutes=20) == LEAST_MARGIN


_moments = st.timedeltas(min_value=timedelta(days=-8), max_value=timedelta(days=8)).map(lambda by: NOW + by)


@given(created_on=_moments, expires_on=_moments, behind=st.timedeltas(timedelta(0), timedelta(seconds=600)))
def test_is_remembered_until_no_replica_accepts_it_whatever_its_limits(
    created_on: datetime, expires_on: datetime, behind: timedelta
) -> None:
    """One with the narrowest limits accepted it; one with the widest, and a clock that is behind, must not after that
    one has forgotten it."""
    content = lasting(created_on, expires_on)
    narrow = Limits(clock_skew=timedelta(0), maximum_age=60 * SECOND)
    try:
        check_window(content.decoded, now=NOW, limits=narrow)
    except WindowRefused:
        return
    forgotten_at = NOW + memory_of(content, now=NOW, limits=narrow)
    assert forgotten_at > NOW
    with pytest.raises(WindowRefused):
        check_window(content.decoded, now=forgotten_at - behind + timedelta.resolution, limits=WIDEST)


def test_is_remembered_until_it_expires_and_a_little_longer() -> None:
    content = lasting(NOW - HOUR, NOW + 5 * HOUR)
    assert memory_of(content, now=NOW, limits=LIMITS) == 5 * HOUR + LEAST_MARGIN


def test_is_not_remembered_for_as_long_as_a_document_says_that_it_lives() -> None:
    content = lasting(NOW, NOW.replace(year=2099))
    assert memory_of(content, now=NOW, limits=LIMITS) == LONGEST_LIFE + LEAST_MARGIN
    longer = Limits(maximum_age=timedelta(days=30), clock_skew=HOUR)
    assert memory_of(content, now=NOW, limits=longer) == timedelta(days=30) + 2 * HOUR


@pytest.mark.parametrize(("created_on", "expires_on"), [(None, NOW), (NOW, None), (None, None)])
def test_without_both_times_nothing_bounds_the_memory(created_on: datetime | None, expires_on: datetime | None) -> None:
    with pytest.raises(NonceRefused) as caught:
        memory_of(lasting(created_on, expires_on), now=NOW, limits=LIMITS)
    assert caught.value.reason is Reason.CLAIMS_INCOMPLETE
    assert not caught.value.retryable


def test_the_first_sight_passes_and_a_later_one_is_a_replay() -> None:
    content = authentic()
    assert accept_first_sight(content, is_first=True) == FirstSight(content=content)
    with pytest.raises(NonceRefused) as caught:
        accept_first_sight(content, is_first=False)
    assert (caught.value.reason, caught.value.retry_after) == (Reason.NONCE_REPLAYED, NONCE_RETRY_AFTER)


def test_is_bound_to_no_policy() -> None:
    first_sight = FirstSight(content=authentic())
    assert applicable_policies(first_sight, tenant="default", asked="gold") == ("default", "gold")
    assert applicable_policies(first_sight, tenant="default", asked=None) == ("default",)


def test_a_note_stands_beside_a_check_that_passed_and_no_other() -> None:
    noted = {check: f"how {check} went" for check in Check}
    told = progress(failed=Check.CLAIMS, remarks=Remarks(noted=noted))
    assert {result.detail != "" for result in told if result.outcome is Outcome.PASS} == {True}
    assert {result.detail for result in told if result.outcome is not Outcome.PASS} == {""}

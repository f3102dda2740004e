"""The window and the challenge, at their edges."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import pytest
from support.appraisals import read_in_time
from support.documents import NOW, VM, document, raw, shared_bundle

from verifier.core.chain import build_chain
from verifier.core.freshness import accept_redemption, challenge, check_window
from verifier.core.model import AuthenticContent, DecodedClaims, Limits, Redeemed
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, UnknownNonce
from verifier.core.reasons import Check, NonceRefused, Reason, Refused, WindowRefused

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
LIMITS = Limits()
SKEW, AGE = LIMITS.clock_skew, LIMITS.maximum_age


@cache
def authentic() -> AuthenticContent:
    return build_chain(read_in_time(raw(document()), now=NOW, limits=LIMITS), now=NOW, bundle=shared_bundle())


def decoded(created_on: datetime | None = NOW, expires_on: datetime | None = NOW) -> DecodedClaims:
    content = authentic().decoded
    return replace(content, claims=replace(content.claims, created_on=created_on, expires_on=expires_on))


def content(
    *, created_on: datetime | None = NOW, nonce: str | None = "0123456789", vm_id: str = VM.vm_id
) -> AuthenticContent:
    claims = replace(authentic().claims, created_on=created_on, nonce=nonce, vm_id=vm_id)
    return replace(authentic(), decoded=replace(authentic().decoded, claims=claims))


def record(
    *,
    issued_at: datetime = NOW,
    expires_at: datetime = NOW + timedelta(seconds=300),
    vm_id: str = "",
    policy: str = "",
) -> NonceRecord:
    return NonceRecord(issued_at=issued_at, expires_at=expires_at, vm_id=vm_id, policy=policy)


def window(created_on: datetime | None, expires_on: datetime | None, limits: Limits = LIMITS) -> Reason | None:
    """Why it is refused, or None."""
    try:
        check_window(decoded(created_on, expires_on), now=NOW, limits=limits)
    except WindowRefused as refused:
        assert refused.check is Check.VALIDITY_WINDOW  # noqa: PT017 - one of many inputs
        is_final = refused.reason is not Reason.DOCUMENT_EXPIRED or "before it was created" in refused.detail
        assert refused.retryable is not is_final  # noqa: PT017 - as above
        return refused.reason
    return None


def redemption(found: AuthenticContent, of: NonceRecord) -> NonceRefused | None:
    try:
        redeemed = accept_redemption(found, FirstUse(record=of), now=NOW, limits=LIMITS)
    except NonceRefused as refused:
        return refused
    assert redeemed == Redeemed(content=found, record=of)
    return None


@pytest.mark.parametrize(
    ("created_on", "expires_on", "reason"),
    [
        (NOW, NOW, None),
        (NOW - SECOND, NOW + SECOND, None),
        (NOW - SKEW, NOW - SKEW, None),
        (NOW - SKEW - SECOND, NOW - SKEW - SECOND, Reason.DOCUMENT_EXPIRED),
        (NOW - SKEW - SECOND, NOW - SKEW - MICROSECOND, Reason.DOCUMENT_EXPIRED),
        (NOW + SKEW, NOW + SKEW, None),
        (NOW + SKEW + MICROSECOND, NOW + AGE, Reason.DOCUMENT_NOT_YET_VALID),
        (NOW - AGE, NOW, None),
        (NOW - AGE - MICROSECOND, NOW + AGE, Reason.DOCUMENT_EXPIRED),
        (NOW, NOW - MICROSECOND, Reason.DOCUMENT_EXPIRED),
        (NOW + SKEW, NOW - SKEW, Reason.DOCUMENT_EXPIRED),
        (None, NOW - SKEW, None),
        (None, NOW - SKEW - MICROSECOND, Reason.DOCUMENT_EXPIRED),
        (NOW + SKEW, None, None),
        (NOW + SKEW + MICROSECOND, None, Reason.DOCUMENT_NOT_YET_VALID),
        (NOW - AGE, None, None),
        (NOW - AGE - MICROSECOND, None, Reason.DOCUMENT_EXPIRED),
        (None, None, None),
    ],
)
def test_the_window_is_exact_to_the_microsecond(
    created_on: datetime | None, expires_on: datetime | None, reason: Reason | None
) -> None:
    assert window(created_on, expires_on) is reason


def test_the_limits_set_the_window() -> None:
    strict = Limits(clock_skew=timedelta(0), maximum_age=SECOND)
    assert window(NOW, NOW, strict) is None
    assert window(NOW, NOW - MICROSECOND, strict) is Reason.DOCUMENT_EXPIRED
    assert window(NOW + MICROSECOND, NOW + SECOND, strict) is Reason.DOCUMENT_NOT_YET_VALID
    assert window(NOW - SECOND, NOW, strict) is None
    assert window(NOW - SECOND - MICROSECOND, NOW, strict) is Reason.DOCUMENT_EXPIRED


@pytest.mark.parametrize(("created_on", "expires_on"), [(None, NOW), (NOW, None), (None, None)])
def test_times_are_required_if_no_nonce_proves_freshness(
    created_on: datetime | None, expires_on: datetime | None
) -> None:
    with pytest.raises(WindowRefused) as caught:
        check_window(decoded(created_on, expires_on), now=NOW, limits=LIMITS, needs_times=True)
    assert caught.value.reason is Reason.CLAIMS_INCOMPLETE


def test_present_times_are_accepted() -> None:
    assert check_window(decoded(), now=NOW, limits=LIMITS, needs_times=True).decoded == decoded()


@pytest.mark.parametrize("expected", [None, "0123456789"])
def test_the_challenge_is_the_signed_nonce(expected: str | None) -> None:
    assert challenge(content(), expected=expected) == "0123456789"


@pytest.mark.parametrize("nonce", [None, ""])
@pytest.mark.parametrize("expected", [None, "", "0123456789"])
def test_without_a_nonce_there_is_no_challenge(nonce: str | None, expected: str | None) -> None:
    with pytest.raises(NonceRefused) as caught:
        challenge(content(nonce=nonce), expected=expected)
    assert caught.value.reason is Reason.CLAIMS_INCOMPLETE
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "expected", ["", "012345678", "01234567890", "9876543210", "\uff10123456789", "\ud800", "0123456789\0"]
)
def test_another_nonce_than_the_named_one_is_a_retryable_mismatch(expected: str) -> None:
    with pytest.raises(NonceRefused) as caught:
        challenge(content(), expected=expected)
    assert caught.value.reason is Reason.NONCE_MISMATCH
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("redemption_found", "reason"),
    [(AlreadyUsed(), Reason.NONCE_REPLAYED), (UnknownNonce(), Reason.NONCE_UNKNOWN)],
)
def test_a_nonce_that_is_not_outstanding_is_refused(
    redemption_found: AlreadyUsed | UnknownNonce, reason: Reason
) -> None:
    with pytest.raises(NonceRefused) as caught:
        accept_redemption(content(), redemption_found, now=NOW, limits=LIMITS)
    assert caught.value.reason is reason
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"expires_at": NOW}, None),
        ({"expires_at": NOW - MICROSECOND}, Reason.NONCE_UNKNOWN),
        ({"issued_at": NOW + SKEW}, None),
        ({"issued_at": NOW + SKEW + MICROSECOND}, Reason.NONCE_MISMATCH),
        ({"vm_id": VM.vm_id}, None),
        ({"vm_id": VM.vm_id.upper()}, None),
        ({"vm_id": VM.vm_id[:-1]}, Reason.NONCE_MISMATCH),
    ],
)
def test_a_nonce_is_accepted_only_for_its_vm_and_time(changed: dict[str, object], reason: Reason | None) -> None:
    refused = redemption(content(), replace(record(), **changed))  # type: ignore[arg-type] # it checks the names
    assert (refused.reason if refused else None) is reason


@pytest.mark.parametrize(
    ("changed", "retryable"),
    [
        ({"expires_at": NOW - MICROSECOND}, True),
        ({"issued_at": NOW + SKEW + SECOND}, True),
        ({"vm_id": "another"}, False),
    ],
)
def test_a_fault_of_time_is_retryable_and_a_fault_of_the_vm_is_not(
    changed: dict[str, object], *, retryable: bool
) -> None:
    refused = redemption(content(), replace(record(), **changed))  # type: ignore[arg-type] # it checks the names
    assert refused is not None
    assert refused.retryable is retryable


@pytest.mark.parametrize(
    ("nonce", "retryable"),
    [
        ("20261123-080000", False),
        ("20261123-0800000", True),
        ("020261123-080000", True),
        ("0123456789", True),
        ("", True),
        (None, True),
    ],
)
def test_another_document_does_not_help_if_it_carries_the_default_nonce(nonce: str | None, *, retryable: bool) -> None:
    with pytest.raises(NonceRefused, match="not issued here" if retryable else "default nonce of IMDS") as caught:
        accept_redemption(content(nonce=nonce), UnknownNonce(), now=NOW, limits=LIMITS)
    assert caught.value.reason is Reason.NONCE_UNKNOWN
    assert caught.value.retryable is retryable


def test_a_nonce_for_the_id_that_dmidecode_shows_is_refused_with_the_remedy() -> None:
    guid, swapped = "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90", "3E0B1A5C-427D-0A4F-9B57-1F6D2E8C4A90"
    for bound, is_swapped in ((swapped, True), ("another", False)):
        refused = redemption(content(vm_id=guid), record(vm_id=bound))
        assert refused is not None
        assert refused.reason is Reason.NONCE_MISMATCH
        assert ("byte order of dmidecode" in refused.detail) is is_swapped


def test_a_nonce_proves_the_freshness_of_a_document_without_a_creation_time() -> None:
    assert redemption(content(created_on=None), record()) is None


def test_details_contain_no_nonce() -> None:
    refusals: list[Refused | None] = [redemption(content(), record(vm_id="another"))]
    with pytest.raises(NonceRefused) as caught:
        challenge(content(), expected="9876543210")
    refusals.append(caught.value)
    for refused in refusals:
        assert refused is not None
        assert "0123456789" not in refused.detail
        assert "9876543210" not in refused.detail

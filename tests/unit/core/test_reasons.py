"""Refusals: what each one carries, and what it says about the other checks."""

from datetime import timedelta

import pytest

from verifier.core.reasons import (
    NO_REMARKS,
    NONCE_RETRY_AFTER,
    ChainRefused,
    Check,
    CheckResult,
    ClaimsRefused,
    FormatRefused,
    NonceRefused,
    Outcome,
    PolicyRefused,
    ProfileRefused,
    QuotingRefused,
    Reason,
    Refused,
    Remarks,
    SignatureRefused,
    SignerNameRefused,
    WindowRefused,
    progress,
)

REMARKS = Remarks(omitted={Check.NONCE: "no nonce"}, noted={Check.FORMAT: "odd", Check.POLICY: "two policies"})


def outcomes(results: tuple[CheckResult, ...]) -> list[tuple[str, str, str]]:
    return [(one.name.value, one.outcome.value, one.detail) for one in results]


def test_an_appraisal_without_a_fault_passes_every_check() -> None:
    assert outcomes(progress()) == [(check.value, "pass", "") for check in Check]


def test_the_checks_have_an_order() -> None:
    assert [check.value for check in Check] == [
        "format", "signature", "signer-name", "claims", "validity-window", "chain", "nonce", "policy",
    ]  # fmt: skip


def test_the_checks_before_the_fault_pass_and_those_after_it_are_skipped() -> None:
    assert outcomes(progress(failed=Check.CLAIMS)) == [
        ("format", "pass", ""),
        ("signature", "pass", ""),
        ("signer-name", "pass", ""),
        ("claims", "fail", ""),
        ("validity-window", "skipped", ""),
        ("chain", "skipped", ""),
        ("nonce", "skipped", ""),
        ("policy", "skipped", ""),
    ]


def test_a_remark_is_on_a_check_that_passed_or_was_omitted() -> None:
    passed = {name: (outcome, detail) for name, outcome, detail in outcomes(progress(remarks=REMARKS))}
    assert passed["format"] == ("pass", "odd")
    assert passed["chain"] == ("pass", "")
    assert passed["nonce"] == ("skipped", "no nonce")
    assert passed["policy"] == ("pass", "two policies")
    failed = {
        name: (outcome, detail) for name, outcome, detail in outcomes(progress(failed=Check.CHAIN, remarks=REMARKS))
    }
    assert failed["format"] == ("pass", "odd")
    assert failed["chain"] == ("fail", "")
    assert failed["nonce"] == ("skipped", "no nonce")
    assert failed["policy"] == ("skipped", "")


def test_remarks_are_copied() -> None:
    omitted, noted = {Check.NONCE: "one"}, {Check.FORMAT: "two"}
    remarks = Remarks(omitted=omitted, noted=noted)
    omitted.clear()
    noted.clear()
    assert remarks == Remarks(omitted={Check.NONCE: "one"}, noted={Check.FORMAT: "two"})
    with pytest.raises(TypeError):
        remarks.omitted[Check.NONCE] = ""  # type: ignore[index] # the test assigns on purpose
    assert not NO_REMARKS.omitted
    assert not NO_REMARKS.noted


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (FormatRefused, "format"),
        (QuotingRefused, "format"),
        (SignatureRefused, "signature"),
        (SignerNameRefused, "signer-name"),
        (ClaimsRefused, "claims"),
        (WindowRefused, "validity-window"),
        (ChainRefused, "chain"),
        (ProfileRefused, "chain"),
        (NonceRefused, "nonce"),
        (PolicyRefused, "policy"),
    ],
)
def test_a_refusal_names_its_check(kind: type[Refused], check: str) -> None:
    refused = kind(Reason.TOO_LARGE, "It is.")
    assert refused.check.value == check
    assert (check, "fail", "") in outcomes(refused.checks)
    assert str(refused) == "too-large: It is."
    assert refused.code == "too-large"
    assert refused.detail == refused.public_detail == "It is."
    assert refused.retry_after is None
    assert not refused.retryable


def make() -> NonceRefused:
    return NonceRefused(
        Reason.NONCE_UNKNOWN, "For us.", retry_after=NONCE_RETRY_AFTER, remarks=REMARKS, public_detail="For all."
    )


def test_a_refusal_carries_what_it_was_made_with() -> None:
    refused = make()
    assert refused.reason is Reason.NONCE_UNKNOWN
    assert refused.detail == "For us."
    assert refused.public_detail == "For all."
    assert refused.retry_after == timedelta(seconds=5)
    assert refused.retryable
    assert refused.checks == progress(failed=Check.NONCE, remarks=REMARKS)


def test_other_remarks_change_only_the_remarks() -> None:
    other = Remarks(noted={Check.FORMAT: "another"})
    refused = make().with_remarks(other)
    assert type(refused) is NonceRefused
    assert (refused.reason, refused.detail, refused.public_detail) == (Reason.NONCE_UNKNOWN, "For us.", "For all.")
    assert refused.retry_after == NONCE_RETRY_AFTER
    assert refused.checks == progress(failed=Check.NONCE, remarks=other)


def test_a_final_refusal_is_the_same_without_another_try() -> None:
    refused = make().as_final()
    assert type(refused) is NonceRefused
    assert (refused.reason, refused.detail, refused.public_detail) == (Reason.NONCE_UNKNOWN, "For us.", "For all.")
    assert refused.retry_after is None
    assert refused.checks == progress(failed=Check.NONCE, remarks=REMARKS)


def test_the_codes_are_stable() -> None:
    assert {reason.value for reason in Reason} == {
        "malformed-evidence", "unsupported-encoding", "too-large", "signature-invalid", "algorithm-refused",
        "signer-name-mismatch", "claims-incomplete", "document-expired", "document-not-yet-valid", "chain-untrusted",
        "issuer-unpinned", "nonce-mismatch", "nonce-unknown", "nonce-replayed", "policy-denied",
    }  # fmt: skip
    assert {outcome.value for outcome in Outcome} == {"pass", "fail", "skipped"}

"""Why evidence is refused, and at which check of the appraisal."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Every reason there is to refuse a document. The values are the stable codes of the interfaces."""

    MALFORMED_EVIDENCE = "malformed-evidence"
    UNSUPPORTED_ENCODING = "unsupported-encoding"
    TOO_LARGE = "too-large"
    SIGNATURE_INVALID = "signature-invalid"
    ALGORITHM_REFUSED = "algorithm-refused"
    SIGNER_NAME_MISMATCH = "signer-name-mismatch"
    CLAIMS_INCOMPLETE = "claims-incomplete"
    DOCUMENT_EXPIRED = "document-expired"
    DOCUMENT_NOT_YET_VALID = "document-not-yet-valid"
    CHAIN_UNTRUSTED = "chain-untrusted"
    ISSUER_UNPINNED = "issuer-unpinned"
    NONCE_MISMATCH = "nonce-mismatch"
    NONCE_UNKNOWN = "nonce-unknown"
    NONCE_REPLAYED = "nonce-replayed"
    POLICY_DENIED = "policy-denied"


class Check(StrEnum):
    """The checks of an appraisal, in the order in which they are made (cheap first, side effects last)."""

    FORMAT = "format"
    SIGNATURE = "signature"
    SIGNER_NAME = "signer-name"
    CLAIMS = "claims"
    VALIDITY_WINDOW = "validity-window"
    CHAIN = "chain"
    NONCE = "nonce"
    POLICY = "policy"


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105 - an outcome's name, not a password
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    name: Check
    outcome: Outcome
    detail: str = ""


#: How long an agent waits before it asks IMDS again, which may answer from its cache (Azure page, "Attested data").
NONCE_RETRY_AFTER = timedelta(seconds=5)


def progress(
    *,
    failed: Check | None = None,
    omitted: dict[Check, str] | None = None,
    noted: dict[Check, str] | None = None,
) -> tuple[CheckResult, ...]:
    """Every check with its outcome, for an appraisal that stopped at `failed` or, where that is None, at the end.

    `omitted` names the checks that this appraisal does not make, each with the sentence that says why; `noted` those
    that it passed otherwise than is usual, each with the sentence that says how.
    """
    omitted = omitted or {}
    noted = noted or {}
    results: list[CheckResult] = []
    outcome = Outcome.PASS
    for check in Check:
        if check is failed:
            results.append(CheckResult(name=check, outcome=Outcome.FAIL))
            outcome = Outcome.SKIPPED
        elif check in omitted:
            results.append(CheckResult(name=check, outcome=Outcome.SKIPPED, detail=omitted[check]))
        else:
            detail = noted.get(check, "") if outcome is Outcome.PASS else ""
            results.append(CheckResult(name=check, outcome=outcome, detail=detail))
    return tuple(results)


class Refused(Exception):
    """The document is refused. The subclass names the check that failed, `reason` says why.

    `detail` is one sentence for the person who reads it, and carries nothing of an unverified document but
    its algorithm and certificate names. `retry_after` is set where the same agent may try again.
    """

    check: ClassVar[Check]

    def __init__(self, reason: Reason, detail: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after
        self.omitted: dict[Check, str] = {}
        self.noted: dict[Check, str] = {}

    @property
    def code(self) -> str:
        return self.reason.value

    @property
    def retryable(self) -> bool:
        return self.retry_after is not None

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        return progress(failed=self.check, omitted=self.omitted, noted=self.noted)


class FormatRefused(Refused):
    check = Check.FORMAT


class SignatureRefused(Refused):
    check = Check.SIGNATURE


class SignerNameRefused(Refused):
    check = Check.SIGNER_NAME


class ClaimsRefused(Refused):
    check = Check.CLAIMS


class WindowRefused(Refused):
    check = Check.VALIDITY_WINDOW


class ChainRefused(Refused):
    check = Check.CHAIN


class NonceRefused(Refused):
    check = Check.NONCE


class PolicyRefused(Refused):
    check = Check.POLICY

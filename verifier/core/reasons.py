"""The reasons to refuse evidence, and the checks that refuse it."""

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Self

from verifier.core.values import dataclass


class Reason(StrEnum):
    """Every reason to refuse a document. The values are the stable codes of the interfaces."""

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
    """The checks of an appraisal, in their order: cheap ones first, side effects last."""

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


#: An agent waits this long before it asks IMDS again, which may answer from its cache (Azure page, "Attested data").
NONCE_RETRY_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remarks:
    """Sentences on checks that an appraisal skips (`omitted`) or passes in an unusual way (`noted`)."""

    omitted: Mapping[Check, str] = field(default_factory=dict)
    noted: Mapping[Check, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "omitted", MappingProxyType(dict(self.omitted)))
        object.__setattr__(self, "noted", MappingProxyType(dict(self.noted)))


NO_REMARKS = Remarks()


def progress(*, failed: Check | None = None, remarks: Remarks = NO_REMARKS) -> tuple[CheckResult, ...]:
    """List every check with its outcome, for an appraisal that stopped at `failed` or, if that is None, passed."""
    return _PASSED if failed is None and remarks is NO_REMARKS else _list_checks(failed, remarks)


def _list_checks(failed: Check | None, remarks: Remarks) -> tuple[CheckResult, ...]:
    results: list[CheckResult] = []
    outcome = Outcome.PASS
    for check in Check:
        if check is failed:
            results.append(CheckResult(name=check, outcome=Outcome.FAIL))
            outcome = Outcome.SKIPPED
        elif check in remarks.omitted:
            results.append(CheckResult(name=check, outcome=Outcome.SKIPPED, detail=remarks.omitted[check]))
        else:
            detail = remarks.noted.get(check, "") if outcome is Outcome.PASS else ""
            results.append(CheckResult(name=check, outcome=outcome, detail=detail))
    return tuple(results)


#: The list of almost all documents.
_PASSED = _list_checks(None, NO_REMARKS)


class Refused(Exception):
    """The document is refused. The subclass names the check that failed, `reason` says why.

    `detail` is one sentence for a person. Of an unverified document it repeats only algorithm and certificate names.
    `retry_after` is set if the same agent may try again. `public_detail` replaces `detail` for callers whose key is
    public, if `detail` says more than they may know.
    """

    check: ClassVar[Check]

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        retry_after: timedelta | None = None,
        remarks: Remarks = NO_REMARKS,
        public_detail: str = "",
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self._reason = reason
        self._detail = detail
        self._retry_after = retry_after
        self._remarks = remarks
        self._public_detail = public_detail

    @property
    def reason(self) -> Reason:
        return self._reason

    @property
    def detail(self) -> str:
        return self._detail

    @property
    def public_detail(self) -> str:
        return self._public_detail or self._detail

    @property
    def retry_after(self) -> timedelta | None:
        return self._retry_after

    def with_remarks(self, remarks: Remarks) -> Self:
        """Return the same refusal with these remarks on other checks."""
        return type(self)(
            self._reason,
            self._detail,
            retry_after=self._retry_after,
            remarks=remarks,
            public_detail=self._public_detail,
        )

    def as_final(self) -> Self:
        """Return the same refusal, which no agent can try again: that of an archived document."""
        return type(self)(self._reason, self._detail, remarks=self._remarks, public_detail=self._public_detail)

    @property
    def code(self) -> str:
        return self.reason.value

    @property
    def retryable(self) -> bool:
        return self.retry_after is not None

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        return progress(failed=self.check, remarks=self._remarks)


class FormatRefused(Refused):
    check = Check.FORMAT


class QuotingRefused(FormatRefused):
    """The detail repeats a part of the request, so no record may keep it: the part could be a nonce or a key."""


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


class ProfileRefused(ChainRefused):
    """The signer's certificate breaks the profile of signers, but a usable pin or anchor issued it."""


class NonceRefused(Refused):
    check = Check.NONCE


class PolicyRefused(Refused):
    check = Check.POLICY

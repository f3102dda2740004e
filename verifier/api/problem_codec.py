"""Convert problems and refusals from types to JSON."""

from collections.abc import Sequence

from verifier.api.answers import PolicyDenialJson, ProblemJson
from verifier.api.json_codec import checks_json, claims_json
from verifier.api.problems import DOCUMENTATION, Code, type_uri
from verifier.core.model import Claims
from verifier.core.policy import Denial, PolicyDenied
from verifier.core.reasons import CheckResult, PolicyRefused, Refused


def problem_json(
    code: Code,
    detail: str,
    *,
    request_id: str = "",
    checks: Sequence[CheckResult] = (),
    retry_after_seconds: int | None = None,
) -> ProblemJson:
    """Build a problem document (RFC 9457), which is retryable if `retry_after_seconds` is given."""
    documentation = DOCUMENTATION[code]
    problem: ProblemJson = {
        "type": type_uri(code),
        "title": documentation.title,
        "status": documentation.status,
        "detail": detail,
        "code": code,
        "checks": checks_json(checks),
        "retryable": retry_after_seconds is not None,
        "requestId": request_id,
    }
    if retry_after_seconds is not None:
        problem["retryAfterSeconds"] = retry_after_seconds
    return problem


def refusal_json(
    refused: Refused, *, request_id: str = "", is_public: bool = False, claims: Claims | None = None
) -> ProblemJson:
    """Build the problem document of a refusal, with the outcome of each check.

    If the caller's key `is_public`, the detail says only what any agent may know. Otherwise, a refusal by a policy
    carries the denial and `claims`, which are those of an authentic document.
    """
    problem = problem_json(
        refused.reason,
        refused.public_detail if is_public else refused.detail,
        request_id=request_id,
        checks=refused.checks,
        retry_after_seconds=None if refused.retry_after is None else int(refused.retry_after.total_seconds()),
    )
    if isinstance(refused, PolicyRefused) and claims is not None and not is_public:
        problem["claims"] = claims_json(claims)
        if isinstance(refused, PolicyDenied):
            problem["denial"] = denial_json(refused.denial)
    return problem


def denial_json(denial: Denial) -> PolicyDenialJson:
    return {
        "policy": denial.policy,
        "rule": denial.rule,
        "found": denial.found,
        "allowed": list(denial.allowed),
        "allowedCount": denial.allowed_count,
    }

"""Check problem documents (RFC 9457)."""

import json
from collections.abc import Mapping

from verifier.api.problems import DOCUMENTATION, find_code

_FIELDS = {"type", "title", "status", "detail", "code", "checks", "retryable", "requestId"}


def read_problem(status: int, headers: Mapping[str, str], body: bytes) -> dict[str, object]:
    """Return the problem document after checking that it is complete, documented and consistent with its headers."""
    names = {name.lower(): value for name, value in headers.items()}
    assert names["content-type"] == "application/problem+json"
    problem: dict[str, object] = json.loads(body)
    shown = {"claims", "denial"} if problem["code"] == "policy-denied" else set()
    assert problem.keys() - {"retryAfterSeconds"} - shown == _FIELDS
    documentation = DOCUMENTATION[find_code(str(problem["code"]))]
    assert problem["status"] == status == documentation.status
    assert problem["title"] == documentation.title
    assert problem["type"] == f"/problems/{problem['code']}"
    assert isinstance(problem["detail"], str)
    assert problem["detail"]
    assert problem["retryable"] is ("retryAfterSeconds" in problem)
    if problem["retryable"]:
        assert names["retry-after"] == str(problem["retryAfterSeconds"])
    return problem

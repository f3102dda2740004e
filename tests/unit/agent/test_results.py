"""The lifetime of a result comes from the times of the verifier."""

import base64
import json

import pytest

from verifier.agent.results import OutputFormat, VerifiedResult
from verifier.agent.transport import Response


def result(**fields: object) -> VerifiedResult:
    body = {"verdict": "verified", "claims": {"vmId": "v"}} | fields
    return VerifiedResult.parse(Response(status=200, headers={}, body=json.dumps(body).encode()))


def token(payload: object) -> str:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return f"e30.{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}.AAAA"


@pytest.mark.parametrize("padding", ["", "x", "xx"])
def test_token_is_valid_from_iat_to_exp(padding: str) -> None:
    made = result(token=token({"iat": 1000, "exp": 1600, "pad": padding}))
    assert made.lifetime(OutputFormat.TOKEN) == 600


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        [],
        {},
        {"exp": 5},
        {"iat": 1, "exp": True},
        {"iat": "1", "exp": "2"},
        {"iat": 2, "exp": 1},
        {"iat": 1, "exp": float("inf")},
        {"iat": 1, "exp": float("nan")},
    ],
    ids=str,
)
def test_lifetime_of_a_token_without_valid_times_is_unknown(payload: object) -> None:
    assert result(token=token(payload)).lifetime(OutputFormat.TOKEN) is None


def test_claims_are_valid_until_their_document_expires() -> None:
    claims = {"vmId": "v", "expiresOn": "2026-11-23T14:00:00Z"}
    made = result(claims=claims, evaluatedAt="2026-11-23T08:00:00.500000Z")
    assert made.lifetime(OutputFormat.CLAIMS) == made.lifetime(OutputFormat.JSON) == 6 * 3600 - 0.5


@pytest.mark.parametrize("moment", [None, 5, "", "2026-11-23", "2026-11-23T08:00:00", "soonZ"])
def test_lifetime_of_claims_without_valid_times_is_unknown(moment: object) -> None:
    assert (
        result(evaluatedAt=moment, claims={"expiresOn": "2026-11-23T14:00:00Z"}).lifetime(OutputFormat.CLAIMS) is None
    )
    assert (
        result(evaluatedAt="2026-11-23T08:00:00Z", claims={"expiresOn": moment}).lifetime(OutputFormat.CLAIMS) is None
    )

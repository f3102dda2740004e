"""What is printed of a result, and how long it lasts."""

import base64
import json

import pytest

from verifier.agent.results import AttestationResult, Form
from verifier.agent.transport import Answer


def result(**fields: object) -> AttestationResult:
    body = {"verdict": "verified", "claims": {"vmId": "v"}} | fields
    return AttestationResult.read(Answer(status=200, headers={}, body=json.dumps(body).encode()))


def token(payload: object) -> str:
    octets = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return f"e30.{base64.urlsafe_b64encode(octets).rstrip(b'=').decode()}.AAAA"


@pytest.mark.parametrize("padding", ["", "x", "xx"])
def test_a_token_lasts_from_iat_to_exp(padding: str) -> None:
    made = result(token=token({"iat": 1000, "exp": 1600, "pad": padding}))
    assert made.lifetime(Form.TOKEN) == 600


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
def test_a_token_that_does_not_say_when_it_ends_lasts_nobody_knows_how_long(payload: object) -> None:
    assert result(token=token(payload)).lifetime(Form.TOKEN) is None


def test_claims_last_as_long_as_their_document_does() -> None:
    """By the verifier's clock: that of the machine may be wrong."""
    claims = {"vmId": "v", "expiresOn": "2026-11-23T14:00:00Z"}
    made = result(claims=claims, evaluatedAt="2026-11-23T08:00:00.500000Z")
    assert made.lifetime(Form.CLAIMS) == made.lifetime(Form.JSON) == 6 * 3600 - 0.5


@pytest.mark.parametrize("moment", [None, 5, "", "2026-11-23", "2026-11-23T08:00:00", "soonZ"])
def test_claims_without_times_last_nobody_knows_how_long(moment: object) -> None:
    assert result(evaluatedAt=moment, claims={"expiresOn": "2026-11-23T14:00:00Z"}).lifetime(Form.CLAIMS) is None
    assert result(evaluatedAt="2026-11-23T08:00:00Z", claims={"expiresOn": moment}).lifetime(Form.CLAIMS) is None

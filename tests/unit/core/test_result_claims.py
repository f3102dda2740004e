"""The claims of a result token, in the EAR profile."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from support import documents
from support.documents import NOW
from support.results import archived_result, fresh_result, unchallenged_result

from verifier.core import result_claims
from verifier.core.model import LiveResult
from verifier.core.result_claims import CLAIMS_KEY, PROFILE, build_claims

LIFETIME = timedelta(seconds=600)
THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def claims_of(result: LiveResult, *, lifetime: timedelta = LIFETIME) -> dict[str, Any]:
    claims = build_claims(
        result,
        tenant="contoso",
        issuer="https://us",
        audience="backend",
        lifetime=lifetime,
        token_id="one",  # noqa: S106 - an id
        build="imds-verifier 1",
    )
    encoded: dict[str, Any] = json.loads(json.dumps(claims))
    return encoded


def expiring(at: datetime) -> bytes:
    content = documents.content(created_on=NOW)
    created = f"{NOW - timedelta(seconds=45):%m/%d/%y %H:%M:%S} -0000"
    content["timeStamp"] = {"createdOn": created, "expiresOn": f"{at:%m/%d/%y %H:%M:%S} -0000"}
    return documents.sign(documents.encode(content))


def test_are_exactly_those_of_the_profile() -> None:
    claims = claims_of(fresh_result())

    assert claims.pop("submods")["azure-imds"] | {CLAIMS_KEY: None} == {
        "ear_status": "affirming",
        "ear_appraisal_policy_ids": ["default"],
        "ear_trustworthiness_vector": {"instance-identity": 2},
        CLAIMS_KEY: None,
    }
    assert claims == {
        "iss": "https://us",
        "aud": "backend",
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + LIFETIME).timestamp()),
        "jti": "one",
        "imds-verifier.tenant": "contoso",
        "eat_profile": PROFILE,
        "eat_nonce": documents.NONCE,
        "ear_verifier_id": {"developer": "imds-verifier", "build": "imds-verifier 1"},
    }
    assert PROFILE == "tag:ietf.org,2026:rats/ear#04"


def test_have_the_claims_of_the_document_with_the_names_of_the_result() -> None:
    result = fresh_result()
    own = claims_of(result)["submods"]["azure-imds"][CLAIMS_KEY]

    signed = documents.content()
    assert own["vmId"] == signed["vmId"]
    assert own["subscriptionId"] == signed["subscriptionId"]
    assert own["sku"] == signed["sku"]
    assert own["licenseType"] == signed["licenseType"]
    assert own["plan"] == signed["plan"]
    assert own["cloud"] == "AzurePublicCloud"
    assert own["createdOn"] == "2026-11-23T08:00:00Z"
    assert own["expiresOn"] == "2026-11-23T14:00:00Z"
    assert own["trustGeneration"] == result.content.trust_generation
    assert own["signerSha256"] == result.content.signer.sha256


def test_are_null_for_absent_claims_of_the_document() -> None:
    content = documents.content()
    for name in ("plan", "sku", "licenseType", "subscriptionId"):
        del content[name]

    own = claims_of(fresh_result(documents.sign(documents.encode(content))))["submods"]["azure-imds"][CLAIMS_KEY]

    assert own["plan"] is own["sku"] is own["licenseType"] is own["subscriptionId"] is None


@pytest.mark.parametrize("seconds", [1, 59, 599, 600, 601])
def test_expire_with_the_earlier_of_lifetime_and_document(seconds: int) -> None:
    result = fresh_result(expiring(NOW + timedelta(seconds=seconds)))

    assert claims_of(result)["exp"] == int(NOW.timestamp()) + min(seconds, 600)


def test_are_already_expired_if_the_document_expired_within_the_skew() -> None:
    claims = claims_of(fresh_result(expiring(NOW - timedelta(seconds=30))))

    assert claims["exp"] == claims["iat"] - 30


def test_expire_with_the_lifetime_if_the_document_does_not_expire() -> None:
    content = documents.content()
    del content["timeStamp"]

    result = fresh_result(documents.sign(documents.encode(content)))

    assert claims_of(result)["exp"] == int(NOW.timestamp()) + 600


def test_round_times_down_to_whole_seconds() -> None:
    at = NOW + timedelta(microseconds=999_999)

    claims = claims_of(fresh_result(documents.document(created_on=NOW), at=at))

    assert (claims["iat"], claims["exp"]) == (int(NOW.timestamp()), int(NOW.timestamp()) + 600)


def test_name_the_agents_key_if_the_nonce_did() -> None:
    assert claims_of(fresh_result(jkt=THUMBPRINT))["cnf"] == {"jkt": THUMBPRINT}
    assert "cnf" not in claims_of(fresh_result())


def test_claim_no_answered_challenge_without_a_challenge() -> None:
    """Nor what IMDS put in a nonce's place, nor a key: a relying party that needs a challenge finds none."""
    result = unchallenged_result()
    claims = claims_of(result)

    assert result.claims.nonce == "20261123-140000"
    assert result.claims.nonce not in json.dumps(claims)
    assert claims.keys() == claims_of(fresh_result()).keys() - {"eat_nonce"}


def test_are_not_made_of_an_archived_document() -> None:
    with pytest.raises(AssertionError, match=r"got: Archived\("):
        claims_of(archived_result())  # type: ignore[arg-type]  # mypy refuses it too: tests/architecture/test_types.py


def test_the_names_that_relying_parties_know_are_stable() -> None:
    assert result_claims.PROFILE == "tag:ietf.org,2026:rats/ear#04"
    assert result_claims.TOKEN_TYPE == "eat+jwt"  # noqa: S105 - a media type
    assert result_claims.SUBMODULE == "azure-imds"
    assert result_claims.CLAIMS_KEY == "imds-verifier.claims"

"""The service with tenants that share an audience: each keeps its own policy, and its tokens name it."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from hypothesis import given, settings
from support.clocks import ManualClock
from support.documents import imds_answer
from support.live_documents import current_document
from support.policy_choices import ALLOWED, OWN, Choice, choices
from support.services import Answer, RunningServer, running_service

from verifier.adapters.tokens.key_directory import TokenKeyDirectory
from verifier.ports.tokens import TokenAlgorithm

AUDIENCE = "licensing"
_EVENT = "shared token audience"


def settings_of(directory: Path, tenants: list[str]) -> dict[str, str]:
    """One tenant for each of these policies, by the same name, which is its key too."""
    minute = timedelta(minutes=1)
    clock = ManualClock(datetime.now(UTC))
    TokenKeyDirectory(directory / "keys", clock=clock, token_lifetime=minute, refresh=minute).generate(
        TokenAlgorithm.ES256
    )
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in tenants}
    return {
        "VERIFIER_POLICIES": json.dumps({name: {"products": sorted(allowed)} for name, allowed in ALLOWED.items()}),
        "VERIFIER_TENANTS": json.dumps({name: {"keys": [hashes[name]], "policy": name} for name in tenants}),
        "VERIFIER_TOKEN_KEYS_DIR": str(directory / "keys"),
        "VERIFIER_TOKEN_ISSUER": "https://verifier.example",
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("shared")
    told = settings_of(directory, sorted(OWN)) | {"VERIFIER_TOKEN_AUDIENCE": AUDIENCE}
    with running_service(
        nonce_store=f"sqlite://{directory}/nonces.sqlite3", trust_dir=trust_dir, workers=2, **told
    ) as running:
        yield running


def post(service: RunningServer, path: str, choice: Choice, fields: dict[str, object]) -> Answer:
    headers = {"Authorization": f"Bearer {choice.tenant}", "Content-Type": "application/json"}
    return service.request("POST", path, json.dumps(fields).encode(), headers=headers)


@settings(max_examples=25, deadline=None)
@given(choice=choices(own=OWN))
def test_no_nonce_and_no_request_leaves_the_tenants_policy(shared: RunningServer, choice: Choice) -> None:
    issued = post(shared, "/v1/nonces", choice, {"policy": choice.nonce} if choice.nonce else {})
    evidence = imds_answer(current_document(str(issued.json["nonce"]), vm=choice.vm))
    answer = post(
        shared, "/v1/attestations", choice, {**evidence, **({"policy": choice.request} if choice.request else {})}
    )
    if not choice.all_allow:
        assert (answer.status, answer.code) == (403, "policy-denied")
        assert "token" not in answer.json
        return
    assert choice.tenant_allows
    assert (answer.status, answer.json["policies"]) == (200, choice.names)
    token = jwt.decode(str(answer.json["token"]), options={"verify_signature": False})
    assert token["aud"] == AUDIENCE
    assert token["imds-verifier.tenant"] == choice.tenant
    assert token["submods"]["azure-imds"]["ear_appraisal_policy_ids"] == choice.names


@pytest.mark.parametrize(
    ("tenants", "audience", "times"),
    [(["db-alone", "web-alone"], AUDIENCE, 1), (["db-alone", "web-alone"], None, 0), (["db-alone"], AUDIENCE, 0)],
)
def test_tenants_that_share_an_audience_are_warned_about_once_at_the_start(
    tmp_path: Path, trust_dir: Path, tenants: list[str], audience: str | None, times: int
) -> None:
    told = settings_of(tmp_path, tenants) | ({"VERIFIER_TOKEN_AUDIENCE": audience} if audience else {})
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/n.sqlite3", trust_dir=trust_dir, workers=2, **told
    ) as service:
        assert service.request("GET", "/healthz").status == 200
    warnings = [line for line in map(json.loads, service.log) if line["event"] == _EVENT]
    assert len(warnings) == times
    for warning in warnings:
        assert (warning["level"], warning["audience"], warning["tenants"]) == ("warning", audience, tenants)
        assert "imds-verifier.tenant" in warning["detail"]

"""Test result tokens over HTTP: in results, the key set and readiness."""

from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from support import documents
from support.applications import Application, KeptRecords, make_application
from support.clocks import ManualClock
from support.documents import NOW
from support.services import AS_ADMIN
from support.token_checks import ISSUER, Expectations, check_with_pyjwt

from verifier.adapters.tokens.issuer import SignedResults
from verifier.adapters.tokens.key_directory import TokenKeyDirectory
from verifier.core.model import AttestationResult
from verifier.ports.telemetry import Event, TokenKeysReloaded
from verifier.ports.tokens import PublishedKey, TokenAlgorithm

KEYS = "/.well-known/jwks.json"
THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


class _Records(KeptRecords):
    def record(self, event: Event) -> None:
        if not isinstance(event, TokenKeysReloaded):
            KeptRecords.record(self, event)


@pytest.fixture
def keys(tmp_path: Path) -> TokenKeyDirectory:
    made = TokenKeyDirectory(
        tmp_path / "keys", clock=ManualClock(NOW), token_lifetime=timedelta(minutes=10), refresh=timedelta(seconds=1)
    )
    made.generate(TokenAlgorithm.ES256)
    return made


@pytest.fixture
def application(keys: TokenKeyDirectory, tmp_path: Path) -> Application:
    del keys
    tokens = SignedResults(
        tmp_path / "keys",
        issuer=ISSUER,
        audience=None,
        lifetime=timedelta(minutes=10),
        build="imds-verifier 1",
        recorder=_Records(),
    )
    return make_application(tmp_path, tokens=tokens)


def condition(application: Application) -> dict[str, object]:
    [found] = [
        entry
        for entry in application.client.get("/readyz", headers=AS_ADMIN).get_json()["conditions"]
        if entry["name"] == "token-key"
    ]
    return dict(found)


def test_result_has_a_token_that_the_published_keys_verify(application: Application) -> None:
    nonce = application.client.post("/v1/nonces", json={"jkt": THUMBPRINT}).get_json()["nonce"]
    document = documents.document(nonce=nonce)

    answer = application.client.post("/v1/attestations", json=documents.imds_answer(document))

    assert answer.status_code == 200
    assert list(answer.get_json())[-1] == "token"
    key_set = application.client.get(KEYS).get_json(force=True)
    [claims] = check_with_pyjwt([answer.get_json()["token"]], Expectations(key_set=key_set, now=NOW))
    assert claims is not None
    assert claims["eat_nonce"] == nonce
    assert claims["cnf"] == {"jkt": THUMBPRINT}


def test_the_jti_of_a_token_leads_to_its_decision(application: Application) -> None:
    identifiers = []
    for _ in range(20):
        nonce = application.client.post("/v1/nonces").get_json()["nonce"]
        evidence = documents.imds_answer(documents.document(nonce=nonce))
        headers = {"X-Request-Id": "chosen-by-the-caller"}
        answer = application.client.post("/v1/attestations", json=evidence, headers=headers)
        claims = jwt.decode(answer.get_json()["token"], options={"verify_signature": False})
        assert claims["jti"] == answer.headers["X-Request-Id"] == application.records.decisions[-1].request_id
        identifiers.append(claims["jti"])
    assert len(set(identifiers)) == 20


def test_no_token_without_keys_or_in_a_refusal(application: Application, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    keyless = make_application(tmp_path / "other")
    keyless.give_out(documents.NONCE)
    body = documents.imds_answer(documents.document())

    assert "token" not in keyless.client.post("/v1/attestations", json=body).get_json()
    refused = application.client.post("/v1/attestations", json=body)
    assert refused.status_code == 422
    assert "token" not in refused.get_json()


def test_key_set_is_cacheable_for_five_minutes_with_an_etag(application: Application, keys: TokenKeyDirectory) -> None:
    first = application.client.get(KEYS)
    assert first.headers["Cache-Control"] == "public, max-age=300"
    assert first.mimetype == "application/jwk-set+json"

    again = application.client.get(KEYS, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")

    keys.generate(TokenAlgorithm.EDDSA)
    changed = application.client.get(KEYS, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert len(changed.get_json(force=True)["keys"]) == 2
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_key_set_is_empty_without_keys(tmp_path: Path) -> None:
    answer = make_application(tmp_path).client.get(KEYS)

    assert (answer.status_code, answer.get_json(force=True)) == (200, {"keys": []})
    assert answer.headers["Cache-Control"] == "public, max-age=300"


def test_readiness_shows_the_keys(application: Application, tmp_path: Path) -> None:
    assert condition(application) == {"name": "token-key", "ready": True, "detail": ""}

    (tmp_path / "keys" / "current").write_text("another", "ascii")
    broken = condition(application)
    assert broken["ready"] is True
    assert "current: names a key that does not exist" in str(broken["detail"])

    (tmp_path / "other").mkdir()
    keyless = condition(make_application(tmp_path / "other"))
    assert keyless == {
        "name": "token-key",
        "ready": True,
        "detail": "no keys are configured: results are not signed",
    }


class _NoKey:
    """Implements the TokenIssuer port without a key."""

    def issue(self, result: AttestationResult, *, tenant: str, jti: str) -> str:
        raise AssertionError(result, tenant, jti)

    def published(self) -> tuple[PublishedKey, ...]:
        return ()

    def check(self) -> None:
        raise AssertionError

    def trouble(self) -> str:
        return "the disk is gone"


def test_service_with_configured_but_missing_keys_is_not_ready(tmp_path: Path) -> None:
    application = make_application(tmp_path, tokens=_NoKey())

    assert condition(application) == {"name": "token-key", "ready": False, "detail": "the disk is gone"}
    assert application.client.get("/readyz").status_code == 503

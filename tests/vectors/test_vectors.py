"""Every vector, over HTTP and through the library: it is accepted, or refused for its one fault at its check."""

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from support.applications import Application, FixedTrust, make_application
from support.clocks import ManualClock
from support.vectors import TRUST, VECTORS, VERIFIED, Vector, load_vectors, vectors_trust
from werkzeug.test import TestResponse

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.api.authentication import Tenants
from verifier.api.problems import DOCUMENTATION
from verifier.core.encoding import strict_json
from verifier.core.reasons import Check, CheckResult, Outcome, Reason, Refused
from verifier.core.tenancy import Tenant
from verifier.usecases.appraise import DEFAULT_TENANT, Verifier

#: The API key of the tenant `default`, which sends the request.
KEY = "key-of-the-vectors"
ALL = load_vectors()
#: Directories that contain no vectors.
OTHER_DIRECTORIES = {VERIFIED, TRUST.name, "recipes", "__pycache__"}
each_vector = pytest.mark.parametrize("vector", ALL, ids=str)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a nonce database once, because each creation waits for the disk several times."""
    path = tmp_path_factory.mktemp("empty") / "nonces.sqlite3"
    SqliteNonceStore(path).close()
    return path


@pytest.fixture
def store(vector: Vector, empty_database: Path, tmp_path: Path) -> Iterator[SqliteNonceStore]:
    opened = SqliteNonceStore(Path(shutil.copy(empty_database, tmp_path)))
    vector.prepare(opened)
    yield opened
    opened.close()


@pytest.fixture
def application(vector: Vector, store: SqliteNonceStore, tmp_path: Path) -> Application:
    tenant = Tenant(name=DEFAULT_TENANT, policy=vector.tenant_policy)
    return make_application(
        tmp_path,
        bundle=vectors_trust(),
        moment=vector.at,
        policies=vector.policies,
        nonces=store,
        tenants=Tenants(key_hashes={tenant: [hashlib.sha256(KEY.encode()).hexdigest()]}),
    )


def post(application: Application, vector: Vector) -> TestResponse:
    return application.client.post(
        "/v1/attestations",
        data=vector.body,
        content_type=vector.media_type,
        headers={"Authorization": f"Bearer {KEY}"},
    )


def outcomes_of(failing: Check | None) -> list[tuple[str, str]]:
    """Return the outcome of each check: those before `failing` pass, and those after it are skipped."""
    outcomes: list[tuple[str, str]] = []
    outcome = Outcome.PASS
    for check in Check:
        outcomes.append((check.value, Outcome.FAIL.value if check is failing else outcome.value))
        outcome = Outcome.SKIPPED if check is failing else outcome
    return outcomes


def outcomes_in(checks: tuple[CheckResult, ...]) -> list[tuple[str, str]]:
    return [(check.name.value, check.outcome.value) for check in checks]


@each_vector
def test_over_http(vector: Vector, application: Application) -> None:
    answer = post(application, vector)

    body = answer.get_json()
    assert body.get("code") == vector.expected.get("code")
    assert [(check["name"], check["outcome"]) for check in body["checks"]] == outcomes_of(vector.check)
    assert [exchange.code for exchange in application.records.exchanges] == [vector.expected.get("code", "")]
    assert application.records.failures == []
    if vector.reason is None:
        assert answer.status_code == 200
        assert body["verdict"] == "verified"
        assert body["cloud"] == vector.expected["cloud"]
        assert body["evaluatedAt"] == vector.at.isoformat().replace("+00:00", "Z")
    else:
        assert answer.status_code == DOCUMENTATION[vector.reason].status
        assert answer.mimetype == "application/problem+json"
        assert body["retryable"] is vector.expected["retryable"]
        assert body.get("retryAfterSeconds") == vector.expected.get("retry_after_seconds")
        assert answer.headers.get("Retry-After", type=int) == vector.expected.get("retry_after_seconds")


@each_vector
def test_through_the_library(vector: Vector, store: SqliteNonceStore) -> None:
    verifier = Verifier(
        trust=FixedTrust(in_force=vectors_trust()),
        nonces=store,
        clock=ManualClock(vector.at),
        policies=vector.policies,
    )
    appraise = partial(
        verifier.appraise,
        nonce=vector.request.get("nonce"),
        policy=vector.request.get("policy"),
        tenant_policy=vector.tenant_policy,
    )
    if vector.reason is None:
        result = appraise(vector.document())

        assert outcomes_in(result.checks) == outcomes_of(None)
        assert result.content.cloud.value == vector.expected["cloud"]
        return

    with pytest.raises(Refused) as caught:
        appraise(vector.document())

    assert caught.value.reason is vector.reason
    assert outcomes_in(caught.value.checks) == outcomes_of(vector.check)
    assert caught.value.retryable is vector.expected["retryable"]


@pytest.mark.parametrize("vector", [vector for vector in ALL if vector.reason is None], ids=str)
def test_a_second_post_of_an_accepted_document_is_a_replay(vector: Vector, application: Application) -> None:
    assert post(application, vector).status_code == 200

    again = post(application, vector)

    assert again.status_code == 409
    assert again.get_json()["code"] == Reason.NONCE_REPLAYED


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_vector(reason: Reason) -> None:
    assert any(vector.reason is reason for vector in ALL)


def test_every_directory_belongs_to_a_reason() -> None:
    directories = {path.name for path in VECTORS.iterdir() if path.is_dir()} - OTHER_DIRECTORIES
    assert directories == {reason.value for reason in Reason}


def test_each_vector_is_under_the_reason_that_it_expects() -> None:
    for vector in ALL:
        expected, refused = vector.expected, vector.reason is not None
        assert vector.directory.parent.name == expected.get("code", VERIFIED), vector
        assert expected["verdict"] == ("refused" if refused else "verified"), vector
        assert refused is (vector.check is not None), vector
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", vector.directory.name), vector


def test_each_case_lists_the_fields_of_its_request() -> None:
    for vector in ALL:
        if vector.request:
            fields = strict_json.decode(vector.body)
            assert {name: fields[name] for name in fields if name in {"nonce", "policy"}} == vector.request, vector


def test_vectors_are_unique() -> None:
    seen = Counter(
        (vector.body, vector.media_type, vector.at, vector.nonces, repr(vector.policies), vector.tenant_policy)
        for vector in ALL
    )
    assert max(seen.values()) == 1


def test_no_vector_contains_a_private_key() -> None:
    files = [file for file in VECTORS.rglob("*") if file.suffix in {".pem", ".json", ".toml", ".b64"}]
    assert files
    assert not any(b"PRIVATE KEY" in file.read_bytes() for file in files)

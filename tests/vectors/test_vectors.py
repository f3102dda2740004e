"""Every vector, by the command and through the library: it is accepted, or refused for its one fault at its check."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import jsonschema_rs
import pytest
from support.applications import FixedTrust
from support.clocks import ManualClock
from support.openapi_checks import DescribedClient
from support.vectors import (
    VECTORS,
    VERIFIED,
    conformance_service,
    document_of,
    load_vectors,
    vectors_trust,
)

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.cli.conformance import differences
from verifier.cli.conformance_cases import TRUST, Case, outcomes, read_version
from verifier.core.encoding import strict_json
from verifier.core.encoding.moments import moment_json
from verifier.core.reasons import Check, Reason, Refused
from verifier.core.trust.bundle import TrustBundle
from verifier.core.trust.clouds import Cloud
from verifier.usecases.appraise import Verifier
from verifier.wiring.conformance import ConformanceService, issue_nonces, policies_of

ALL = load_vectors()
ACCEPTED = [vector for vector in ALL if vector.expected.code is None]
#: Directories that contain no vectors.
OTHER_DIRECTORIES = {VERIFIED, TRUST, "recipes", "__pycache__"}


def each(vectors: Sequence[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector.name)


@pytest.fixture(scope="module")
def service() -> Iterator[ConformanceService]:
    with conformance_service() as opened:
        yield opened


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a nonce database once, because each creation waits for the disk several times."""
    path = tmp_path_factory.mktemp("empty") / "nonces.sqlite3"
    SqliteNonceStore(path).close()
    return path


@pytest.fixture
def store(vector: Case, empty_database: Path, tmp_path: Path) -> Iterator[SqliteNonceStore]:
    opened = SqliteNonceStore(Path(shutil.copy(empty_database, tmp_path)))
    issue_nonces(vector, opened)
    yield opened
    opened.close()


@each(ALL)
def test_over_http(vector: Case, service: ConformanceService) -> None:
    assert differences(vector, service.respond(vector)) == {}


@each([vector for vector in ALL if vector.name != "verified/der-as-json"])  # no client is told to post DER as JSON
def test_the_answer_is_described_and_has_the_time_of_the_post(vector: Case, service: ConformanceService) -> None:
    with service.serve(vector) as (application, headers):
        application.test_client_class = DescribedClient
        client = application.test_client()
        answers = [
            client.post("/v1/attestations", data=post.body, content_type=post.media_type, headers=headers)
            for post in (*vector.earlier, vector.post)
        ]
        application.test_client_class = None

    body = answers[-1].get_json()
    if vector.expected.code is None:
        assert body["evaluatedAt"] == moment_json(vector.at)
    else:
        assert answers[-1].mimetype == "application/problem+json"


@each([vector for vector in ALL if not vector.earlier])
def test_through_the_library(vector: Case, store: SqliteNonceStore) -> None:
    bundle = TrustBundle.of(vectors_trust().entries, denials=vector.denials)
    verifier = Verifier(
        trust=FixedTrust(in_force=bundle),
        nonces=store,
        clock=ManualClock(vector.at),
        policies=policies_of(vector),
        served=vector.clouds,
        nonce_mode=vector.nonce_mode,
    )
    appraise = partial(
        verifier.appraise,
        nonce=vector.request.get("nonce"),
        policy=vector.request.get("policy"),
        tenant_policy=vector.tenant_policy,
    )
    expected = vector.expected
    if expected.code is None:
        result = appraise(document_of(vector))

        assert [(check.name.value, check.outcome.value) for check in result.checks] == list(outcomes(None))
        assert result.content.cloud is expected.cloud
        return

    with pytest.raises(Refused) as caught:
        appraise(document_of(vector))

    checks = [(check.name.value, check.outcome.value) for check in caught.value.checks]
    assert caught.value.reason is expected.code
    assert checks == list(outcomes(expected.failing_check))
    assert caught.value.retryable is expected.retryable


@each(ACCEPTED)
def test_a_second_post_of_an_accepted_document_is_a_replay(vector: Case, service: ConformanceService) -> None:
    with service.serve(vector) as (application, headers):
        post = partial(
            application.test_client().post,
            "/v1/attestations",
            data=vector.post.body,
            content_type=vector.post.media_type,
            headers=headers,
        )
        assert post().status_code == 200

        again = post()

    assert again.status_code == 409
    assert again.get_json()["code"] == Reason.NONCE_REPLAYED


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_vector(reason: Reason) -> None:
    assert any(vector.expected.code is reason for vector in ALL)


def test_every_directory_belongs_to_a_reason() -> None:
    directories = {path.name for path in VECTORS.iterdir() if path.is_dir()} - OTHER_DIRECTORIES
    assert directories == {reason.value for reason in Reason}


def test_each_vector_is_under_the_reason_that_it_expects() -> None:
    for vector in ALL:
        expected = vector.expected
        directory, _, name = vector.name.partition("/")
        assert directory == (expected.code or VERIFIED), vector
        assert (expected.code is None) is (expected.failing_check is None), vector
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name), vector


def test_each_case_lists_the_fields_of_its_request() -> None:
    for vector in ALL:
        if vector.request:
            fields = strict_json.decode(vector.post.body)
            assert {name: fields[name] for name in fields if name in {"nonce", "policy"}} == vector.request, vector


def test_vectors_are_unique() -> None:
    seen = Counter((vector.post, vector.earlier, vector.state_json().partition(",")[2]) for vector in ALL)
    assert max(seen.values()) == 1


def test_no_vector_contains_a_private_key() -> None:
    files = [file for file in VECTORS.rglob("*") if file.suffix in {".pem", ".json", ".toml", ".b64"}]
    assert files
    assert not any(b"PRIVATE KEY" in file.read_bytes() for file in files)


def as_json(fields: Mapping[str, object]) -> object:
    """Return the content of a case.toml as JSON: the schema describes a time as text of RFC 3339."""
    return json.loads(json.dumps(fields, default=moment_json))


def schema() -> jsonschema_rs.Draft202012Validator:
    text = (VECTORS / "case.schema.json").read_text("utf-8")
    return jsonschema_rs.Draft202012Validator(json.loads(text), validate_formats=True)


def test_each_case_has_the_form_of_the_schema() -> None:
    validator = schema()
    for vector in ALL:
        assert [str(error) for error in validator.iter_errors(as_json(vector.fields))] == [], vector.name


@pytest.mark.parametrize(
    "change",
    [
        {"at": "yesterday"},
        {"at": None},
        {"body": "../body.json"},
        {"expected": {"verdict": "verified"}},
        {"expected": {"verdict": "refused", "code": "nonce-unknown", "failing_check": "nonce"}},
        {"expected": {"verdict": "verified", "cloud": "AzurePublicCloud", "code": "nonce-unknown"}},
        {"nonces": [{"value": "1"}]},
        {"denied": {"serial_numbers": [1]}},
        {"unknown": 1},
    ],
)
def test_the_schema_refuses_another_form(change: dict[str, object]) -> None:
    validator = schema()
    [vector] = [one for one in ALL if one.name == "verified/json"]
    case = as_json(vector.fields)
    assert isinstance(case, dict)
    assert validator.is_valid(case)
    assert not validator.is_valid({name: value for name, value in {**case, **change}.items() if value is not None})


def test_the_schema_names_every_code_check_and_cloud() -> None:
    names = json.loads((VECTORS / "case.schema.json").read_text("utf-8"))["$defs"]
    assert names["code"]["enum"] == [reason.value for reason in Reason]
    assert names["check"]["enum"] == [check.value for check in Check]
    assert names["cloud"]["enum"] == [cloud.value for cloud in Cloud]


def test_the_changelog_has_the_version_and_the_number_of_cases() -> None:
    changelog = (VECTORS / "CHANGELOG.md").read_text("utf-8")
    [newest, *_] = re.findall(r"^## (\S+) - (\d{4}-\d\d-\d\d)\n\n(\d+) cases", changelog, re.MULTILINE)
    assert (newest[0], int(newest[2])) == (read_version(VECTORS), len(ALL))

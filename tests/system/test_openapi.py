"""The OpenAPI description and the service that runs: neither says or does what the other does not."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from support import documents, raw_http
from support.certificates import make_authority, make_signer
from support.clocks import ManualClock
from support.documents import around, document, imds_answer, sign, spare_key
from support.feeds import published
from support.live_documents import current_document, current_pki
from support.openapi_checks import check_answer
from support.problems import read_problem
from support.processes import await_that
from support.redis_server import RedisServer, running_redis_server
from support.services import Answer, RunningServer, running_service

from verifier.adapters.stores.factory import open_stores
from verifier.adapters.tokens.key_directory import TokenKeyDirectory
from verifier.adapters.trust.published import write_bundle
from verifier.api.operations import OPERATIONS, Caller, Operation
from verifier.api.problems import DOCUMENTATION, Code, Failure, RequestFault
from verifier.core.discovery import IssuerObservation
from verifier.core.reasons import Reason
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki
from verifier.ports.tokens import TokenAlgorithm
from verifier.ports.trust import FeedState

TENANT, SLOW, ADMIN = "tenant-key-of-the-tests", "slow-tenant-key-of-the-tests", "admin-key-of-the-tests"
AGENT = "agent-key-of-the-tests"
_UNKNOWN = "ab" * 32
_IN_TWO_CALLS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request; `repeated` is how often it is sent, the last answer being the one that counts."""

    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    repeated: int = 1


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _settings(directory: Path) -> dict[str, str]:
    keys = directory / "keys"
    minute = timedelta(minutes=1)
    tokens = TokenKeyDirectory(keys, clock=ManualClock(datetime.now(UTC)), token_lifetime=minute, refresh=minute)
    tokens.generate(TokenAlgorithm.ES256)
    return {
        "VERIFIER_ADMIN_KEYS": json.dumps({"tests": _sha256(ADMIN)}),
        "VERIFIER_TENANTS": json.dumps(
            {
                "contoso": {"keys": [_sha256(TENANT)], "agent_keys": [_sha256(AGENT)]},
                "slow": {"keys": [_sha256(SLOW)], "rate": "1/hour"},
            }
        ),
        "VERIFIER_POLICIES": json.dumps({"closed": {"publishers": ["nobody"]}}),
        "VERIFIER_TOKEN_KEYS_DIR": str(keys),
        "VERIFIER_TOKEN_ISSUER": "https://verifier.example",
    }


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def described(redis: RedisServer, trust_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with _with_everything(redis, trust_dir, tmp_path_factory.mktemp("described")) as running:
        yield running


@contextmanager
def _with_everything(redis: RedisServer, trust_dir: Path, directory: Path) -> Iterator[RunningServer]:
    """A service with everything that there is: tenants, a rate, administrators, policies and token keys."""
    with running_service(
        nonce_store=redis.url, trust_dir=trust_dir, workers=2, **_settings(directory), VERIFIER_REQUEST_SECONDS="5"
    ) as running:
        yield running


def _send(service: RunningServer, operation: Operation, call: Call, *, path: str | None = None) -> Answer:
    tenants = dict.fromkeys((Caller.TENANT, Caller.READER, Caller.INSPECTOR), TENANT)
    key = (tenants | {Caller.ADMINISTRATOR: ADMIN}).get(operation.caller)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    headers = {name: value for name, value in (headers | dict(call.headers)).items() if value}
    url = (path or _path(operation)) + call.query
    for _ in range(call.repeated - 1):
        service.request(operation.method.upper(), url, call.body, headers=headers)
    return service.request(operation.method.upper(), url, call.body, headers=headers)


def _send_cut_body(service: RunningServer, operation: Operation) -> Answer:
    with raw_http.Connection(service.url) as connection:
        connection.send(raw_http.request(b"{}", method=operation.method.upper(), path=_path(operation))[:-1])
        connection.end_sending()
        answer = connection.receive()
    check_answer(operation.method.upper(), _path(operation), answer.status, answer.headers, answer.body)
    return answer


def _path(operation: Operation) -> str:
    return (
        operation.path.format(sha256=_UNKNOWN, what=_UNKNOWN, code="internal", requestId=_UNKNOWN[:32], version=9)
        if "{" in operation.path
        else operation.path
    )


def _issue(service: RunningServer) -> str:
    answer = service.request("POST", "/v1/nonces", headers={"Authorization": f"Bearer {TENANT}"})
    return str(answer.json["nonce"])


def _evidence(data: bytes, **beside: str) -> Call:
    return Call(body=json.dumps(imds_answer(data) | beside).encode())


def _signer(**odd: object) -> pki.Identity:
    usual = {"issuer": current_pki().issuing_ca, "validity": around(datetime.now(UTC))}
    return make_signer(**(usual | odd))  # type: ignore[arg-type]  # the arguments of make_signer, by name


def _by(signer: pki.Identity, nonce: str) -> Call:
    return _evidence(document(nonce=nonce, created_on=datetime.now(UTC), signer=signer))


def _stranger() -> pki.Identity:
    root, validity = pki.make_pki(now=datetime.now(UTC)).root, around(datetime.now(UTC))
    issuer = make_authority(issuer=root, name="Nobody's CA", key=spare_key(), validity=validity)
    return make_signer(issuer=issuer, validity=validity)


def _made_at(moment: datetime, nonce: str) -> Call:
    return _evidence(document(nonce=nonce, created_on=moment, signer=current_pki().signer))


def _without_vm(nonce: str) -> Call:
    fields = documents.content(nonce=nonce, created_on=datetime.now(UTC))
    del fields["vmId"]
    return _evidence(sign(documents.encode(fields), signer=current_pki().signer))


def _flipped(data: bytes) -> bytes:
    """The signature stands last."""
    return data[:-1] + bytes([data[-1] ^ 1])


#: One request for each reason to refuse evidence, given a nonce that is outstanding.
_REFUSED: dict[Reason, Callable[[str], Call]] = {
    Reason.MALFORMED_EVIDENCE: lambda _: Call(body=b"{}"),
    Reason.UNSUPPORTED_ENCODING: lambda _: Call(body=b'{"encoding": "cbor", "signature": "AA=="}'),
    Reason.TOO_LARGE: lambda _: Call(body=b" " * 40_000),
    Reason.SIGNATURE_INVALID: lambda nonce: _evidence(_flipped(current_document(nonce))),
    Reason.ALGORITHM_REFUSED: lambda nonce: _by(
        _signer(key=rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - it has to be refused
        nonce,
    ),
    Reason.SIGNER_NAME_MISMATCH: lambda nonce: _by(
        _signer(common_names=("metadata.example.com",), names=("metadata.example.com",)), nonce
    ),
    Reason.CLAIMS_INCOMPLETE: _without_vm,
    Reason.DOCUMENT_EXPIRED: lambda nonce: _made_at(datetime.now(UTC) - timedelta(hours=8), nonce),
    Reason.DOCUMENT_NOT_YET_VALID: lambda nonce: _made_at(datetime.now(UTC) + timedelta(hours=1), nonce),
    Reason.CHAIN_UNTRUSTED: lambda nonce: _by(_signer(issuer_key=spare_key()), nonce),
    Reason.ISSUER_UNPINNED: lambda nonce: _by(_stranger(), nonce),
    Reason.NONCE_MISMATCH: lambda nonce: _evidence(current_document(nonce), nonce="0" * 10),
    Reason.NONCE_UNKNOWN: lambda _: _evidence(current_document("0" * 10)),
    Reason.NONCE_REPLAYED: lambda nonce: Call(body=_evidence(current_document(nonce)).body, repeated=_IN_TWO_CALLS),
    Reason.POLICY_DENIED: lambda nonce: _evidence(current_document(nonce), policy="closed"),
}
#: One request for each fault that every operation which can have it has in the same way.
_FAULTY: dict[Code, Call] = {
    RequestFault.MALFORMED_REQUEST: Call(query="?verbose=1"),
    RequestFault.UNSUPPORTED_MEDIA_TYPE: Call(body=b"{}", headers={"Content-Encoding": "gzip"}),
    RequestFault.UNAUTHENTICATED: Call(headers={"Authorization": ""}),
    RequestFault.NOT_FOUND: Call(),
    Reason.TOO_LARGE: Call(body=b" " * 40_000),
}
_PLAIN: tuple[None, Callable[[], Call]] = (None, Call)
_ELSEWHERE = {Failure.INTERNAL, Failure.STORE_UNAVAILABLE}
#: Only a service without decisions answers these: tests/unit/api/test_decisions_over_http.py.
_WITHOUT_DECISIONS = {(name, RequestFault.NOT_FOUND) for name in ("searchDecisions", "countMachines")}
_REACHED = [
    (operation, code)
    for operation in OPERATIONS
    for code in DOCUMENTATION
    if code in operation.codes - _ELSEWHERE and (operation.name, code) not in _WITHOUT_DECISIONS
]


def _provoke(service: RunningServer, operation: Operation, code: Code) -> Call:
    if operation.name == "appraise" and isinstance(code, Reason):
        return _REFUSED[code](_issue(service))
    if code is RequestFault.FORBIDDEN:
        other = {Caller.TENANT: ADMIN, Caller.READER: AGENT, Caller.INSPECTOR: AGENT}.get(operation.caller, TENANT)
        return Call(headers={"Authorization": f"Bearer {other}"})
    if code is RequestFault.RATE_LIMITED:
        return Call(headers={"Authorization": f"Bearer {SLOW}"}, repeated=_IN_TWO_CALLS)
    return _FAULTY[code]


@pytest.mark.parametrize(
    ("operation", "code"), _REACHED, ids=[f"{operation.name}-{code.value}" for operation, code in _REACHED]
)
def test_every_documented_code_is_reached(described: RunningServer, operation: Operation, code: Code) -> None:
    path = "/problems/nothing" if operation.name == "explainCode" else None
    if code is RequestFault.REQUEST_TIMEOUT:
        answer = _send_cut_body(described, operation)
    else:
        answer = _send(described, operation, _provoke(described, operation, code), path=path)
    assert read_problem(answer.status, answer.headers, answer.body)["code"] == code.value


def test_every_operation_on_a_store_says_503_while_it_is_away(trust_dir: Path, tmp_path: Path) -> None:
    """On a service of its own: for up to a second after the store is back, another test would be told so too."""
    concerned = [operation for operation in OPERATIONS if Failure.STORE_UNAVAILABLE in operation.codes]
    pem = _new_authority()
    with running_redis_server() as redis, _with_everything(redis, trust_dir, tmp_path) as service:
        bodies = {
            "appraise": _evidence(current_document(_issue(service))),
            # An inspection needs the store for a rate alone.
            "inspect": Call(headers={"Authorization": f"Bearer {SLOW}"}),
            "pinAuthority": _pin_request(pem),
        }
        redis.kill()
        answers = {each.name: _send(service, each, bodies.get(each.name, Call())) for each in concerned}
        readiness = service.request("GET", "/readyz")
    assert {name: (answer.status, answer.code) for name, answer in answers.items()} == {
        operation.name: (503, "store-unavailable") for operation in concerned
    }
    assert readiness.status == 503


def test_every_operation_succeeds_as_described(described: RunningServer, redis: RedisServer) -> None:
    approvable, rejectable, pinnable = (_new_authority() for _ in range(3))
    registry = open_stores(redis.url, connections=3).registry
    for authority in (approvable, rejectable):
        observation = IssuerObservation(
            cloud=Cloud.PUBLIC,
            issuer=authority.certificate.subject.rfc4514_string(),
            authority_key_identifier="",
            issuer_urls=("http://www.microsoft.com/pkiops/certs/New.crt",),
            signer_sha256="5a" * 32,
            seen_at=datetime.now(UTC),
        )
        assert registry.record(observation, [documents.der(authority.certificate)])

    def offered(version: int) -> Call:
        """Keep what a look at a feed keeps, and return an ordinary call."""
        bundle = write_bundle(published(version=version, at=datetime.now(UTC)))
        assert registry.keep_feed(FeedState(offered=bundle), expected=registry.feed()[1])
        return Call()

    kept = f"/v1/decisions/{described.request('GET', '/none-such').headers['X-Request-Id']}"
    await_that(lambda: described.request("GET", kept, headers={"Authorization": f"Bearer {ADMIN}"}).status == 200)
    calls: dict[str, tuple[str | None, Callable[[], Call]]] = {
        "showDecision": (kept, lambda: Call(headers={"Authorization": f"Bearer {ADMIN}"})),
        "appraise": (None, lambda: _evidence(current_document(_issue(described)))),
        "inspect": (None, lambda: _evidence(current_document("4711"))),
        "approveAuthority": (f"/v1/trust/discovered/{_fingerprint(approvable)}/approve", Call),
        "rejectAuthority": (f"/v1/trust/discovered/{_fingerprint(rejectable)}/reject", Call),
        "pinAuthority": (None, lambda: _pin_request(pinnable)),
        "approveFeed": ("/v1/trust/feed/1/approve", lambda: offered(1)),
        "rejectFeed": ("/v1/trust/feed/2/reject", lambda: offered(2)),
        "unpinAuthority": (f"/v1/trust/pins/{_fingerprint(pinnable)}", Call),
    }
    for operation in OPERATIONS:
        path, call = calls.get(operation.name, _PLAIN)
        answer = _send(described, operation, call(), path=path)
        assert answer.status == operation.answers[0].status, (operation.name, answer.body)
        if any(each.status == 304 for each in operation.answers):
            same = _send(described, operation, Call(headers={"If-None-Match": answer.headers["ETag"]}))
            assert (same.status, same.body) == (304, b"")


def _new_authority() -> pki.Identity:
    key = pki.make_ec_key(ec.SECP256R1())
    name = f"New CA {datetime.now(UTC).timestamp()}"
    return make_authority(issuer=current_pki().root, name=name, key=key, validity=around(datetime.now(UTC)))


def _fingerprint(authority: pki.Identity) -> str:
    return hashlib.sha256(documents.der(authority.certificate)).hexdigest()


def _pin_request(authority: pki.Identity) -> Call:
    pem = authority.certificate.public_bytes(Encoding.PEM).decode()
    return Call(body=json.dumps({"certificate": pem, "clouds": ["AzurePublicCloud"]}).encode())


# The service as it is wired, asked inside a process of its own: threads and stores end with it. Each view is then made
# to fail, and each operation asked.
_INSPECT = """
import json, sys
from verifier.adapters.telemetry.metrics import MetricsRecorder
from verifier.adapters.telemetry.shared_values import shared_values
from verifier.adapters.settings.settings import load_settings
from verifier.startup import start_up
from verifier.wiring.service import create_service

def fail(**parts):
    raise RuntimeError("on purpose")

with shared_values():
    settings = load_settings()
    app = create_service(settings, MetricsRecorder(), start_up(settings)).app
    rules = sorted((method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods - {"HEAD"})
    for name in app.view_functions:
        app.view_functions[name] = fail
    answers = []
    for method, path in rules:
        key = sys.argv[1] if path.startswith("/v1/trust") else sys.argv[2]
        path = path.replace("<", "").replace(">", "")
        answer = app.test_client().open(path, method=method, headers={"Authorization": f"Bearer {key}"})
        answers.append((method, path, answer.status_code, answer.get_json().get("code")))
    print(json.dumps({"rules": rules, "answers": answers}))
"""


@pytest.fixture(scope="module")
def inspected(trust_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[object]]]:
    directory = tmp_path_factory.mktemp("inspected")
    environment = {
        "VERIFIER_TRUST_DIR": str(trust_dir),
        "VERIFIER_NONCE_STORE": f"sqlite://{directory}/nonces.sqlite3",
        # HTML for people, and no part of the API.
        "VERIFIER_PAGES": "false",
        **_settings(directory),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", _INSPECT, ADMIN, TENANT],
        env=_inherited() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[object]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}


def test_the_description_has_every_path_of_the_service_and_no_other(inspected: dict[str, list[list[object]]]) -> None:
    described = sorted([each.method.upper(), each.path.replace("{", "<").replace("}", ">")] for each in OPERATIONS)
    assert inspected["rules"] == described


def test_every_operation_says_500_and_nothing_else_where_it_fails(inspected: dict[str, list[list[object]]]) -> None:
    assert len(inspected["answers"]) == len(OPERATIONS)
    for _, _, status, code in inspected["answers"]:
        assert (status, code) == (500, "internal")


@pytest.mark.parametrize(
    ("key", "paths"),
    [(TENANT, ("--exclude-path-regex", "^/v1/trust")), (ADMIN, ("--include-path-regex", "^/v1/trust"))],
    ids=["for tenants", "for administrators"],
)
def test_stands_schemathesis(described: RunningServer, key: str, paths: tuple[str, ...]) -> None:
    """Requests made of the description, right and wrong ones, at a fixed seed: no failure of any check.

    Left out is `positive_data_acceptance` alone: no made-up document is one that IMDS signed, and no made-up name one
    of an authority.
    """
    done = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis",
            "run",
            f"{described.url}/openapi.json",
            *("--seed", "4", "--max-examples", "100", "--phases", "examples,coverage,fuzzing"),
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
            *("--generation-database", "none", "--no-color", "--request-timeout", "20"),
            *("--header", f"Authorization: Bearer {key}", *paths),
        ],
        env=_inherited(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert re.search(r"[0-9]{3,} generated, [0-9]{3,} passed", done.stdout), done.stdout[-8000:]

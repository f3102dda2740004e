"""The Flask and the ASGI example, on real servers, with tokens of a real service and DPoP proofs of a VM's key."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_connection, create_server

import pytest
from support.clocks import ManualClock
from support.documents import VM, imds_answer
from support.live_documents import current_document
from support.processes import await_that
from support.relying_party_cases import OTHER_KEY, VM_KEY, b64, jwk, jws, thumbprint
from support.services import Answer, Client, RunningServer, running_service

from verifier.adapters.tokens.key_directory import TokenKeyDirectory
from verifier.ports.tokens import TokenAlgorithm

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "key-of-the-examples"
ISSUER = "https://verifier.example"
EXTERNAL_URL = "https://licensing.example.com"
_SECONDS = 60


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[RunningServer]:
    keys_dir = tmp_path_factory.mktemp("keys") / "keys"
    minute = timedelta(minutes=1)
    keys = TokenKeyDirectory(keys_dir, clock=ManualClock(datetime.now(UTC)), token_lifetime=minute, refresh=minute)
    keys.generate(TokenAlgorithm.ES256)
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    settings = {
        "VERIFIER_POLICIES": json.dumps({"appliance": {"publishers": ["contoso"]}}),
        "VERIFIER_TENANTS": json.dumps({"contoso": {"keys": [hashed], "policy": "appliance"}}),
        "VERIFIER_TOKEN_KEYS_DIR": str(keys_dir),
        "VERIFIER_TOKEN_ISSUER": ISSUER,
    }
    store = f"sqlite://{tmp_path_factory.mktemp('store')}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=1, **settings) as running:
        yield running


def issue_token(verifier: RunningServer, binding: Mapping[str, str]) -> str:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    body = json.dumps(binding).encode()
    nonce = str(verifier.request("POST", "/v1/nonces", body, headers=headers).json["nonce"])
    body = json.dumps(imds_answer(current_document(nonce))).encode()
    answer = verifier.request("POST", "/v1/attestations", body, headers=headers)
    assert answer.status == 200, answer.body
    return str(answer.json["token"])


@contextmanager
def running_example(
    name: str, options: tuple[str, ...], environment: Mapping[str, str], *, port: int = 0
) -> Iterator[Client]:
    """The example's application in gunicorn."""
    with create_server(("127.0.0.1", port)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *options, "backend:app"],
        cwd=EXAMPLES / name,
        env={**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        assert process.poll() is None
        try:
            create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            threading.Event().wait(0.1)
            return False
        return True

    try:
        await_that(listens)
        yield Client(url=f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(_SECONDS)


@pytest.fixture(
    scope="module",
    params=[
        ("relying-party-flask", ("--threads", "4")),
        ("relying-party-asgi", ("--worker-class", "asgi")),
    ],
    ids=lambda example: example[0],
)
def backend(request: pytest.FixtureRequest, verifier: RunningServer) -> Iterator[Client]:
    name, options = request.param
    environment = {
        "VERIFIER_JWKS": f"{verifier.url}/.well-known/jwks.json",
        "TOKEN_ISSUER": ISSUER,
        "TOKEN_AUDIENCE": "contoso",
        "TENANT": "contoso",
        "POLICY": "appliance",
        "EXTERNAL_URL": EXTERNAL_URL,
    }
    with running_example(name, options, environment) as running:
        yield running


def make_proof(token: str, **change: object) -> str:
    key = change.pop("key", VM_KEY)
    assert key in {VM_KEY, OTHER_KEY}
    claims = {
        "jti": os.urandom(8).hex(),
        "htm": "POST",
        "htu": f"{EXTERNAL_URL}/licenses",
        "iat": int(datetime.now(UTC).timestamp()),
        "ath": b64(hashlib.sha256(token.encode()).digest()),
    }
    signer = VM_KEY if key is VM_KEY else OTHER_KEY
    return jws(signer, {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(signer)}, {**claims, **change})


def present(backend: Client, token: str, proof: str | None = None) -> Answer:
    headers = {"Authorization": f"{'Bearer' if proof is None else 'DPoP'} {token}"}
    return backend.request("POST", "/licenses", headers=headers if proof is None else {**headers, "DPoP": proof})


def test_a_vm_with_a_bearer_token_is_licensed(verifier: RunningServer, backend: Client) -> None:
    answer = present(backend, issue_token(verifier, {}))
    assert (answer.status, answer.json["vmId"]) == (201, VM.vm_id)


def test_a_vm_that_proves_its_key_is_licensed_with_each_new_proof(verifier: RunningServer, backend: Client) -> None:
    token = issue_token(verifier, {"jkt": thumbprint(VM_KEY)})
    for _ in range(2):
        assert present(backend, token, make_proof(token)).status == 201


def test_a_hostile_vm_gets_each_refusal_with_its_code(verifier: RunningServer, backend: Client) -> None:
    token = issue_token(verifier, {"jkt": thumbprint(VM_KEY)})
    other = issue_token(verifier, {"jkt": thumbprint(VM_KEY)})
    used = make_proof(token)
    assert present(backend, token, used).status == 201
    refused = {
        "a stolen token without a key": (None, "proof-missing"),
        "a stolen token with another key": (make_proof(token, key=OTHER_KEY), "proof-key-mismatch"),
        "a replayed proof": (used, "proof-replayed"),
        "a proof for another URL": (make_proof(token, htu=f"{backend.url}/licenses"), "proof-url-mismatch"),
        "a proof for another method": (make_proof(token, htm="GET"), "proof-method-mismatch"),
        "a proof for another token": (make_proof(other), "proof-token-mismatch"),
        "an old proof": (make_proof(token, iat=0), "proof-expired"),
    }
    for name, (proof, code) in refused.items():
        answer = present(backend, token, proof)
        assert (name, answer.status, answer.json["code"]) == (name, 403, code)
    assert present(backend, token, make_proof(token)).status == 201


@pytest.mark.parametrize("scheme", ["dpop", "DPOP", "DPoP"])
def test_the_scheme_is_accepted_in_any_case(verifier: RunningServer, backend: Client, scheme: str) -> None:
    token = issue_token(verifier, {"jkt": thumbprint(VM_KEY)})
    headers = {"Authorization": f"{scheme} {token}", "DPoP": make_proof(token)}
    assert backend.request("POST", "/licenses", headers=headers).status == 201
    headers = {"Authorization": f"{scheme.swapcase()} {token}"}
    assert backend.request("POST", "/licenses", headers=headers).json["code"] == "proof-missing"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "licensing.example.com",
        "https://licensing.example.com/a b",
        "https://licensing.example.com?x",
        "https://licensing.example.com/#x",
        "https://u:p@licensing.example.com",
        "https://licensing.example.com\n",
        "https://",
        "ftp://licensing.example.com",
        "https://licensing.example.com:port",
        "https://::1",
        "https://licensing.example.com/\u00e9",
    ],
)
@pytest.mark.parametrize("name", ["flask", "asgi"])
def test_a_malformed_external_url_is_refused_at_the_start(name: str, url: str) -> None:
    done = start_with(name, url)
    assert done.returncode == 1
    assert "EXTERNAL_URL must be https://HOST[:PORT][/PATH]" in done.stderr


@pytest.mark.parametrize("name", ["flask", "asgi"])
def test_a_slash_at_the_end_of_the_external_url_is_removed(name: str) -> None:
    assert start_with(name, "https://[::1]:8443/base//").stdout == "https://[::1]:8443/base/licenses"


def start_with(name: str, url: str) -> subprocess.CompletedProcess[str]:
    """Import the example as gunicorn does, and print its URL."""
    environment = {
        "VERIFIER_JWKS": "https://verifier.example/keys",
        "TOKEN_ISSUER": ISSUER,
        "TOKEN_AUDIENCE": "contoso",
        "TENANT": "contoso",
        "POLICY": "appliance",
        "EXTERNAL_URL": url,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", "import backend; print(backend.URL, end='')"],
        cwd=EXAMPLES / f"relying-party-{name}",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )


def test_a_request_without_a_token_is_refused(backend: Client) -> None:
    assert backend.request("POST", "/licenses").status == 401
    assert present(backend, "x").json["code"] == "token-malformed"


def test_a_backend_without_keys_answers_503(verifier: RunningServer) -> None:
    token = issue_token(verifier, {})
    with create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    environment = {"VERIFIER_JWKS": url, "TOKEN_ISSUER": ISSUER, "TOKEN_AUDIENCE": "contoso", "TENANT": "contoso"}
    more = {"POLICY": "appliance", "EXTERNAL_URL": EXTERNAL_URL}
    with running_example("relying-party-flask", (), environment | more) as backend:
        answer = present(backend, token)
        assert (answer.status, answer.json["code"]) == (503, "keys-unavailable")

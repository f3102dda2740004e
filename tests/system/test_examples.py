"""The examples do what they say, against a service and the emulator."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from support.clocks import StandingClock
from support.current import current_document, current_pki
from support.documents import VM, document, imds_answer
from support.services import Answer, RunningServer, running_server, running_service

from verifier.edge.token_files import TokenKeyDirectory
from verifier.token_ports import TokenAlgorithm

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "key-of-the-examples"
ISSUER = "https://verifier.example"
_SECONDS = 60


@pytest.fixture(scope="module")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys") / "keys"
    minute = timedelta(minutes=1)
    keys = TokenKeyDirectory(directory, clock=StandingClock(datetime.now(UTC)), token_lifetime=minute, refresh=minute)
    keys.generate(TokenAlgorithm.ES256)
    return directory


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path, keys_dir: Path) -> Iterator[RunningServer]:
    """With one tenant, and signed results."""
    settings = {
        "VERIFIER_TENANTS": json.dumps({"contoso": {"keys": [hashlib.sha256(KEY.encode()).hexdigest()]}}),
        "VERIFIER_TOKEN_KEYS_DIR": str(keys_dir),
        "VERIFIER_TOKEN_ISSUER": ISSUER,
    }
    store = f"sqlite://{tmp_path_factory.mktemp('store')}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=2, **settings) as running:
        yield running


def attest(verifier: RunningServer) -> Mapping[str, object]:
    """The result for a VM, as its agent gets it."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    nonce = str(verifier.request("POST", "/v1/nonces", b"{}", headers=headers).json["nonce"])
    body = json.dumps(imds_answer(current_document(nonce))).encode()
    answer = verifier.request("POST", "/v1/attestations", body, headers=headers)
    assert answer.status == 200, answer.body
    return answer.json


@contextmanager
def running_backend(name: str, **environment: str) -> Iterator[RunningServer]:
    """The program of an example, once it says that it listens."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / name / "backend.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PORT": "0", **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listening on " in line
        yield RunningServer(url=line.split("listening on ", 1)[1].strip(), process=process, log=[])
    finally:
        process.terminate()
        process.wait(_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def passport(verifier: RunningServer) -> Iterator[RunningServer]:
    jwks = f"{verifier.url}/.well-known/jwks.json"
    settings = {"VERIFIER_JWKS": jwks, "TOKEN_ISSUER": ISSUER, "TOKEN_AUDIENCE": "contoso"}
    with running_backend("licensing-backend-passport", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def token(verifier: RunningServer) -> str:
    return str(attest(verifier)["token"])


@pytest.fixture(scope="module")
def background_check(verifier: RunningServer) -> Iterator[RunningServer]:
    settings = {"VERIFIER": verifier.url, "VERIFIER_KEY": KEY}
    with running_backend("licensing-backend-background-check", **settings) as running:
        yield running


class TestPassport:
    def test_licenses_the_vm_that_brings_a_result(self, passport: RunningServer, token: str) -> None:
        answer = passport.post_json("/licenses", {"token": token})
        assert (answer.status, answer.json["vmId"], answer.json["licensed"]) == (201, VM.vm_id, True)

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"exp": 1}, "expired"),
            ({"aud": "fabrikam"}, "for somebody else"),
            ({"aud": None}, "does not verify"),
            ({"iss": "https://elsewhere.example"}, "does not verify"),
            ({"jti": None}, "does not verify"),
            ({"eat_profile": "tag:ietf.org,2026:rats/ear#05"}, "another profile"),
            ({"submods": {}}, "says nothing of a VM"),
            ({"submods": {"azure-imds": {"ear_status": "contraindicated"}}}, "was not affirmed"),
        ],
        ids=str,
    )
    def test_refuses_a_token_that_the_verifier_signed_for_something_else(
        self, passport: RunningServer, token: str, keys_dir: Path, change: Mapping[str, object], why: str
    ) -> None:
        claims = jwt.decode(token, options={"verify_signature": False}) | dict(change)
        present = {name: value for name, value in claims.items() if value is not None}
        (file,) = keys_dir.glob("*.pem")
        key = load_pem_private_key(file.read_bytes(), None)
        forged = jwt.encode(present, key, "ES256", jwt.get_unverified_header(token))  # type: ignore[arg-type]  # an EC key
        assert_refused(passport.post_json("/licenses", {"token": forged}), why)

    def test_refuses_the_algorithm_none(self, passport: RunningServer, token: str) -> None:
        header = jwt.get_unverified_header(token) | {"alg": "none"}
        _, payload, _ = token.split(".")
        assert_refused(passport.post_json("/licenses", {"token": f"{_segment(header)}.{payload}."}), "not a result")

    def test_refuses_the_public_key_as_a_password(self, passport: RunningServer, token: str) -> None:
        header = jwt.get_unverified_header(token) | {"alg": "HS256"}
        _, payload, signature = token.split(".")
        assert_refused(
            passport.post_json("/licenses", {"token": f"{_segment(header)}.{payload}.{signature}"}), "not a result"
        )

    def test_refuses_a_token_of_another_key(self, passport: RunningServer, token: str) -> None:
        header = jwt.get_unverified_header(token) | {"kid": "another"}
        _, payload, signature = token.split(".")
        forged = f"{_segment(header)}.{payload}.{signature}"
        assert_refused(passport.post_json("/licenses", {"token": forged}), "names no key")

    @pytest.mark.parametrize("part", [0, 1, 2])
    def test_refuses_a_token_that_was_changed(self, passport: RunningServer, token: str, part: int) -> None:
        parts = token.split(".")
        parts[part] = ("A" if parts[part][5] != "A" else "B").join((parts[part][:5], parts[part][6:]))
        answer = passport.post_json("/licenses", {"token": ".".join(parts)})
        assert answer.status == 403

    @pytest.mark.parametrize("fields", [{}, {"token": None}, {"token": "x"}, {"token": 1}])
    def test_refuses_what_is_no_token(self, passport: RunningServer, fields: Mapping[str, object]) -> None:
        assert passport.post_json("/licenses", fields).status in {400, 403}

    def test_licenses_its_own_products_alone(self, verifier: RunningServer, token: str) -> None:
        jwks = f"{verifier.url}/.well-known/jwks.json"
        settings = {"VERIFIER_JWKS": jwks, "TOKEN_ISSUER": ISSUER, "TOKEN_AUDIENCE": "contoso", "PRODUCTS": "another"}
        with running_backend("licensing-backend-passport", **settings) as backend:
            assert_refused(backend.post_json("/licenses", {"token": token}), "product of ours")


def _segment(header: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def assert_refused(answer: Answer, why: str) -> None:
    assert answer.status == 403
    assert why in str(answer.json["error"])


class TestBackgroundCheck:
    def test_licenses_a_vm_once_for_each_document(self, background_check: RunningServer) -> None:
        nonce = str(background_check.request("POST", "/challenges").json["nonce"])
        evidence = imds_answer(current_document(nonce)) | {"nonce": nonce}
        answer = background_check.post_json("/licenses", evidence)
        assert (answer.status, answer.json["vmId"], answer.json["licensed"]) == (201, VM.vm_id, True)
        again = background_check.post_json("/licenses", evidence)
        assert (again.status, again.code) == (409, "nonce-replayed")

    def test_passes_on_why_the_verifier_refuses(self, background_check: RunningServer) -> None:
        answer = background_check.post_json("/licenses", imds_answer(old_document("0" * 10)))
        assert (answer.status, answer.code, answer.json["retryable"]) == (422, "document-expired", False)

    def test_licenses_nobody_while_the_verifier_does_not_know_it(self, verifier: RunningServer) -> None:
        settings = {"VERIFIER": verifier.url, "VERIFIER_KEY": "another"}
        with running_backend("licensing-backend-background-check", **settings) as backend:
            assert backend.request("POST", "/challenges").status == 503
            assert backend.post_json("/licenses", imds_answer(current_document("0" * 10))).status == 503


def old_document(nonce: str) -> bytes:
    return document(nonce=nonce, created_on=datetime.now(UTC) - timedelta(hours=8), signer=current_pki().signer)


def test_curl_alone_attests_the_vm(tmp_path: Path) -> None:
    with emulated(tmp_path) as (imds, service):
        environment = {"PATH": os.environ["PATH"], "IMDS": imds, "VERIFIER": service}
        command = ["/bin/sh", str(EXAMPLES / "curl.sh")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "verified"


@contextmanager
def emulated(directory: Path) -> Iterator[tuple[str, str]]:
    """The URLs of an emulator and of an open service that trusts it."""
    trust_dir = directory / "trust"
    with (
        running_server("emulator", "--port", "0", "--trust-dir", str(trust_dir)) as imds,
        running_service(nonce_store=f"sqlite://{directory}/nonces.sqlite3", trust_dir=trust_dir, workers=1) as service,
    ):
        yield imds.url, service.url

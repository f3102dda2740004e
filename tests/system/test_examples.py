"""The examples do what they say, against a service and the emulator."""

import base64
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
from support.clocks import ManualClock
from support.command_line import call
from support.documents import VM, document, imds_answer
from support.live_documents import current_document, current_pki
from support.services import Answer, RunningServer, running_server, running_service
from support.tenant_keys import hash_of

from verifier.adapters.tokens.key_directory import TokenKeyDirectory
from verifier.ports.tokens import TokenAlgorithm

EXAMPLES = Path(__file__).parents[2] / "examples"
#: The backend's secret, and the key that its customers' VMs have.
KEY, AGENT_KEY = "key-of-the-examples", "agent-key-of-the-examples"
ISSUER = "https://verifier.example"
_SECONDS = 60


@pytest.fixture(scope="module")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys") / "keys"
    minute = timedelta(minutes=1)
    keys = TokenKeyDirectory(directory, clock=ManualClock(datetime.now(UTC)), token_lifetime=minute, refresh=minute)
    keys.generate(TokenAlgorithm.ES256)
    return directory


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path, keys_dir: Path) -> Iterator[RunningServer]:
    store = f"sqlite://{tmp_path_factory.mktemp('store')}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=2, **signing_settings(keys_dir)) as running:
        yield running


def signing_settings(keys_dir: Path) -> dict[str, str]:
    """One tenant, whose policy accepts the VM, a policy that does not, and signed results."""
    tenant = {
        "keys": [hash_of(KEY)],
        "agent_keys": [hash_of(AGENT_KEY)],
        "agent_vm_rate": "1000/minute",
        "policy": "appliance",
    }
    return {
        "VERIFIER_POLICIES": json.dumps(
            {"appliance": {"publishers": ["contoso"]}, "strict": {"products": ["another"]}}
        ),
        "VERIFIER_TENANTS": json.dumps({"contoso": tenant}),
        "VERIFIER_TOKEN_KEYS_DIR": str(keys_dir),
        "VERIFIER_TOKEN_ISSUER": ISSUER,
    }


def attest(verifier: RunningServer) -> Mapping[str, object]:
    """The result for a VM, as its agent gets it."""
    headers = {"Authorization": f"Bearer {AGENT_KEY}", "Content-Type": "application/json"}
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
        stderr=subprocess.PIPE,
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
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


@pytest.fixture(scope="module")
def passport(verifier: RunningServer) -> Iterator[RunningServer]:
    with running_backend("licensing-backend-passport", **passport_settings(verifier)) as running:
        yield running


def passport_settings(verifier: RunningServer) -> dict[str, str]:
    return {
        "VERIFIER_JWKS": f"{verifier.url}/.well-known/jwks.json",
        "TOKEN_ISSUER": ISSUER,
        "TOKEN_AUDIENCE": "contoso",
        "TENANT": "contoso",
        "POLICY": "appliance",
    }


@pytest.fixture(scope="module")
def token(verifier: RunningServer) -> str:
    return str(attest(verifier)["token"])


@pytest.fixture(scope="module")
def background_check(verifier: RunningServer) -> Iterator[RunningServer]:
    with running_backend("licensing-backend-background-check", **background_settings(verifier)) as running:
        yield running


def background_settings(verifier: RunningServer, policy: str = "appliance") -> dict[str, str]:
    return {"VERIFIER": verifier.url, "VERIFIER_KEY": KEY, "POLICY": policy}


def resigned(token: str, keys_dir: Path, change: Mapping[str, object]) -> str:
    """The token with these claims, and without those that are None, signed by the verifier's own key."""
    claims = jwt.decode(token, options={"verify_signature": False}) | dict(change)
    present = {name: value for name, value in claims.items() if value is not None}
    (file,) = keys_dir.glob("*.pem")
    key = load_pem_private_key(file.read_bytes(), None)
    return jwt.encode(present, key, "ES256", jwt.get_unverified_header(token))  # type: ignore[arg-type]  # an EC key


class TestPassport:
    def test_licenses_the_vm_that_brings_a_result(self, passport: RunningServer, token: str) -> None:
        answer = passport.post_json("/licenses", {"token": token})
        assert (answer.status, answer.json["vmId"], answer.json["licensed"]) == (201, VM.vm_id, True)

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"exp": 1}, "token-expired"),
            ({"aud": "fabrikam"}, "audience-mismatch"),
            ({"aud": None}, "audience-mismatch"),
            ({"iss": "https://elsewhere.example"}, "issuer-mismatch"),
            ({"jti": None}, "claims-invalid"),
            ({"imds-verifier.tenant": None}, "claims-invalid"),
            ({"imds-verifier.tenant": "fabrikam"}, "tenant-mismatch"),
            ({"imds-verifier.tenant": ["contoso"]}, "claims-invalid"),
            ({"eat_profile": "tag:ietf.org,2026:rats/ear#05"}, "profile-mismatch"),
            ({"submods": {}}, "claims-invalid"),
            ({"submods": {"azure-imds": {"ear_status": "contraindicated"}}}, "not-affirmed"),
            ({"cnf": {"jkt": "x" * 43}}, "proof-missing"),
        ],
        ids=str,
    )
    def test_refuses_a_token_that_the_verifier_signed_for_something_else(
        self, passport: RunningServer, token: str, keys_dir: Path, change: Mapping[str, object], code: str
    ) -> None:
        forged = resigned(token, keys_dir, change)
        assert_refused(passport.post_json("/licenses", {"token": forged}), code)

    @pytest.mark.parametrize("policies", [["default"], [], ["appliance-of-another"], "appliance", None], ids=str)
    def test_refuses_a_token_without_its_policy(
        self, passport: RunningServer, token: str, keys_dir: Path, policies: object
    ) -> None:
        submods = jwt.decode(token, options={"verify_signature": False})["submods"]
        submods["azure-imds"]["ear_appraisal_policy_ids"] = policies
        answer = passport.post_json("/licenses", {"token": resigned(token, keys_dir, {"submods": submods})})
        assert answer.status == 403

    def test_licenses_under_further_policies(self, passport: RunningServer, token: str, keys_dir: Path) -> None:
        submods = jwt.decode(token, options={"verify_signature": False})["submods"]
        assert submods["azure-imds"]["ear_appraisal_policy_ids"] == ["appliance"]
        submods["azure-imds"]["ear_appraisal_policy_ids"] = ["gold", "appliance"]
        answer = passport.post_json("/licenses", {"token": resigned(token, keys_dir, {"submods": submods})})
        assert answer.status == 201

    @pytest.mark.parametrize(("seconds", "status"), [(30, 201), (120, 403)])
    def test_bears_with_a_clock_that_differs_by_less_than_a_minute(
        self, passport: RunningServer, token: str, keys_dir: Path, seconds: int, status: int
    ) -> None:
        now = int(datetime.now(UTC).timestamp())
        for times in ({"iat": now + seconds, "exp": now + 600}, {"iat": now - 600, "exp": now - seconds}):
            answer = passport.post_json("/licenses", {"token": resigned(token, keys_dir, times)})
            assert answer.status == status, times

    def test_refuses_the_algorithm_none(self, passport: RunningServer, token: str) -> None:
        header = jwt.get_unverified_header(token) | {"alg": "none"}
        _, payload, _ = token.split(".")
        assert_refused(
            passport.post_json("/licenses", {"token": f"{_segment(header)}.{payload}."}), "algorithm-refused"
        )

    def test_refuses_the_public_key_as_a_password(self, passport: RunningServer, token: str) -> None:
        header = jwt.get_unverified_header(token) | {"alg": "HS256"}
        _, payload, signature = token.split(".")
        assert_refused(
            passport.post_json("/licenses", {"token": f"{_segment(header)}.{payload}.{signature}"}), "algorithm-refused"
        )

    def test_refuses_a_token_of_another_key(self, passport: RunningServer, token: str) -> None:
        header = jwt.get_unverified_header(token) | {"kid": "another"}
        _, payload, signature = token.split(".")
        forged = f"{_segment(header)}.{payload}.{signature}"
        assert_refused(passport.post_json("/licenses", {"token": forged}), "key-unknown")

    @pytest.mark.parametrize("part", [0, 1, 2])
    def test_refuses_a_token_that_was_changed(self, passport: RunningServer, token: str, part: int) -> None:
        parts = token.split(".")
        parts[part] = ("A" if parts[part][5] != "A" else "B").join((parts[part][:5], parts[part][6:]))
        answer = passport.post_json("/licenses", {"token": ".".join(parts)})
        assert answer.status == 403

    @pytest.mark.parametrize("fields", [{}, {"token": None}, {"token": "x"}, {"token": 1}])
    def test_refuses_what_is_no_token(self, passport: RunningServer, fields: Mapping[str, object]) -> None:
        assert passport.post_json("/licenses", fields).status in {400, 403}

    def test_refuses_what_is_no_json(self, passport: RunningServer) -> None:
        for body in (b"", b"\n", b"no JSON", b"[" * 10_000, b"\xff", b"{", b"{}", b'{"token": "\\n"}'):
            assert passport.request("POST", "/licenses", body).status == 400

    @pytest.mark.parametrize("form", ["{}", "{}\n", "{}\r\n", " {}\n\n"])
    def test_licenses_for_the_token_alone_with_or_without_a_newline(
        self, passport: RunningServer, token: str, form: str
    ) -> None:
        text = form.format(token)
        assert passport.request("POST", "/licenses", text.encode()).status == 201
        assert passport.post_json("/licenses", {"token": text}).status == 201

    def test_refuses_white_space_inside_the_token(self, passport: RunningServer, token: str) -> None:
        for text in (f"{token[:50]}\n{token[50:]}", f"{token}\n{token}", f"{token} x"):
            assert passport.request("POST", "/licenses", text.encode()).status == 400

    def test_licenses_for_the_file_that_the_agent_writes(self, tmp_path: Path, keys_dir: Path) -> None:
        """With the commands at the top of the example."""
        trust_dir, key, file = tmp_path / "trust", tmp_path / "key", tmp_path / "token"
        key.write_text(f"{AGENT_KEY}\n")
        with (
            running_server("emulator", "--port", "0", "--trust-dir", str(trust_dir)) as imds,
            running_service(
                nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
                trust_dir=trust_dir,
                workers=1,
                **signing_settings(keys_dir),
            ) as service,
            running_backend("licensing-backend-passport", **passport_settings(service)) as backend,
        ):
            urls = ("--verifier", service.url, "--imds", imds.url, "--key-file", str(key))
            agent = call("attest", *urls, "--token", "--output", str(file))
            assert (agent.status, agent.err) == (0, "")
            assert file.read_bytes().endswith(b"\n")
            curl = subprocess.run(
                ["curl", "--silent", "--show-error", "--data-binary", f"@{file}", f"{backend.url}/licenses"],  # noqa: S607 - from PATH
                capture_output=True,
                check=True,
                timeout=_SECONDS,
            )
        assert json.loads(curl.stdout)["licensed"] is True

    def test_licenses_its_own_products_alone(self, verifier: RunningServer, token: str) -> None:
        settings = passport_settings(verifier) | {"PRODUCTS": "another"}
        with running_backend("licensing-backend-passport", **settings) as backend:
            assert_refused(backend.post_json("/licenses", {"token": token}), "product-not-licensed")


def _segment(header: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def assert_refused(answer: Answer, code: str) -> None:
    assert (answer.status, answer.json["code"]) == (403, code)


def assert_no_session(answer: Answer) -> None:
    assert answer.status == 403
    assert answer.code == "session-unknown"


def challenge(backend: RunningServer) -> tuple[str, str]:
    """A new session, and its nonce."""
    answer = backend.request("POST", "/challenges")
    assert answer.status == 201, answer.body
    return str(answer.json["session"]), str(answer.json["nonce"])


def bring(backend: RunningServer, session: str, data: bytes, **more: object) -> Answer:
    return backend.post_json("/licenses", {"session": session, **imds_answer(data), **more})


class TestBackgroundCheck:
    def test_licenses_a_vm_once_for_each_session(self, background_check: RunningServer) -> None:
        session, nonce = challenge(background_check)
        answer = bring(background_check, session, current_document(nonce))
        assert (answer.status, answer.json["vmId"], answer.json["licensed"]) == (201, VM.vm_id, True)
        assert_no_session(bring(background_check, session, current_document(nonce)))

    @pytest.mark.parametrize(
        "more",
        [
            {"policy": "default"},
            {"policy": "appliance", "policies": ["default"]},
            {"policy": "default", "nonce": "0123456789"},
            {"encoding": "pkcs7", "jkt": "x" * 43, "tenant": "another"},
        ],
        ids=str,
    )
    def test_its_own_policy_holds_whatever_the_vm_posts_beside_its_document(
        self, verifier: RunningServer, background_check: RunningServer, more: Mapping[str, object]
    ) -> None:
        session, nonce = challenge(background_check)
        assert bring(background_check, session, current_document(nonce), **more).status == 201
        with running_backend("licensing-backend-background-check", **background_settings(verifier, "strict")) as strict:
            session, nonce = challenge(strict)
            answer = bring(strict, session, current_document(nonce), **more)
            assert (answer.status, answer.code) == (403, "policy-denied")
            # The rule and the policy are for the operator alone.
            assert answer.json["detail"] == "The document does not satisfy a policy."

    def test_the_nonce_of_another_session_is_refused_whichever_nonce_the_vm_names(
        self, background_check: RunningServer
    ) -> None:
        (one, its_nonce), (other, _) = challenge(background_check), challenge(background_check)
        answer = bring(background_check, other, current_document(its_nonce), nonce=its_nonce)
        assert (answer.status, answer.code) == (422, "nonce-mismatch")
        assert bring(background_check, one, current_document(its_nonce)).status == 201

    def test_a_document_without_a_session_is_refused(self, background_check: RunningServer) -> None:
        _, nonce = challenge(background_check)
        assert background_check.post_json("/licenses", imds_answer(current_document(nonce))).status == 400
        assert_no_session(bring(background_check, "", current_document(nonce)))
        assert_no_session(bring(background_check, "of-nobody", current_document(nonce)))

    def test_refuses_what_is_no_document(self, background_check: RunningServer) -> None:
        for body in (b"", b"no JSON", b"[]", b"1", b"[" * 10_000, b"\xff", b'{"session": "x"}'):
            assert background_check.request("POST", "/licenses", body).status == 400

    def test_passes_on_why_the_verifier_refuses(self, background_check: RunningServer) -> None:
        session, nonce = challenge(background_check)
        answer = bring(background_check, session, old_document(nonce))
        assert (answer.status, answer.code, answer.json["retryable"]) == (422, "document-expired", True)

    def test_licenses_nobody_while_the_verifier_does_not_know_it(self, verifier: RunningServer) -> None:
        settings = background_settings(verifier) | {"VERIFIER_KEY": "another"}
        with running_backend("licensing-backend-background-check", **settings) as backend:
            answer = backend.request("POST", "/challenges")
            assert (answer.status, answer.code, answer.json["retryable"]) == (500, "backend-misconfigured", False)

    def test_licenses_nobody_while_the_verifier_does_not_know_its_policy(self, verifier: RunningServer) -> None:
        settings = background_settings(verifier, "none-of-this-name")
        with running_backend("licensing-backend-background-check", **settings) as backend:
            session, nonce = challenge(backend)
            assert bring(backend, session, current_document(nonce)).code == "backend-misconfigured"


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

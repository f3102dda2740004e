"""The agent binds its token to a key of its own and presents it with a proof, to a real relying party."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
from support.agents import Agent, build, make_agents
from support.command_line import Ended, call
from support.documents import VM
from support.processes import await_that
from support.relying_party_cases import b64
from support.scripted_servers import Request, dead_url, json_reply, serving
from support.services import RunningServer, running_server, running_service
from system.test_examples import ISSUER, KEY, signing_settings
from system.test_relying_party_examples import EXTERNAL_URL, running_example

from verifier.agent.exit_codes import ExitCode
from verifier.agent.key_tools import CryptographyTool, KeyTool, OpensslTool
from verifier.agent.proof_key import ProofKey
from verifier.relying_party import MemoryReplayStore, NotVerified, ResultVerifier

TOOLS = {"module": CryptographyTool, "zipapp": OpensslTool}
OPENSSL = shutil.which("openssl") or ""
LICENSED = json_reply({"licensed": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A verifier that signs results, an emulated IMDS, and the agents."""

    imds: str
    verifier: RunningServer
    agents: dict[str, Agent]
    key_file: Path

    def options(self, key: Path, *more: str) -> tuple[str, ...]:
        servers = ("--verifier", self.verifier.url, "--imds", self.imds, "--key-file", str(self.key_file))
        return (*servers, "--proof-key", str(key), *more)

    def results(self) -> ResultVerifier:
        return ResultVerifier(
            issuer=ISSUER,
            audience="contoso",
            tenant="contoso",
            policies=["appliance"],
            jwks=f"{self.verifier.url}/.well-known/jwks.json",
            replay_store=MemoryReplayStore(),
        )


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    directory = tmp_path_factory.mktemp("vendor")
    trust, keys, key_file = directory / "trust", directory / "keys", directory / "key"
    key_file.write_text(f"{KEY}\n", "ascii")
    assert call("keys", "generate", "--dir", str(keys)).status == 0
    with (
        running_server("emulator", "--port", "0", "--trust-dir", str(trust)) as imds,
        running_service(
            nonce_store=f"sqlite://{directory}/nonces.sqlite3", trust_dir=trust, workers=1, **signing_settings(keys)
        ) as verifier,
    ):
        agents = make_agents(build(directory / "imds-attest.pyz"))
        yield Vendor(imds=imds.url, verifier=verifier, agents=agents, key_file=key_file)


@pytest.fixture(params=sorted(TOOLS))
def agent(request: pytest.FixtureRequest, vendor: Vendor) -> Agent:
    """The module signs by `cryptography`; the zipapp does not see it, and signs by `openssl`."""
    return vendor.agents[request.param]


def run(agent: Agent, directory: Path, *options: str) -> Ended:
    directory.mkdir()
    return agent.run(directory, *options)


def token_and_proof(request: Request) -> tuple[str, str]:
    scheme, token = request.headers["Authorization"].split(" ")
    assert (scheme, request.method) == ("DPoP", "POST")
    return token, request.headers["DPoP"]


def test_agent_makes_a_key_and_gets_a_license_with_it(agent: Agent, vendor: Vendor, tmp_path: Path) -> None:
    environment = {
        "VERIFIER_JWKS": f"{vendor.verifier.url}/.well-known/jwks.json",
        "TOKEN_ISSUER": ISSUER,
        "TOKEN_AUDIENCE": "contoso",
        "TENANT": "contoso",
        "POLICY": "appliance",
        "EXTERNAL_URL": EXTERNAL_URL,
    }
    key = tmp_path / "proof.pem"
    with running_example("relying-party-flask", ("--threads", "4"), environment) as backend:
        # The proof names the URL that the agent was told, and the backend knows another one.
        ended = run(agent, tmp_path / "1", *vendor.options(key, "--present", f"{backend.url}/licenses"))
        assert (ended.status, ended.out) == (ExitCode.REFUSED, "")
        assert "(proof-url-mismatch)" in ended.err
    made = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    port = int(backend.url.rpartition(":")[2])
    environment["EXTERNAL_URL"] = f"http://127.0.0.1:{port}"
    with running_example("relying-party-flask", ("--threads", "4"), environment, port=port) as backend:
        for directory in ("2", "3"):
            ended = run(agent, tmp_path / directory, *vendor.options(key, "--present", f"{backend.url}/licenses"))
            assert (ended.status, ended.err) == (ExitCode.VERIFIED, "")
            assert f"vmId: {VM.vm_id}\n" in ended.out
    assert key.read_bytes() == made


def test_proof_has_the_members_of_rfc_9449_alone(agent: Agent, vendor: Vendor, tmp_path: Path) -> None:
    key = tmp_path / "proof.pem"
    with serving(LICENSED) as relying_party:
        url = f"{relying_party.url}/licenses/"
        before = int(time.time())
        ended = run(agent, tmp_path / "1", *vendor.options(key, "--present", url, "--json"))
        assert (ended.status, json.loads(ended.out)) == (ExitCode.VERIFIED, {"licensed": True})
    [request] = relying_party.requests
    assert request.target == "/licenses/"
    token, proof = token_and_proof(request)
    header = jwt.get_unverified_header(proof)
    assert header == {"typ": "dpop+jwt", "alg": "ES256", "jwk": ProofKey.open(key, CryptographyTool()).jwk}
    claims = jwt.decode(proof, options={"verify_signature": False})
    assert set(claims) == {"jti", "htm", "htu", "iat", "ath"}
    assert (claims["htm"], claims["htu"]) == ("POST", url)
    assert before <= claims["iat"] <= time.time()
    assert claims["ath"] == b64(hashlib.sha256(token.encode()).digest())
    results = vendor.results()
    assert results.verify(token, proof, method="POST", url=url).vm_id == VM.vm_id
    for stolen in (None, proof):
        with pytest.raises(NotVerified):
            results.verify(token, stolen, method="POST", url=url)


def test_watch_renews_the_token_and_the_proof(agent: Agent, vendor: Vendor, tmp_path: Path) -> None:
    key, file = tmp_path / "proof.pem", tmp_path / "token"
    with serving(LICENSED) as relying_party:
        url = f"{relying_party.url}/licenses"
        options = vendor.options(key, "--present", url, "--watch", "--token", "--output", str(file))
        # The pauses are those of a token of 600 seconds. `subprocess` has short ones of its own.
        code = (
            "import runpy, sys, time\n"
            "sleep = time.sleep\n"
            "time.sleep = lambda seconds: (seconds < 1 or print(seconds, flush=True), sleep(min(seconds, 0.5)))\n"
            "sys.argv = sys.argv[1:]\n"
            f"{start(agent)}\n"
        )
        process = subprocess.Popen(
            [*interpreter(agent), "-c", code, "attest", *options], stdout=subprocess.PIPE, text=True
        )
        try:
            await_that(lambda: len(relying_party.requests) >= 3)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    # IMDS limits the rate of all tests together: the agent then retries after 1 to 4 s.
    renewals = [float(pause) for pause in out.split() if float(pause) > 4]
    assert len(renewals) >= 2
    assert all(300 <= pause <= 450 for pause in renewals), renewals
    presented = [token_and_proof(request) for request in relying_party.requests]
    assert len(set(presented)) == len({token for token, _ in presented}) == len(presented) >= 3
    results = vendor.results()
    for token, proof in presented:
        assert results.verify(token, proof, method="POST", url=url).vm_id == VM.vm_id
    assert file.read_text("ascii").strip() in {token for token, _ in presented}


def interpreter(agent: Agent) -> tuple[str, ...]:
    return agent.command[: agent.command.index("-m") if "-m" in agent.command else -1]


def start(agent: Agent) -> str:
    if "-m" in agent.command:
        return "runpy.run_module('verifier.agent', run_name='__main__')"
    return f"runpy.run_path({agent.command[-1]!r}, run_name='__main__')"


def test_token_alone_is_bound_to_the_key(agent: Agent, vendor: Vendor, tmp_path: Path) -> None:
    key = tmp_path / "proof.pem"
    ended = run(agent, tmp_path / "1", *vendor.options(key, "--token"))
    claims = jwt.decode(ended.out.strip(), options={"verify_signature": False})
    assert claims["cnf"] == {"jkt": ProofKey.open(key, CryptographyTool()).thumbprint()}


@pytest.mark.parametrize("maker", [CryptographyTool(), OpensslTool(OPENSSL)], ids=["cryptography", "openssl"])
@pytest.mark.parametrize("signer", [CryptographyTool(), OpensslTool(OPENSSL)], ids=["cryptography", "openssl"])
def test_key_of_one_tool_serves_the_other(maker: KeyTool, signer: KeyTool, tmp_path: Path) -> None:
    file = tmp_path / "proof.pem"
    made, read = ProofKey.open(file, maker), ProofKey.open(file, signer)
    assert made.thumbprint() == read.thumbprint()
    public = jwt.PyJWK.from_dict(made.jwk)
    # Numbers with leading zeros are shorter in DER. 64 signatures have some.
    for _ in range(64 if signer.__class__ is CryptographyTool else 8):
        proof = read.make_proof(token="a.b.c", method="POST", url="https://x.example/", now=1)  # noqa: S106 - no token
        jwt.decode(proof, public, algorithms=["ES256"], options={"verify_iat": False})


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes of POSIX")
def test_agent_refuses_a_key_file_that_others_can_read(agent: Agent, vendor: Vendor, tmp_path: Path) -> None:
    key = tmp_path / "proof.pem"
    key.write_bytes(CryptographyTool().generate())
    key.chmod(0o640)
    ended = run(agent, tmp_path / "1", *vendor.options(key))
    assert (ended.status, ended.out) == (ExitCode.USAGE, "")
    assert "must belong to this account, with mode 0600" in ended.err
    assert "PRIVATE" not in ended.err


@pytest.mark.parametrize(
    "make",
    [
        ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
        ("genpkey", "-algorithm", "ED25519"),
        ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", "pass:x1234"),
        ("version",),
    ],
    ids=["P-384", "Ed25519", "encrypted", "text"],
)
def test_agent_refuses_another_key(agent: Agent, vendor: Vendor, tmp_path: Path, make: tuple[str, ...]) -> None:
    key = tmp_path / "proof.pem"
    key.write_bytes(subprocess.run([OPENSSL, *make], capture_output=True, check=True, timeout=60).stdout)
    key.chmod(0o600)
    before = key.read_bytes()
    ended = run(agent, tmp_path / "1", *vendor.options(key))
    assert (ended.status, ended.out, ended.err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert str(key) in ended.err
    assert key.read_bytes() == before


def test_agent_without_a_tool_says_what_to_install(vendor: Vendor, tmp_path: Path) -> None:
    command = [*vendor.agents["zipapp"].command, *vendor.options(tmp_path / "proof.pem")]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    expected = "--proof-key needs the Python package cryptography or the command openssl: install one of them"
    assert done.stderr == f"attest: {expected}\n"
    assert not (tmp_path / "proof.pem").exists()


def test_agents_that_start_together_use_one_key(vendor: Vendor, tmp_path: Path) -> None:
    key = tmp_path / "proof.pem"
    command = [sys.executable, "-P", "-m", "verifier.agent", *vendor.options(key, "--token")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    tokens = [process.communicate(timeout=60)[0].strip() for process in started]
    bound = {jwt.decode(token, options={"verify_signature": False})["cnf"]["jkt"] for token in tokens}
    assert bound == {ProofKey.open(key, CryptographyTool()).thumbprint()}
    assert [file.name for file in tmp_path.iterdir()] == ["proof.pem"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--verifier", dead_url(), "--present", "http://127.0.0.1:1/x"), "--present needs --proof-key"),
        (("--verifier", dead_url(), "--proof-key", "x", "--jkt", "x" * 43), "name one of --jkt and --proof-key.*"),
        (("--backend", dead_url(), "--proof-key", "x"), ".+ need --verifier: .+"),
    ],
)
def test_agent_refuses_options_that_do_not_belong_together(
    agent: Agent, tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    ended = run(agent, tmp_path / "1", *options)
    assert ended.status == ExitCode.USAGE
    assert re.fullmatch(f"attest: {sentence}\n", ended.err)


@pytest.mark.parametrize(
    ("status", "fields", "exit_code", "sentence"),
    [
        (
            403,
            {"code": "product-not-licensed", "error": "No."},
            ExitCode.REFUSED,
            r"refused: No\. \(product-not-licensed\)",
        ),
        (
            401,
            {"code": "unauthenticated", "detail": "No."},
            ExitCode.ACCESS_DENIED,
            "the relying party denied access: .+",
        ),
        (
            503,
            {"code": "keys-unavailable", "error": "x"},
            ExitCode.VERIFIER_UNAVAILABLE,
            "the relying party is unavailable: .+",
        ),
        (403, {}, ExitCode.NOT_A_VERIFIER, ".+ returned status 403 without a problem document.+"),
        (200, None, ExitCode.NOT_A_VERIFIER, ".+ is not a relying party: .+"),
    ],
)
def test_agent_reports_the_refusal_of_the_relying_party(
    agent: Agent,
    vendor: Vendor,
    tmp_path: Path,
    status: int,
    fields: dict[str, object] | None,
    exit_code: ExitCode,
    sentence: str,
) -> None:
    with serving(json_reply(fields, status=status)) as relying_party:
        options = vendor.options(tmp_path / "proof.pem", "--present", relying_party.url, "--timeout", "3")
        ended = run(agent, tmp_path / "1", *options)
    assert (ended.status, ended.out) == (exit_code, "")
    assert re.fullmatch(f"attest: {sentence}\n", ended.err), ended.err
    # Each round has a new token.
    assert len({token_and_proof(request)[0] for request in relying_party.requests}) == len(relying_party.requests)

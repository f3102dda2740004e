"""The background-check flow with real processes: each agent, a licensing backend, the verifier and the emulator."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection

import pytest
from support.agents import Agent, build, make_agents
from support.command_line import Ended, call
from support.documents import VM
from support.scripted_servers import Reply, Step, dead_url, json_reply, problem_reply, serving
from support.services import Client, RunningServer, running_server, running_service
from system.test_examples import KEY, background_settings, running_backend, signing_settings

from verifier.agent.exit_codes import ExitCode
from verifier.emulator.documents import VirtualMachine

OTHER_VM = "00000000-7d42-4f0a-9b57-1f6d2e8c4a90"
CHALLENGE = json_reply({"session": "s-1", "nonce": "4711", "expiresAt": "2026-11-23T16:18:28Z"}, status=201)
DOCUMENT = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
LICENSE = json_reply({"vmId": "v-1", "licensed": True}, status=201)
AGENTS = sorted(make_agents(Path("imds-attest.pyz")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """The processes of a vendor, an emulated IMDS, and the agents."""

    imds: str
    verifier: RunningServer
    backend: RunningServer
    agents: dict[str, Agent]
    key_file: Path


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
        running_backend("licensing-backend-background-check", **background_settings(verifier)) as backend,
    ):
        yield Vendor(
            imds=imds.url,
            verifier=verifier,
            backend=backend,
            agents=make_agents(build(directory / "imds-attest.pyz")),
            key_file=key_file,
        )


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest, vendor: Vendor) -> Agent:
    return vendor.agents[request.param]


def ask_backend(agent: Agent, vendor: Vendor, directory: Path, *options: str) -> Ended:
    return agent.run(directory, "--backend", vendor.backend.url, "--imds", vendor.imds, *options)


def assert_refused(ended: Ended, exit_code: ExitCode, text: str) -> None:
    assert (ended.status, ended.out) == (exit_code, ""), ended
    assert text in ended.err
    assert ended.err.count("\n") == 1


def test_agent_gets_a_license_without_a_key_of_the_verifier(agent: Agent, vendor: Vendor, tmp_path: Path) -> None:
    ended = ask_backend(agent, vendor, tmp_path, "--vm-id", f"{{{VirtualMachine().vm_id.upper()}}}")
    assert (ended.status, ended.err) == (ExitCode.VERIFIED, "")
    if agent.prints_claims:
        assert "licensed: true\n" in ended.out
        assert f"vmId: {VM.vm_id}\n" in ended.out
    else:
        assert json.loads(ended.out) == {"vmId": VM.vm_id, "product": "contoso-appliance", "licensed": True}


def test_agent_binds_its_challenge_to_a_vm_and_narrows_its_policy(agent: Agent, vendor: Vendor, tmp_path: Path) -> None:
    for number, (options, exit_code, text) in enumerate(
        [
            (("--vm-id", OTHER_VM), ExitCode.REFUSED, "(nonce-mismatch)"),
            (("--policy", "strict"), ExitCode.REFUSED, "(policy-denied)"),
            (("--policy", "none-of-this-name"), ExitCode.USAGE, "the backend does not accept an option of the agent: "),
        ]
    ):
        directory = tmp_path / str(number)
        directory.mkdir()
        assert_refused(ask_backend(agent, vendor, directory, *options), exit_code, text)


def test_agent_binds_and_narrows_at_the_verifier_as_well(agent: Agent, vendor: Vendor, tmp_path: Path) -> None:
    urls = ("--verifier", vendor.verifier.url, "--imds", vendor.imds, "--key-file", str(vendor.key_file))
    for number, (options, exit_code) in enumerate(
        [
            (("--vm-id", f"{{{VirtualMachine().vm_id}}}", "--policy", "appliance"), ExitCode.VERIFIED),
            (("--policy", "none-of-this-name"), ExitCode.USAGE),
            (("--vm-id", OTHER_VM), ExitCode.REFUSED),
            (("--policy", "strict"), ExitCode.REFUSED),
        ]
    ):
        directory = tmp_path / str(number)
        directory.mkdir()
        ended = agent.run(directory, *urls, *options)
        assert (options, ended.status) == (options, exit_code), ended


def test_agent_prints_the_answer_of_imds_for_another_transport(agent: Agent, vendor: Vendor, tmp_path: Path) -> None:
    challenge = vendor.backend.request("POST", "/challenges").json
    before = ("document",) if agent.prints_claims else ()
    ended = agent.run(tmp_path, *before, "--nonce", str(challenge["nonce"]), "--imds", vendor.imds)
    assert (ended.status, ended.err) == (ExitCode.VERIFIED, "")
    evidence = {"session": challenge["session"], **json.loads(ended.out)}
    assert vendor.backend.post_json("/licenses", evidence).json["licensed"] is True


def test_command_prints_the_answer_of_imds(vendor: Vendor, tmp_path: Path) -> None:
    file = tmp_path / "document"
    ended = call("document", "--nonce", "4711", "--imds", vendor.imds, "--output", str(file))
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    assert set(json.loads(file.read_bytes())) == {"encoding", "signature"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert call("document", "--nonce", "4711&x=1", "--imds", vendor.imds).status == ExitCode.USAGE
    assert call("document", "--nonce", "4711", "--imds", dead_url()).status == ExitCode.IMDS_UNREACHABLE


@pytest.mark.parametrize(
    ("replies", "exit_code", "text"),
    [
        (
            (json_reply({"nonce": "4711"}, status=201),),
            ExitCode.NOT_A_VERIFIER,
            "is not a backend: it issued no session",
        ),
        (
            (json_reply({"nonce": "4711", "session": 'x","nonce":"1'}, status=201),),
            ExitCode.NOT_A_VERIFIER,
            "is not a backend: it issued no session",
        ),
        (
            (json_reply({"nonce": "1&x=1", "session": "s"}, status=201),),
            ExitCode.NOT_A_VERIFIER,
            "a nonce that IMDS does not accept",
        ),
        (
            (CHALLENGE, json_reply({"licensed": "true"}, status=201)),
            ExitCode.NOT_A_VERIFIER,
            "the response is not a license",
        ),
        ((CHALLENGE, Reply(status=201, body=b"<html>")), ExitCode.NOT_A_VERIFIER, "is not a backend"),
        (
            (CHALLENGE, Reply(status=200, body=b"<html>")),
            ExitCode.NOT_A_VERIFIER,
            "returned status 200 without a problem",
        ),
        ((problem_reply(401, "unauthenticated"),), ExitCode.ACCESS_DENIED, "the backend denied access"),
        ((CHALLENGE, problem_reply(403, "product-not-licensed")), ExitCode.REFUSED, "(product-not-licensed"),
        ((), ExitCode.VERIFIER_UNREACHABLE, "the backend at http://127.0.0.1:1 did not answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_agent_ends_with_the_code_of_the_fault(
    agent: Agent, tmp_path: Path, replies: tuple[Step, ...], exit_code: ExitCode, text: str
) -> None:
    with serving(DOCUMENT) as imds, serving(*replies or (LICENSE,)) as backend:
        url = backend.url if replies else dead_url()
        ended = agent.run(tmp_path, "--backend", url, "--imds", imds.url, "--timeout", "3")
    assert_refused(ended, exit_code, text)


def test_agent_starts_again_with_a_new_session(agent: Agent, tmp_path: Path) -> None:
    unknown = problem_reply(403, "session-unknown", retryable=True, headers={"Retry-After": "0"})
    again = json_reply({"session": "s-2", "nonce": "4712"}, status=201)
    with serving(DOCUMENT) as imds, serving(CHALLENGE, unknown, again, LICENSE) as backend:
        ended = agent.run(tmp_path, "--backend", backend.url, "--imds", imds.url)
    assert ended.status == ExitCode.VERIFIED, ended
    assert [request.target for request in backend.requests] == ["/challenges", "/licenses"] * 2
    sent = [request.fields() for request in backend.requests]
    assert sent[0] == {}
    assert [body["session"] for body in (sent[1], sent[3])] == ["s-1", "s-2"]
    assert "nonce" not in sent[1]
    assert [request.target.rpartition("=")[2] for request in imds.requests] == ["4711", "4712"]
    assert all("Authorization" not in request.headers for request in backend.requests)


@pytest.mark.parametrize(
    "options",
    [
        ("--backend", "http://127.0.0.1:1", "--token"),
        ("--backend", "http://127.0.0.1:1", "--verifier", "http://127.0.0.1:1"),
        ("--backend", "http://127.0.0.1:1", "--vm-id", "x"),
        ("--backend", "http://127.0.0.1:1", "--vm-id", f"{OTHER_VM}\nx"),
        ("--backend", "http://127.0.0.1:1", "--vm-id", f"{{{OTHER_VM}"),
        ("--backend", "http://127.0.0.1:1", "--vm-id", f"{{{{{OTHER_VM}}}}}"),
        ("--backend", "http://127.0.0.1:1", "--vm-id", "{}"),
        ("--backend", "http://127.0.0.1:1", "--policy", 'x","y":"'),
        ("--nonce", "1&x=1"),
    ],
    ids=" ".join,
)
def test_agent_refuses_options_that_do_not_belong_together(
    agent: Agent, tmp_path: Path, options: tuple[str, ...]
) -> None:
    ended = agent.run(tmp_path, *options)
    assert (ended.status, ended.out) == (ExitCode.USAGE, "")


def test_one_address_cannot_open_every_session(vendor: Vendor) -> None:
    with running_backend("licensing-backend-background-check", **background_settings(vendor.verifier)) as backend:
        opened = [backend.request("POST", "/challenges") for _ in range(101)]
    assert [answer.status for answer in opened] == [201] * 100 + [429]
    assert (opened[100].code, opened[100].json["retryable"]) == ("too-many-sessions", True)


def test_backend_reports_an_unavailable_verifier() -> None:
    settings = {"VERIFIER": dead_url(), "POLICY": "appliance"}
    with running_backend("licensing-backend-background-check", **settings) as backend:
        answer = Client(url=backend.url).request("POST", "/challenges")
        ended = call("attest", "--backend", backend.url, "--timeout", "2")
    assert (answer.status, answer.code, answer.json["retryable"]) == (503, "verifier-unavailable", True)
    assert_refused(ended, ExitCode.VERIFIER_UNAVAILABLE, "the backend is unavailable")


@pytest.mark.parametrize("code", ["unauthenticated", "forbidden", "malformed-request", "not-found"])
def test_backend_with_a_wrong_configuration_says_so_once(code: str) -> None:
    status = {"unauthenticated": 401, "forbidden": 403, "malformed-request": 400, "not-found": 404}[code]
    with serving(problem_reply(status, code, retryable=True)) as verifier:
        settings = {"VERIFIER": verifier.url, "VERIFIER_KEY": KEY, "POLICY": "appliance"}
        with running_backend("licensing-backend-background-check", **settings) as backend:
            ended = call("attest", "--backend", backend.url)
            backend.process.terminate()
            assert backend.process.stderr is not None
            log = [line for line in backend.process.stderr if "verifier" in line]
    assert_refused(ended, ExitCode.VERIFIER_UNAVAILABLE, "(backend-misconfigured)")
    assert log == [f"backend: the verifier answered {status} {code}: check VERIFIER_KEY, POLICY and VERIFIER\n"]
    assert len(verifier.requests) == 1


@pytest.mark.parametrize("code", ["policy-denied", "chain-untrusted"])
def test_backend_tells_the_vm_only_what_an_agent_may_know(code: str) -> None:
    nonce = json_reply({"nonce": "4711", "expiresAt": "2026-11-23T16:18:28Z"}, status=201)
    secrets = {"denial": {"policy": "s3cret"}, "claims": {"sku": "s3cret"}, "checks": ["s3cret"]}
    detail = "s3cret" if code == "policy-denied" else "said"
    refusal = {"code": code, "detail": detail, "retryable": False, **secrets}
    with serving(nonce, json_reply(refusal, status=403)) as verifier:
        settings = {"VERIFIER": verifier.url, "VERIFIER_KEY": KEY, "POLICY": "appliance"}
        with running_backend("licensing-backend-background-check", **settings) as backend:
            session = backend.request("POST", "/challenges").json["session"]
            answer = backend.post_json("/licenses", {"session": session, "encoding": "pkcs7", "signature": "AAAA"})
    assert (answer.status, answer.code) == (403, code)
    assert set(answer.json) == {"code", "detail", "retryable"}
    assert b"s3cret" not in answer.body


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"1",
        b"{",
        b'{"vmId": 1}',
        b'{"vmId": "{5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90"}',
        b'{"vmId": "x"}',
        b'{"policy": ""}',
        b'{"nonce": "1"}',
        b"[" * 10_000,
    ],
)
def test_backend_refuses_a_malformed_challenge_request(vendor: Vendor, body: bytes) -> None:
    answer = vendor.backend.request("POST", "/challenges", body)
    assert (answer.status, answer.code) == (400, "malformed-request")


def test_a_slow_vm_does_not_keep_the_others_waiting(vendor: Vendor) -> None:
    address = ("127.0.0.1", int(vendor.backend.url.rpartition(":")[2]))
    with create_connection(address), create_connection(address) as slow:
        slow.sendall(b"POST /challenges HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        assert vendor.backend.request("POST", "/challenges").status == 201

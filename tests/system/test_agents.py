"""Run every agent against every fault of `support.agent_scenarios`.

IMDS is the emulator and the verifier a service. A scripted server in front of each injects the faults.
"""

import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from support.agent_scenarios import KEYS, NOT_EXPECTED, SCENARIOS, Answer, Scenario
from support.agents import Agent, build, make_agents
from support.clocks import ManualClock
from support.command_line import Ended
from support.issuers import make_tls_server
from support.scripted_servers import Reply, Script, Step, dead_url, serving
from support.services import running_service
from support.tenant_keys import hash_of

from verifier.adapters.tokens.key_directory import TokenKeyDirectory
from verifier.agent.exit_codes import ExitCode
from verifier.emulator.controls import Conditions
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.scenarios import Authorities
from verifier.emulator.server import running_emulator
from verifier.emulator.trust_directory import write_trust_directory
from verifier.ports.tokens import TokenAlgorithm

VM = VirtualMachine()
SCENARIOS_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
_SECONDS = 120
TOKEN = re.compile(r"[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The service, the authorities that it trusts, and the agents. Each run starts its own emulator."""

    authorities: Authorities
    verifier: str
    untrusted_tls: ssl.SSLContext
    agents: dict[str, Agent]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    directory = tmp_path_factory.mktemp("environment")
    trust, keys = directory / "trust", directory / "keys"
    minute = timedelta(minutes=1)
    TokenKeyDirectory(keys, clock=ManualClock(datetime.now(UTC)), token_lifetime=minute, refresh=minute).generate(
        TokenAlgorithm.ES256
    )
    hashes = {tenant: hash_of(key) for tenant, key in KEYS.items()}
    tenants = {
        "contoso": {"keys": [hashes["contoso"]]},
        "others": {"keys": [hash_of("backend-1")], "agent_keys": [hashes["others"]], "policy": "of-others"},
        "slow": {"keys": [hash_of("backend-2")], "agent_keys": [hashes["slow"]], "agent_address_rate": "1/hour"},
    }
    settings = {
        "VERIFIER_TENANTS": json.dumps(tenants),
        "VERIFIER_POLICIES": json.dumps({"of-others": {"publishers": ["others"]}}),
        "VERIFIER_TOKEN_KEYS_DIR": str(keys),
        "VERIFIER_TOKEN_ISSUER": "https://verifier.example",
    }
    store = f"sqlite://{directory}/nonces.sqlite3"
    authorities = Authorities.generate(now=datetime.now(UTC), cloud=VM.cloud, region=VM.region)
    write_trust_directory(trust, cloud=VM.cloud, certificates=authorities.trusted)
    with running_service(nonce_store=store, trust_dir=trust, workers=1, **settings) as service:
        slow = {"Authorization": f"Bearer {KEYS['slow']}"}
        assert service.request("POST", "/v1/nonces", headers=slow).status == 201
        yield Environment(
            authorities=authorities,
            verifier=service.url,
            untrusted_tls=make_tls_server(directory, host="localhost")[0],
            agents=make_agents(build(directory / "imds-attest.pyz")),
        )


def steps(answers: tuple[Answer, ...], url: str) -> list[Step]:
    return [answer if isinstance(answer, Reply) else partial(answer, url) for answer in answers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one agent in one scenario."""

    result: Ended
    imds: Script
    verifier: Script


def run(agent: Agent, scenario: Scenario, environment: Environment, directory: Path) -> Run:
    directory.mkdir()
    key_file = directory / "key"
    key_file.write_text(f"{KEYS[scenario.key]}\n", encoding="ascii")
    with ExitStack() as running:
        imds, verifier = Script(), Script()
        imds.url = verifier.url = dead_url()
        if scenario.imds:
            listener = running.enter_context(socket.create_server(("127.0.0.1", 0)))
            start = Conditions(faults=scenario.faults)
            emulator = running.enter_context(
                running_emulator(listener, vm=VM, authorities=environment.authorities, start=start)
            )
            imds = running.enter_context(serving(*steps(scenario.imds, emulator.url)))
        if scenario.verifier:
            tls = environment.untrusted_tls if scenario.untrusted_certificate else None
            verifier = running.enter_context(serving(*steps(scenario.verifier, environment.verifier), tls=tls))
        asked = ("--verifier", verifier.url, "--imds", imds.url, "--key-file", str(key_file))
        result = agent.run(directory, *asked, *scenario.options)
    return Run(result=result, imds=imds, verifier=verifier)


Runs = Mapping[tuple[str, str], Future[Run]]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, environment: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """Run the selected scenarios in parallel, because they mostly wait."""
    directory = tmp_path_factory.mktemp("runs")
    selected = [
        (str(item.callspec.params["name"]), str(item.callspec.params["scenario"]))
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_agent_handles_the_fault.__name__
    ]
    with ThreadPoolExecutor(len(environment.agents)) as pool:
        yield {
            (name, scenario): pool.submit(
                run, environment.agents[name], SCENARIOS_BY_NAME[scenario], environment, directory / str(number)
            )
            for number, (name, scenario) in enumerate(selected)
        }


@pytest.mark.parametrize("name", make_agents(Path("imds-attest.pyz")))
@pytest.mark.parametrize("scenario", SCENARIOS_BY_NAME)
def test_agent_handles_the_fault(scenario: str, name: str, environment: Environment, runs: Runs) -> None:
    done, expected = runs[name, scenario].result(_SECONDS), SCENARIOS_BY_NAME[scenario]
    assert (done.result.status, done.result.err) == (expected.exit_code, done.result.err)
    assert_output(environment.agents[name], expected, done.result)
    assert_number_of_requests(expected.imds, done.imds)
    assert_number_of_requests(expected.verifier, done.verifier)
    assert_requests_follow_the_rules(done.imds, done.verifier, key=KEYS[expected.key])


@pytest.mark.parametrize("name", make_agents(Path("imds-attest.pyz")))
@pytest.mark.parametrize("url", ["http://::1:8080", "https://2001:db8::1/base"])
def test_agent_asks_for_brackets_around_an_ipv6_address(
    url: str, name: str, environment: Environment, tmp_path: Path
) -> None:
    result = environment.agents[name].run(tmp_path, "--verifier", url)
    assert result.status == ExitCode.USAGE
    assert "the URL must have an IPv6 address in brackets, such as http://[::1]:8080" in result.err


def assert_output(agent: Agent, scenario: Scenario, result: Ended) -> None:
    if scenario.exit_code is not ExitCode.VERIFIED:
        assert result.out == ""
        assert re.fullmatch(f"attest: {scenario.sentence}\n", result.err), result.err
        return
    assert result.err == ""
    if "--token" in scenario.options:
        assert TOKEN.fullmatch(result.out)
    elif agent.prints_claims:
        assert f"vmId: {VM.vm_id}\n" in result.out
    else:
        assert json.loads(result.out)["claims"]["vmId"] == VM.vm_id


def assert_number_of_requests(answers: tuple[Answer, ...], script: Script) -> None:
    """Each fault caused a retry, and the last reply `NOT_EXPECTED` was never requested."""
    if answers[-1:] == (NOT_EXPECTED,):
        assert len(script.requests) == len(answers) - 1
    elif len(answers) > 1:
        assert len(script.requests) >= len(answers)


def assert_requests_follow_the_rules(imds: Script, verifier: Script, *, key: str) -> None:
    for request in imds.requests:
        # Azure page: Security and authentication, HTTP verbs, Parameters.
        assert request.method == "GET"
        assert re.fullmatch(r"/metadata/attested/document\?api-version=2020-09-01&nonce=[0-9A-Za-z]+", request.target)
        assert request.headers["Metadata"] == "true"
        assert "Authorization" not in request.headers
    for request in verifier.requests:
        assert request.method == "POST"
        assert request.target in {"/v1/nonces", "/v1/attestations"}
        assert request.headers["Content-Type"] == "application/json"
        assert request.headers["Authorization"] == f"Bearer {key}"
        assert "Metadata" not in request.headers
    for request in (*imds.requests, *verifier.requests):
        assert "X-Forwarded-For" not in request.headers
    # Each posted document has a nonce of its own, which IMDS received.
    posted = [request.fields()["nonce"] for request in verifier.requests if request.target == "/v1/attestations"]
    assert len(posted) <= sum(request.target == "/v1/nonces" for request in verifier.requests)
    assert set(posted) <= {request.target.rpartition("=")[2] for request in imds.requests}

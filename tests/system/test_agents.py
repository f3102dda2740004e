"""The agents against every fault of the table: what each does about it, and how it ends.

IMDS is the emulator, and the verifier a service; before both stands a server of the test that is at fault.
"""

import hashlib
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
from support.agent_scenarios import KEYS, SCENARIOS, UNASKED, Answer, Scenario
from support.agents import Agent, build, make_agents
from support.clocks import StandingClock
from support.command_line import Ended
from support.issuers import make_tls_server
from support.scripted_servers import Reply, Script, Step, dead_url, serving
from support.services import running_service

from verifier.agent.ends import End
from verifier.edge.token_files import TokenKeyDirectory
from verifier.emulator.controls import Conditions
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.scenarios import Authorities
from verifier.emulator.server import running_emulator
from verifier.token_ports import TokenAlgorithm

VM = VirtualMachine()
TABLE = {scenario.name: scenario for scenario in SCENARIOS}
_SECONDS = 120
TOKEN = re.compile(r"[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The service, what makes it accept the emulators, of which each run has its own, and the agents."""

    authorities: Authorities
    verifier: str
    stranger: ssl.SSLContext
    agents: dict[str, Agent]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    trust, keys = directory / "trust", directory / "keys"
    minute = timedelta(minutes=1)
    TokenKeyDirectory(keys, clock=StandingClock(datetime.now(UTC)), token_lifetime=minute, refresh=minute).generate(
        TokenAlgorithm.ES256
    )
    hashes = {tenant: hashlib.sha256(key.encode()).hexdigest() for tenant, key in KEYS.items()}
    tenants = {
        "contoso": {"keys": [hashes["contoso"]]},
        "others": {"keys": [hashes["others"]], "policy": "of-others"},
        "slow": {"keys": [hashes["slow"]], "rate": "1/hour"},
    }
    settings = {
        "VERIFIER_TENANTS": json.dumps(tenants),
        "VERIFIER_POLICIES": json.dumps({"of-others": {"publishers": ["others"]}}),
        "VERIFIER_TOKEN_KEYS_DIR": str(keys),
        "VERIFIER_TOKEN_ISSUER": "https://verifier.example",
    }
    store = f"sqlite://{directory}/nonces.sqlite3"
    authorities = Authorities.throw_away(now=datetime.now(UTC), cloud=VM.cloud, region=VM.region)
    authorities.write_trust(trust, cloud=VM.cloud)
    with running_service(nonce_store=store, trust_dir=trust, workers=1, **settings) as service:
        slow = {"Authorization": f"Bearer {KEYS['slow']}"}
        assert service.request("POST", "/v1/nonces", headers=slow).status == 201
        yield World(
            authorities=authorities,
            verifier=service.url,
            stranger=make_tls_server(directory, host="localhost")[0],
            agents=make_agents(build(directory / "imds-attest.pyz")),
        )


def steps(answers: tuple[Answer, ...], url: str) -> list[Step]:
    return [answer if isinstance(answer, Reply) else partial(answer, url) for answer in answers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one agent did in one scenario."""

    ended: Ended
    imds: Script
    verifier: Script


def run(agent: Agent, scenario: Scenario, world: World, directory: Path) -> Run:
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
                running_emulator(listener, vm=VM, authorities=world.authorities, start=start)
            )
            imds = running.enter_context(serving(*steps(scenario.imds, emulator.url)))
        if scenario.verifier:
            tls = world.stranger if scenario.stranger else None
            verifier = running.enter_context(serving(*steps(scenario.verifier, world.verifier), tls=tls))
        asked = ("--verifier", verifier.url, "--imds", imds.url, "--key-file", str(key_file))
        ended = agent.run(directory, *asked, *scenario.options)
    return Run(ended=ended, imds=imds, verifier=verifier)


Runs = Mapping[tuple[str, str], Future[Run]]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Those of the tests that were asked for. They go side by side, since most of each is waiting."""
    directory = tmp_path_factory.mktemp("runs")
    asked = [
        (str(item.callspec.params["name"]), str(item.callspec.params["scenario"]))
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_an_agent_at_a_fault.__name__
    ]
    with ThreadPoolExecutor(len(world.agents)) as pool:
        yield {
            (name, scenario): pool.submit(run, world.agents[name], TABLE[scenario], world, directory / str(number))
            for number, (name, scenario) in enumerate(asked)
        }


@pytest.mark.parametrize("name", make_agents(Path("imds-attest.pyz")))
@pytest.mark.parametrize("scenario", TABLE)
def test_an_agent_at_a_fault(scenario: str, name: str, world: World, runs: Runs) -> None:
    done, expected = runs[name, scenario].result(_SECONDS), TABLE[scenario]
    assert (done.ended.status, done.ended.err) == (expected.end, done.ended.err)
    assert_tells(world.agents[name], expected, done.ended)
    assert_met(expected.imds, done.imds)
    assert_met(expected.verifier, done.verifier)
    assert_asked_by_the_rules(done.imds, done.verifier, key=KEYS[expected.key])


def assert_tells(agent: Agent, scenario: Scenario, ended: Ended) -> None:
    if scenario.end is not End.VERIFIED:
        assert ended.out == ""
        assert re.fullmatch(f"attest: {scenario.sentence}\n", ended.err), ended.err
        return
    assert ended.err == ""
    if "--token" in scenario.options:
        assert TOKEN.fullmatch(ended.out)
    elif agent.prints_claims:
        assert f"vmId: {VM.vm_id}\n" in ended.out
    else:
        assert json.loads(ended.out)["claims"]["vmId"] == VM.vm_id


def assert_met(answers: tuple[Answer, ...], script: Script) -> None:
    """Each fault was met with another try, and nothing with one too many."""
    if answers[-1:] == (UNASKED,):
        assert len(script.requests) == len(answers) - 1
    elif len(answers) > 1:
        assert len(script.requests) >= len(answers)


def assert_asked_by_the_rules(imds: Script, verifier: Script, *, key: str) -> None:
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
    # Every nonce is asked for once, however often IMDS is asked with it, and every document is posted with its own.
    posted = [request.fields()["nonce"] for request in verifier.requests if request.target == "/v1/attestations"]
    assert len(posted) <= sum(request.target == "/v1/nonces" for request in verifier.requests)
    assert set(posted) <= {request.target.rpartition("=")[2] for request in imds.requests}

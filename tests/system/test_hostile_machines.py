"""A hostile VM of one customer, in both flows: each attempt has its code, and all others are served meanwhile.

The processes are real: the example backends of a vendor, the verifier on Redis, emulated IMDSs, and agents.
"""

import json
import re
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, count, repeat
from pathlib import Path
from socket import create_connection

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.agents import Agent, build, make_agents
from support.command_line import call
from support.documents import VM
from support.flood import Flood, Flooded, flooding
from support.forwarding_proxy import Style, running_forwarding_proxy
from support.live_documents import current_pki
from support.load import repeated
from support.machines import Machine
from support.processes import await_that
from support.redis_server import RedisServer
from support.scripted_servers import Reply, Request, Script, forward, serving
from support.services import ADMIN_KEY, ADMIN_KEYS, Answer, Client, RunningServer, running_server, running_service
from support.tenant_keys import hash_of
from system.test_examples import running_backend
from system.test_relying_party_examples import running_example

from verifier.agent.exit_codes import ExitCode
from verifier.agent.key_tools import OpensslTool
from verifier.agent.proof_key import ProofKey
from verifier.emulator.documents import MarketplacePlan

#: The keys of the vendor's backend and of its customers' VMs, and those of another vendor.
KEY, AGENT_KEY, OTHER_KEY, OTHER_AGENT_KEY = "backend", "agent", "other-backend", "other-agent"
ISSUER = "https://verifier.example"
HOSTILE_VM = replace(VM, vm_id="66666666-2222-4333-8444-555555555555")
#: The address of the neighbour's VMs, and of the backends: agents cannot choose theirs.
NEIGHBOUR = "127.0.0.1"
ADDRESS_RATE, ADDRESS_NONCES, VM_RATE = 150, 40, 3
LIMITED = (429, "rate-limited")

_addresses = (f"127.0.{number >> 8}.{number & 255}" for number in count(0x4201))


def settings_of(vendor: str, keys: Path) -> dict[str, str]:
    """Two tenants. Their names are not used twice, because all tests share a Redis."""
    tenant = {
        "keys": [hash_of(KEY)],
        "rate": "5000/hour",
        "agent_keys": [hash_of(AGENT_KEY)],
        "agent_address_rate": f"{ADDRESS_RATE}/hour",
        "agent_vm_rate": "1000/hour",
        "agent_address_nonces": ADDRESS_NONCES,
        "policy": "appliance",
    }
    other = {"keys": [hash_of(OTHER_KEY)], "agent_keys": [hash_of(OTHER_AGENT_KEY)], "agent_vm_rate": f"{VM_RATE}/hour"}
    return {
        "VERIFIER_ADMIN_KEYS": ADMIN_KEYS,
        "VERIFIER_POLICIES": json.dumps({"appliance": {"publishers": ["contoso"]}}),
        "VERIFIER_TENANTS": json.dumps({vendor: tenant, f"{vendor}-other": other}),
        "VERIFIER_TOKEN_KEYS_DIR": str(keys),
        "VERIFIER_TOKEN_ISSUER": ISSUER,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """The processes of a vendor, and the emulated IMDS of two VMs."""

    tenant: str
    verifier: RunningServer
    #: The passport backend, the background-check backend, and the relying party that takes proofs.
    passport: RunningServer
    background: RunningServer
    licensing: Client
    #: A server before `licensing` that keeps each request, as a thief on the path does.
    wire: Script
    imds: str
    hostile_imds: str
    agent: Agent
    directory: Path

    def hostile(self, **more: object) -> Machine:
        """Return a hostile VM. Its address is new, so that no test uses up the limits of another."""
        return replace(
            Machine(service=self.verifier, address=next(_addresses), key=AGENT_KEY, vm=HOSTILE_VM),
            **more,  # type: ignore[arg-type]  # fields of Machine
        )

    def other_customer(self) -> Machine:
        """Return a VM of another vendor's customer."""
        vm = replace(VM, vm_id=str(uuid.uuid4()))
        return Machine(service=self.verifier, address=next(_addresses), key=OTHER_AGENT_KEY, vm=vm)

    def backend(self) -> Machine:
        return Machine(service=self.verifier, address=NEIGHBOUR, key=KEY)

    def run_agent(self, *options: str, imds: str = "") -> str:
        """Return what an agent prints that has to succeed."""
        directory = self.directory / uuid.uuid4().hex
        directory.mkdir()
        ended = self.agent.run(directory, *options, "--imds", imds or self.imds)
        assert (ended.status, ended.err) == (ExitCode.VERIFIED, "")
        return ended.out

    def options(self, *more: str) -> tuple[str, ...]:
        return ("--verifier", self.verifier.url, "--key-file", str(self.directory / "key"), *more)

    def serve_others(self) -> None:
        """Have agents of another customer get a license in both flows, and the vendor's backend a verdict."""
        with ThreadPoolExecutor(2) as pool:
            passport = pool.submit(self.run_agent, *self.options("--token"))
            background = pool.submit(self.run_agent, "--backend", self.background.url, "--json")
            answer = self.passport.post_json("/licenses", {"token": passport.result().strip()})
            assert (answer.status, answer.json["vmId"], answer.json["licensed"]) == (201, VM.vm_id, True)
            assert json.loads(background.result())["licensed"] is True
        assert self.backend().attest().status == 200

    def outcomes_of(self, attempt: Callable[[], Sequence[Answer]]) -> set[tuple[int, object]]:
        """Repeat the attempt until the others were served meanwhile. Return each status with its code."""
        answers: list[Answer] = []
        faults: list[Exception] = []
        # The pauses grow, so that on a slow machine too the limits of the hostile VM admit its attempts.
        pauses = chain((0.05 * 1.2**number for number in range(16)), repeat(1.0))

        def work() -> None:
            answers.extend(attempt())
            time.sleep(next(pauses))

        with repeated([work], faults):
            await_that(lambda: bool(answers or faults))
            before = len(answers)
            self.serve_others()
            await_that(lambda: len(answers) > before or bool(faults))
        assert faults == []
        return {(answer.status, answer.json.get("code")) for answer in answers}


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path, redis_server: RedisServer) -> Iterator[Vendor]:
    directory = tmp_path_factory.mktemp("vendor")
    name, keys = f"vendor-{uuid.uuid4().hex}", directory / "keys"
    (directory / "key").write_text(f"{AGENT_KEY}\n", "ascii")
    assert call("keys", "generate", "--dir", str(keys)).status == 0
    _write_authority(directory / "authority")
    emulator = ("emulator", "--port", "0", "--authority", str(directory / "authority"))
    with ExitStack() as stack:
        imds = stack.enter_context(running_server(*emulator))
        hostile_imds = stack.enter_context(running_server(*emulator, "--vm-id", HOSTILE_VM.vm_id))
        verifier = stack.enter_context(
            running_service(nonce_store=redis_server.url, trust_dir=trust_dir, workers=2, **settings_of(name, keys))
        )
        result = {
            "VERIFIER_JWKS": f"{verifier.url}/.well-known/jwks.json",
            "TOKEN_ISSUER": ISSUER,
            "TOKEN_AUDIENCE": name,
            "TENANT": name,
            "POLICY": "appliance",
        }
        behind: list[str] = []

        def pass_on(request: Request) -> Reply:
            return forward(behind[0], request)

        wire = stack.enter_context(serving(pass_on))
        licensing = stack.enter_context(
            running_example("relying-party-flask", ("--threads", "4"), {**result, "EXTERNAL_URL": wire.url})
        )
        behind.append(licensing.url)
        yield Vendor(
            tenant=name,
            verifier=verifier,
            passport=stack.enter_context(running_backend("licensing-backend-passport", **result)),
            background=stack.enter_context(
                running_backend("licensing-backend-background-check", **background_settings(verifier.url))
            ),
            licensing=licensing,
            wire=wire,
            imds=imds.url,
            hostile_imds=hostile_imds.url,
            agent=make_agents(build(directory / "imds-attest.pyz"))["zipapp"],
            directory=directory,
        )


def background_settings(verifier: str) -> dict[str, str]:
    return {"VERIFIER": verifier, "VERIFIER_KEY": KEY, "POLICY": "appliance"}


def _write_authority(directory: Path) -> None:
    """Write the root of the trust directory, so that documents of the emulators and of the tests are trusted alike."""
    root = current_pki().root
    directory.mkdir()
    (directory / "tls.crt").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    key = root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "tls.key").write_bytes(key)


def budget_of(backend: Machine) -> Mapping[str, int]:
    """Return what the rate of the backend's key leaves, after one nonce and one document."""
    nonce = backend.ask("POST", "/v1/nonces")
    answer = backend.post(str(nonce.json["nonce"]))
    assert answer.status == 200
    told = [each.headers["RateLimit"].split(";") for each in (nonce, answer)]
    return {name.strip('"'): int(left.removeprefix("r=")) for name, left, _ in told}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """What a flood got, how often the others were served meanwhile, and what the backend's rate lost."""

    flooded: Flooded
    served: int
    used: Mapping[str, int]

    @property
    def own(self) -> int:
        """Return how many requests of each kind the backends made: for themselves, for the VM, and for the budget."""
        return 2 * self.served + 1


def attack(vendor: Vendor, flood: Flood) -> Attack:
    """Flood while agents and the backend of the vendor are served."""
    before = budget_of(vendor.backend())
    served = 0
    with flooding(flood) as flooded:
        until = time.monotonic() + flood.seconds - 1
        while time.monotonic() < until:
            vendor.serve_others()
            served += 1
    after = budget_of(vendor.backend())
    sys.stdout.write(
        f"attacker: {flooded.answers.total()} requests, {flooded.rate:.0f}/s, {dict(flooded.answers)}\n"
        f"others: {3 * served} of {3 * served} served; backend's budget: {before} before, {after} after\n"
    )
    assert served >= 1
    assert flooded.rate >= 0.8 * flood.rate
    return Attack(flooded=flooded, served=served, used={name: before[name] - after[name] for name in before})


def flood_of(hostile: Machine, **more: object) -> Flood:
    flood = Flood(url=hostile.service.url, address=hostile.address, key=hostile.key, seconds=5, rate=100)
    return replace(flood, **more)  # type: ignore[arg-type]  # fields of Flood


def check_flood_of_a_verifier(vendor: Vendor, flood: Flood) -> None:
    """Flood the verifier of the vendor. The hostile VM gets what its limits admit, and the backend loses nothing."""
    done = attack(vendor, flood)
    assert all(used <= done.own for used in done.used.values())
    nonces, documents = done.flooded.codes("/v1/nonces"), done.flooded.codes("/v1/attestations")
    assert set(nonces) == {(201, ""), LIMITED}
    assert nonces[201, ""] <= ADDRESS_NONCES
    assert set(documents) == {(400, "malformed-evidence"), LIMITED}
    # Exact but for a flood at the turn of an hour.
    assert documents[400, "malformed-evidence"] <= ADDRESS_RATE + 5


def test_flood_of_the_verifier(vendor: Vendor) -> None:
    hostile = vendor.hostile()
    assert hostile.attest().status == 200
    check_flood_of_a_verifier(vendor, flood_of(hostile))


#: What the hostile VM sends through the proxy. Each header names addresses of others.
SPOOFED: list[list[tuple[str, str]]] = [
    [],
    [("X-Forwarded-For", NEIGHBOUR)],
    [("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", NEIGHBOUR)],
    [("X-Forwarded-For", ", ".join(["198.51.100.2"] * 200))],
    [("X-Forwarded-For", f"{NEIGHBOUR}:443, [2001:db8::1]:443, , unknown,")],
    [("X_Forwarded_For", "198.51.100.3"), ("Forwarded", f"for={NEIGHBOUR}"), ("X-Real-IP", NEIGHBOUR)],
]


@pytest.mark.parametrize("style", Style)
def test_flood_behind_a_proxy(vendor: Vendor, style: Style, trust_dir: Path, tmp_path: Path) -> None:
    keys = vendor.directory / "keys"
    with (
        running_service(
            nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
            trust_dir=trust_dir,
            workers=2,
            VERIFIER_TRUSTED_PROXIES="1",
            **settings_of(vendor.tenant, keys),
        ) as verifier,
        running_forwarding_proxy(verifier.url, style) as url,
        running_backend("licensing-backend-background-check", **background_settings(url)) as background,
    ):
        behind = replace(vendor, verifier=replace(verifier, url=url), background=background)
        hostile = behind.hostile()
        for headers in SPOOFED:
            assert replace(hostile, headers=dict(headers)).attest().status == 200
        check_flood_of_a_verifier(behind, flood_of(hostile, spoofed=SPOOFED))
        # The agents came through the same proxy. What the hostile VM wrote into the header counted for none of them.
        assert Machine(service=behind.verifier, address=NEIGHBOUR, key=AGENT_KEY).attest().status == 200
    assert not any("forwarding mismatch" in line for line in verifier.log)


def test_flood_of_the_background_check_backend(vendor: Vendor) -> None:
    hostile = replace(vendor.hostile(), service=vendor.background, key="")
    assert license_in_background(hostile).status == 201
    done = attack(vendor, flood_of(hostile, is_for_backend=True))
    challenges, licenses = done.flooded.codes("/challenges"), done.flooded.codes("/licenses")
    assert set(challenges) == {(201, ""), (429, "too-many-sessions")}
    assert set(licenses) == {(400, "malformed-evidence"), (403, "session-unknown")}
    # One address can have 100 sessions in their lifetime, each with one nonce and one document.
    assert all(used <= done.own + 100 for used in done.used.values())


def test_idle_connections_to_the_backends(vendor: Vendor) -> None:
    with ExitStack() as stack:
        for backend in (vendor.passport, vendor.background):
            address = ("127.0.0.1", int(backend.url.rpartition(":")[2]))
            for _ in range(5):
                stack.enter_context(create_connection(address, timeout=5)).sendall(b"POST /licenses HTTP/1.1\r\n")
        vendor.serve_others()


def test_nonce_hoarding(vendor: Vendor) -> None:
    hostile = vendor.hostile()
    nonces = [hostile.nonce() for _ in range(ADDRESS_NONCES)]
    refused: list[Answer] = []

    def attempt() -> list[Answer]:
        refused.append(hostile.ask("POST", "/v1/nonces"))
        return refused[-1:]

    assert vendor.outcomes_of(attempt) == {LIMITED}
    assert all(1 <= int(answer.headers["Retry-After"]) <= 300 for answer in refused)
    # The nonces of the hostile VM are good. A redeemed nonce makes room for one more.
    assert hostile.post(nonces[0]).status == 200
    assert hostile.ask("POST", "/v1/nonces").status == 201
    assert hostile.ask("POST", "/v1/nonces").status == 429


def test_captured_document_for_the_budget_of_another_vm(vendor: Vendor) -> None:
    """The other vendor admits 3 documents an hour of each VM."""
    victim = vendor.other_customer()
    nonce = victim.nonce()
    captured = victim.evidence(nonce)
    assert victim.ask("POST", "/v1/attestations", captured).status == 200
    thief = vendor.other_customer()
    assert vendor.outcomes_of(lambda: [thief.ask("POST", "/v1/attestations", captured)]) == {(409, "nonce-replayed")}
    assert [victim.attest().status for _ in range(VM_RATE - 1)] == [200] * (VM_RATE - 1)
    # The budget is as small as that, so one captured document that counted would have been noticed.
    limited = victim.attest()
    assert (limited.status, limited.code) == LIMITED
    assert thief.attest().status == 200


def test_captured_document_in_the_background_check_flow(vendor: Vendor) -> None:
    victim = replace(vendor.hostile(), service=vendor.background, key="", vm=VM)
    thief = replace(vendor.hostile(), service=vendor.background, key="")
    session, captured = challenged(victim)

    def attempt() -> list[Answer]:
        """Bring the captured document in a session of one's own, and the whole captured request."""
        own, _ = challenged(thief)
        return [thief.ask("POST", "/licenses", {**captured, "session": each}) for each in (own, session)]

    # The first request of all is the victim's.
    assert victim.ask("POST", "/licenses", {**captured, "session": session}).status == 201
    assert vendor.outcomes_of(attempt) == {(422, "nonce-mismatch"), (403, "session-unknown")}
    assert license_in_background(thief).json["vmId"] == HOSTILE_VM.vm_id


def test_session_that_is_bound_to_another_vm(vendor: Vendor) -> None:
    thief = replace(vendor.hostile(), service=vendor.background, key="")
    outcomes = vendor.outcomes_of(lambda: [license_in_background(thief, vmId=VM.vm_id)])
    assert outcomes == {(422, "nonce-mismatch")}
    assert license_in_background(thief, vmId=HOSTILE_VM.vm_id.upper()).status == 201


def test_nonce_of_another_tenant(vendor: Vendor) -> None:
    hostile, other = vendor.hostile(), vendor.other_customer()
    nonce = other.nonce()
    evidence = hostile.evidence(nonce)

    def attempt() -> list[Answer]:
        return [hostile.ask("POST", "/v1/attestations", evidence | more) for more in ({}, {"nonce": nonce})]

    assert vendor.outcomes_of(attempt) == {(422, "nonce-unknown")}
    assert other.post(nonce).status == 200


def test_wider_policy(vendor: Vendor) -> None:
    """The VM runs the product of another publisher, which `default` would accept."""
    another = replace(HOSTILE_VM, plan=MarketplacePlan(publisher="fabrikam", product="x", name="y"))
    hostile = vendor.hostile(vm=another)
    background = replace(hostile, service=vendor.background, key="")

    def attempt() -> list[Answer]:
        return [
            hostile.post(hostile.nonce(policy="default")),
            hostile.post(hostile.nonce(), policy="default"),
            license_in_background(background, policy="default"),
        ]

    assert vendor.outcomes_of(attempt) == {(403, "policy-denied")}
    # The same requests of a VM that satisfies the policy: it can only add policies.
    honest = vendor.hostile()
    for answer in (honest.post(honest.nonce(policy="default")), honest.post(honest.nonce(), policy="default")):
        assert answer.status == 200
        assert answer.json["policies"] == ["appliance", "default"]
    assert license_in_background(replace(background, vm=HOSTILE_VM), policy="default").status == 201
    # Another tenant, whose policy is `default`, accepts the VM.
    assert replace(vendor.other_customer(), vm=replace(another, vm_id=str(uuid.uuid4()))).attest().status == 200


def test_every_other_path(vendor: Vendor) -> None:
    """The paths are those of the OpenAPI document, so that a path of a later version is here too."""
    hostile = vendor.hostile()
    guarded, public = operations(vendor.verifier)
    assert ("GET", "/v1/trust") in guarded
    assert ("GET", "/readyz") in public

    def attempt() -> list[Answer]:
        return [hostile.ask(method, path) for method, path in guarded]

    assert vendor.outcomes_of(attempt) == {(403, "forbidden")}
    for method, path in guarded:
        allowed = [replace(hostile, key=key).ask(method, path).status for key in (ADMIN_KEY, KEY)]
        assert not set(allowed) <= {401, 403}, path
        if method == "GET":
            assert hostile.ask("HEAD", path).status == 403
    # A path for all shows an agent key what it shows a caller without a key.
    for method, path in public - {("GET", "/metrics")}:
        shown = [replace(hostile, key=key).ask(method, path) for key in (AGENT_KEY, "")]
        assert shown[0].body == shown[1].body, path


def test_decisions_and_odd_methods(vendor: Vendor) -> None:
    hostile = vendor.hostile()
    requests = [("GET", "/v1/decisions"), ("GET", f"/v1/decisions/{'0' * 32}"), ("GET", "/v1/usage")]
    assert all(hostile.ask(method, path).code in {"not-found", "forbidden"} for method, path in requests)
    for path in ("/v1/nonces", "/v1/attestations", "/v1/trust"):
        for method in ("OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
            answer = hostile.ask(method, path)
            assert (answer.status, answer.code) == (405, "method-not-allowed"), (method, path)
    assert hostile.attest().status == 200


def test_key_in_another_form(vendor: Vendor) -> None:
    hostile = vendor.hostile()
    forms = [
        {"Authorization": f"DPoP {AGENT_KEY}"},
        {"Authorization": AGENT_KEY},
        {"Authorization": f"Bearer {AGENT_KEY}, Bearer {KEY}"},
        {"Authorization": f"Bearer {hash_of(AGENT_KEY)}"},
        {"Authorization": "Basic OmFnZW50"},
        {"Authorization": "Bearer ", "X-Api-Key": AGENT_KEY},
    ]

    def attempt() -> list[Answer]:
        return [hostile.ask("POST", "/v1/nonces", headers=form) for form in forms]

    assert vendor.outcomes_of(attempt) == {(401, "unauthenticated")}
    assert hostile.ask("POST", "/v1/nonces", headers={"Authorization": f"bearer {AGENT_KEY}"}).status == 201


def operations(verifier: Client) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the operations that need a key, but for those of agents, and the operations for all."""
    document = verifier.request("GET", "/openapi.json").json
    guarded: set[tuple[str, str]] = set()
    public: set[tuple[str, str]] = set()
    paths = document["paths"]
    assert isinstance(paths, dict)
    for path, methods in paths.items():
        for method, operation in methods.items():
            filled = re.sub(r"\{\w+\}", "0" * 64, path.replace("{code}", "internal"))
            if not operation["security"]:
                public.add((method.upper(), filled))
            elif path not in {"/v1/nonces", "/v1/attestations"}:
                guarded.add((method.upper(), filled))
    return guarded, public


def challenged(machine: Machine, **binding: str) -> tuple[str, dict[str, object]]:
    """Return a session of the background-check backend, and the VM's evidence for it."""
    answer = machine.ask("POST", "/challenges", binding)
    assert answer.status == 201, answer.body
    return str(answer.json["session"]), machine.evidence(str(answer.json["nonce"]))


def license_in_background(machine: Machine, **binding: str) -> Answer:
    session, evidence = challenged(machine, **binding)
    return machine.ask("POST", "/licenses", {**evidence, "session": session})


@dataclass(frozen=True, slots=True, kw_only=True)
class Loot:
    """What a thief on the path saw of an agent's request, and the key that the thief has not."""

    token: str
    proof: str
    key: ProofKey


@pytest.fixture(scope="module")
def loot(vendor: Vendor) -> Loot:
    """Have an agent present its token with a proof, and keep both."""
    file = vendor.directory / "victim.pem"
    vendor.run_agent(*vendor.options("--proof-key", str(file), "--present", f"{vendor.wire.url}/licenses"))
    request = vendor.wire.requests[-1]
    return Loot(
        token=request.headers["Authorization"].removeprefix("DPoP "),
        proof=request.headers["DPoP"],
        key=ProofKey.open(file, OpensslTool(shutil.which("openssl") or "")),
    )


def make_proof(loot: Loot, vendor: Vendor, **change: str) -> str:
    claims = {"token": loot.token, "method": "POST", "url": f"{vendor.wire.url}/licenses"} | change
    return loot.key.make_proof(**claims, now=int(time.time()))


def present(vendor: Vendor, token: str, proof: str = "") -> Answer:
    """Present a token to the relying party, from the address of a hostile VM."""
    thief = Machine(service=vendor.licensing, address="127.0.0.66", key="")
    headers = {"Authorization": f"{'DPoP' if proof else 'Bearer'} {token}"} | ({"DPoP": proof} if proof else {})
    return thief.ask("POST", "/licenses", headers=headers)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"url": "https://licensing.example.com/licenses"}, "proof-url-mismatch"),
        ({"method": "GET"}, "proof-method-mismatch"),
        ({"token": "a.b.c"}, "proof-token-mismatch"),
    ],
)
def test_proof_for_another_request(vendor: Vendor, loot: Loot, change: Mapping[str, str], code: str) -> None:
    proof = make_proof(loot, vendor, **change)
    assert vendor.outcomes_of(lambda: [present(vendor, loot.token, proof)]) == {(403, code)}
    assert present(vendor, loot.token, make_proof(loot, vendor)).json["vmId"] == VM.vm_id


def test_replayed_proof(vendor: Vendor, loot: Loot) -> None:
    assert vendor.outcomes_of(lambda: [present(vendor, loot.token, loot.proof)]) == {(403, "proof-replayed")}
    assert present(vendor, loot.token, make_proof(loot, vendor)).status == 201


def test_stolen_token_without_the_key(vendor: Vendor, loot: Loot) -> None:
    """Neither the relying party that takes proofs nor the one that takes bearer tokens alone accepts it."""

    def attempt() -> list[Answer]:
        return [present(vendor, loot.token), vendor.passport.post_json("/licenses", {"token": loot.token})]

    assert vendor.outcomes_of(attempt) == {(403, "proof-missing")}
    bearer = vendor.run_agent(*vendor.options("--token")).strip()
    assert present(vendor, bearer).status == 201


def test_token_of_another_vm(vendor: Vendor, loot: Loot) -> None:
    """The hostile VM has a key and a genuine token of its own, which license itself alone."""
    file = vendor.directory / "thief.pem"
    options = vendor.options("--proof-key", str(file), "--token")
    own = vendor.run_agent(*options, imds=vendor.hostile_imds).strip()
    thief = replace(loot, key=ProofKey.open(file, loot.key.tool))

    def attempt() -> list[Answer]:
        return [present(vendor, loot.token, make_proof(thief, vendor))]

    assert vendor.outcomes_of(attempt) == {(403, "proof-key-mismatch")}
    answer = present(vendor, own, make_proof(thief, vendor, token=own))
    assert (answer.status, answer.json["vmId"]) == (201, HOSTILE_VM.vm_id)

"""Run docs/operate/two-regions.md: two services on two Redis servers, with the same trust and the same token keys."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
from support.command_line import call
from support.emulator_fixtures import EXAMPLES
from support.page_blocks import commands_of, run_commands
from support.processes import await_that
from support.redis_server import RedisServer, running_redis_server
from support.services import RunningServer, running_service

from verifier.emulator.server import RunningEmulator, loopback_emulator
from verifier.emulator.virtual_machines import read_virtual_machine

PAGE = "docs/operate/two-regions.md"
RUNS_BLOCKS = {"docs/operate/two-regions.md": {"If a region is lost": 2}}
SECTION = "If a region is lost"
ISSUER = "https://verifier.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """Two installations, and one VM."""

    first: RunningServer
    second: RunningServer
    stores: tuple[RedisServer, RedisServer]
    machine: RunningEmulator
    trust: Path

    def body(self, nonce: str) -> bytes:
        """Return the request with the VM's document for this nonce."""
        ended = call("document", "--imds", self.machine.url, "--nonce", nonce)
        assert ended.status == 0
        return ended.out.encode()


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Regions]:
    directory = tmp_path_factory.mktemp("regions")
    keys = directory / "keys"
    assert call("keys", "generate", "--dir", str(keys)).status == 0
    with ExitStack() as stack:
        machine = stack.enter_context(loopback_emulator(read_virtual_machine(EXAMPLES[0])))
        trust = directory / "trust"
        machine.write_trust(trust)
        stores = (stack.enter_context(running_redis_server()), stack.enter_context(running_redis_server()))
        first, second = (
            stack.enter_context(
                running_service(
                    nonce_store=store.url,
                    trust_dir=trust,
                    workers=1,
                    VERIFIER_TOKEN_KEYS_DIR=str(keys),
                    VERIFIER_TOKEN_ISSUER=ISSUER,
                )
            )
            for store in stores
        )
        yield Regions(first=first, second=second, stores=stores, machine=machine, trust=trust)


def post(region: RunningServer, body: bytes) -> tuple[int, dict[str, object]]:
    answer = region.request("POST", "/v1/attestations", body, headers={"Content-Type": "application/json"})
    return answer.status, answer.json


def test_document_is_accepted_in_the_region_of_its_nonce_alone(regions: Regions) -> None:
    body = regions.body(regions.first.issue_nonce())
    status, problem = post(regions.second, body)
    assert (status, problem["code"]) == (422, "nonce-unknown")
    status, result = post(regions.first, body)
    assert (status, result["verdict"]) == (200, "verified")


def test_token_of_one_region_verifies_with_the_key_set_of_the_other(regions: Regions) -> None:
    status, result = post(regions.first, regions.body(regions.first.issue_nonce()))
    assert status == 200
    token = str(result["token"])
    keys = jwt.PyJWKSet.from_dict(regions.second.request("GET", "/.well-known/jwks.json").json)
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["ES256"], issuer=ISSUER, audience="default")
    assert claims["iss"] == ISSUER


def test_agent_attests_to_the_other_region_when_one_is_lost(regions: Regions, tmp_path: Path) -> None:
    environment = {"OTHER_REGION_URL": regions.second.url, "IMDS_URL": regions.machine.url}
    regions.stores[0].pause()
    try:
        assert regions.first.post_json("/v1/nonces").status == 503
        claims = run_commands(commands_of(PAGE, SECTION, 0), directory=tmp_path, environment=environment)
    finally:
        regions.stores[0].resume()
        await_that(lambda: regions.first.post_json("/v1/nonces").status == 201)
    assert regions.machine.vm.vm_id in claims


@pytest.mark.parametrize("denied", ["authority", "signer"])
def test_decisions_about_trust_of_both_regions_are_compared(regions: Regions, tmp_path: Path, denied: str) -> None:
    environment = {
        "VERIFIER_TRUST_DIR": str(regions.trust),
        # Other databases than those of the services, so that a denial here refuses no document there.
        "FIRST_STORE": regions.stores[0].url.removesuffix("/0") + f"/{1 + (denied == 'signer')}",
        "SECOND_STORE": regions.stores[1].url.removesuffix("/0") + "/1",
    }
    create = 'VERIFIER_NONCE_STORE="$STORE" imds-verifier trust status --create'
    for store in (environment["FIRST_STORE"], environment["SECOND_STORE"]):
        # `status` ends with 1 if a chain ends soon, as those of the emulator do.
        settings = environment | {"STORE": store}
        run_commands(create, directory=tmp_path, environment=settings, statuses=frozenset({0, 1}))
    script = commands_of(PAGE, SECTION, 1)
    assert run_commands(script, directory=tmp_path, environment=environment) == ""
    deny = 'VERIFIER_NONCE_STORE="$FIRST_STORE" imds-verifier trust deny "$SERIAL"'
    authority = regions.machine.controls.authorities.trusted[0].certificate
    environment["SERIAL"] = f"{authority.serial_number:x}" if denied == "authority" else "fedcba9876543210"
    run_commands(deny, directory=tmp_path, environment=environment)
    differences = run_commands(script, directory=tmp_path, environment=environment, statuses=frozenset({1}))
    assert environment["SERIAL"] in differences

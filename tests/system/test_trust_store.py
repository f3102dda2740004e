"""Which store the trust commands work on: the one of the settings, named, and never a new one unasked."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import call
from support.redis_server import RedisServer, running_redis_server

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.trust_registry import RedisTrustRegistry
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.trust.files import shipped_directory

PASSWORD = "s3cret-of-redis"  # noqa: S105 - of a server of this test
DENIED = "ab" * 32
ACTIONS = (
    ("deny", DENIED),
    ("allow", DENIED),
    ("approve", DENIED),
    ("reject", DENIED),
    ("remove", DENIED),
    ("status",),
    ("list",),
    ("export",),
)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action[0])
def test_without_the_settings_of_the_service_there_is_no_store(tmp_path: Path, action: tuple[str, ...]) -> None:
    """The shell of an operator in a hurry: the defaults name a store in the home directory, which no service uses."""
    ended = call("trust", *action, environment={"XDG_STATE_HOME": str(tmp_path / "state")})

    assert ended.status == 2
    assert f"the store sqlite://{tmp_path}/state/imds-verifier/nonces.sqlite3 does not exist" in ended.err
    assert "VERIFIER_NONCE_STORE or VERIFIER_CONFIG" in ended.err
    assert "--create" in ended.err
    assert not (tmp_path / "state").exists()


def test_a_store_is_created_where_that_is_said_and_is_there_from_then_on(tmp_path: Path) -> None:
    store = tmp_path / "nonces.sqlite3"
    environment = {"VERIFIER_NONCE_STORE": f"sqlite://{store}"}

    made = call("trust", "deny", DENIED, "--create", environment=environment)
    status = call("trust", "status", "--json", environment=environment)

    assert (made.status, status.status) == (0, 0)
    place = f"store sqlite://{store}, trust directory {shipped_directory()}\n"
    assert made.err.startswith(place)
    assert status.err == place
    told = json.loads(status.out)
    assert (told["store"], told["trustDirectory"]) == (f"sqlite://{store}", str(shipped_directory()))
    assert [denial["value"] for denial in told["denied"]] == [DENIED]
    # The commands need no nonces and no counters of rates.
    assert sorted(file.name for file in tmp_path.glob("*.sqlite3")) == ["nonces-trust.sqlite3"]
    assert SqliteTrustRegistry(tmp_path / "nonces-trust.sqlite3").decisions()[0].denials.spki_sha256 == {DENIED}


def test_the_trust_directory_of_the_settings_is_named(tmp_path: Path, trust_dir: Path) -> None:
    environment = {"VERIFIER_NONCE_STORE": f"sqlite://{tmp_path}/n.sqlite3", "VERIFIER_TRUST_DIR": str(trust_dir)}

    ended = call("trust", "list", "--create", environment=environment)

    assert ended.err == f"store sqlite://{tmp_path}/n.sqlite3, trust directory {trust_dir}\n"


@pytest.fixture(scope="module")
def guarded_redis() -> Iterator[RedisServer]:
    with running_redis_server(password=PASSWORD) as server:
        yield server


def test_a_database_that_no_service_uses_is_not_written_to(guarded_redis: RedisServer) -> None:
    environment = {"VERIFIER_NONCE_STORE": guarded_redis.url}

    ended = call("trust", "deny", DENIED, environment=environment)

    assert ended.status == 2
    assert "no service has used this Redis database" in ended.err
    registry = RedisTrustRegistry(RedisLink.open(guarded_redis.url))
    assert not registry.exists()
    # As a service does at its first look.
    registry.revision()
    ended = call("trust", "deny", DENIED, environment=environment)
    assert ended.status == 0
    assert registry.decisions()[0].denials.spki_sha256 == {DENIED}
    assert ended.err.startswith("store redis://:***@127.0.0.1:")
    assert PASSWORD not in ended.out + ended.err

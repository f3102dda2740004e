"""The operator of one replica is hostile: it has its own settings, admin key and token key, over the store of all."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.command_line import call
from support.documents import imds_answer
from support.live_documents import current_document
from support.redis_server import running_redis_server
from support.services import Answer, RunningServer, running_service
from support.tenant_keys import hash_of

from verifier.relying_party import MemoryReplayStore, NotVerified, RefusalCode, ResultVerifier

ISSUER = "https://verifier.example"
POLICY = json.dumps({"default": {"vmIds": ["00000000-0000-4000-8000-000000000000"]}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """`honest` accepts no VM of these tests. `hostile` has no policy."""

    honest: RunningServer
    hostile: RunningServer


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[Replicas]:
    directory = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        store = stack.enter_context(running_redis_server()).url

        def start(name: str, **settings: str) -> RunningServer:
            keys = str(directory / name)
            assert call("keys", "generate", "--dir", keys).status == 0
            return stack.enter_context(
                running_service(
                    nonce_store=store,
                    trust_dir=trust_dir,
                    workers=1,
                    VERIFIER_TOKEN_KEYS_DIR=keys,
                    VERIFIER_TOKEN_ISSUER=ISSUER,
                    VERIFIER_ADMIN_KEYS=json.dumps({name: hash_of(name)}),
                    **settings,
                )
            )

        yield Replicas(honest=start("honest", VERIFIER_POLICIES=POLICY), hostile=start("hostile"))


def attest(replica: RunningServer, nonce: str) -> Answer:
    return replica.post_json("/v1/attestations", imds_answer(current_document(nonce)))


def ask(replica: RunningServer, method: str, path: str, key: str) -> Answer:
    return replica.request(method, path, headers={"Authorization": f"Bearer {key}"})


def verify(token: str, keys_of: RunningServer) -> str:
    """Return the VM of the token. Raises NotVerified."""
    verifier = ResultVerifier(
        issuer=ISSUER,
        audience="default",
        tenant="default",
        policies=["default"],
        jwks=keys_of.request("GET", "/.well-known/jwks.json").json,
        replay_store=MemoryReplayStore(),
    )
    return verifier.verify(token).vm_id


def test_hostile_replica_changes_no_verdict_of_another_one(replicas: Replicas) -> None:
    assert attest(replicas.hostile, replicas.hostile.issue_nonce()).status == 200
    assert attest(replicas.honest, replicas.hostile.issue_nonce()).code == "policy-denied"


def test_document_that_the_hostile_replica_accepted_is_a_replay_elsewhere(replicas: Replicas) -> None:
    nonce = replicas.honest.issue_nonce()
    assert attest(replicas.hostile, nonce).status == 200
    assert attest(replicas.honest, nonce).code == "nonce-replayed"


def test_token_of_the_hostile_replica_is_refused_with_the_keys_of_another_one(replicas: Replicas) -> None:
    token = str(attest(replicas.hostile, replicas.hostile.issue_nonce()).json["token"])
    assert verify(token, replicas.hostile)
    with pytest.raises(NotVerified) as refused:
        verify(token, replicas.honest)
    assert refused.value.code is RefusalCode.KEY_UNKNOWN


def test_admin_key_of_one_replica_opens_no_other_one(replicas: Replicas) -> None:
    assert ask(replicas.hostile, "GET", "/v1/trust", "hostile").status == 200
    assert ask(replicas.honest, "GET", "/v1/trust", "hostile").status == 401


def test_decision_about_trust_through_one_replica_is_in_force_on_all_and_audited(replicas: Replicas) -> None:
    """The store is shared. So a hostile operator can do this, and the others can see who did."""
    key = hashlib.sha256(b"a key of a CA").hexdigest()
    assert ask(replicas.hostile, "PUT", f"/v1/trust/denied/{key}", "hostile").status == 200

    seen = ask(replicas.honest, "GET", "/v1/trust", "honest").json
    assert key in str(seen["denied"])
    assert "hostile" in str(seen["audit"])

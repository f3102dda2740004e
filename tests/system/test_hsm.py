"""Test a service whose signing key is in an HSM: SoftHSM2, as another library of PKCS#11 would be."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.documents import imds_answer
from support.javascript_client import JavaScriptClient
from support.live_documents import current_document
from support.page_blocks import commands_of, run_commands
from support.problems import read_problem
from support.processes import await_that
from support.services import ADMIN_KEYS, AS_ADMIN, Answer, RunningServer, running_service
from support.softhsm import PIN, SoftHsm, create_softhsm
from support.token_checks import ISSUER, Expectations, check_with_joserfc
from support.token_load import KEYS, TokenLoad, keys

from verifier.relying_party import MemoryReplayStore, ResultVerifier

RUNS_BLOCKS = {"docs/integrate/tokens.md": {"A key in an HSM or a KMS": 1}}
#: A probe follows one second after the last failure.
RECOVERY_SECONDS = 3
SENDERS = 4


@pytest.fixture
def hsm(tmp_path: Path) -> SoftHsm:
    return create_softhsm(tmp_path / "softhsm")


@pytest.fixture
def settings(hsm: SoftHsm, tmp_path: Path) -> dict[str, str]:
    """The settings of a service whose only key is in the HSM."""
    keys(tmp_path / "keys", "add", hsm.generate("one"), environment=hsm.environment)
    return {
        **hsm.environment,
        "VERIFIER_TOKEN_KEYS_DIR": str(tmp_path / "keys"),
        "VERIFIER_TOKEN_ISSUER": ISSUER,
        "VERIFIER_ADMIN_KEYS": ADMIN_KEYS,
        "VERIFIER_TRUST_REFRESH_SECONDS": "0.2",
    }


@pytest.fixture
def service(settings: dict[str, str], tmp_path: Path, trust_dir: Path) -> Iterator[RunningServer]:
    store = f"sqlite://{tmp_path}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=1, **settings) as running:
        yield running


def attest(service: RunningServer, nonce: str | None = None) -> Answer:
    document = current_document(nonce or service.issue_nonce())
    return service.post_json("/v1/attestations", imds_answer(document))


def token_key(service: RunningServer) -> tuple[int, str]:
    """Return the status of /readyz, and what it says of the signing key."""
    answer = service.request("GET", "/readyz", headers=AS_ADMIN)
    conditions = {str(each["name"]): str(each["detail"]) for each in answer.json["conditions"]}  # type: ignore[attr-defined]  # JSON of our own
    return answer.status, conditions["token-key"]


def assert_unavailable(answer: Answer) -> None:
    problem = read_problem(answer.status, answer.headers, answer.body)
    assert (answer.status, problem["code"], problem["retryable"]) == (503, "store-unavailable", True)
    assert int(answer.headers["Retry-After"]) >= 1
    assert "verdict" not in problem


def test_token_of_an_hsm_verifies_with_the_packages_of_relying_parties(service: RunningServer, tmp_path: Path) -> None:
    assert token_key(service) == (200, "")
    token = str(attest(service).json["token"])
    key_set = service.request("GET", KEYS).json

    expected = {"issuer": ISSUER, "audience": "default", "tenant": "default", "policies": ["default"]}
    machine = ResultVerifier(
        issuer=ISSUER,
        audience="default",
        tenant="default",
        policies=["default"],
        jwks=key_set,
        replay_store=MemoryReplayStore(),
    ).verify(token)
    assert machine.vm_id
    assert check_with_joserfc([token], Expectations(key_set=key_set, now=datetime.now(UTC))) != [None]
    node = tmp_path / "node"
    node.mkdir()
    case = {"token": token, "proofs": [None], "method": None, "url": None, "bound_only": False, "single_use": False}
    [outcome] = JavaScriptClient(node).run(
        "relying_party.mjs",
        {"keySet": key_set, "now": time.time(), "expected": expected, "cases": [case]},
    )
    assert (outcome["code"], outcome["machine"]["vmId"]) == ("ok", machine.vm_id)


def test_lost_hsm_is_unavailable_and_recovers_by_itself(service: RunningServer, hsm: SoftHsm) -> None:
    assert attest(service).status == 200
    waiting = service.issue_nonce()
    hsm.lose()
    # This request finds out, so its nonce is used.
    found_out = service.issue_nonce()
    assert_unavailable(attest(service, found_out))
    for _ in range(3):
        assert_unavailable(attest(service, waiting))
    status, detail = token_key(service)
    assert status == 503
    assert detail == "The signing key in the HSM is unavailable: no token matches pkcs11:token=results;object=one."
    # The keys are published, and nonces issued, without the HSM.
    assert len(service.request("GET", KEYS).json["keys"]) == 1  # type: ignore[arg-type]  # JSON of our own

    hsm.restore()
    # It is the nonce of a request that was refused: the service had not used it.
    await_that(lambda: attest(service, waiting).status == 200, seconds=RECOVERY_SECONDS)
    assert attest(service, found_out).code == "nonce-replayed"
    assert token_key(service) == (200, "")
    service.process.terminate()
    assert service.process.wait(20) == 0
    told = [line for line in service.log if '"signing key ' in line]
    assert ["unavailable" in line for line in told] == [True, False]
    assert PIN not in "".join(service.log)


def test_the_library_is_loaded_after_the_fork(service: RunningServer, hsm: SoftHsm) -> None:
    assert attest(service).status == 200
    library, master = Path(hsm.module).name, service.process.pid
    [worker] = Path(f"/proc/{master}/task/{master}/children").read_text("ascii").split()
    assert library not in Path(f"/proc/{master}/maps").read_text("ascii")
    assert library in Path(f"/proc/{worker}/maps").read_text("ascii")


def test_refused_pin_is_told_and_the_service_stays_alive(
    settings: dict[str, str], hsm: SoftHsm, tmp_path: Path, trust_dir: Path
) -> None:
    wrong = "4711-not-this-one"
    (hsm.directory / "pin").write_text(f"{wrong}\n", "utf-8")
    store = f"sqlite://{tmp_path}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=2, **settings) as service:
        nonce = service.issue_nonce()
        for _ in range(4):
            assert_unavailable(attest(service, nonce))
        status, detail = token_key(service)
        assert service.request("GET", "/healthz").status == 200
    assert status == 503
    assert "the token refused the PIN (CKR_PIN_INCORRECT); correct VERIFIER_PKCS11_PIN and restart" in detail
    assert wrong not in f"{detail}{''.join(service.log)}"


def test_keys_rotate_from_a_file_to_an_hsm_and_back_without_a_failed_request(
    hsm: SoftHsm, tmp_path: Path, trust_dir: Path
) -> None:
    directory = tmp_path / "keys"
    first = keys(directory, "generate")
    with (
        running_service(
            nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
            trust_dir=trust_dir,
            workers=2,
            VERIFIER_TOKEN_KEYS_DIR=str(directory),
            VERIFIER_TOKEN_ISSUER=ISSUER,
            VERIFIER_TRUST_REFRESH_SECONDS="0.2",
            **hsm.environment,
        ) as service,
        ThreadPoolExecutor(SENDERS) as senders,
    ):
        load = TokenLoad(service)
        sending = [senders.submit(load.send, number) for number in range(SENDERS)]
        kids = [first]
        try:
            load.wait_until_signed_by(first, times=10)
            in_hsm = (hsm.generate("p256"), hsm.generate("ed25519", kind="EC:edwards25519", key_id="02"))
            for command in (("add", in_hsm[0]), ("add", in_hsm[1]), ("generate",)):
                kids.append(keys(directory, *command, environment=hsm.environment))
                keys(directory, "rotate", kids[-1], "--now")
                load.wait_until_signed_by(kids[-1], times=16)
        finally:
            load.stop()
        for one in sending:
            one.result(timeout=180)
    assert load.failures == []
    assert load.unverifiable == []
    assert set(load.kids) == set(kids)


def test_commands_of_the_page_set_up_a_key(hsm: SoftHsm, tmp_path: Path) -> None:
    """SoftHSM gets a second, empty directory."""
    fresh = tmp_path / "fresh"
    (fresh / "tokens").mkdir(parents=True)
    (fresh / "softhsm2.conf").write_text(f"directories.tokendir = {fresh}/tokens\n", "utf-8")
    environment = {
        **hsm.environment,
        "SOFTHSM2_CONF": str(fresh / "softhsm2.conf"),
        "PIN": PIN,
        "SO_PIN": "87654321",
        "VERIFIER_TOKEN_KEYS_DIR": str(tmp_path / "keys"),
        "VERIFIER_TOKEN_ISSUER": ISSUER,
    }
    script = commands_of("docs/integrate/tokens.md", "A key in an HSM or a KMS")
    kid = run_commands(script, directory=tmp_path, environment=environment).splitlines()[-1]
    assert [key["kid"] for key in json.loads(keys(tmp_path / "keys", "show"))["keys"]] == [kid]
    assert (
        (tmp_path / "keys" / f"{kid}.pkcs11")
        .read_text("ascii")
        .startswith("pkcs11:token=results;object=results-2026\n")
    )

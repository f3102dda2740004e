"""Keys roll over on a live service under load: no request fails, and every token is verifiable by what is published."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from support.documents import imds_answer
from support.live_documents import current_document
from support.services import ADMIN_KEYS, AS_ADMIN, running_service
from support.token_checks import ISSUER, Expectations, KeySet, check_with_joserfc
from support.token_load import KEYS, TokenLoad, keys

SENDERS = 4


def test_keys_roll_over_under_load_without_a_failed_request(tmp_path: Path, trust_dir: Path) -> None:
    directory = tmp_path / "keys"
    first = keys(directory, "generate")
    with (
        running_service(
            nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
            trust_dir=trust_dir,
            VERIFIER_TOKEN_KEYS_DIR=str(directory),
            VERIFIER_TOKEN_ISSUER=ISSUER,
            VERIFIER_TRUST_REFRESH_SECONDS="0.2",
        ) as service,
        ThreadPoolExecutor(SENDERS) as senders,
    ):
        load = TokenLoad(service)
        sending = [senders.submit(load.send, number) for number in range(SENDERS)]
        try:
            load.wait_until_signed_by(first, times=10)
            second = keys(directory, "generate", "--algorithm", "EdDSA")
            keys(directory, "rotate", second, "--now")
            load.wait_until_signed_by(second, times=16)
            third = keys(directory, "generate")
            keys(directory, "rotate", third, "--now")
            load.wait_until_signed_by(third, times=16)
            # Nobody's token is of the first one any more: it ended with its sender's last check.
            keys(directory, "retire", first, "--now")
            load.wait_for_more(times=16)
        finally:
            load.stop()
        for one in sending:
            one.result(timeout=180)
        published: KeySet = service.request("GET", KEYS).json
    assert load.failures == []
    assert load.unverifiable == []
    assert set(load.kids) == {first, second, third}
    assert [key["kid"] for key in json.loads(json.dumps(published))["keys"]] == [third, second]


def test_a_broken_set_is_told_and_the_service_goes_on(tmp_path: Path, trust_dir: Path) -> None:
    directory = tmp_path / "keys"
    kid = keys(directory, "generate")
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
        trust_dir=trust_dir,
        workers=1,
        VERIFIER_TOKEN_KEYS_DIR=str(directory),
        VERIFIER_TOKEN_ISSUER=ISSUER,
        VERIFIER_TOKEN_AUDIENCE="licensing",  # noqa: S106 - a name
        VERIFIER_ADMIN_KEYS=ADMIN_KEYS,
    ) as service:
        (directory / f"{kid}.pem").chmod(0o644)
        ready = service.request("GET", "/readyz", headers=AS_ADMIN)
        fields = imds_answer(current_document(service.issue_nonce()))
        answer = service.post_json("/v1/attestations", fields)
        expected = Expectations(key_set=service.request("GET", KEYS).json, now=datetime.now(UTC), audience="licensing")
    assert ready.status == 200
    assert f"{kid}.pem: others can use it" in ready.body.decode()
    assert answer.status == 200
    assert check_with_joserfc([str(answer.json["token"])], expected) != [None]
    lines = [json.loads(line) for line in service.log]
    [told] = [line for line in lines if line["event"] == "token keys reloaded"]
    assert (told["outcome"], told["level"]) == ("refused", "error")
    assert str(answer.json["token"]) not in "".join(service.log)

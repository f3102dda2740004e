"""Files and records of a later release: the service does not start with them, or gives no verdict, and names them."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import redis
from support.command_line import call
from support.documents import imds_answer
from support.live_documents import current_document
from support.redis_server import running_redis_server
from support.services import ADMIN_KEYS, AS_ADMIN, running_service


def test_does_not_start_with_files_of_a_later_release(tmp_path: Path, trust_dir: Path) -> None:
    """Each of them names the format, and is left as it is."""
    settings, manifest = tmp_path / "verifier.toml", tmp_path / "trust" / "manifest.toml"
    shutil.copytree(trust_dir, manifest.parent)
    settings.write_text("format = 2\n")
    manifest.write_text(manifest.read_text("utf-8").replace("format = 1", "format = 2"), "utf-8")
    store = {"VERIFIER_NONCE_STORE": f"sqlite://{tmp_path}/nonces.sqlite3", "VERIFIER_PORT": "0"}
    with running_service(nonce_store=store["VERIFIER_NONCE_STORE"], trust_dir=trust_dir, workers=1):
        pass
    cases = [
        ({"VERIFIER_CONFIG": str(settings)}, 2, f"VERIFIER_CONFIG: {settings} has format 2", 1),
        ({"VERIFIER_TRUST_DIR": str(manifest.parent)}, 2, f"{manifest} has format 2", 1),
    ]
    for environment, status, said, known in cases:
        ended = call("serve", environment={**store, **environment})
        told = f"imds-verifier: {said}, and this release knows format {known}: update imds-verifier\n"
        assert (ended.status, ended.out, ended.err) == (status, "", told)
    files = sorted(tmp_path.glob("nonces*.sqlite3"))
    assert len(files) == 5
    for file in files:
        with closing(sqlite3.connect(file)) as connection:
            [(known,)] = connection.execute("PRAGMA user_version").fetchall()
            connection.execute(f"PRAGMA user_version = {known + 1}")
        ended = call("serve", environment={**store, "VERIFIER_AUDIT_REQUIRED": "true"})
        assert (ended.status, ended.out, ended.err.count("\n")) == (3, "", 1)
        said = f"database has format {known + 1}, and this release knows format {known}: update imds-verifier ({file}, "
        assert said in ended.err
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA user_version").fetchall() == [(known + 1,)]
            connection.execute(f"PRAGMA user_version = {known}")


def test_gives_no_verdict_while_redis_holds_decisions_about_trust_of_a_later_release(trust_dir: Path) -> None:
    with running_redis_server() as server, closing(redis.Redis.from_url(server.url)) as client:
        client.hset("imds-verifier:{trust}:decisions", mapping={"revision": 8, "decisions": "[4,[],[],[],[],null,[]]"})
        with running_service(
            nonce_store=server.url, trust_dir=trust_dir, workers=1, VERIFIER_ADMIN_KEYS=ADMIN_KEYS
        ) as service:
            fields = imds_answer(current_document(service.issue_nonce()))
            answer = service.post_json("/v1/attestations", fields)
            assert (answer.status, answer.code) == (503, "store-unavailable")
            ready = service.request("GET", "/readyz", headers=AS_ADMIN)
            assert ready.status == 503
            said = b"has format 4, and this release knows format 3: update imds-verifier"
            assert said in ready.body

"""A secret from a file, on a service that runs: it is used, told to nobody, and its absence stops the start."""

from pathlib import Path

from support.command_line import run
from support.services import running_server


def test_the_service_uses_the_store_that_a_file_names(tmp_path: Path, trust_dir: Path) -> None:
    database = tmp_path / "s3cret-nonces.sqlite3"
    secret = tmp_path / "nonce-store"
    secret.write_text(f"sqlite://{database}\n", "utf-8")
    environment = {
        "VERIFIER_PORT": "0",
        "VERIFIER_TRUST_DIR": str(trust_dir),
        "VERIFIER_NONCE_STORE_FILE": str(secret),
    }
    with running_server("serve", environment=environment) as service:
        service.issue_nonce()
    assert database.is_file()
    assert "s3cret" not in "".join(service.log)


def test_a_secret_that_is_missing_stops_the_start_by_name(tmp_path: Path) -> None:
    ended = run("serve", environment={"VERIFIER_NONCE_STORE_FILE": str(tmp_path / "missing")})
    assert (ended.status, ended.out) == (2, "")
    assert f"VERIFIER_NONCE_STORE_FILE: {tmp_path}/missing: No such file or directory" in ended.err

"""`serve --print-settings`: what would be in force, without a secret, and nothing is served."""

import json
from pathlib import Path

import pytest
from support.command_line import call

from verifier.adapters.settings.settings import Settings

KEY_HASH = "0123456789abcdef" * 4


def test_prints_the_settings_of_every_source(tmp_path: Path) -> None:
    config = tmp_path / "verifier.toml"
    config.write_text(
        f'port = 1\nworkers = 4\n[admin_keys]\nalice = "{KEY_HASH}"\n[policies.gold]\nnot = {{ skus = ["B", "a"] }}\n'
    )
    secret = tmp_path / "nonce-store"
    secret.write_text("rediss://user:s3cret@redis.example:6380/0\n")
    ended = call(
        "serve",
        "--print-settings",
        environment={
            "VERIFIER_CONFIG": str(config),
            "VERIFIER_NONCE_STORE_FILE": str(secret),
            "VERIFIER_PORT": "2",
        },
    )
    assert (ended.status, ended.err) == (0, "")
    shown = json.loads(ended.out)
    assert list(shown) == list(Settings.model_fields)
    assert (shown["port"], shown["workers"], shown["keep_alive_seconds"]) == (2, 4, 75)
    assert shown["nonce_store"] == "rediss://user:***@redis.example:6380/0"
    assert shown["admin_keys"] == {"alice": "0123456789ab…"}
    assert shown["policies"] == {"gold": {"not": {"skus": ["B", "a"]}}}


def test_shows_no_secret() -> None:
    ended = call(
        "serve",
        "--print-settings",
        environment={
            "VERIFIER_NONCE_STORE": "redis://:s3cret@localhost/0?password=s3cret",
            "VERIFIER_ADMIN_KEYS": f'{{"alice": "{KEY_HASH}"}}',
            "VERIFIER_TENANTS": f'{{"contoso": {{"keys": ["{KEY_HASH[::-1]}"], "rate": "600/minute"}}}}',
        },
    )
    assert ended.status == 0
    assert "s3cret" not in ended.out
    assert KEY_HASH not in ended.out
    assert KEY_HASH[::-1] not in ended.out
    assert json.loads(ended.out)["tenants"]["contoso"]["rate"] == "600/minute"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"VERIFIER_PROT": "1"}, "unknown setting VERIFIER_PROT"),
        ({"VERIFIER_PORT": "x"}, "port: "),
        ({"VERIFIER_NONCE_STORE_FILE": "/no/such/file"}, "VERIFIER_NONCE_STORE_FILE: /no/such/file: No such file"),
    ],
)
def test_settings_that_would_stop_the_start_are_an_error(environment: dict[str, str], said: str) -> None:
    ended = call("serve", "--print-settings", environment=environment)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err

"""`imds-verifier keys`: what it prints, and how it ends."""

import json
from pathlib import Path

import pytest
from support.command_line import call


def generate(directory: Path, *arguments: str) -> str:
    ended = call("keys", "generate", "--dir", str(directory), *arguments)
    assert (ended.status, ended.err) == (0, "")
    return ended.out.strip()


def shown(directory: Path) -> list[dict[str, str]]:
    ended = call("keys", "show", "--dir", str(directory))
    assert ended.status == 0
    keys: list[dict[str, str]] = json.loads(ended.out)["keys"]
    return keys


def test_generate_prints_the_kid_and_show_the_public_keys(tmp_path: Path) -> None:
    first = generate(tmp_path / "keys")
    second = generate(tmp_path / "keys", "--algorithm", "EdDSA")

    assert [(key["kid"], key["alg"]) for key in shown(tmp_path / "keys")] == [(first, "ES256"), (second, "EdDSA")]
    assert not any("d" in key for key in shown(tmp_path / "keys"))


def test_rotate_waits_for_the_caches_and_now_does_not(tmp_path: Path) -> None:
    first, second = generate(tmp_path), generate(tmp_path)

    waits = call("keys", "rotate", "--dir", str(tmp_path), second)
    assert waits.status == 1
    assert waits.err.startswith(f"refused: relying parties with a cached key set do not know {second} yet")
    assert waits.out == ""

    done = call("keys", "rotate", "--dir", str(tmp_path), second, "--now")
    assert (done.status, done.out) == (0, f"{second} signs\n")
    assert [key["kid"] for key in shown(tmp_path)] == [second, first]


def test_retire_removes_what_signs_no_more(tmp_path: Path) -> None:
    first, second = generate(tmp_path), generate(tmp_path)

    assert call("keys", "retire", "--dir", str(tmp_path), first, "--now").status == 1
    assert call("keys", "rotate", "--dir", str(tmp_path), second, "--now").status == 0
    assert call("keys", "retire", "--dir", str(tmp_path), first).status == 1
    assert call("keys", "retire", "--dir", str(tmp_path), first, "--now").status == 0
    assert [key["kid"] for key in shown(tmp_path)] == [second]


def test_takes_the_directory_of_the_settings(tmp_path: Path) -> None:
    settings = {"VERIFIER_TOKEN_KEYS_DIR": str(tmp_path / "keys"), "VERIFIER_TOKEN_ISSUER": "us"}

    kid = call("keys", "generate", environment=settings).out.strip()

    assert [key["kid"] for key in shown(tmp_path / "keys")] == [kid]


@pytest.mark.parametrize("action", ["generate", "show"])
def test_needs_a_directory(action: str) -> None:
    ended = call("keys", action)

    assert ended.status == 2
    assert "token_keys_dir: set it, or name a directory with --dir" in ended.err


def test_show_of_keys_that_are_refused_says_why(tmp_path: Path) -> None:
    kid = generate(tmp_path)
    (tmp_path / f"{kid}.pem").chmod(0o644)

    ended = call("keys", "show", "--dir", str(tmp_path))

    assert ended.status == 1
    assert f"{kid}.pem: others can use it (mode 0644); set 0600" in ended.err


def test_a_service_does_not_start_on_keys_that_are_refused_or_without_an_issuer(tmp_path: Path) -> None:
    settings = {"VERIFIER_TOKEN_KEYS_DIR": str(tmp_path), "VERIFIER_PORT": "0"}

    nameless = call("serve", environment=settings)
    assert nameless.status == 2
    assert "set VERIFIER_TOKEN_ISSUER too" in nameless.err
    keyless = call("serve", environment={**settings, "VERIFIER_TOKEN_ISSUER": "us"})
    assert keyless.status == 2
    assert f"token_keys_dir: {tmp_path}: no key" in keyless.err

"""`imds-verifier keys`: what it prints, and how it ends."""

import json
from pathlib import Path

import pytest
from support.command_line import Ended, call
from support.softhsm import PIN, TOKEN, SoftHsm, create_softhsm


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


# --- Keys in a PKCS#11 token


def test_a_service_does_not_start_without_the_library_of_its_key(hsm: SoftHsm, tmp_path: Path) -> None:
    settings = {"VERIFIER_TOKEN_KEYS_DIR": str(tmp_path), "VERIFIER_TOKEN_ISSUER": "us", "VERIFIER_PORT": "0"}
    kid = add(hsm, tmp_path, "one").out.strip()
    for library, said in (
        (None, f"pkcs11_module: set it, because {kid}.pkcs11 is the signing key"),
        ("/absent/library.so", "pkcs11_module: there is no file /absent/library.so"),
        ("library.so", "pkcs11_module: expected an absolute path"),
    ):
        named = {} if library is None else {"VERIFIER_PKCS11_MODULE": library}
        ended = call("serve", environment={**settings, **named})
        assert (ended.status, said in ended.err) == (2, True), ended.err
    pin_alone = call("serve", environment={**settings, "VERIFIER_PKCS11_PIN": "1234"})
    assert pin_alone.status == 2
    assert "set VERIFIER_PKCS11_MODULE too" in pin_alone.err


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    made = create_softhsm(tmp_path_factory.mktemp("softhsm"))
    made.generate("one", key_id="01")
    made.generate("two", key_id="02")
    return made


def add(hsm: SoftHsm, directory: Path, name: str) -> Ended:
    uri = f"pkcs11:token={TOKEN};object={name}"
    return call("keys", "add", uri, "--dir", str(directory), environment=hsm.environment)


def test_add_publishes_a_key_of_a_token_and_writes_no_secret(hsm: SoftHsm, tmp_path: Path) -> None:
    first = generate(tmp_path)
    added = add(hsm, tmp_path, "one")
    assert (added.status, added.err) == (0, "")
    kid = added.out.strip()

    assert [(key["kid"], key["alg"]) for key in shown(tmp_path)] == [(first, "ES256"), (kid, "ES256")]
    file = tmp_path / f"{kid}.pkcs11"
    assert file.stat().st_mode & 0o777 == 0o600
    uri, pem = file.read_text("ascii").split("\n", 1)
    assert uri == f"pkcs11:token={TOKEN};object=one"
    assert pem.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert PIN not in pem


def test_keys_of_both_kinds_rotate_and_retire(hsm: SoftHsm, tmp_path: Path) -> None:
    one, two = (add(hsm, tmp_path, name).out.strip() for name in ("one", "two"))
    third = generate(tmp_path)
    assert shown(tmp_path)[0]["kid"] == one

    for kid in (third, two):
        assert call("keys", "rotate", "--dir", str(tmp_path), kid).err.startswith("refused: relying parties")
        assert call("keys", "rotate", "--dir", str(tmp_path), kid, "--now").status == 0
    for kid in (one, third):
        assert call("keys", "retire", "--dir", str(tmp_path), kid, "--now").out == f"{kid} is removed\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{two}.pkcs11", "current"]


def test_add_refuses_a_key_that_is_published_already(hsm: SoftHsm, tmp_path: Path) -> None:
    assert add(hsm, tmp_path, "one").status == 0
    again = add(hsm, tmp_path, "one")
    assert (again.status, again.out) == (1, "")
    assert again.err.endswith(".pkcs11: this key is published already\n")


def test_add_says_what_is_missing_and_makes_no_file(hsm: SoftHsm, tmp_path: Path) -> None:
    bare = call("keys", "add", f"pkcs11:token={TOKEN};object=one", "--dir", str(tmp_path))
    assert (bare.status, bare.err) == (1, "refused: set VERIFIER_PKCS11_MODULE to the library of the token\n")
    absent = add(hsm, tmp_path, "absent")
    assert (absent.status, absent.err) == (1, "refused: the token has no public key with this object and id\n")
    pin = tmp_path / "pin"
    pin.write_text("4711-wrong\n", "utf-8")
    wrong = call(
        *("keys", "add", f"pkcs11:token={TOKEN};object=one", "--dir", str(tmp_path / "keys")),
        environment={**hsm.environment, "VERIFIER_PKCS11_PIN_FILE": str(pin)},
    )
    assert wrong.status == 1
    assert "the token refused the PIN (CKR_PIN_INCORRECT)" in wrong.err
    assert "4711-wrong" not in wrong.err
    assert [*tmp_path.iterdir()] == [pin]

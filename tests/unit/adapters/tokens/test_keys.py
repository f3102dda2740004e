"""The directory of token keys: which sets are keys, and which are refused by the name of the file."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from support.clocks import ManualClock
from support.documents import NOW

from verifier.adapters.tokens.key_directory import TokenKeyDirectory
from verifier.adapters.tokens.keys import MAX_KEYS, KeyFile, load_ring, make_ring, thumbprint
from verifier.ports.tokens import JWKS_LIFETIME, TokenAlgorithm, TokenKeyError

ES256 = ec.derive_private_key(4711, ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def pem(key: PrivateKeyTypes = ES256, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def put(directory: Path, name: str, data: bytes, *, mode: int = 0o600) -> Path:
    file = directory / name
    file.write_bytes(data)
    file.chmod(mode)
    return file


def kids(directory: Path) -> list[str]:
    """The one that signs first."""
    return [key.kid for key in load_ring(directory).published]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def keys(tmp_path: Path, clock: ManualClock) -> TokenKeyDirectory:
    return TokenKeyDirectory(
        tmp_path / "keys", clock=clock, token_lifetime=timedelta(seconds=600), refresh=timedelta(seconds=1)
    )


# --- Which key signs


def test_the_only_key_signs(tmp_path: Path) -> None:
    put(tmp_path, "one.pem", pem())

    assert kids(tmp_path) == ["one"]


def test_current_names_the_key_that_signs_and_the_others_are_published(tmp_path: Path) -> None:
    put(tmp_path, "a.pem", pem())
    put(tmp_path, "b.pem", pem(ED25519))
    put(tmp_path, "c.pem", pem(ec.derive_private_key(7, ec.SECP256R1())))
    put(tmp_path, "current", b"b\n", mode=0o644)

    assert kids(tmp_path) == ["b", "a", "c"]
    assert load_ring(tmp_path).signing.algorithm is TokenAlgorithm.EDDSA


def test_several_keys_without_current_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.pem", pem())
    put(tmp_path, "b.pem", pem(ED25519))

    with pytest.raises(TokenKeyError, match="no file 'current'"):
        load_ring(tmp_path)


@pytest.mark.parametrize("current", [b"", b"b", b"a.pem", b"A", b"a b", b"\xff", b"../a"])
def test_current_that_names_no_key_is_refused(tmp_path: Path, current: bytes) -> None:
    put(tmp_path, "a.pem", pem())
    put(tmp_path, "current", current)

    with pytest.raises(TokenKeyError, match="current: names a key that does not exist"):
        load_ring(tmp_path)


def test_other_files_are_anothers_business(tmp_path: Path) -> None:
    put(tmp_path, "a.pem", pem())
    put(tmp_path, ".b.pem", b"half", mode=0o644)
    put(tmp_path, "README", b"text", mode=0o644)
    (tmp_path / "lost+found").mkdir()

    assert kids(tmp_path) == ["a"]


# --- What is refused, by name


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644, 0o610, 0o601])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    put(tmp_path, "a.pem", pem(), mode=mode)

    with pytest.raises(TokenKeyError, match=rf"a\.pem: others can use it \(mode {mode:04o}\); set 0600"):
        load_ring(tmp_path)


def test_the_file_behind_a_symbolic_link_is_what_counts(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    directory.mkdir()
    target = put(tmp_path, "target", pem(), mode=0o644)
    (directory / "a.pem").symlink_to(target)

    with pytest.raises(TokenKeyError, match=r"a\.pem: others can use it"):
        load_ring(directory)
    target.chmod(0o600)
    assert kids(directory) == ["a"]


@pytest.mark.parametrize(
    ("owner", "mode", "accepted"),
    [
        (0, 0o440, True),
        (0, 0o400, True),
        (0, 0o460, False),
        (0, 0o444, False),
        (1000, 0o400, True),
        (1000, 0o440, False),
        (1001, 0o400, False),
    ],
)
def test_a_key_of_root_may_be_read_by_its_group_and_one_of_anybody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int, *, accepted: bool
) -> None:
    """How a Kubernetes Secret reaches a service that is not root."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    files = (KeyFile(name="a.pem", owner=owner, mode=0o100000 | mode, data=pem()),)

    if accepted:
        assert make_ring(tmp_path, files).signing.kid == "a"
    else:
        with pytest.raises(TokenKeyError, match=r"a\.pem: (others can use it|belongs to another user)"):
            make_ring(tmp_path, files)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        pem()[:-30],
        pem(encryption=BestAvailableEncryption(b"password")),
        ES256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        b"x" * 20_000,
    ],
    ids=["empty", "text", "cut", "encrypted", "public", "large"],
)
def test_what_is_no_private_key_is_refused_and_not_quoted(tmp_path: Path, data: bytes) -> None:
    put(tmp_path, "a.pem", data)

    with pytest.raises(TokenKeyError, match=r"a\.pem: ") as refused:
        load_ring(tmp_path)
    assert "BEGIN" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "key",
    [
        ec.derive_private_key(4711, ec.SECP384R1()),
        ec.derive_private_key(4711, ec.SECP256K1()),
        ed448.Ed448PrivateKey.from_private_bytes(bytes(57)),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
    ids=["P-384", "secp256k1", "Ed448", "RSA"],
)
def test_a_key_of_another_kind_is_refused(tmp_path: Path, key: PrivateKeyTypes) -> None:
    put(tmp_path, "a.pem", pem(key))

    with pytest.raises(TokenKeyError, match=r"a\.pem: neither a P-256 key"):
        load_ring(tmp_path)


@pytest.mark.parametrize("name", ["a b.pem", "-a.pem", "a.b.pem", f"{'a' * 65}.pem", "ä.pem"])
def test_a_name_that_is_no_kid_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, pem())

    with pytest.raises(TokenKeyError, match="a key's name has at most 64 letters"):
        load_ring(tmp_path)


def test_a_directory_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenKeyError, match="no key; create one with `imds-verifier keys generate`"):
        load_ring(tmp_path)
    with pytest.raises(TokenKeyError, match="No such file"):
        load_ring(tmp_path / "absent")


def test_more_keys_than_an_overlap_needs_are_refused(tmp_path: Path) -> None:
    for number in range(MAX_KEYS + 2):
        put(tmp_path, f"{number}.pem", pem())

    with pytest.raises(TokenKeyError, match=f"more than {MAX_KEYS} keys"):
        load_ring(tmp_path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pem")
    with pytest.raises(TokenKeyError, match=r"a\.pem: "):
        load_ring(tmp_path)
    (tmp_path / "a.pem").unlink()
    (tmp_path / "a.pem").mkdir()
    with pytest.raises(TokenKeyError, match=r"a\.pem: "):
        load_ring(tmp_path)


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    """RFC 8037 appendix A.3: the key of A.1."""
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")

    made = thumbprint(ed25519.Ed25519PrivateKey.from_private_bytes(secret).public_key())

    assert made.hex() == "90facafea9b1556698540f70c0117a22ea37bd5cf3ed3c47093c1707282b4b89"


# --- What an operator does


def test_the_first_key_signs_and_a_later_one_does_not_yet(keys: TokenKeyDirectory, tmp_path: Path) -> None:
    first = keys.generate(TokenAlgorithm.ES256)
    second = keys.generate(TokenAlgorithm.EDDSA)

    assert [key.kid for key in keys.published()] == [first, second]
    assert first.startswith("20261123-")
    for file in (tmp_path / "keys").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_key_beside_an_only_one_without_current_does_not_sign(keys: TokenKeyDirectory, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    put(tmp_path / "keys", "zz.pem", pem())

    keys.generate(TokenAlgorithm.ES256)

    assert keys.published()[0].kid == "zz"


def test_a_key_signs_once_everybody_can_know_it(keys: TokenKeyDirectory, tmp_path: Path, clock: ManualClock) -> None:
    first, second = keys.generate(TokenAlgorithm.ES256), keys.generate(TokenAlgorithm.ES256)
    made = NOW.timestamp()
    os.utime(tmp_path / "keys" / f"{second}.pem", (made, made))

    with pytest.raises(TokenKeyError, match="wait until 2026-11-23T08:05:01Z, or use --now"):
        keys.sign_with(second)
    assert keys.published()[0].kid == first
    clock.advance(JWKS_LIFETIME + timedelta(seconds=1))
    keys.sign_with(second)
    assert [key.kid for key in keys.published()] == [second, first]


def test_a_key_goes_once_its_tokens_have_ended(keys: TokenKeyDirectory, tmp_path: Path, clock: ManualClock) -> None:
    first, second = keys.generate(TokenAlgorithm.ES256), keys.generate(TokenAlgorithm.ES256)
    keys.sign_with(second, at_once=True)
    changed = NOW.timestamp()
    os.utime(tmp_path / "keys" / "current", (changed, changed))

    with pytest.raises(TokenKeyError, match="wait until 2026-11-23T08:10:01Z, or use --now"):
        keys.retire(first)
    clock.advance(timedelta(seconds=601))
    keys.retire(first)
    assert [key.kid for key in keys.published()] == [second]


def test_now_skips_the_wait(keys: TokenKeyDirectory) -> None:
    first, second = keys.generate(TokenAlgorithm.ES256), keys.generate(TokenAlgorithm.ES256)

    keys.sign_with(second, at_once=True)
    keys.retire(first, at_once=True)

    assert [key.kid for key in keys.published()] == [second]


def test_the_key_that_signs_stays(keys: TokenKeyDirectory) -> None:
    first = keys.generate(TokenAlgorithm.ES256)
    keys.generate(TokenAlgorithm.ES256)

    with pytest.raises(TokenKeyError, match="rotate to another key first"):
        keys.retire(first, at_once=True)
    keys.sign_with(first)
    assert keys.published()[0].kid == first


@pytest.mark.parametrize("kid", ["", "absent", "../keys/current", "current"])
def test_a_key_that_is_not_there_is_refused(keys: TokenKeyDirectory, kid: str) -> None:
    keys.generate(TokenAlgorithm.ES256)
    keys.generate(TokenAlgorithm.ES256)
    before = keys.published()

    for change in (keys.sign_with, keys.retire):
        with pytest.raises(TokenKeyError, match="no key of that name"):
            change(kid, at_once=True)
    assert keys.published() == before


def test_creates_no_key_in_an_invalid_directory(keys: TokenKeyDirectory, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    put(tmp_path / "keys", "a.pem", pem(), mode=0o644)

    with pytest.raises(TokenKeyError, match="others can use it"):
        keys.generate(TokenAlgorithm.ES256)
    assert [file.name for file in (tmp_path / "keys").iterdir()] == ["a.pem"]


def test_a_failed_write_changes_and_leaves_no_file(
    keys: TokenKeyDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = keys.generate(TokenAlgorithm.ES256), keys.generate(TokenAlgorithm.ES256)
    names = sorted(file.name for file in (tmp_path / "keys").iterdir())

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TokenKeyError, match="No space left"):
        keys.sign_with(second, at_once=True)

    assert keys.published()[0].kid == first
    assert sorted(file.name for file in (tmp_path / "keys").iterdir()) == names


def test_reports_a_directory_that_cannot_be_created(tmp_path: Path, clock: ManualClock) -> None:
    put(tmp_path, "file", b"")
    keys = TokenKeyDirectory(tmp_path / "file" / "keys", clock=clock, token_lifetime=timedelta(1), refresh=timedelta(1))

    with pytest.raises(TokenKeyError, match="Not a directory"):
        keys.generate(TokenAlgorithm.ES256)


# --- Keys in a PKCS#11 token


URI = "pkcs11:token=results;object=one"


def named(key: PublicKeyTypes | None = None, *, uri: str = URI) -> bytes:
    public = (key or ES256.public_key()).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{uri}\n".encode() + public


def test_a_key_in_a_token_is_published_by_its_file_alone(tmp_path: Path) -> None:
    put(tmp_path, "es.pkcs11", named())
    put(tmp_path, "ed.pkcs11", named(ED25519.public_key()))
    put(tmp_path, "pem.pem", pem(ec.derive_private_key(42, ec.SECP256R1())))
    put(tmp_path, "current", b"es\n")
    ring = load_ring(tmp_path)
    assert [key.jwk["alg"] for key in ring.published] == ["ES256", "EdDSA", "ES256"]
    assert kids(tmp_path) == ["es", "ed", "pem"]
    assert ring.published[0].jwk["x"] == load_ring_of(tmp_path, pem())["x"]
    assert [key.file_name for key in ring.keys] == ["ed.pkcs11", "es.pkcs11", "pem.pem"]


def load_ring_of(tmp_path: Path, data: bytes) -> Mapping[str, str]:
    """The JWK of the same key in a PEM file."""
    directory = tmp_path / "one"
    directory.mkdir()
    put(directory, "a.pem", data)
    return load_ring(directory).signing.published.jwk


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected a PKCS#11 URI"),
        (named(uri="pkcs11:token=a;object=b?module-path=/tmp/x.so"), "module-path is refused"),
        (named(uri="pkcs11:token=a;object=b?pin-value=1234"), "pin-value is refused"),
        (named(uri="pkcs11:token=ä;object=b"), "not a PKCS#11 URI in the first line and a public key in PEM below it"),
        (URI.encode(), "not a PKCS#11 URI in the first line and a public key"),
        (URI.encode() + b"\n" + pem(), "not a PKCS#11 URI in the first line and a public key"),
        (named(ec.derive_private_key(4711, ec.SECP384R1()).public_key()), "neither a P-256 key"),
        (named(rsa.generate_private_key(65537, 2048).public_key()), "neither a P-256 key"),
    ],
)
def test_another_file_is_refused_by_its_name(tmp_path: Path, data: bytes, said: str) -> None:
    put(tmp_path, "a.pkcs11", data)
    with pytest.raises(TokenKeyError, match=said) as refused:
        load_ring(tmp_path)
    assert "a.pkcs11: " in str(refused.value)
    assert "1234" not in str(refused.value)


def test_one_kid_in_two_files_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.pkcs11", named())
    put(tmp_path, "a.pem", pem())
    put(tmp_path, "current", b"a\n")
    with pytest.raises(TokenKeyError, match="two files of one kid"):
        load_ring(tmp_path)


def test_a_file_that_others_can_change_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.pkcs11", named(), mode=0o666)
    with pytest.raises(TokenKeyError, match=r"a\.pkcs11: others can use it"):
        load_ring(tmp_path)

"""Test the authentication of administrators."""

import hashlib
import hmac
from types import SimpleNamespace

import pytest

from verifier.api import authentication
from verifier.api.authentication import Administrators, Callers
from verifier.api.json_codec import RequestError

KEY = "k3y-of-alice.0123456789"


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


ADMINISTRATORS = Administrators(key_hashes={"alice": hash_of(KEY), "bob": hash_of("k3y-of-bob")})
CALLERS = Callers(administrators=ADMINISTRATORS)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_scheme_is_case_insensitive(scheme: str) -> None:
    assert CALLERS.authenticate_administrator(f"{scheme} {KEY}") == "alice"
    assert CALLERS.authenticate_administrator(f"{scheme} k3y-of-bob") == "bob"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        KEY,
        f"Basic {KEY}",
        f"Bearer  {KEY}",
        f"Bearer\t{KEY}",
        f"Bearer {KEY} ",
        f"Bearer {KEY}\n",
        f" Bearer {KEY}",
        f"Bearer {KEY} {KEY}",
        f"Bearer {KEY},Bearer {KEY}",
        f"Bearer {KEY}, Bearer {KEY}",
        f"Bearer {KEY.upper()}",
        f"Bearer {KEY[:-1]}",
        f"Bearer {hash_of(KEY)}",
        "Bearer ключ",
        "Bearer " + "a" * 100_000,
    ],
    ids=repr,
)
def test_missing_malformed_or_unknown_key_is_refused(authorization: str | None) -> None:
    with pytest.raises(RequestError) as refusal:
        CALLERS.authenticate_administrator(authorization)

    assert refusal.value.fault == "unauthenticated"
    assert KEY not in refusal.value.detail


def test_every_key_is_compared_with_every_hash_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(given: str, known: str) -> bool:
        compared.append(known)
        return hmac.compare_digest(given, known)

    monkeypatch.setattr(authentication, "hmac", SimpleNamespace(compare_digest=compare))
    assert CALLERS.know(f"Bearer {KEY}")
    assert not CALLERS.know("Bearer of-nobody")
    assert compared == list(ADMINISTRATORS.key_hashes.values()) * 2


def test_without_admin_keys_every_key_is_refused() -> None:
    with pytest.raises(RequestError):
        Callers().authenticate_administrator(f"Bearer {KEY}")


@pytest.mark.parametrize(
    "key_hashes",
    [
        {"alice": KEY},
        {"alice": hash_of(KEY).upper()},
        {"alice": ""},
        {"alice": hash_of("")},
        {"": hash_of(KEY)},
        {"cli:root": hash_of(KEY)},
        {"a" * 65: hash_of(KEY)},
        {"alice": hash_of(KEY), "bob": hash_of(KEY)},
    ],
    ids=["plain", "upper", "empty-hash", "hash-of-nothing", "no-name", "like-the-cli", "long-name", "shared"],
)
def test_invalid_or_ambiguous_keys_are_refused_at_construction(key_hashes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="admin key") as refusal:
        Administrators(key_hashes=key_hashes)

    assert KEY not in str(refusal.value)


def test_representation_does_not_show_the_hashes() -> None:
    assert hash_of(KEY) not in repr(ADMINISTRATORS)

"""The settings as an operator sees them: each that there is, and no secret."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from verifier.adapters.settings.policies import PolicyTable
from verifier.adapters.settings.settings import Settings
from verifier.adapters.settings.text import MASK, mask_url, settings_text


def shown(settings: Settings) -> dict[str, object]:
    fields: dict[str, object] = json.loads(settings_text(settings))
    return fields


def test_shows_every_setting_under_its_name_in_the_file() -> None:
    assert list(shown(Settings())) == list(Settings.model_fields)


def test_shows_values_as_they_are_in_force() -> None:
    fields = shown(Settings(trust_dir=Path("/etc/trust"), port=0, workers=3))
    assert (fields["trust_dir"], fields["port"], fields["workers"]) == ("/etc/trust", 0, 3)
    assert (fields["discovery"], fields["nonce_form"], fields["trust_refresh_seconds"]) == ("pinned", "digits-10", 1.0)
    assert shown(Settings())["trust_dir"] is None
    assert fields["clouds"] == ["AzureChinaCloud", "AzurePublicCloud", "AzureUSGovernmentCloud"]


def test_shows_policies_as_in_the_file_without_what_they_do_not_ask() -> None:
    table = {
        "clouds": ["AzureChinaCloud", "AzurePublicCloud"],
        "anyOf": [{"skus": ["b", "a"]}, {"not": {"plans": ["x"]}}],
    }
    fields = shown(Settings(policies={"gold": PolicyTable.model_validate(table)}))
    assert fields["policies"] == {
        "gold": {
            "clouds": ["AzureChinaCloud", "AzurePublicCloud"],
            "anyOf": [{"skus": ["a", "b"]}, {"not": {"plans": ["x"]}}],
        }
    }


def test_shortens_the_hashes_of_keys() -> None:
    assert shown(Settings(admin_keys={"alice": "0123456789abcdef" * 4}))["admin_keys"] == {"alice": "0123456789ab…"}


def test_masks_the_store() -> None:
    text = settings_text(Settings(nonce_store=SecretStr("redis://:s3cret@localhost:6379/0")))
    assert "s3cret" not in text
    assert f"redis://:{MASK}@localhost:6379/0" in text


@pytest.mark.parametrize("pin", ["1234", "redis://1234", "://1234"])
def test_masks_a_pin_that_looks_like_a_url(pin: str) -> None:
    settings = Settings(pkcs11_module=Path("/opt/hsm/library.so"), pkcs11_pin=SecretStr(pin))
    assert shown(settings)["pkcs11_pin"] == MASK


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("sqlite:////var/lib/nonces.sqlite3", "sqlite:////var/lib/nonces.sqlite3"),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("rediss://user:s3cret@localhost/0", "rediss://user:***@localhost/0"),
        ("redis://s3cret@localhost/0", "redis://***@localhost/0"),
        ("redis://:@localhost/0", "redis://:***@localhost/0"),
        ("unix:///run/redis.sock?db=0&password=s3cret", "unix:///run/redis.sock?db=***&password=***"),
        ("redis://localhost/0?s3cret", "redis://localhost/0?***"),
        ("redis://localhost/0#s3cret", "redis://localhost/0#***"),
        *(
            (url, MASK)
            for url in (
                "redis://:s3/cret@localhost/0",
                "redis://:s3#cret@localhost/0",
                "redis://:s3?cret@localhost/0",
                "redis://:s3@cret@localhost/0",
                "redis://:s3cret",
                "redis://[s3cret",
                "redis:s3cret",
                "s3cret",
                "",
            )
        ),
    ],
)
def test_masks_what_a_url_may_hide(url: str, masked: str) -> None:
    assert mask_url(url) == masked


@given(password=st.text(st.sampled_from("aZ9:/?#[]@!$&'()*+,;=% \\"), min_size=1, max_size=12))
def test_masks_passwords_with_reserved_characters(password: str) -> None:
    secret = f"s3cret{password}s3cret"
    assert "s3cret" not in mask_url(f"redis://user:{secret}@localhost:6379/0")

"""The forms of nonces: which characters, how many, and which text is the default nonce of IMDS."""

import pytest
from support.documents import NOW

from verifier.core.nonces import DEFAULT_NONCE, NonceForm, NonceMode, NonceRecord

DIGITS = "0123456789"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("name", "alphabet", "length"),
    [("digits-10", DIGITS, 10), ("alphanumeric-32", LETTERS + LETTERS.upper() + DIGITS, 32)],
)
def test_a_form_has_an_alphabet_and_a_length(name: str, alphabet: str, length: int) -> None:
    form = NonceForm(name)
    assert form.alphabet == alphabet
    assert form.length == length


def test_settings_name_the_modes() -> None:
    assert {mode.value for mode in NonceMode} == {"required", "optional"}


@pytest.mark.parametrize(
    ("text", "is_default"),
    [
        ("20261123-080000", True),
        ("2026112-0800000", False),
        ("20261123080000", False),
        ("20261123-08000", False),
        ("2026112a-080000", False),
        ("0123456789", False),
    ],
)
def test_the_default_nonce_of_imds_is_a_date_and_a_time(text: str, *, is_default: bool) -> None:
    assert (DEFAULT_NONCE.fullmatch(text) is not None) is is_default


def test_a_binding_is_empty_if_the_caller_named_none() -> None:
    record = NonceRecord(issued_at=NOW, expires_at=NOW)
    assert (record.vm_id, record.policy, record.jkt) == ("", "", "")

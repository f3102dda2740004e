"""Unknown fields: the sentence names the field only if it is a name, and helps with the nearest known one."""

import pytest

from verifier.core.encoding.unknown_fields import explain_unknown_field, find_nearest

KNOWN = ("vmId", "nonce", "policy")
LIST = "Known fields: vmId, nonce, policy."


@pytest.mark.parametrize(
    ("name", "sentences"),
    [
        ("vmid", "Unknown field 'vmid'. Did you mean 'vmId'?"),
        ("NONCES", "Unknown field 'NONCES'. Did you mean 'nonce'?"),
        ("a.b_c-9", f"Unknown field 'a.b_c-9'. {LIST}"),
        ("n" * 64, f"Unknown field '{'n' * 64}'. {LIST}"),
        ("n" * 65, f"Unknown field. {LIST}"),
        ("", f"Unknown field. {LIST}"),
        ("nonce\n", f"Unknown field. {LIST}"),
        ("<nonce>", f"Unknown field. {LIST}"),
        ("nöncé", f"Unknown field. {LIST}"),
    ],
)
def test_explains_an_unknown_field(name: str, sentences: str) -> None:
    assert explain_unknown_field(name, KNOWN) == sentences


def test_the_known_names_may_be_an_iterator() -> None:
    assert explain_unknown_field("zip", iter(KNOWN)) == f"Unknown field 'zip'. {LIST}"


@pytest.mark.parametrize(("name", "nearest"), [("VMID", "vmId"), ("polici", "policy"), ("zip", None), ("", None)])
def test_finds_the_nearest_name(name: str, nearest: str | None) -> None:
    assert find_nearest(name, iter(KNOWN)) == nearest


def test_two_near_names_give_the_nearest() -> None:
    assert find_nearest("nonce", ["nonces", "Nonce"]) == "Nonce"

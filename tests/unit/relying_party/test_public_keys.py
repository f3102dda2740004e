"""Which JWKs are public keys of a supported kind, and what a key set may hold."""

import base64

import pytest
from support.relying_party_cases import ED_KEY, LOW_ORDER, OTHER_KEY, VM_KEY, Fields, Key, b64, jwk, sign, thumbprint

from verifier.relying_party.public_keys import MAX_KEYS, KeyRefused, read_key, read_key_set

EC, OKP = jwk(VM_KEY), jwk(ED_KEY)
FIELD = 2**255 - 19


def refusal(key: object) -> str:
    with pytest.raises(KeyRefused) as caught:
        read_key(key)
    return str(caught.value)


def set_refusal(document: object) -> str:
    with pytest.raises(KeyRefused) as caught:
        read_key_set(document)
    return str(caught.value)


def of_y(y: int) -> Fields:
    return {**OKP, "x": b64(y.to_bytes(32, "little"))}


@pytest.mark.parametrize(("key", "algorithm"), [(VM_KEY, "ES256"), (ED_KEY, "EdDSA")], ids=["EC", "OKP"])
def test_a_key_verifies_with_its_own_algorithm(key: Key, algorithm: str) -> None:
    found = read_key({**jwk(key), "alg": algorithm, "use": "sig", "kid": "a"})
    assert (found.algorithm, found.thumbprint) == (algorithm, thumbprint(key))
    assert found.verifies(sign(key, "input"), b"input") is True
    assert found.verifies(sign(key, "input"), b"other") is False
    assert "_key" not in repr(found)


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    """Appendix A.3."""
    example = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert read_key(example).thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("key", [None, [], "EC", 1, [("kty", "EC")]])
def test_what_is_no_object_is_no_jwk(key: object) -> None:
    assert refusal(key) == "it is not a JWK"


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_private_or_symmetric_member_is_refused(member: str) -> None:
    assert refusal({**EC, member: None}) == "it has a private or symmetric member"


@pytest.mark.parametrize(
    "change", [{"kty": "RSA"}, {"kty": "OKP"}, {"crv": "P-384"}, {"crv": "Ed25519"}, {"crv": None}, {"kty": None}]
)
def test_another_kind_of_key_is_refused(change: Fields) -> None:
    assert refusal({**EC, **change}) == "it is neither a P-256 nor an Ed25519 key"


@pytest.mark.parametrize("change", [{"alg": "EdDSA"}, {"alg": None}, {"use": "enc"}, {"use": None}])
def test_another_algorithm_or_use_is_refused(change: Fields) -> None:
    assert refusal({**EC, **change}) == "it is for another algorithm or use"


@pytest.mark.parametrize("value", [None, 1, "", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "+", "\u00e9" * 43])
@pytest.mark.parametrize("member", ["x", "y"])
def test_a_coordinate_is_32_bytes(member: str, value: object) -> None:
    assert refusal({**EC, member: value}) == "it has no valid coordinates"


def test_a_coordinate_with_a_line_break_is_refused() -> None:
    assert refusal({**OKP, "x": f"{OKP['x']}\n"}) == "it has no valid coordinates"


def test_a_point_off_the_curve_is_refused() -> None:
    assert refusal({**EC, "y": EC["x"]}) == "it is not a valid public key"


@pytest.mark.parametrize("x", LOW_ORDER, ids=bytes.hex)
def test_a_point_of_low_order_or_in_a_second_spelling_is_refused(x: bytes) -> None:
    assert refusal({**OKP, "x": b64(x)}) == "it is not a valid public key"


def test_other_points_are_accepted() -> None:
    """Their y is beside that of a point of low order, or the highest one with one spelling."""
    accepted = [y for y in (2, 3, 4, 5, FIELD - 2, FIELD - 3) if read_key(of_y(y)).algorithm == "EdDSA"]
    assert accepted == [2, 3, 4, 5, FIELD - 2, FIELD - 3]


def test_the_sign_of_x_belongs_to_no_spelling() -> None:
    raw = bytearray(base64.urlsafe_b64decode(f"{OKP['x']}="))
    raw[31] ^= 0x80
    assert read_key({**OKP, "x": b64(bytes(raw))}).algorithm == "EdDSA"


def test_a_p_256_point_may_have_the_x_that_is_weak_for_ed25519() -> None:
    """The points with x = 0 are on the curve: y is a root of its b (FIPS 186-4 appendix D.1.2.3)."""
    y = bytes.fromhex("66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4")
    assert read_key({**EC, "x": b64(bytes(32)), "y": b64(y)}).algorithm == "ES256"


@pytest.mark.parametrize("document", [None, [], "keys", {}, {"keys": None}, {"keys": {}}, {"keys": "ab"}])
def test_what_has_no_list_of_keys_is_no_set(document: object) -> None:
    assert set_refusal(document) == "it is not a JWK Set of at most 32 keys"


def test_a_set_has_32_keys_at_most() -> None:
    assert MAX_KEYS == 32
    keys = [{**EC, "kid": str(number)} for number in range(33)]
    assert list(read_key_set({"keys": keys[1:]})) == [str(number) for number in range(1, 33)]
    assert set_refusal({"keys": keys}) == "it is not a JWK Set of at most 32 keys"


def test_two_keys_of_one_name_are_refused_even_if_one_is_not_usable() -> None:
    for other in (jwk(OTHER_KEY), {"kty": "RSA"}):
        assert set_refusal({"keys": [{**EC, "kid": "a"}, {**other, "kid": "a"}]}) == "it has two keys of one name"


@pytest.mark.parametrize("other", [None, 1, "kid", [], {}, {"kid": 1}, {"kid": None}, {"kid": "b", "kty": "RSA"}])
def test_what_is_no_named_usable_key_is_ignored(other: object) -> None:
    assert list(read_key_set({"keys": [other, {**EC, "kid": "a"}]})) == ["a"]
    assert set_refusal({"keys": [other]}) == "it has no usable key"


@pytest.mark.parametrize("kid", ["!", "~", "a" * 128])
def test_a_name_is_visible_ascii(kid: str) -> None:
    assert list(read_key_set({"keys": [{**EC, "kid": kid}]})) == [kid]


@pytest.mark.parametrize("kid", ["", " ", "a b", "\x7f", "\u00e9", "a" * 129, "a\n"])
def test_another_name_is_ignored(kid: str) -> None:
    assert set_refusal({"keys": [{**EC, "kid": kid}]}) == "it has no usable key"

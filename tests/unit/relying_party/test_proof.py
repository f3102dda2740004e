"""A proof: which URLs are the same, how long it is good for, and what the replay store is asked."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from support.relying_party_cases import BOUND_TOKEN, NOW, NOW_SECONDS, URL, VM_KEY, b64, jwk, proof, thumbprint

from verifier.relying_party import NotVerified, RefusalCode, ReplayStoreError
from verifier.relying_party.proof import ProofExpectations, check_proof, digest, normalize_url

LEEWAY = timedelta(seconds=60)
EXPECTED = ProofExpectations(
    token=BOUND_TOKEN, thumbprint=thumbprint(VM_KEY), vm_id="vm", method="POST", url=URL, now=NOW, leeway=LEEWAY
)


class Asked:
    """A store that keeps what it is asked, and answers with `is_new`."""

    def __init__(self, *, is_new: bool = True) -> None:
        self.calls: list[tuple[str, str, datetime, datetime]] = []
        self._is_new = is_new

    def remember(self, scope: str, identifier: str, *, now: datetime, until: datetime) -> bool:
        self.calls.append((scope, identifier, now, until))
        return self._is_new


class Broken:
    """A store that is down."""

    def remember(self, scope: str, identifier: str, *, now: datetime, until: datetime) -> bool:
        raise ReplayStoreError(f"{scope} {identifier} {now} {until}")


def refusal(made: str, expected: ProofExpectations = EXPECTED, store: Asked | Broken | None = None) -> NotVerified:
    with pytest.raises(NotVerified) as caught:
        check_proof(made, expected, store or Asked())
    return caught.value


@pytest.mark.parametrize("ago", [0, 0.25, 120, -60])
def test_a_proof_is_remembered_for_its_vm_until_it_is_too_old(ago: float) -> None:
    store = Asked()
    check_proof(proof({"iat": NOW_SECONDS - ago}), EXPECTED, store)
    until = NOW + timedelta(seconds=120 - (ago if ago != 0.25 else 0))
    assert store.calls == [(digest("vm"), digest("proof-1"), NOW, until)]


def test_a_time_outside_the_lifetime_and_the_leeway_is_refused() -> None:
    assert refusal(proof({"iat": NOW_SECONDS - 120.001})).code is RefusalCode.PROOF_EXPIRED
    assert refusal(proof({"iat": NOW_SECONDS + 60.001})).code is RefusalCode.PROOF_NOT_YET_VALID


def test_a_proof_that_the_store_knows_is_replayed() -> None:
    refused = refusal(proof(), store=Asked(is_new=False))
    assert refused.code is RefusalCode.PROOF_REPLAYED
    assert str(refused) == "The proof was used before. Make a new proof for each request."


def test_a_store_that_is_down_accepts_no_proof() -> None:
    refused = refusal(proof(), store=Broken())
    assert refused.code is RefusalCode.REPLAY_STORE_UNAVAILABLE
    assert isinstance(refused.__cause__, ReplayStoreError)


@pytest.mark.parametrize("algorithm", ["none", "ES384", None, ["ES256"], {}])
def test_an_algorithm_that_is_not_supported_is_refused_before_the_key_is_read(algorithm: object) -> None:
    refused = refusal(proof(header={"alg": algorithm, "jwk": {}}))
    assert refused.code is RefusalCode.PROOF_ALGORITHM_REFUSED
    assert str(refused) == "The proof's algorithm is neither ES256 nor EdDSA."


def test_the_algorithm_of_another_key_is_refused() -> None:
    refused = refusal(proof(header={"alg": "EdDSA", "jwk": jwk(VM_KEY)}))
    assert (refused.code, str(refused)) == (
        RefusalCode.PROOF_ALGORITHM_REFUSED,
        "The proof's algorithm does not belong to its key.",
    )


@pytest.mark.parametrize("url", ["licenses", f"{URL}\u00e9"])
def test_two_texts_that_are_no_url_do_not_match(url: str) -> None:
    refused = refusal(proof({"htu": url}), replace(EXPECTED, url=url))
    assert (refused.code, str(refused)) == (RefusalCode.PROOF_URL_MISMATCH, "The proof is for another URL.")


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://a.example", "https://a.example/"),
        ("HTTPS://A.Example:443", "https://a.example/"),
        ("http://a.example:80/b", "http://a.example/b"),
        ("http://a.example:443/b", "http://a.example:443/b"),
        ("https://a.example:80/b", "https://a.example:80/b"),
        ("https://a.example:8443/B?c=d#e", "https://a.example:8443/B"),
        ("https://a.example?c", "https://a.example/"),
        ("http://[::AB]:8080/", "http://[::ab]:8080/"),
    ],
)
def test_urls_are_compared_in_their_normal_form(url: str, normal: str) -> None:
    assert normalize_url(url) == normal


@pytest.mark.parametrize("url", ["", "ftp://a.example/", "https:///a", "https://a@b/", "https://a.example:/b", "//a/"])
def test_another_text_is_no_url(url: str) -> None:
    assert normalize_url(url) is None


def test_a_digest_is_base64url_of_sha_256() -> None:
    assert digest("abc") == b64(bytes.fromhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))

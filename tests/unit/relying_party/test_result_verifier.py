"""The verifier of one relying party: its options, the order of its checks, and what it asks the replay store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.relying_party_cases import (
    BOUND_TOKEN,
    EXPECTED,
    KEY_SET,
    NOW,
    NOW_SECONDS,
    OTHER_KEY,
    TOKEN,
    URL,
    VM_KEY,
    appraised,
    jwk,
    proof,
    thumbprint,
    token,
)

from verifier.relying_party import KeyRefused, NotVerified, RefusalCode, ReplayStoreError, ResultVerifier
from verifier.relying_party.proof import digest

VM = "02aab8a4-74ef-476e-8182-f6d2ba4166a6"


class Asked:
    """A store that keeps what it is asked, and answers with `is_new`."""

    def __init__(self, *, is_new: bool = True) -> None:
        self.calls: list[tuple[str, str, datetime, datetime]] = []
        self.is_new = is_new

    def remember(self, scope: str, identifier: str, *, now: datetime, until: datetime) -> bool:
        self.calls.append((scope, identifier, now, until))
        return self.is_new


class Broken:
    def remember(self, scope: str, identifier: str, *, now: datetime, until: datetime) -> bool:
        raise ReplayStoreError(f"{scope} {identifier} {now} {until}")


def make_verifier(**change: Any) -> ResultVerifier:  # noqa: ANN401 - any option
    options: dict[str, Any] = {**EXPECTED, "jwks": KEY_SET, "replay_store": Asked(), "clock": lambda: NOW, **change}
    return ResultVerifier(**options)


def refusal(presented: str, made: str | None = None, **change: Any) -> tuple[RefusalCode, str]:  # noqa: ANN401 - any option
    with pytest.raises(NotVerified) as caught:
        make_verifier(**change).verify(presented, made, method="POST", url=URL)
    return caught.value.code, str(caught.value)


def test_a_token_for_single_use_is_remembered_for_its_vm_until_it_cannot_pass_again() -> None:
    store = Asked()
    make_verifier(replay_store=store, single_use=True).verify(TOKEN)
    assert store.calls == [(digest(VM), digest("token-1"), NOW, NOW + timedelta(seconds=660))]


def test_a_token_for_single_use_that_the_store_knows_is_refused() -> None:
    code, message = refusal(TOKEN, replay_store=Asked(is_new=False), single_use=True)
    assert (code, message) == (RefusalCode.TOKEN_REPLAYED, "The token was used before.")
    assert refusal(TOKEN, replay_store=Broken(), single_use=True)[0] is RefusalCode.REPLAY_STORE_UNAVAILABLE


def test_a_token_is_not_remembered_by_default_and_needs_no_store() -> None:
    assert make_verifier(replay_store=Broken()).verify(TOKEN).key_thumbprint is None


def test_a_bound_token_is_returned_with_its_key_and_its_proof_is_remembered() -> None:
    store = Asked()
    verifier = make_verifier(replay_store=store, bound_only=True)
    assert verifier.verify(BOUND_TOKEN, proof(), method="POST", url=URL).key_thumbprint == thumbprint(VM_KEY)
    assert store.calls == [(digest(VM), digest("proof-1"), NOW, NOW + timedelta(seconds=120))]


def test_a_bound_token_without_a_proof_is_refused_although_the_request_is_named() -> None:
    assert refusal(BOUND_TOKEN) == (
        RefusalCode.PROOF_MISSING,
        "The token is bound to a key. Send a DPoP proof with it.",
    )


def test_the_proof_is_remembered_before_the_token() -> None:
    store = Asked()
    make_verifier(replay_store=store, single_use=True).verify(BOUND_TOKEN, proof(), method="POST", url=URL)
    assert [identifier for _, identifier, *_ in store.calls] == [digest("proof-1"), digest("token-1")]


@pytest.mark.parametrize("name", ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"])
def test_a_parameter_that_changes_how_a_token_is_read_is_refused(name: str) -> None:
    code, message = refusal(token(header={name: None}))
    assert code is RefusalCode.TOKEN_HEADER_REFUSED
    assert message == "The token's header has a parameter that is refused."


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a_token_may_start_as_far_ahead_as_the_leeway(name: str) -> None:
    assert make_verifier().verify(token({name: NOW_SECONDS + 60})).vm_id == VM
    assert refusal(token({name: NOW_SECONDS + 60.001}))[0] is RefusalCode.TOKEN_NOT_YET_VALID


def test_a_token_expires_at_the_end_of_the_leeway() -> None:
    assert make_verifier().verify(token({"exp": NOW_SECONDS - 59.999})).vm_id == VM
    assert refusal(token({"exp": NOW_SECONDS - 60}))[0] is RefusalCode.TOKEN_EXPIRED


def test_a_start_that_is_no_time_is_invalid() -> None:
    code, message = refusal(token({"nbf": "soon"}))
    assert code is RefusalCode.CLAIMS_INVALID
    assert message == "The token's claims are invalid: the claim 'nbf' is missing or is not a time."


def test_a_malformed_token_is_told_with_its_fault() -> None:
    assert refusal("a.b")[1] == "The token is malformed: it is not three base64url segments."


@pytest.mark.parametrize("algorithm", ["none", "HS256", None, ["ES256"], {}])
def test_an_algorithm_that_is_not_supported_is_refused_before_the_key_is_looked_for(algorithm: object) -> None:
    code, message = refusal(token(header={"alg": algorithm, "kid": "unknown"}))
    assert (code, message) == (RefusalCode.ALGORITHM_REFUSED, "The token's algorithm is neither ES256 nor EdDSA.")


def test_a_name_of_a_key_that_is_no_text_names_no_key() -> None:
    keys = {"keys": [{**jwk(OTHER_KEY), "kid": "1"}]}
    assert refusal(token(header={"kid": 1}), jwks=keys) == (RefusalCode.KEY_UNKNOWN, "The token names no key.")


@pytest.mark.parametrize("letters", ["A" * 42, "A" * 44, "A" * 42 + "=", 43, None])
def test_a_token_is_bound_to_a_thumbprint_of_sha_256(letters: object) -> None:
    assert refusal(token({"cnf": {"jkt": letters}}))[0] is RefusalCode.CONFIRMATION_UNSUPPORTED


def test_each_required_policy_has_to_be_named() -> None:
    named = appraised(ear_appraisal_policy_ids=["appliance", "gold"])
    assert make_verifier(policies={"gold"}).verify(named).policies == ("appliance", "gold")
    assert refusal(named, policies=["gold", "silver"])[0] is RefusalCode.POLICY_MISSING


def test_the_clock_is_that_of_the_system_by_default() -> None:
    now = datetime.now(UTC).timestamp()
    verifier = ResultVerifier(**EXPECTED, jwks=KEY_SET, replay_store=Asked())
    assert verifier.verify(token({"iat": now, "exp": now + 60})).token_issued_at.tzinfo is UTC
    with pytest.raises(NotVerified) as caught:
        verifier.verify(token({"iat": now - 600, "exp": now - 300}))
    assert caught.value.code is RefusalCode.TOKEN_EXPIRED


def test_an_unusable_key_set_is_refused_at_once() -> None:
    with pytest.raises(KeyRefused):
        make_verifier(jwks={"keys": []})


@pytest.mark.parametrize("url", ["", "/licenses", "ftp://a.example/"])
def test_a_url_that_is_none_is_an_error_without_a_proof_too(url: str) -> None:
    with pytest.raises(ValueError, match="url must be the external URL"):
        make_verifier().verify(TOKEN, url=url)


@pytest.mark.parametrize(("method", "url"), [(None, URL), ("", URL), ("POST", None)])
def test_a_proof_needs_the_method_and_the_url(method: str | None, url: str | None) -> None:
    with pytest.raises(ValueError, match="a proof needs the method"):
        make_verifier().verify(BOUND_TOKEN, proof(), method=method, url=url)


def test_a_token_needs_neither_method_nor_url() -> None:
    assert make_verifier().verify(TOKEN).vm_id == VM
    assert make_verifier().verify(TOKEN, method="POST", url=URL).vm_id == VM


def test_no_token_is_decided_on_without_keys() -> None:
    code, message = refusal(TOKEN, jwks="http://127.0.0.1:1/keys")
    assert (code, message) == (RefusalCode.KEYS_UNAVAILABLE, "The verifier's keys are unavailable.")


@pytest.mark.parametrize("value", [None, 1, b"a.b.c"], ids=str)
def test_a_token_that_is_no_text_is_malformed(value: Any) -> None:  # noqa: ANN401 - what a program without types passes
    assert refusal(value) == (RefusalCode.TOKEN_MALFORMED, "The token is not a string.")

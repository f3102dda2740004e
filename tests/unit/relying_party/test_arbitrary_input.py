"""Arbitrary input: NotVerified is the only exception, and one changed byte is enough for it."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.relying_party_cases import (
    APPRAISAL,
    BOUND_TOKEN,
    CLAIMS,
    EXPECTED,
    HEADER,
    KEY_SET,
    MACHINE,
    NOW,
    PROOF,
    PROOF_HEADER,
    TOKEN,
    URL,
    VERIFIER_KEY,
    VM_KEY,
    appraised,
    jwk,
    jws,
    of_machine,
    proof,
    token,
)
from support.token_checks import changes

from verifier.relying_party import MemoryReplayStore, NotVerified, ResultVerifier
from verifier.relying_party.public_keys import KeyRefused, read_key, read_key_set

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
VERIFIER = ResultVerifier(
    **EXPECTED,
    jwks=KEY_SET,
    replay_store=MemoryReplayStore(max_entries_per_scope=10**6),
    clock=lambda: NOW,
)


def is_accepted(presented: str, made: str | None = None) -> bool:
    try:
        VERIFIER.verify(presented, made, method="POST", url=URL)
    except NotVerified:
        return False
    return True


def assume_another(value: object, valid: object) -> None:
    """Hypothesis also chooses texts that it finds in the code, such as POST."""
    assume(json.dumps(value, sort_keys=True) != json.dumps(valid, sort_keys=True))


def test_a_token_with_one_changed_byte_is_refused() -> None:
    assert is_accepted(TOKEN)
    assert [other for other in changes(TOKEN) if is_accepted(other)] == []


def test_a_proof_with_one_changed_byte_is_refused() -> None:
    made = proof({"jti": "changed"})
    assert [other for other in changes(made) if is_accepted(BOUND_TOKEN, other)] == []
    assert is_accepted(BOUND_TOKEN, made)


@given(st.text())
def test_text_is_refused(text: str) -> None:
    assert not is_accepted(text)
    assert not is_accepted(BOUND_TOKEN, text)


@given(st.sampled_from(sorted(HEADER)), JSON)
def test_a_header_with_another_value_is_refused(name: str, value: object) -> None:
    assume_another(value, HEADER[name])
    assert not is_accepted(token(header={name: value}))


@given(st.sampled_from([name for name in CLAIMS if name not in {"ear_verifier_id", "jti", "eat_nonce"}]), JSON)
def test_a_claim_with_another_value_is_refused(name: str, value: object) -> None:
    assume_another(value, CLAIMS[name])
    far = isinstance(value, int | float) and not isinstance(value, bool)
    assert not is_accepted(token({name: value})) or (far and name in {"iat", "exp"})


@given(st.sampled_from(["ear_status", "ear_appraisal_policy_ids", "imds-verifier.claims"]), JSON)
def test_an_appraisal_with_another_value_is_refused(name: str, value: object) -> None:
    assume_another(value, APPRAISAL[name])
    assert not is_accepted(appraised(**{name: value}))


@given(st.sampled_from(sorted(MACHINE)), JSON.filter(lambda value: value is not None and not isinstance(value, str)))
def test_a_machine_with_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    assert not is_accepted(of_machine(**{name: value}))


@given(JSON)
def test_another_confirmation_is_refused(value: object) -> None:
    assert not is_accepted(token({"cnf": value}))


@given(st.sampled_from(sorted(PROOF_HEADER)), JSON)
def test_a_proof_with_another_header_is_refused(name: str, value: object) -> None:
    assume_another(value, PROOF_HEADER[name])
    assert not is_accepted(BOUND_TOKEN, proof(header={name: value}))


@given(st.sampled_from([name for name in PROOF if name not in {"jti", "iat"}]), JSON)
def test_a_proof_with_another_claim_is_refused(name: str, value: object) -> None:
    assume_another(value, PROOF[name])
    assert not is_accepted(BOUND_TOKEN, proof({name: value}))


@given(JSON.filter(lambda value: not isinstance(value, str)))
def test_a_proof_with_an_identifier_of_another_type_is_refused(value: object) -> None:
    assert not is_accepted(BOUND_TOKEN, proof({"jti": value}))


@given(st.integers() | st.floats())
def test_a_proof_with_a_time_far_away_is_refused(seconds: float) -> None:
    assert is_accepted(BOUND_TOKEN, proof({"iat": seconds})) is (-120 <= seconds - NOW.timestamp() <= 60)


@given(st.text(max_size=40), st.text(max_size=200))
def test_claims_that_are_arbitrary_text_are_refused(header: str, claims: str) -> None:
    assert not is_accepted(jws(VERIFIER_KEY, HEADER, claims))
    assert not is_accepted(jws(VERIFIER_KEY, header, CLAIMS))
    assert not is_accepted(BOUND_TOKEN, jws(VM_KEY, PROOF_HEADER, claims))


@given(st.sampled_from(["kty", "crv", "x", "y"]), JSON)
def test_an_arbitrary_key_is_refused(name: str, value: object) -> None:
    assume_another(value, jwk(VM_KEY).get(name))
    for key in (value, {**jwk(VM_KEY), name: value}):
        with pytest.raises(KeyRefused):
            read_key(key)
    for document in ({"keys": value}, {"keys": [value]}, {"keys": [{**jwk(VM_KEY), "kid": "a", name: value}]}):
        with pytest.raises(KeyRefused):
            read_key_set(document)

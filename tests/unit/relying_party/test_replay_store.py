"""The replay store of one process: an identifier is new once, until it expires, within bounds."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from support.relying_party_cases import (
    APPRAISAL,
    BOUND_TOKEN,
    EXPECTED,
    KEY_SET,
    MACHINE,
    NOW,
    TOKEN,
    URL,
    b64,
    bound_token,
    changed,
    jwk,
    proof,
    thumbprint,
)

from verifier.relying_party import MemoryReplayStore, NotVerified, RefusalCode, ReplayStoreError, ResultVerifier

MINUTE = timedelta(minutes=1)


def remember(store: MemoryReplayStore, identifier: str, *, scope: str = "a", after: timedelta = 0 * MINUTE) -> bool:
    return store.remember(scope, identifier, now=NOW + after, until=NOW + after + MINUTE)


def test_an_identifier_is_new_once_in_its_scope() -> None:
    store = MemoryReplayStore()
    assert [remember(store, "1"), remember(store, "1"), remember(store, "2")] == [True, False, True]
    assert remember(store, "1", scope="b")


def test_an_identifier_is_remembered_to_the_end_of_its_time() -> None:
    store = MemoryReplayStore()
    assert remember(store, "1")
    assert not remember(store, "1", after=MINUTE)
    assert remember(store, "1", after=MINUTE + timedelta(microseconds=1))


def test_expired_entries_make_room_in_any_order() -> None:
    store = MemoryReplayStore(max_entries=2)
    store.remember("a", "long", now=NOW, until=NOW + 60 * MINUTE)
    assert remember(store, "short")
    assert remember(store, "next", after=2 * MINUTE)
    assert not store.remember("a", "long", now=NOW + 2 * MINUTE, until=NOW + 3 * MINUTE)


def test_a_full_store_refuses_and_evicts_no_entry() -> None:
    store = MemoryReplayStore(max_entries=2)
    assert remember(store, "1")
    assert remember(store, "2")
    with pytest.raises(ReplayStoreError):
        remember(store, "3")
    assert not remember(store, "1")


def test_a_scope_that_is_full_takes_no_room_from_others() -> None:
    store = MemoryReplayStore(max_entries_per_scope=100)
    for number in range(100):
        assert remember(store, str(number))
    with pytest.raises(ReplayStoreError):
        remember(store, "one more")
    assert remember(store, "1", scope="b")
    assert remember(store, "one more", after=2 * MINUTE)


def test_an_expired_identifier_makes_room_for_one() -> None:
    store = MemoryReplayStore(max_entries_per_scope=3)
    store.remember("a", "short", now=NOW, until=NOW + MINUTE)
    for identifier in ("1", "2"):
        store.remember("a", identifier, now=NOW, until=NOW + 60 * MINUTE)
    assert remember(store, "3", after=2 * MINUTE)
    with pytest.raises(ReplayStoreError):
        remember(store, "4", after=2 * MINUTE)
    assert remember(store, "4", scope="b", after=2 * MINUTE)


def test_a_scope_without_identifiers_takes_no_memory() -> None:
    store = MemoryReplayStore()
    for number in range(10):
        assert remember(store, "1", scope=str(number))
    store.remember("3", "2", now=NOW, until=NOW + 60 * MINUTE)
    assert remember(store, "1", scope="new", after=2 * MINUTE)
    assert store._sizes == {"3": 1, "new": 1}  # noqa: SLF001 - what the callers choose must not accumulate


def test_a_store_has_room_for_100000_identifiers_of_which_1000_are_of_one_scope() -> None:
    assert MemoryReplayStore.__init__.__kwdefaults__ == {"max_entries": 100_000, "max_entries_per_scope": 1_000}


def test_one_of_many_threads_is_the_first() -> None:
    store = MemoryReplayStore()
    start = threading.Barrier(16)

    def race(_: int) -> bool:
        start.wait()
        return remember(store, "1")

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(race, range(16))) == [False] * 15 + [True]


class BrokenStore:
    """A store whose server is down."""

    def remember(self, scope: str, identifier: str, *, now: datetime, until: datetime) -> bool:
        raise ReplayStoreError(f"no connection to store {scope}/{identifier} at {now} until {until}")


def make_verifier(store: MemoryReplayStore | BrokenStore, *, single_use: bool = False) -> ResultVerifier:
    return ResultVerifier(
        **EXPECTED,
        jwks=KEY_SET,
        replay_store=store,
        single_use=single_use,
        clock=lambda: NOW,
    )


def test_no_token_that_needs_the_store_is_accepted_without_it() -> None:
    for token, made in ((BOUND_TOKEN, proof()), (TOKEN, None)):
        with pytest.raises(NotVerified) as caught:
            make_verifier(BrokenStore(), single_use=True).verify(token, made, method="POST", url=URL)
        assert caught.value.code is RefusalCode.REPLAY_STORE_UNAVAILABLE
        assert caught.value.code.is_temporary


def test_two_verifiers_with_one_store_accept_a_proof_once() -> None:
    store, made = MemoryReplayStore(), proof()
    assert make_verifier(store).verify(BOUND_TOKEN, made, method="POST", url=URL).key_thumbprint
    with pytest.raises(NotVerified, match="used before"):
        make_verifier(store).verify(BOUND_TOKEN, made, method="POST", url=URL)


def test_a_vm_with_many_keys_takes_no_room_from_others() -> None:
    """A VM can have a token for each of any number of keys."""
    verifier = make_verifier(MemoryReplayStore(max_entries=3, max_entries_per_scope=2))
    keys = [generate_private_key(SECP256R1()) for _ in range(3)]
    tokens = [bound_token({"cnf": {"jkt": thumbprint(key)}}) for key in keys]
    proofs = [
        proof({"jti": str(number), "ath": hash_of(tokens[number])}, {"jwk": jwk(key)}, key=key)
        for number, key in enumerate(keys)
    ]
    for number in range(2):
        assert verifier.verify(tokens[number], proofs[number], method="POST", url=URL).key_thumbprint
    with pytest.raises(NotVerified) as caught:
        verifier.verify(tokens[2], proofs[2], method="POST", url=URL)
    assert caught.value.code is RefusalCode.REPLAY_STORE_UNAVAILABLE
    machine = changed(MACHINE, {"vmId": "11111111-2222-4333-8444-555555555555"})
    other = bound_token({"submods": {"azure-imds": changed(APPRAISAL, {"imds-verifier.claims": machine})}})
    assert verifier.verify(other, proof({"ath": hash_of(other)}), method="POST", url=URL).vm_id == machine["vmId"]


def hash_of(token: str) -> str:
    return b64(hashlib.sha256(token.encode()).digest())


def test_a_refused_proof_is_not_remembered() -> None:
    verifier, made = make_verifier(MemoryReplayStore()), proof()
    with pytest.raises(NotVerified, match="another HTTP method"):
        verifier.verify(BOUND_TOKEN, made, method="GET", url=URL)
    assert verifier.verify(BOUND_TOKEN, made, method="POST", url=URL).key_thumbprint


@pytest.mark.parametrize(("method", "url"), [(None, URL), ("", URL), ("POST", None), ("POST", "/licenses")])
def test_a_proof_without_method_or_url_is_an_error_of_the_caller(method: str | None, url: str | None) -> None:
    with pytest.raises(ValueError, match="the external URL of the endpoint"):
        make_verifier(MemoryReplayStore()).verify(BOUND_TOKEN, proof(), method=method, url=url)


def test_a_clock_without_a_zone_is_an_error_of_the_caller() -> None:
    expected = {**EXPECTED, "jwks": KEY_SET, "replay_store": MemoryReplayStore()}
    verifier = ResultVerifier(**expected, clock=lambda: NOW.replace(tzinfo=None))  # type: ignore[arg-type]  # as below
    with pytest.raises(TypeError, match="offset-naive"):
        verifier.verify(TOKEN)


@pytest.mark.parametrize(
    "change", [{"issuer": ""}, {"tenant": ""}, {"audience": ""}, {"policies": []}, {"policies": "a"}]
)
def test_an_expectation_that_is_empty_is_an_error(change: dict[str, object]) -> None:
    expected = {**EXPECTED, "jwks": KEY_SET, "replay_store": MemoryReplayStore(), **change}
    with pytest.raises(ValueError, match="must"):
        ResultVerifier(**expected)  # type: ignore[arg-type]  # what a caller without types passes

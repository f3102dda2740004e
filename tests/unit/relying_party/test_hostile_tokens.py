"""One table of tokens and proofs, presented to the Python package and to the JavaScript package."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pytest
from support.javascript_client import CLIENT, JavaScriptClient
from support.relying_party_cases import EXPECTED, GENUINE, HOSTILE, KEY_SET, NOW, Case, b64

from verifier.relying_party import MemoryReplayStore, NotVerified, RefusalCode, ResultVerifier, VerifiedMachine

CASES = (*GENUINE, *HOSTILE)
#: These need a URL or a store that fails: test_key_cache.py and test_replay_store.py.
ELSEWHERE = {RefusalCode.KEYS_UNAVAILABLE, RefusalCode.REPLAY_STORE_UNAVAILABLE}


class ObservedReplayStore(MemoryReplayStore):
    """Keep the scopes that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.scopes: list[str] = []

    def remember(self, scope: str, identifier: str, *, now: datetime, until: datetime) -> bool:
        self.scopes.append(scope)
        return super().remember(scope, identifier, now=now, until=until)


def present(case: Case, store: MemoryReplayStore | None = None) -> VerifiedMachine:
    verifier = ResultVerifier(
        **EXPECTED,
        jwks=KEY_SET,
        replay_store=store or MemoryReplayStore(),
        bound_only=case.bound_only,
        single_use=case.single_use,
        clock=lambda: NOW,
    )
    *before, last = case.proofs
    for proof in before:
        verifier.verify(case.token, proof, method=case.method, url=case.url)
    return verifier.verify(case.token, last, method=case.method, url=case.url)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> JavaScriptClient:
    return JavaScriptClient(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def in_javascript(client: JavaScriptClient) -> Mapping[str, Mapping[str, object]]:
    """The outcome of each case, by its name."""
    asked = {
        "keySet": KEY_SET,
        "now": NOW.timestamp(),
        "expected": EXPECTED,
        "cases": [case.json() for case in CASES],
    }
    outcomes = client.run("relying_party.mjs", asked)
    return {case.name: outcome for case, outcome in zip(CASES, outcomes, strict=True)}


@pytest.mark.parametrize("case", GENUINE, ids=str)
def test_python_accepts_a_genuine_token(case: Case) -> None:
    assert present(case).vm_id == "02aab8a4-74ef-476e-8182-f6d2ba4166a6"


@pytest.mark.parametrize("case", HOSTILE, ids=str)
def test_python_refuses_a_hostile_token_with_its_code(case: Case) -> None:
    with pytest.raises(NotVerified) as caught:
        present(case)
    assert caught.value.code == case.code
    assert not caught.value.code.is_temporary
    assert str(caught.value).startswith("The ")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_javascript_decides_alike(case: Case, in_javascript: Mapping[str, Mapping[str, object]]) -> None:
    assert in_javascript[case.name]["code"] == case.code


@pytest.mark.parametrize("case", HOSTILE, ids=str)
def test_both_give_the_same_message(case: Case, in_javascript: Mapping[str, Mapping[str, object]]) -> None:
    with pytest.raises(NotVerified) as caught:
        present(case)
    assert in_javascript[case.name]["message"] == str(caught.value)


@pytest.mark.parametrize("case", GENUINE, ids=str)
def test_both_return_the_same_machine(case: Case, in_javascript: Mapping[str, Mapping[str, object]]) -> None:
    found = {
        re.sub(r"_(\w)", lambda letter: letter[1].upper(), name): in_milliseconds(value)
        for name, value in asdict(present(case)).items()
    }
    assert json.loads(json.dumps(found)) == in_javascript[case.name]["machine"]


@pytest.mark.parametrize("case", GENUINE, ids=str)
def test_both_remember_proofs_and_tokens_for_the_vm(
    case: Case, in_javascript: Mapping[str, Mapping[str, object]]
) -> None:
    store = ObservedReplayStore()
    scope = b64(hashlib.sha256(present(case, store).vm_id.encode()).digest())
    assert store.scopes == in_javascript[case.name]["scopes"] == [scope] * len(store.scopes)
    assert len(store.scopes) == sum(proof is not None for proof in case.proofs) + case.single_use


def in_milliseconds(value: object) -> object:
    """A time as JavaScript writes it."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


def test_every_code_has_a_hostile_token() -> None:
    assert len(HOSTILE) >= 20
    assert {case.code for case in HOSTILE} == set(RefusalCode) - ELSEWHERE
    assert len({case.name for case in CASES}) == len(CASES)


def test_javascript_has_the_same_codes() -> None:
    for name in ("refusals.js", "index.d.ts"):
        codes = re.findall(r'^  (?:\| )?"([a-z-]+)"[,;]?$', (CLIENT / name).read_text("utf-8"), re.MULTILINE)
        assert codes == [code.value for code in RefusalCode]


@pytest.mark.parametrize("case", HOSTILE, ids=str)
def test_a_message_quotes_no_part_of_a_token(case: Case) -> None:
    with pytest.raises(NotVerified) as caught:
        present(case)
    parts = [part for one in (case.token, *case.proofs) for part in str(one or "").split(".") if len(part) > 3]
    assert [part for part in parts if part in str(caught.value)] == []


def test_the_javascript_cache_and_store_keep_their_bounds(client: JavaScriptClient) -> None:
    passed = re.search(r"^# pass (\d+)$", client.test("key_cache.test.mjs"), re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) > 10


def test_the_javascript_types_are_those_that_a_typescript_program_needs(tmp_path: Path) -> None:
    """usage.ts has lines that must not compile, too: tsc fails if one of them does."""
    JavaScriptClient(tmp_path, dev=True).check_types("usage.ts")

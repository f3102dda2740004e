"""The chain cases: the product, each path validator alone and `openssl verify` decide as expected, or as listed.

tests/support/chain_cases has the cases, with what RFC 5280 or a rule of the project makes of each. The differences are
in tests/data/chain-cases/divergences.toml.
"""

from collections import Counter
from collections.abc import Mapping
from time import process_time
from typing import Final

import pytest
from support.appraisal_cost import verification_seconds
from support.chain_cases import load_cases, load_pathological_cases
from support.chain_cases.deciders import DECIDERS, Decision, decide_as_product
from support.chain_cases.divergences import Divergence, find_faults, load_divergences
from support.chain_cases.recipe import ACCEPT, REFUSE, Case, encode

from verifier.core.reasons import Check
from verifier.core.trust.certificates import Certificate

# cryptography warns of certificates that a later version refuses. The service does not turn warnings into errors.
pytestmark = pytest.mark.filterwarnings("ignore")

ALL: Final = load_cases()
LONG: Final = load_pathological_cases()
LISTED: Final = load_divergences()
#: A search over many paths is too long for the second validator, which the product never lets search.
SEARCHING: Final = ("cryptography", "openssl")
#: The CPU time of a case in RSA-2048 verifications, at most. The largest set has 300 authorities.
MOST_VERIFICATIONS: Final = 20_000


@pytest.mark.parametrize("case", ALL, ids=str)
def test_each_decides_as_expected_or_as_listed(case: Case) -> None:
    decisions = {name: decide(case) for name, decide in DECIDERS.items()}
    assert find_faults(case, decisions, LISTED) == []
    product = decisions["product"]
    if product.decision == case.expected == REFUSE:
        assert product.check is case.refused_by, product.words


@pytest.mark.parametrize("case", LONG, ids=str)
def test_a_long_search_ends_soon_as_expected_or_as_listed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[Certificate] = []
    is_issued_by = Certificate.is_issued_by

    def count(signer: Certificate, authority: Certificate) -> bool:
        verified.append(authority)
        return is_issued_by(signer, authority)

    monkeypatch.setattr(Certificate, "is_issued_by", count)
    for cert in (case.signer, *case.pins, *case.anchors):
        encode(cert)
    unit = verification_seconds()
    started = process_time()
    product = decide_as_product(case)
    spent = process_time() - started
    assert spent / unit < MOST_VERIFICATIONS
    assert len(verified) <= len(case.pins) + len(case.anchors)
    others = {name: DECIDERS[name](case) for name in SEARCHING}
    assert find_faults(case, {"product": product, **others}, LISTED) == []


def test_each_listed_case_exists_and_decides_against_what_is_expected() -> None:
    cases = {case.name: case for case in (*ALL, *LONG)}
    pairs = Counter((name, decider) for one in LISTED for name in one.cases for decider in one.deciders)
    assert max(pairs.values()) == 1
    for one in LISTED:
        assert one.why
        assert one.explanation
        assert set(one.deciders) <= DECIDERS.keys()
        assert one.decision in {ACCEPT, REFUSE}
        for name in one.cases:
            assert cases[name].expected != one.decision, name


def test_the_product_accepts_only_one_case_that_is_to_be_refused() -> None:
    """Fail if a list of differences hides that the product accepts what it has to refuse."""
    accepted = [name for one in LISTED if one.decision == ACCEPT and "product" in one.deciders for name in one.cases]
    assert accepted == ["serial-number/signer-of-20-bytes-and-a-zero"]


def test_the_cases_differ_from_each_other() -> None:
    names = Counter(case.name for case in (*ALL, *LONG))
    assert max(names.values()) == 1
    chains = Counter((case.signer, case.pins, case.anchors, case.at) for case in ALL)
    assert max(chains.values()) == 1


def test_each_case_names_a_clause_or_a_rule() -> None:
    for case in (*ALL, *LONG):
        assert case.because[:1].isdigit() or case.because.startswith(("rule: ", "RFC ", "SEC 1 ")), case.name
        assert (case.refused_by is None) or case.expected == REFUSE, case.name


@pytest.mark.parametrize("expected", [ACCEPT, REFUSE])
def test_each_topic_has_cases_of_both_kinds(expected: str) -> None:
    topics = {case.name.partition("/")[0] for case in ALL}
    # These have only forgeries, signers that are not to be accepted, and searches that find the good path.
    one_sided = {"forged", "self-signed"} if expected == ACCEPT else set()
    assert {case.name.partition("/")[0] for case in ALL if case.expected == expected} == topics - one_sided


@pytest.mark.parametrize(
    ("decided", "listed", "faults"),
    [
        (ACCEPT, (), []),
        (REFUSE, (REFUSE,), []),
        (REFUSE, (), ["product: refuse, expected accept, and not listed; words"]),
        (ACCEPT, (REFUSE,), ["product: listed as refuse, and decides as expected"]),
    ],
)
def test_a_difference_that_is_not_listed_or_gone_is_a_fault(
    decided: str, listed: tuple[str, ...], faults: list[str]
) -> None:
    case = next(case for case in ALL if case.expected == ACCEPT)
    decisions: Mapping[str, Decision] = {"product": Decision(decision=decided, words="words")}
    divergences = tuple(
        Divergence(why="w", explanation="e", decision=one, deciders=("product",), cases=(case.name,)) for one in listed
    )
    assert find_faults(case, decisions, divergences) == faults


def test_a_refusal_by_another_check_is_told_apart() -> None:
    case = next(case for case in ALL if case.name == "key-usage/signer-only-key-encipherment")
    assert decide_as_product(case).check is Check.SIGNER_NAME

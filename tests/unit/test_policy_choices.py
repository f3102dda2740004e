"""The library: whichever policies a nonce and a request name, the tenant's policy decides too."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.applications import FixedTrust
from support.clocks import ManualClock
from support.documents import NOW, document, raw, shared_bundle
from support.policy_choices import Choice, any_policies, choices, policies_of

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.core.model import AttestationResult
from verifier.core.nonces import NonceMode
from verifier.core.reasons import Reason, Refused
from verifier.usecases.appraise import NonceBinding, Verifier
from verifier.usecases.archive import ArchiveVerifier
from verifier.usecases.chain_cache import ChainCache

TRUST = FixedTrust(in_force=shared_bundle())
CHAINS = ChainCache()
_choices = any_policies.flatmap(choices)
_numbers = count()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteNonceStore]:
    opened = SqliteNonceStore(tmp_path_factory.mktemp("store") / "nonces.sqlite3")
    yield opened
    opened.close()


def make_verifier(store: SqliteNonceStore, choice: Choice, mode: NonceMode) -> Verifier:
    return Verifier(
        trust=TRUST,
        nonces=store,
        clock=ManualClock(NOW),
        chains=CHAINS,
        nonce_mode=mode,
        policies=policies_of(choice.allowed),
    )


def outcome(appraise: Callable[[], AttestationResult]) -> tuple[str, ...] | Reason:
    """The policies of the result, or why there is none."""
    try:
        return appraise().verified.policies
    except Refused as refused:
        return refused.reason


def expected(choice: Choice) -> tuple[str, ...] | Reason:
    return tuple(choice.names) if choice.all_allow else Reason.POLICY_DENIED


@settings(max_examples=150, deadline=None)
@given(choice=_choices, mode=st.sampled_from(NonceMode))
def test_no_nonce_and_no_request_leaves_the_tenants_policy(
    store: SqliteNonceStore, choice: Choice, mode: NonceMode
) -> None:
    verifier = make_verifier(store, choice, mode)
    issued = verifier.issue_nonce(binding=NonceBinding(policy=choice.nonce or ""))
    of = raw(document(nonce=issued.nonce, vm=choice.vm))
    archive = ArchiveVerifier(trust=TRUST, policies=policies_of(choice.allowed))
    alone = outcome(partial(archive.appraise, of, at=NOW, policy=choice.tenant))
    assert alone == ((choice.tenant,) if choice.tenant_allows else Reason.POLICY_DENIED)

    together = outcome(partial(verifier.appraise, of, tenant_policy=choice.tenant, policy=choice.request))

    assert together == expected(choice)
    assert choice.tenant_allows or together is alone is Reason.POLICY_DENIED


@settings(max_examples=50, deadline=None)
@given(choice=_choices)
def test_no_request_leaves_the_tenants_policy_with_a_document_that_answers_no_nonce(
    store: SqliteNonceStore, choice: Choice
) -> None:
    verifier = make_verifier(store, choice, NonceMode.OPTIONAL)
    appraise = partial(
        verifier.appraise,
        raw(document(nonce=None, vm=choice.vm)),
        tenant=f"tenant-{next(_numbers)}",  # to which the document is new
        tenant_policy=choice.tenant,
        policy=choice.request,
    )
    assert outcome(appraise) == expected(replace(choice, nonce=None))

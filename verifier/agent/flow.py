"""The attest flow: a nonce from the verifier, a document from IMDS that carries it, the verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from verifier.agent.budget import Budget
from verifier.agent.ends import NotAttested
from verifier.agent.imds import AttestedDocument, ImdsClient
from verifier.agent.results import AttestationResult
from verifier.agent.verifier_client import VerifierClient

# How long to wait before each further round, in seconds, where the verifier does not say.
_WAITS: Final = (1, 2, 4, 8)
ROUNDS: Final = len(_WAITS) + 1


def attest(
    *,
    imds: ImdsClient,
    verifier: VerifierClient,
    budget: Budget,
    jkt: str | None = None,
    keep: Callable[[AttestedDocument], None],
) -> AttestationResult:
    """The verifier's result for this machine, after at most `ROUNDS` rounds.

    A verifier that does not answer, or whose problem is retryable, is given another round, with a nonce and a document
    of its own, after the seconds that it asks for. Where the budget has not so many, nothing is asked any more. `keep`
    is given each document just before it is posted. Raises `NotAttested`, that of the last round; what IMDS is told
    to be by its client is not retried here.
    """
    for usual in _WAITS:
        try:
            return _attest_once(imds, verifier, jkt, keep)
        except NotAttested as trouble:
            asked = trouble.retry_after
            if not trouble.retryable or not budget.wait(usual if asked is None else asked):
                raise
    return _attest_once(imds, verifier, jkt, keep)


def _attest_once(
    imds: ImdsClient,
    verifier: VerifierClient,
    jkt: str | None,
    keep: Callable[[AttestedDocument], None],
) -> AttestationResult:
    nonce = verifier.issue_nonce(jkt=jkt)
    document = imds.attested_document(nonce)
    keep(document)
    return verifier.appraise(document, nonce)

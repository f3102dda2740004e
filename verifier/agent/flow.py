"""The attest flow: get a nonce, get a document with this nonce from IMDS, get the verdict or the license."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from verifier.agent.backend_client import BackendClient
from verifier.agent.budget import Budget
from verifier.agent.challenge import Binding
from verifier.agent.exit_codes import NotAttested
from verifier.agent.imds import AttestedDocument, ImdsClient
from verifier.agent.results import VerifiedResult
from verifier.agent.verifier_client import VerifierClient

# Seconds to wait before each further round, if the verifier names no time.
_WAITS: Final = (1, 2, 4, 8)
MAX_ROUNDS: Final = len(_WAITS) + 1


def attest(
    *,
    imds: ImdsClient,
    verifier: VerifierClient | BackendClient,
    budget: Budget,
    binding: Binding,
    on_document: Callable[[AttestedDocument], None],
    present: Callable[[VerifiedResult], VerifiedResult] | None = None,
) -> VerifiedResult:
    """Return the result of the verifier or the backend for this machine, after at most `MAX_ROUNDS` rounds.

    Each round uses a new nonce and a new document. Another round starts only if the failure is retryable and the budget
    allows the whole wait. `ImdsClient` makes its own retries, so its failures end the run. `on_document` receives each
    document just before it is posted. `present` presents the token of each round.
    Raises the `NotAttested` of the last round.
    """

    def once() -> VerifiedResult:
        result = _attest_once(imds, verifier, binding, on_document)
        return result if present is None else present(result)

    for default_wait in _WAITS:
        try:
            return once()
        except NotAttested as error:
            seconds = default_wait if error.retry_after is None else error.retry_after
            if not error.retryable or not budget.wait(seconds):
                raise
    return once()


def _attest_once(
    imds: ImdsClient,
    verifier: VerifierClient | BackendClient,
    binding: Binding,
    on_document: Callable[[AttestedDocument], None],
) -> VerifiedResult:
    challenge = verifier.challenge(binding)
    document = imds.attested_document(challenge.nonce)
    on_document(document)
    return verifier.appraise(document, challenge)

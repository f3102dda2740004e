"""The attest flow: a nonce from the verifier, a document from IMDS that carries it, the verdict."""

from collections.abc import Callable
from typing import Final

from verifier.agent.imds import AttestedDocument, ImdsClient
from verifier.agent.verifier_client import AttestationResult, ProblemError, VerifierClient

ATTEMPTS: Final = 3

_LONGEST_WAIT_SECONDS: Final = 30
_DEFAULT_WAIT_SECONDS: Final = 1


def attest(
    *,
    imds: ImdsClient,
    verifier: VerifierClient,
    wait: Callable[[float], None],
    keep: Callable[[AttestedDocument], None],
) -> AttestationResult:
    """The verifier's result for this machine, after at most `ATTEMPTS` rounds.

    A problem that the verifier calls retryable starts another round, with a nonce and a document of its own, after
    the seconds that it asks for, 30 at most, told to `wait`. `keep` is given each document just before it is posted.
    Raises `ProblemError` (the last one), and as the two clients do: what they raise is not retried here.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _attest_once(imds, verifier, keep)
        except ProblemError as error:
            if not error.problem.retryable:
                raise
            asked = error.problem.retry_after
            wait(min(_DEFAULT_WAIT_SECONDS if asked is None else asked, _LONGEST_WAIT_SECONDS))
    return _attest_once(imds, verifier, keep)


def _attest_once(
    imds: ImdsClient,
    verifier: VerifierClient,
    keep: Callable[[AttestedDocument], None],
) -> AttestationResult:
    nonce = verifier.issue_nonce()
    document = imds.attested_document(nonce)
    keep(document)
    return verifier.appraise(document, nonce)

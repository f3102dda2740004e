"""The use cases: issue a nonce, appraise a document, appraise one from an archive. The only side effects are"""

from datetime import datetime

from verifier.core import freshness, pipeline
from verifier.core.model import (
    AttestationResult,
    Limits,
    RawDocument,
    Redeemed,
)
from verifier.core.policy import Policies
from verifier.core.reasons import Check, Refused, progress
from verifier.ports.trust import TrustSource
from verifier.usecases.appraise import PolicySource, _source_of

_ARCHIVED = "an archived document is appraised as of a moment, without a challenge"
_COMPARED = "compared with the nonce given; whether it was issued or used before is not known here"


class ArchiveVerifier:
    """Appraises documents as of a moment, on its own: no challenge, no store. For files, audits and disputes."""

    def __init__(
        self, *, trust: TrustSource, limits: Limits | None = None, policies: PolicySource | None = None
    ) -> None:
        self._trust = trust
        self._limits = limits or Limits()
        self._policies = _source_of(policies)

    def appraise(
        self, document: RawDocument, *, at: datetime, nonce: str | None = None, policy: str | None = None
    ) -> AttestationResult:
        """The result as of `at`: the document was authentic and in its window then, and carries `nonce` where
        one is given. Not checked, and said so in the result: that the nonce was issued to anybody, or unused.
        There is no tenant: the document must satisfy `policy`, or `default` if none is named.
        Raises Refused, UnknownPolicyError and Unavailable.
        """
        omitted = {Check.NONCE: _ARCHIVED if nonce is None else _COMPARED}
        name = Policies.DEFAULT if policy is None else policy
        policies = self._policies()
        policies.find(name)
        try:
            content = pipeline.authenticate_archived(document, at=at, bundle=self._trust.bundle(), limits=self._limits)
            if nonce is not None:
                freshness.challenge(content, expected=nonce)
            redeemed = Redeemed(content=content, record=None)
            verified = policies.apply(redeemed, (name,), now=at)
        except Refused as refused:
            refused.omitted = omitted
            raise
        return AttestationResult(verified=verified, checks=progress(omitted=omitted), evaluated_at=at)

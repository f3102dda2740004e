"""Appraise archived documents as of a past moment: for files, audits and disputes."""

from dataclasses import field
from datetime import datetime
from functools import partial

from verifier.core import pipeline
from verifier.core.model import ArchivedResult, Limits, RawDocument
from verifier.core.policy import Policies
from verifier.core.values import dataclass
from verifier.ports.trust import TrustSource
from verifier.usecases.appraise import PolicySource, policies_now
from verifier.usecases.chain_cache import ChainCache


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveVerifier:
    """Appraise documents as of a past moment, without a challenge and without a store."""

    trust: TrustSource
    limits: Limits = field(default_factory=Limits)
    policies: PolicySource = field(default_factory=Policies)
    chains: ChainCache = field(default_factory=ChainCache)

    def appraise(
        self, document: RawDocument, *, at: datetime, nonce: str | None = None, policy: str | None = None
    ) -> ArchivedResult:
        """Return the result as of `at`: the document was authentic and valid then, and carries `nonce` if one is given.

        There is no tenant: the document must satisfy `policy`, or `default` if none is named.
        Not checked, and `checks` says so: that the nonce was issued, or unused.
        Raises Refused, UnknownPolicyError and Unavailable.
        """
        name = Policies.DEFAULT if policy is None else policy
        policies = policies_now(self.policies)
        policies.find(name)
        return pipeline.appraise_archived(
            document,
            at=at,
            limits=self.limits,
            build_chain=partial(self.chains.build, now=at, bundle=self.trust.bundle()),
            nonce=nonce,
            policies=policies,
            policy=name,
        )

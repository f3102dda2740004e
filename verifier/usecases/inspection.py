"""Inspect documents: show what an appraisal finds. An inspection redeems no nonce and records no decision."""

import dataclasses
import hashlib
from contextlib import suppress
from dataclasses import field
from datetime import datetime

from verifier.core import pipeline
from verifier.core.bounds import PAST_CHAIN_CACHE_BYTES
from verifier.core.claims import read_claims
from verifier.core.encoding.structure import Structure, read_structure
from verifier.core.envelope import read_envelope
from verifier.core.freshness import challenge
from verifier.core.model import Archived, AuthenticContent, Claims, Limits, RawDocument, UnverifiedClaims
from verifier.core.names import claimed_cloud
from verifier.core.policy import Denial, Policies, PolicyDenied
from verifier.core.reasons import (
    Check,
    CheckResult,
    ClaimsRefused,
    FormatRefused,
    Reason,
    Refused,
    Remarks,
    SignerNameRefused,
    progress,
)
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.ports.trust import TrustSource
from verifier.usecases.appraise import PolicySource, check_policies, check_served, policies_now
from verifier.usecases.chain_cache import ChainCache

_NOT_REDEEMED = "an inspection redeems no nonce"
_COMPARED = "compared with the given nonce; an inspection does not know if it was issued or used before"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedFindings:
    """What a document says that failed a check up to the chain check. Known: only its form; anyone can forge it.

    `cloud` is None if the signer's names claim none, and `claims` is None if the content has none.
    """

    cloud: Cloud | None
    claims: Claims | None = field(repr=False)
    #: The content. Bytes that are not UTF-8 are escaped.
    text: str = field(repr=False)
    signer: Certificate
    #: The other certificates, without those that cannot be read.
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an appraisal as of `evaluated_at` finds. It is no attestation result.

    `reason` is None if no check failed. `sha256` is empty and `structure` is None if the evidence has no DER. At most
    one of `authentic` and `unverified` is not None, and one is if the envelope could be read.
    """

    evaluated_at: datetime
    reason: Reason | None
    detail: str
    checks: tuple[CheckResult, ...]
    #: Those that the document must satisfy, the tenant's first.
    policies: tuple[str, ...]
    denial: Denial | None
    sha256: str
    authentic: AuthenticContent | None
    unverified: UnverifiedFindings | None
    structure: Structure | None

    def __post_init__(self) -> None:
        if self.authentic is not None and self.unverified is not None:
            raise ValueError("the document is both authentic and unverified")


class _Findings(pipeline.Observer):
    """Keep the content of a document whose chain check passed, also if a later check fails."""

    content: AuthenticContent | None = None

    def find_content(self, content: AuthenticContent) -> None:
        self.content = content


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an inspection asks beside the document. `at` is None for the present, `policy` for the tenant's alone."""

    at: datetime | None = None
    nonce: str | None = field(default=None, repr=False)
    policy: str | None = None
    tenant_policy: str = Policies.DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """Appraise documents for people, without a store and without issuer discovery. Thread-safe if the ports are.

    The checks are those of an archived document: a document without times is refused, because no nonce proves that it
    is fresh. Documents of clouds that are not `served` fail the chain check.
    """

    trust: TrustSource
    clock: Clock
    limits: Limits = field(default_factory=Limits)
    policies: PolicySource = field(default_factory=Policies)
    served: frozenset[Cloud] = SERVED_BY_DEFAULT
    #: The chains of the present, which live appraisals share.
    chains: ChainCache = field(default_factory=ChainCache)
    #: The chains as of other moments. They would replace those of the present, which have the same keys.
    past_chains: ChainCache = field(default_factory=lambda: ChainCache(capacity=PAST_CHAIN_CACHE_BYTES))

    def inspect(
        self, evidence: RawDocument | FormatRefused, question: Question, *, policies: Policies | None = None
    ) -> Inspection:
        """Return what the appraisal of the document finds.

        `evidence` is the document, or why it cannot be decoded, which fails the format check. `policies` replace those
        of the inspector, so that the tenant's policy and its rules are from one snapshot.
        Raises UnknownPolicyError if `question.policy` does not exist, and Unavailable if the tenant's does not.
        """
        policies = policies_now(self.policies) if policies is None else policies
        check_policies(policies, tenant=question.tenant_policy, asked=question.policy)
        now = self.clock.now() if question.at is None else question.at
        findings = _Findings()
        document: RawDocument | None = None
        refused: Refused | None = None
        if isinstance(evidence, FormatRefused):
            refused = evidence
        else:
            document = evidence
            try:
                self._appraise(document, question, now=now, policies=policies, findings=findings)
            except Refused as error:
                refused = error
        return Inspection(
            evaluated_at=now,
            reason=refused.reason if refused else None,
            detail=refused.detail if refused else "",
            checks=_checks(refused, has_nonce=question.nonce is not None),
            policies=tuple(dict.fromkeys((question.tenant_policy, question.policy or question.tenant_policy))),
            denial=refused.denial if isinstance(refused, PolicyDenied) else None,
            sha256=hashlib.sha256(document.raw_der).hexdigest() if document else "",
            authentic=findings.content,
            unverified=_read_unverified(document) if document and findings.content is None else None,
            structure=read_structure(document.raw_der) if document else None,
        )

    def _appraise(
        self, document: RawDocument, question: Question, *, now: datetime, policies: Policies, findings: _Findings
    ) -> None:
        bundle = self.trust.bundle()
        chains = self.chains if question.at is None else self.past_chains

        def build_chain(claims: UnverifiedClaims) -> AuthenticContent:
            check_served(claims.cloud, self.served)
            return chains.build(claims, now=now, bundle=bundle)

        def compare_nonce(content: AuthenticContent) -> Archived:
            if question.nonce is not None:
                challenge(content, expected=question.nonce)
            return Archived(content=content, has_expected_nonce=question.nonce is not None)

        pipeline.appraise(
            document,
            now=now,
            limits=self.limits,
            needs_times=True,
            build_chain=build_chain,
            establish_freshness=compare_nonce,
            policies=policies,
            tenant_policy=question.tenant_policy,
            request_policy=question.policy,
            observer=findings,
        )


def _checks(refused: Refused | None, *, has_nonce: bool) -> tuple[CheckResult, ...]:
    """List the checks. The failed one has the sentence of the refusal, and the nonce's says what was not checked."""
    remarks = Remarks(omitted={Check.NONCE: _COMPARED if has_nonce else _NOT_REDEEMED})
    if refused is None:
        return progress(remarks=remarks)
    return tuple(
        dataclasses.replace(check, detail=refused.detail) if check.name is refused.check else check
        for check in progress(failed=refused.check, remarks=remarks)
    )


def _read_unverified(document: RawDocument) -> UnverifiedFindings | None:
    """Read what the document says without a check. Return None if its envelope cannot be read."""
    try:
        envelope = read_envelope(document)
    except FormatRefused:
        return None
    cloud: Cloud | None = None
    with suppress(SignerNameRefused):
        cloud = claimed_cloud(envelope.signer)
    claims: Claims | None = None
    with suppress(ClaimsRefused):
        claims, _ = read_claims(envelope.unverified_content)
    certificates: list[Certificate] = []
    for raw in envelope.unverified_candidates:
        with suppress(CertificateError):
            certificates.append(Certificate.from_der(raw))
    return UnverifiedFindings(
        cloud=cloud,
        claims=claims,
        text=envelope.unverified_content.decode("utf-8", errors="backslashreplace"),
        signer=envelope.signer,
        certificates=tuple(certificates),
    )

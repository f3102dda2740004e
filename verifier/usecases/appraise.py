"""Issue nonces and appraise documents: the verifier of RFC 9334.

The only side effects are those of the nonce store and of issuer discovery.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from datetime import datetime
from functools import partial

from verifier.core import freshness, pipeline, unchallenged
from verifier.core.model import AuthenticContent, Limits, Live, LiveResult, RawDocument, UnverifiedClaims
from verifier.core.nonces import NonceForm, NonceMode, NonceRecord
from verifier.core.nonconforming import find_nonconforming
from verifier.core.policy import Policies, UnknownPolicyError
from verifier.core.reasons import ChainRefused, Reason, Refused, progress
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.values import dataclass
from verifier.core.vm_ids import parse_vm_id
from verifier.ports.clock import Clock
from verifier.ports.stores import DocumentKey, NonceKey, NonceStore, StoreUnavailable, Unavailable
from verifier.ports.tokens import TokenIssuer
from verifier.ports.trust import TrustSource
from verifier.usecases.chain_cache import ChainCache
from verifier.usecases.issuer_discovery import IssuerDiscovery

#: The tenant of a service without named tenants.
DEFAULT_TENANT = "default"

# Two nonces of 10 digits meet once in 10**10 / outstanding ones; more failures than these mean a broken store.
_MAX_ISSUE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceBinding:
    """Bind a nonce. Each field is empty if the caller does not set it.

    A document of another VM than `vm_id` is refused. `policy` is one more policy that the document must satisfy.
    Raises ValueError if `vm_id` is not a GUID. Braces around it are removed.
    """

    vm_id: str = ""
    policy: str = ""
    jkt: str = ""

    def __post_init__(self) -> None:
        if self.vm_id:
            object.__setattr__(self, "vm_id", parse_vm_id(self.vm_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedNonce:
    nonce: str
    issued_at: datetime
    expires_at: datetime


#: The policies, or a function that returns the current ones.
PolicySource = Policies | Callable[[], Policies]


def policies_now(source: PolicySource) -> Policies:
    return source() if callable(source) else source


def check_policies(policies: Policies, *, tenant: str, asked: str | None) -> None:
    """Check that the policies exist. Raises UnknownPolicyError for `asked`, and Unavailable for the `tenant`'s."""
    if asked is not None:
        policies.find(asked)
    try:
        policies.find(tenant)
    except UnknownPolicyError as error:
        # The fault is not the caller's, so this is no refusal, and the nonce stays unused.
        raise Unavailable(f"The tenant's policy {tenant[:64]!r} is not in the settings in force.") from error


def check_served(cloud: Cloud, served: frozenset[Cloud]) -> None:
    """Refuse a document of a cloud that is not `served`. Raises ChainRefused."""
    if cloud not in served:
        raise ChainRefused(
            Reason.CHAIN_UNTRUSTED,
            f"{cloud} is not served here. The setting VERIFIER_CLOUDS names the clouds that are.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Issue nonces and appraise evidence. Thread-safe if the ports are.

    Documents of clouds that are not `served` are refused. Without `discovery`, documents of an unpinned issuer are
    refused and not recorded. A callable `policies` is called at most once for each nonce and each document.
    """

    trust: TrustSource
    nonces: NonceStore
    clock: Clock
    discovery: IssuerDiscovery | None = None
    chains: ChainCache = field(default_factory=ChainCache)
    limits: Limits = field(default_factory=Limits)
    nonce_form: NonceForm = NonceForm.DIGITS_10
    nonce_mode: NonceMode = NonceMode.REQUIRED
    policies: PolicySource = field(default_factory=Policies)
    served: frozenset[Cloud] = SERVED_BY_DEFAULT
    #: Signs the result later. If it cannot, the nonce of the document stays unused.
    tokens: TokenIssuer | None = None

    def issue_nonce(
        self,
        *,
        tenant: str = DEFAULT_TENANT,
        binding: NonceBinding | None = None,
        policies: Policies | None = None,
        reserve: Callable[[str], None] | None = None,
    ) -> IssuedNonce:
        """Issue a new nonce, with which one document can be accepted.

        `policies` replace those of the verifier. `reserve` is called with the nonce before the store keeps it, and may
        refuse it with an exception. Raises UnknownPolicyError, StoreUnavailable, and what `reserve` raises.
        """
        binding = binding or NonceBinding()
        if binding.policy:
            (policies_now(self.policies) if policies is None else policies).find(binding.policy)
        now = self.clock.now()
        record = NonceRecord(
            issued_at=now,
            expires_at=now + self.limits.nonce_lifetime,
            vm_id=binding.vm_id,
            policy=binding.policy,
            jkt=binding.jkt,
        )
        for _ in range(_MAX_ISSUE_ATTEMPTS):
            nonce = "".join(secrets.choice(self.nonce_form.alphabet) for _ in range(self.nonce_form.length))
            key = NonceKey(tenant=tenant, nonce=nonce)
            if reserve is not None:
                reserve(nonce)
            if self.nonces.issue(key, record, keep=self.limits.unused_nonce_memory, now=now):
                return IssuedNonce(nonce=nonce, issued_at=record.issued_at, expires_at=record.expires_at)
        raise StoreUnavailable("Every generated nonce was already in the nonce store.")

    def appraise(
        self,
        document: RawDocument,
        *,
        tenant: str = DEFAULT_TENANT,
        tenant_policy: str = Policies.DEFAULT,
        policies: Policies | None = None,
        nonce: str | None = None,
        policy: str | None = None,
        admit: Callable[[AuthenticContent], None] | None = None,
        observer: pipeline.Observer | None = None,
    ) -> LiveResult:
        """Appraise one document, and return the result if it is authentic, fresh, unused and satisfies every policy.

        The document must satisfy `tenant_policy` in any case. It must also satisfy the policy that
        its nonce is bound to and `policy`, which the request names. `nonce` is the nonce that the request names.
        `policies` replace those of the verifier, so that `tenant_policy` and its rules are from one snapshot.

        The nonce is used after checks 1 to 6 have passed, also if its bindings or a policy refuse the document. A
        refusal by checks 1 to 6 leaves it unused. If nonces are optional and the request names none, a document that
        answers no challenge is remembered instead. After that, `admit` is called with the authentic content, and may
        end the appraisal with an exception. Documents that were posted before never reach it.

        Raises Refused, Unavailable, what `admit` raises, and UnknownPolicyError if `policy` does not exist. Raises
        Unavailable also if `tenant_policy` does not exist, because no document can be accepted without it.
        """
        policies = policies_now(self.policies) if policies is None else policies
        check_policies(policies, tenant=tenant_policy, asked=policy)
        now = self.clock.now()
        try:
            verified = pipeline.appraise(
                document,
                now=now,
                limits=self.limits,
                needs_times=False,
                build_chain=partial(self._build_chain, now=now),
                establish_freshness=partial(
                    self._establish_freshness, tenant=tenant, expected=nonce, now=now, admit=admit
                ),
                policies=policies,
                tenant_policy=tenant_policy,
                request_policy=policy,
                observer=observer,
            )
        except Refused as refused:
            self._report_nonconforming(document, refused, now=now)
            raise
        checks = progress(remarks=pipeline.remarks_on(verified.fresh))
        return LiveResult(verified=verified, checks=checks, evaluated_at=now)

    def _report_nonconforming(self, document: RawDocument, refused: Refused, *, now: datetime) -> None:
        """Report a document that was refused for its form although Azure seems to have signed it."""
        if self.discovery is None:
            return
        with suppress(StoreUnavailable):
            found = find_nonconforming(document, refused, bundle=self.trust.bundle(), now=now)
            if found is not None:
                self.discovery.report_nonconforming(found)

    def _establish_freshness(
        self,
        content: AuthenticContent,
        *,
        tenant: str,
        expected: str | None,
        now: datetime,
        admit: Callable[[AuthenticContent], None] | None,
    ) -> Live:
        """Use the content's freshness once, then call `admit`. Raises NonceRefused and Unavailable."""
        if self.tokens is not None:
            self.tokens.check()
        fresh = self._use_once(content, tenant=tenant, expected=expected, now=now)
        if admit is not None:
            admit(content)
        return fresh

    def _use_once(self, content: AuthenticContent, *, tenant: str, expected: str | None, now: datetime) -> Live:
        """Redeem the nonce or remember the content: the one side effect. Raises NonceRefused and StoreUnavailable."""
        if self.nonce_mode is NonceMode.OPTIONAL and expected is None and unchallenged.answers_no_challenge(content):
            keep = unchallenged.memory_of(content, now=now, limits=self.limits)
            document = DocumentKey(tenant=tenant, digest=unchallenged.content_digest(content))
            is_first = self.nonces.remember(document, keep=keep, now=now)
            return unchallenged.accept_first_sight(content, is_first=is_first)
        key = NonceKey(tenant=tenant, nonce=freshness.challenge(content, expected=expected))
        redemption = self.nonces.redeem(key, keep=self.limits.used_nonce_memory, now=now)
        return freshness.accept_redemption(content, redemption, now=now, limits=self.limits)

    def _build_chain(self, claims: UnverifiedClaims, *, now: datetime) -> AuthenticContent:
        """Build the chain over the bundle in force, or over the next one if discovery admits the issuer.

        Raises ChainRefused.
        """
        check_served(claims.cloud, self.served)
        bundle = self.trust.bundle()
        try:
            return self.chains.build(claims, now=now, bundle=bundle)
        except ChainRefused as refused:
            if refused.reason is not Reason.ISSUER_UNPINNED or self.discovery is None:
                raise
            extended = self.discovery.consider(claims, now=now, bundle=bundle)
            if extended.generation == bundle.generation:
                raise
            return self.chains.build(claims, now=now, bundle=extended)

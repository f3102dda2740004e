"""The use cases: issue a nonce, appraise a document, appraise one from an archive. The only side effects are"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from verifier.core import freshness, pipeline, unchallenged
from verifier.core.model import (
    AttestationResult,
    AuthenticContent,
    FirstSight,
    Limits,
    NonceForm,
    NonceMode,
    NonceRecord,
    RawDocument,
    Redeemed,
    UnverifiedClaims,
)
from verifier.core.nonconforming import find_nonconforming
from verifier.core.policy import Policies, UnknownPolicyError, applicable_policies
from verifier.core.reasons import ChainRefused, Check, Reason, Refused, progress
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.ports.clock import Clock
from verifier.ports.stores import DocumentKey, NonceKey, NonceStore, StoreUnavailable, Unavailable
from verifier.ports.trust import TrustSource
from verifier.usecases.chain_cache import ChainCache
from verifier.usecases.issuer_discovery import IssuerDiscovery

#: The tenant of a service that names none.
DEFAULT_TENANT = "default"

# Two nonces of 10 digits meet once in 10**10 / outstanding ones; more failures than these mean a broken store.
_MAX_ISSUE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceBinding:
    """What a nonce is bound to; empty if the caller names nothing. It refuses a document of another VM. `policy` is
    one more that the document must satisfy."""

    vm_id: str = ""
    policy: str = ""
    jkt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedNonce:
    nonce: str
    issued_at: datetime
    expires_at: datetime


#: The policies, or what gives those in force at the moment.
PolicySource = Policies | Callable[[], Policies]


class Verifier:
    """Appraises evidence, as the verifier of RFC 9334. Thread-safe where its ports are.

    Documents of clouds that are not `served` are refused. Without `discovery`, an issuer that nobody pinned is refused
    and not recorded. Where `policies` is a callable, it
    is asked once at most for each nonce and each document, which is judged by what it gave.
    """

    def __init__(  # noqa: PLR0913 - each is a port, or has a default
        self,
        *,
        trust: TrustSource,
        nonces: NonceStore,
        clock: Clock,
        discovery: IssuerDiscovery | None = None,
        chains: ChainCache | None = None,
        limits: Limits | None = None,
        nonce_form: NonceForm = NonceForm.DIGITS_10,
        nonce_mode: NonceMode = NonceMode.REQUIRED,
        policies: PolicySource | None = None,
        served: frozenset[Cloud] = SERVED_BY_DEFAULT,
    ) -> None:
        self._trust = trust
        self._served = served
        self._discovery = discovery
        self._chains = ChainCache() if chains is None else chains
        self._nonces = nonces
        self._clock = clock
        self._limits = limits or Limits()
        self._nonce_form = nonce_form
        self._nonce_mode = nonce_mode
        self._policies = _source_of(policies)

    def issue_nonce(self, *, tenant: str = DEFAULT_TENANT, binding: NonceBinding | None = None) -> IssuedNonce:
        """A nonce that no caller was given before, and that one document can be accepted with.

        Raises UnknownPolicyError and StoreUnavailable.
        """
        binding = binding or NonceBinding()
        if binding.policy:
            self._policies().find(binding.policy)
        now = self._clock.now()
        record = NonceRecord(
            issued_at=now,
            expires_at=now + self._limits.nonce_lifetime,
            vm_id=binding.vm_id,
            policy=binding.policy,
            jkt=binding.jkt,
        )
        for _ in range(_MAX_ISSUE_ATTEMPTS):
            nonce = "".join(secrets.choice(self._nonce_form.alphabet) for _ in range(self._nonce_form.length))
            key = NonceKey(tenant=tenant, nonce=nonce)
            if self._nonces.issue(key, record, keep=self._limits.nonce_memory, now=now):
                return IssuedNonce(nonce=nonce, issued_at=record.issued_at, expires_at=record.expires_at)
        raise StoreUnavailable("The nonce store knows every nonce that was tried.")

    def appraise(
        self,
        document: RawDocument,
        *,
        tenant: str = DEFAULT_TENANT,
        tenant_policy: str = Policies.DEFAULT,
        nonce: str | None = None,
        policy: str | None = None,
        observer: pipeline.Observer | None = None,
    ) -> AttestationResult:
        """Appraise one document, and return the result if it is authentic, fresh, unused and satisfies every policy.

        The document must satisfy `tenant_policy`, whatever else is named. The policy that its nonce is bound to, and
        `policy`, which the request names, can only narrow further. `nonce` is the one that the agent says it was given.

        Afterwards the nonce is used, also if its bindings or a policy refused the document; an earlier refusal leaves
        it unused. If nonces are optional, a document that answers none is remembered in place of a nonce, unless the
        request names one.

        Raises Refused, UnknownPolicyError if the request names no policy of ours, and Unavailable: also if
        `tenant_policy` is not in force, since no document can be accepted without it.
        """
        policies = self._policies()
        if policy is not None:
            policies.find(policy)
        _require_tenant_policy(policies, tenant_policy)
        now = self._clock.now()
        seen = observer or pipeline.Unobserved()
        try:
            claims = pipeline.read_in_time(document, now=now, limits=self._limits, observer=seen)
        except Refused as refused:
            self._report_nonconforming(document, refused, now=now)
            raise
        seen.begin(Check.CHAIN)
        content = self._build_chain(claims, now=now)
        seen.begin(Check.NONCE)
        redeemed = self._redeem(content, tenant=tenant, expected=nonce, now=now)
        noted = unchallenged.NOTE if isinstance(redeemed.record, FirstSight) else {}
        names = applicable_policies(redeemed, tenant=tenant_policy, asked=policy)
        seen.find_policies(names)
        seen.begin(Check.POLICY)
        try:
            verified = policies.apply(redeemed, names, now=now)
        except Refused as refused:
            refused.noted = noted
            raise
        return AttestationResult(verified=verified, checks=progress(noted=noted), evaluated_at=now)

    def _report_nonconforming(self, document: RawDocument, refused: Refused, *, now: datetime) -> None:
        """Tell the operator if Azure seems to have signed what was refused for its form. The refusal stays."""
        if self._discovery is None:
            return
        with suppress(StoreUnavailable):
            found = find_nonconforming(document, refused, bundle=self._trust.bundle(), now=now)
            if found is not None:
                self._discovery.report_nonconforming(found)

    def _redeem(self, content: AuthenticContent, *, tenant: str, expected: str | None, now: datetime) -> Redeemed:
        """The one side effect. Raises NonceRefused and StoreUnavailable."""
        if self._nonce_mode is NonceMode.OPTIONAL and expected is None and unchallenged.answers_nobody(content):
            keep = unchallenged.memory_of(content, now=now, limits=self._limits)
            document = DocumentKey(tenant=tenant, digest=unchallenged.content_digest(content))
            is_first = self._nonces.remember(document, keep=keep, now=now)
            return unchallenged.accept_first_sight(content, is_first=is_first)
        key = NonceKey(tenant=tenant, nonce=freshness.challenge(content, expected=expected))
        redemption = self._nonces.redeem(key, now=now)
        return freshness.accept_redemption(content, redemption, now=now, limits=self._limits)

    def _build_chain(self, claims: UnverifiedClaims, *, now: datetime) -> AuthenticContent:
        """Build it over the bundle in force, taken once; over another one if discovery admits the issuer meanwhile.

        Raises ChainRefused.
        """
        cloud = claims.decoded.named.cloud
        if cloud not in self._served:
            raise ChainRefused(
                Reason.CHAIN_UNTRUSTED,
                f"{cloud} is not served here. The setting VERIFIER_CLOUDS names the clouds that are.",
            )
        bundle = self._trust.bundle()
        try:
            return self._chains.build(claims, now=now, bundle=bundle)
        except ChainRefused as refused:
            if refused.reason is not Reason.ISSUER_UNPINNED or self._discovery is None:
                raise
            extended = self._discovery.consider(claims, now=now, bundle=bundle)
            if extended.generation == bundle.generation:
                raise
            return self._chains.build(claims, now=now, bundle=extended)


def _require_tenant_policy(policies: Policies, name: str) -> None:
    """Raise Unavailable if the tenant's policy is missing: the caller did nothing wrong, and its nonce stays unused."""
    try:
        policies.find(name)
    except UnknownPolicyError as error:
        raise Unavailable(f"The tenant's policy {name[:64]!r} is not in the settings in force.") from error


def _source_of(policies: PolicySource | None) -> Callable[[], Policies]:
    if callable(policies):
        return policies
    standing = policies or Policies()
    return lambda: standing

"""The use cases: issue a nonce, appraise a document, appraise one from an archive. The only side effects are
the nonce store's and the recorder's."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from verifier.core import freshness, pipeline
from verifier.core.model import (
    AttestationResult,
    Limits,
    NonceForm,
    NonceRecord,
    RawDocument,
    Redeemed,
)
from verifier.core.policy import Policies
from verifier.core.reasons import Check, Refused, progress
from verifier.ports import Clock, NonceKey, NonceStore, StoreUnavailable, TrustSource

#: The tenant of a service that names none.
DEFAULT_TENANT = "default"

# Two nonces of 10 digits meet once in 10**10 / outstanding ones; more failures than these mean a broken store.
_MAX_ISSUE_ATTEMPTS = 5
_ARCHIVED = "an archived document is appraised as of a moment, without a challenge"
_COMPARED = "compared with the nonce given; whether it was issued or used before is not known here"


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceBinding:
    """What a nonce is issued for; empty where the agent names nothing. A document that differs does not pass."""

    vm_id: str = ""
    policy: str = ""
    jkt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedNonce:
    nonce: str
    issued_at: datetime
    expires_at: datetime


class Verifier:
    """Appraises evidence, as the verifier of RFC 9334. Thread-safe where its ports are."""

    def __init__(
        self,
        *,
        trust: TrustSource,
        nonces: NonceStore,
        clock: Clock,
        limits: Limits | None = None,
        nonce_form: NonceForm = NonceForm.DIGITS_10,
        policies: Policies | None = None,
    ) -> None:
        self._trust = trust
        self._nonces = nonces
        self._clock = clock
        self._limits = limits or Limits()
        self._nonce_form = nonce_form
        self._policies = policies or Policies()

    def issue_nonce(self, *, tenant: str = DEFAULT_TENANT, binding: NonceBinding | None = None) -> IssuedNonce:
        """A nonce that no caller was given before, and that one document can be accepted with.

        Raises UnknownPolicyError and StoreUnavailable.
        """
        binding = binding or NonceBinding()
        if binding.policy:
            self._policies.find(binding.policy)
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
        nonce: str | None = None,
        policy: str | None = None,
    ) -> AttestationResult:
        """The result, where the document is authentic, fresh, unused and what the policy asks for.

        Afterwards its nonce is used, also where the nonce's own bindings or the policy refused the document;
        a refusal before that leaves the nonce as it was. `nonce` is the one that the agent was given, where
        it says so. Raises Refused, UnknownPolicyError and Unavailable.
        """
        if policy is not None:
            self._policies.find(policy)
        now = self._clock.now()
        content = pipeline.authenticate(document, now=now, bundle=self._trust.bundle(), limits=self._limits)
        key = NonceKey(tenant=tenant, nonce=freshness.challenge(content, expected=nonce))
        redemption = self._nonces.redeem(key, now=now)
        redeemed = freshness.accept_redemption(content, redemption, now=now, limits=self._limits)
        name = freshness.bound_policy(redeemed, asked=policy, default=Policies.DEFAULT)
        verified = self._policies.apply(redeemed, name, now=now)
        return AttestationResult(verified=verified, checks=progress(), evaluated_at=now)


class ArchiveVerifier:
    """Appraises documents as of a moment, on its own: no challenge, no store. For files, audits and disputes."""

    def __init__(self, *, trust: TrustSource, limits: Limits | None = None, policies: Policies | None = None) -> None:
        self._trust = trust
        self._limits = limits or Limits()
        self._policies = policies or Policies()

    def appraise(
        self, document: RawDocument, *, at: datetime, nonce: str | None = None, policy: str | None = None
    ) -> AttestationResult:
        """The result as of `at`: the document was authentic and in its window then, and carries `nonce` where
        one is given. Not checked, and said so in the result: that the nonce was issued to anybody, or unused.
        Raises Refused, UnknownPolicyError and Unavailable.
        """
        omitted = {Check.NONCE: _ARCHIVED if nonce is None else _COMPARED}
        name = policy or Policies.DEFAULT
        self._policies.find(name)
        try:
            content = pipeline.authenticate_archived(document, at=at, bundle=self._trust.bundle(), limits=self._limits)
            if nonce is not None:
                freshness.challenge(content, expected=nonce)
            redeemed = Redeemed(content=content, record=None)
            verified = self._policies.apply(redeemed, name, now=at)
        except Refused as refused:
            refused.omitted = omitted
            raise
        return AttestationResult(verified=verified, checks=progress(omitted=omitted), evaluated_at=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that has to be there before the service can decide anything."""

    name: str
    ready: bool
    detail: str = ""


class Readiness:
    """Whether the service can decide at all, and what is missing where it cannot."""

    def __init__(self, *, trust: TrustSource, nonces: NonceStore, clock: Clock) -> None:
        self._trust = trust
        self._nonces = nonces
        self._clock = clock

    def look(self) -> tuple[Condition, ...]:
        return (self._look_at_nonces(), self._look_at_trust())

    def _look_at_nonces(self) -> Condition:
        try:
            self._nonces.ping()
        except StoreUnavailable as error:
            return Condition(name="nonce-store", ready=False, detail=error.detail)
        return Condition(name="nonce-store", ready=True)

    def _look_at_trust(self) -> Condition:
        """A configured cloud with no usable anchor has no usable trust."""
        now = self._clock.now()
        bare = [cloud.value for cloud, trust in self._trust.bundle().clouds.items() if not trust.usable_anchors(now)]
        detail = f"no usable anchor for {', '.join(bare)}" if bare else ""
        return Condition(name="trust", ready=not bare, detail=detail)

"""The use cases: issue a nonce, appraise a document, appraise one from an archive. The only side effects are
the nonce store's and the recorder's."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from verifier.chains import ChainMemory
from verifier.core import first_sight, freshness, pipeline
from verifier.core.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.horizon import horizon
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
from verifier.core.trust import EXPIRY_WARNING, TrustBundle
from verifier.discovery_service import IssuerDiscovery
from verifier.ports import Clock, DocumentKey, NonceKey, NonceStore, StoreUnavailable, TrustSource, Unavailable
from verifier.token_ports import TokenIssuer

#: The tenant of a service that names none.
DEFAULT_TENANT = "default"

# Two nonces of 10 digits meet once in 10**10 / outstanding ones; more failures than these mean a broken store.
_MAX_ISSUE_ATTEMPTS = 5
_ARCHIVED = "an archived document is appraised as of a moment, without a challenge"
_COMPARED = "compared with the nonce given; whether it was issued or used before is not known here"


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
        chains: ChainMemory | None = None,
        limits: Limits | None = None,
        nonce_form: NonceForm = NonceForm.DIGITS_10,
        nonce_mode: NonceMode = NonceMode.REQUIRED,
        policies: PolicySource | None = None,
        served: frozenset[Cloud] = SERVED_BY_DEFAULT,
    ) -> None:
        self._trust = trust
        self._served = served
        self._discovery = discovery
        self._chains = ChainMemory() if chains is None else chains
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
        noted = first_sight.NOTE if isinstance(redeemed.record, FirstSight) else {}
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
        if self._nonce_mode is NonceMode.OPTIONAL and expected is None and first_sight.answers_nobody(content):
            keep = first_sight.memory_of(content, now=now, limits=self._limits)
            document = DocumentKey(tenant=tenant, digest=first_sight.content_digest(content))
            is_first = self._nonces.remember(document, keep=keep, now=now)
            return first_sight.accept_first_sight(content, is_first=is_first)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that has to be there before the service can decide anything."""

    name: str
    ready: bool
    detail: str = ""


class Readiness:
    """Whether the service can decide at all, and what is missing where it cannot."""

    def __init__(
        self,
        *,
        trust: TrustSource,
        nonces: NonceStore,
        clock: Clock,
        tokens: TokenIssuer | None = None,
        served: frozenset[Cloud] = SERVED_BY_DEFAULT,
    ) -> None:
        self._trust = trust
        self._served = served
        self._nonces = nonces
        self._clock = clock
        self._tokens = tokens
        self._horizons: dict[Cloud, datetime | None] = {}
        self._horizons_of = ""
        self._horizons_until = clock.now()

    def look(self) -> tuple[Condition, ...]:
        return (self._look_at_nonces(), self._look_at_trust(), self._look_at_tokens())

    def _look_at_tokens(self) -> Condition:
        """Keys that are refused leave those before in force, which is no reason to take no requests."""
        if self._tokens is None:
            return Condition(name="token-key", ready=True, detail="no keys are configured: results are not signed")
        if not self._tokens.published():
            return Condition(name="token-key", ready=False, detail=self._tokens.trouble() or "there is no key")
        return Condition(name="token-key", ready=True, detail=self._tokens.trouble())

    def _look_at_nonces(self) -> Condition:
        try:
            self._nonces.ping()
        except StoreUnavailable as error:
            return Condition(name="nonce-store", ready=False, detail=error.detail)
        return Condition(name="nonce-store", ready=True)

    def _look_at_trust(self) -> Condition:
        """Each served cloud that is configured and not closed needs a usable anchor; there must be such a cloud."""
        now = self._clock.now()
        try:
            bundle = self._trust.bundle()
        except StoreUnavailable as error:
            return Condition(name="trust", ready=False, detail=error.detail)
        clouds = bundle.open_clouds(self._served, at=now)
        bare = [cloud.value for cloud, trust in clouds.items() if not trust.usable_anchors(now)]
        if bare or not clouds:
            lacking = ", ".join(bare) or f"any served cloud: {', '.join(sorted(self._served))}"
            return Condition(name="trust", ready=False, detail=f"no usable anchor for {lacking}")
        return Condition(name="trust", ready=True, detail=self._warn(bundle, now))

    def _warn(self, bundle: TrustBundle, now: datetime) -> str:
        """Which clouds' pins end inside the warning window: not a reason to take no requests."""
        if self._horizons_of != bundle.generation or now >= self._horizons_until:
            # Milliseconds of signatures to verify, for a probe that comes every few seconds.
            clouds = bundle.open_clouds(self._served, at=now)
            self._horizons = {cloud: horizon(trust, now=now) for cloud, trust in clouds.items()}
            changes = [trust.next_change(now) for trust in bundle.clouds.values()]
            self._horizons_until = min((change for change in changes if change), default=now + EXPIRY_WARNING)
            self._horizons_of = bundle.generation
        ending = [cloud.value for cloud, end in self._horizons.items() if end is None or end - now <= EXPIRY_WARNING]
        return f"the pins of {', '.join(ending)} end soon, or have ended" if ending else ""

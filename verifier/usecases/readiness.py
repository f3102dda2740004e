"""Check that the service can appraise documents."""

import dataclasses
from dataclasses import field
from datetime import UTC, datetime

from verifier.core.trust.bundle import EXPIRY_WARNING, TrustBundle
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.trust.horizon import horizon
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.ports.stores import NonceStore, StoreUnavailable, Unavailable
from verifier.ports.tokens import TokenIssuer
from verifier.ports.trust import TrustSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition that must be met before the service can appraise documents."""

    name: str
    ready: bool
    detail: str = ""


@dataclasses.dataclass(slots=True, kw_only=True)
class Readiness:
    """Check each condition, and name what is missing."""

    trust: TrustSource
    nonces: NonceStore
    clock: Clock
    tokens: TokenIssuer | None = None
    served: frozenset[Cloud] = SERVED_BY_DEFAULT
    _horizons: dict[Cloud, datetime | None] = field(default_factory=dict, init=False)
    _horizons_of: str = field(default="", init=False)
    _horizons_until: datetime = field(default=datetime.min.replace(tzinfo=UTC), init=False)

    def look(self) -> tuple[Condition, ...]:
        return (self._look_at_nonces(), self._look_at_trust(), self._look_at_tokens())

    def _look_at_tokens(self) -> Condition:
        """Require a key that can sign if keys are configured.

        Refused keys are no reason to be unready: the previous ones sign.
        """
        if self.tokens is None:
            return Condition(name="token-key", ready=True, detail="no keys are configured: results are not signed")
        if not self.tokens.published():
            return Condition(name="token-key", ready=False, detail=self.tokens.trouble() or "there is no key")
        try:
            self.tokens.check()
        except Unavailable as error:
            return Condition(name="token-key", ready=False, detail=error.detail)
        return Condition(name="token-key", ready=True, detail=self.tokens.trouble())

    def _look_at_nonces(self) -> Condition:
        try:
            self.nonces.ping()
        except StoreUnavailable as error:
            return Condition(name="nonce-store", ready=False, detail=error.detail)
        return Condition(name="nonce-store", ready=True)

    def _look_at_trust(self) -> Condition:
        """Require a usable anchor for each configured, open cloud that is served, and at least one such cloud."""
        now = self.clock.now()
        try:
            bundle = self.trust.bundle()
        except StoreUnavailable as error:
            return Condition(name="trust", ready=False, detail=error.detail)
        clouds = bundle.open_clouds(self.served, at=now)
        bare = [cloud.value for cloud, trust in clouds.items() if not trust.usable_anchors(now)]
        if bare or not clouds:
            lacking = ", ".join(bare) or f"any served cloud: {', '.join(sorted(self.served))}"
            return Condition(name="trust", ready=False, detail=f"no usable anchor for {lacking}")
        return Condition(name="trust", ready=True, detail=self._warn(bundle, now))

    def _warn(self, bundle: TrustBundle, now: datetime) -> str:
        """Name the clouds whose pins end within EXPIRY_WARNING. They are no reason to be unready."""
        if self._horizons_of != bundle.generation or now >= self._horizons_until:
            # Milliseconds of signatures to verify, for a probe that comes every few seconds.
            clouds = bundle.open_clouds(self.served, at=now)
            self._horizons = {cloud: horizon(trust, now=now) for cloud, trust in clouds.items()}
            changes = [trust.next_change(now) for trust in bundle.clouds.values()]
            # There is one: a usable anchor changes its state after its notAfter.
            self._horizons_until = min(change for change in changes if change)
            self._horizons_of = bundle.generation
        ending = [cloud.value for cloud, end in self._horizons.items() if end is None or end - now <= EXPIRY_WARNING]
        return f"the pins of {', '.join(ending)} end soon, or have ended" if ending else ""

"""Follow a trust feed: look for a newer bundle, and put it in force or offer it to the operator."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from verifier.core.trust.bundle import TrustBundle, TrustError
from verifier.core.trust.operator_decisions import FollowedBundle, OperatorDecisions
from verifier.core.trust.published import FeedChange, FeedMode, PublishedBundle, changes_between, reasons_to_ask
from verifier.ports.clock import Clock
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import FeedChecked, FeedOutcome, Recorder
from verifier.ports.trust import FeedClient, FeedFailed, FeedState, TrustRegistry
from verifier.usecases.trust_administration import TrustAdministration, UnfitAuthorityError, UnknownAuthorityError

#: Who decides in the audit log if the mode is `apply`.
FEED = "feed"
#: Replicas share one look at the feed in this time.
_LEASE = "trust-feed"
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A bundle that is not in force, with what it would change and why the mode `apply` asks the operator."""

    bundle: PublishedBundle
    changes: tuple[FeedChange, ...]
    ignored: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """Where a feed stands. `in_force` is the bundle that the service follows, or None."""

    in_force: PublishedBundle | None
    offer: Offer | None
    checked_at: datetime | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFeed:
    """Look at the feed of `client`. `read` reads a published bundle, and raises TrustError.

    No method runs in a request. A feed that fails changes nothing that is in force.
    """

    client: FeedClient | None
    administration: TrustAdministration
    registry: TrustRegistry
    read: Callable[[bytes], PublishedBundle]
    recorder: Recorder
    clock: Clock
    mode: FeedMode = FeedMode.PROPOSE
    interval: timedelta = timedelta(hours=1)

    def poll(self) -> None:
        """Look at the feed, unless another replica has done so within the interval. Raises StoreUnavailable."""
        if self.registry.claim(_LEASE, lasting=self.interval):
            self.look()

    def look(self, *, by: str = FEED) -> FeedStatus:
        """Look at the feed now, and put a newer bundle in force if the mode is `apply` and nothing speaks against it.

        Raises StoreUnavailable.
        """
        for _ in range(_ATTEMPTS):
            state, revision = self.registry.feed()
            newer = self._fetch(state)
            if self.registry.keep_feed(newer, expected=revision):
                self._report(newer)
                if not newer.problem and self.mode is FeedMode.APPLY:
                    self._apply(newer, by=by)
                return self.status()
        raise StoreUnavailable("Other replicas looked at the trust feed at the same time. Try again.")

    def status(self) -> FeedStatus:
        """Return where the feed stands. Raises StoreUnavailable."""
        state, _ = self.registry.feed()
        decisions = self.administration.decisions()
        in_force = None if decisions.followed is None else self._readable(decisions.followed.raw)
        offered = None if state.offered is None else self._readable(state.offered)
        is_newer = offered is not None and (in_force is None or offered.version > in_force.version)
        return FeedStatus(
            in_force=in_force,
            offer=self._offer(offered) if offered is not None and is_newer else None,
            checked_at=state.checked_at,
            problem=state.problem,
        )

    def approve(self, version: int, *, by: str) -> None:
        """Put the offered bundle with this version in force.

        Raises UnknownAuthorityError if another bundle or none is offered, UnfitAuthorityError if it may not be put in
        force, and StoreUnavailable.
        """
        state, _ = self.registry.feed()
        bundle = None if state.offered is None else self._readable(state.offered)
        if state.offered is None or bundle is None or bundle.version != version:
            raise UnknownAuthorityError(f"the feed does not offer version {version}: look at `trust status`")
        try:
            self._check(bundle, self.administration.decisions(), now=self.clock.now())
            self.administration.preview(bundle)
        except TrustError as error:
            raise UnfitAuthorityError(str(error)) from error
        self._follow(state.offered, version, by=by)

    def leave(self, *, by: str) -> None:
        """Follow no bundle of the feed any longer: trust is that of the manifests again. Raises StoreUnavailable."""
        if self.administration.decisions().followed is None:
            raise UnknownAuthorityError("no bundle of a feed is in force")
        self.administration.follow(None, by=by)

    def _fetch(self, state: FeedState) -> FeedState:
        """Return the state after a look at the feed."""
        if self.client is None:
            raise UnknownAuthorityError("the settings name no trust feed (VERIFIER_TRUST_FEED)")
        try:
            fetched = self.client.fetch(state.metadata)
        except FeedFailed as error:
            return replace(state, problem=str(error))
        now = self.clock.now()
        verified = replace(state, metadata=fetched.metadata, checked_at=now)
        try:
            bundle = self.read(fetched.bundle)
            self._check(bundle, self.administration.decisions(), now=now)
            self.administration.preview(bundle)
        except TrustError as error:
            return replace(verified, problem=f"The bundle is refused: {error}.")
        return replace(verified, offered=fetched.bundle, problem="")

    def _check(self, bundle: PublishedBundle, decisions: OperatorDecisions, *, now: datetime) -> None:
        """Raise TrustError if the bundle may not be put in force."""
        if bundle.expires_at <= now:
            raise TrustError(f"version {bundle.version} has expired")
        followed = None if decisions.followed is None else self._readable(decisions.followed.raw)
        if followed is not None:
            followed.check_successor(bundle)

    def _apply(self, state: FeedState, *, by: str) -> None:
        status = self.status()
        if status.offer is not None and state.offered is not None and not status.offer.reasons:
            self._follow(state.offered, status.offer.bundle.version, by=by)

    def _follow(self, raw: bytes, version: int, *, by: str) -> None:
        bundle = FollowedBundle(raw=raw, version=version, decided_by=by, decided_at=self.clock.now())
        self.administration.follow(bundle, by=by)

    def _offer(self, bundle: PublishedBundle) -> Offer:
        before: TrustBundle = self.administration.bundle()
        try:
            after, ignored = self.administration.preview(bundle)
        except TrustError as error:
            return Offer(bundle=bundle, changes=(), ignored=(), reasons=(str(error),))
        return Offer(
            bundle=bundle,
            changes=changes_between(before, after),
            ignored=ignored,
            reasons=reasons_to_ask(before, after, now=self.clock.now()),
        )

    def _readable(self, raw: bytes) -> PublishedBundle | None:
        """Return the stored bundle, or None if an earlier or later release stored one that this one cannot read."""
        try:
            return self.read(raw)
        except TrustError:
            return None

    def _report(self, state: FeedState) -> None:
        outcome = FeedOutcome.REFUSED if state.problem else FeedOutcome.VERIFIED
        self.recorder.record(FeedChecked(outcome=outcome, detail=state.problem))

"""Follow a trust feed: look for a newer bundle, and put it in force or offer it to the operator."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from verifier.core.trust.bundle import TrustError
from verifier.core.trust.operator_decisions import FollowedBundle, OperatorDecisions, RejectedBundle
from verifier.core.trust.published import (
    FeedChange,
    FeedMode,
    PublishedBundle,
    changes_between,
    check_version_step,
    reasons_to_ask,
)
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import FeedChecked, FeedOutcome, Recorder
from verifier.ports.trust import MAX_FEED_METADATA_BYTES, FeedClient, FeedFailed, FeedState, TrustRegistry
from verifier.usecases.trust_administration import TrustAdministration, UnfitAuthorityError, UnknownAuthorityError

#: Who decides in the audit log if the mode is `apply`.
FEED = "feed"
#: One replica at a time looks at the feed, and after its look all of them rest.
_LOOKING = "trust-feed"
_RESTING = "trust-feed-rest"
#: If a replica ends during its look, or the registry is away, another one looks after this time.
_LOOK_LASTS = timedelta(minutes=2)
#: The rest after a look that failed, if the interval is longer.
_RETRY = timedelta(minutes=5)
_ATTEMPTS = 4


class _Waits(Exception):
    """Report that the mode `apply` does not put a bundle in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A bundle that is not in force, with what it would change and why the mode `apply` asks the operator."""

    bundle: PublishedBundle
    changes: tuple[FeedChange, ...]
    ignored: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """The state of a feed. `in_force` is the bundle that the service follows, or None.

    `source` is empty if the settings name no feed. `unreadable` says why this release cannot use the bundle that the
    operators' decisions name. `ignored` are the parts of the bundle in force that have no effect. `rejected` says who
    rejected the bundle that the feed publishes now.
    """

    source: str
    mode: FeedMode
    in_force: PublishedBundle | None
    ignored: tuple[str, ...]
    unreadable: str
    offer: Offer | None
    rejected: RejectedBundle | None
    checked_at: datetime | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFeed:
    """Look at the feed of `client`. `read` reads a published bundle, and raises TrustError.

    `poll` and `look` run in no request, because they wait for the feed. A feed that fails changes nothing that is in
    force. `source` names the feed for the operator.
    """

    client: FeedClient | None
    administration: TrustAdministration
    registry: TrustRegistry
    read: Callable[[bytes], PublishedBundle]
    recorder: Recorder
    clock: Clock
    mode: FeedMode = FeedMode.PROPOSE
    interval: timedelta = timedelta(hours=1)
    source: str = ""

    def poll(self) -> None:
        """Look at the feed, unless another replica has done so within the interval. Raises StoreUnavailable.

        A look that failed is repeated after some minutes.
        """
        if self.registry.is_claimed(_RESTING):
            return
        if self.registry.claim(_LOOKING, lasting=min(self.interval, _LOOK_LASTS)):
            status = self.look()
            self.registry.claim(_RESTING, lasting=min(self.interval, _RETRY) if status.problem else self.interval)

    def look(self, *, by: str = FEED) -> FeedStatus:
        """Look at the feed now, and put a newer bundle in force if the mode is `apply` and no reason to ask exists.

        Raises StoreUnavailable, and UnknownAuthorityError without a client.
        """
        for _ in range(_ATTEMPTS):
            before, revision = self.registry.feed()
            after = self._fetch(before)
            if self.registry.keep_feed(after, expected=revision):
                if after.offered is not None and not after.problem and self.mode is FeedMode.APPLY:
                    self._apply(after.offered, by=by)
                status = self.status()
                self._report(before, after, status)
                return status
        raise StoreUnavailable("Other replicas looked at the trust feed at the same time. Try again.")

    def status(self) -> FeedStatus:
        """Return the state of the feed. Raises StoreUnavailable."""
        state, _ = self.registry.feed()
        decisions = self.administration.decisions()
        followed, rejected = decisions.followed, decisions.rejected_bundle
        in_force: PublishedBundle | None = None
        ignored: tuple[str, ...] = ()
        unreadable = ""
        if followed is not None and followed.raw is not None:
            try:
                in_force = self.read(followed.raw)
                _, ignored = self.administration.preview(in_force)
            except TrustError as error:
                unreadable = f"version {followed.version}: {error}"
        return FeedStatus(
            source=self.source,
            mode=self.mode,
            in_force=in_force,
            ignored=ignored,
            unreadable=unreadable,
            offer=None if state.offered is None else self._offer(state.offered, decisions),
            rejected=rejected if rejected and state.offered and rejected.is_of(state.offered) else None,
            checked_at=state.checked_at,
            problem=state.problem,
        )

    def approve(self, version: int, *, by: str) -> None:
        """Put the bundle with this version, which the feed publishes now, in force. That ends a rejection of it.

        Raises UnknownAuthorityError if the feed publishes another version, UnfitAuthorityError if the bundle may not be
        put in force, and StoreUnavailable.
        """
        raw, bundle = self._published(version)

        def judge(decisions: OperatorDecisions) -> None:
            try:
                self._check(bundle, decisions.followed)
                self.administration.preview(bundle)
            except TrustError as error:
                raise UnfitAuthorityError(str(error)) from error

        self._follow(raw, version, by=by, judge=judge)

    def reject(self, version: int, *, by: str) -> None:
        """Offer the bundle with this version no longer, and never put it in force in the mode `apply`.

        A later version is offered. An operator can still approve the rejected one while the feed publishes it. Raises
        UnknownAuthorityError if the feed publishes another version or this one is in force, and StoreUnavailable.
        """
        raw, _ = self._published(version)

        def judge(decisions: OperatorDecisions) -> None:
            followed = decisions.followed
            if followed is not None and followed.raw is not None and version <= followed.version:
                raise UnknownAuthorityError(
                    f"version {version} is not offered, because version {followed.version} is in force: "
                    "`trust update --leave` takes it out of force"
                )

        rejected = RejectedBundle(
            version=version, sha256=hashlib.sha256(raw).hexdigest(), decided_by=by, decided_at=self.clock.now()
        )
        self.administration.reject_bundle(rejected, by=by, judge=judge)

    def leave(self, *, by: str) -> None:
        """Follow no bundle of the feed any longer: trust is that of the manifests and the operators' pins.

        The mode `apply` puts only later versions in force. An operator can approve the same version again. Raises
        UnknownAuthorityError if no bundle is in force or another one came in force meanwhile, and StoreUnavailable.
        """
        followed = self.administration.decisions().followed
        if followed is None or followed.raw is None:
            raise UnknownAuthorityError("no bundle of a feed is in force")

        def judge(decisions: OperatorDecisions) -> None:
            if decisions.followed != followed:
                raise UnknownAuthorityError("the bundle in force changed meanwhile: look at `trust status`")

        left = replace(followed, raw=None, decided_by=by, decided_at=self.clock.now())
        self.administration.follow(left, by=by, judge=judge)

    def forget(self, *, by: str) -> None:
        """Forget the offered bundle and every version that was in force, and take the bundle in force out of force.

        An operator needs it after a thief of keys published a version that no later one reaches. The metadata of TUF
        and the rejection of a bundle stay. Raises StoreUnavailable.
        """
        for _ in range(_ATTEMPTS):
            state, revision = self.registry.feed()
            if self.registry.keep_feed(replace(state, offered=None), expected=revision):
                self.administration.forget_followed(by=by)
                return
        raise StoreUnavailable("Other replicas looked at the trust feed at the same time. Try again.")

    def _published(self, version: int) -> tuple[bytes, PublishedBundle]:
        """Return the bundle that the feed publishes now. Raises UnknownAuthorityError if it has another version."""
        raw = self.registry.feed()[0].offered
        bundle = None if raw is None else self._readable(raw)
        if raw is None or bundle is None or bundle.version != version:
            raise UnknownAuthorityError(
                f"the service knows no offer of version {version}: run `trust update`, which looks at the feed"
            )
        return raw, bundle

    def _fetch(self, state: FeedState) -> FeedState:
        """Return the state after a look at the feed."""
        if self.client is None:
            raise UnknownAuthorityError("the settings name no trust feed (VERIFIER_TRUST_FEED)")
        try:
            fetched = self.client.fetch(state.metadata)
        except FeedFailed as error:
            return replace(state, problem=str(error))
        if sum(map(len, fetched.metadata.values())) > MAX_FEED_METADATA_BYTES:
            return replace(state, problem=f"The feed has more than {MAX_FEED_METADATA_BYTES} bytes of metadata.")
        if fetched.root_sha256 != state.root_sha256:
            # The versions of another feed do not limit those of this one.
            state = replace(state, offered=None, root_sha256=fetched.root_sha256)
        verified = replace(state, metadata=fetched.metadata, checked_at=self.clock.now())
        try:
            bundle = self.read(fetched.bundle)
            self._check_offered(state, fetched.bundle, bundle)
            self._check(bundle, self.administration.decisions().followed)
            self.administration.preview(bundle)
        except TrustError as error:
            return replace(verified, problem=f"The bundle is refused: {error}.")
        return replace(verified, offered=fetched.bundle, problem="")

    def _check_offered(self, state: FeedState, raw: bytes, bundle: PublishedBundle) -> None:
        """Raise TrustError if a version would name other content than before: an operator approves by version."""
        offered = None if state.offered is None else self._readable(state.offered)
        if offered is not None and bundle.version < offered.version:
            raise TrustError(f"version {bundle.version} is older than version {offered.version}, which was offered")
        if offered is not None:
            check_version_step(offered.version, bundle.version)
        if offered is not None and bundle.version == offered.version and raw != state.offered:
            raise TrustError(f"version {bundle.version} differs from the version {offered.version} that was offered")

    def _check(self, bundle: PublishedBundle, followed: FollowedBundle | None) -> None:
        """Raise TrustError if the bundle may not be put in force."""
        if bundle.expires_at <= self.clock.now():
            raise TrustError(f"version {bundle.version} has expired")
        if followed is not None and bundle.version < followed.version:
            raise TrustError(f"version {bundle.version} is older than version {followed.version}, which was in force")
        if followed is not None:
            check_version_step(followed.version, bundle.version)
        in_force = None if followed is None or followed.raw is None else self._readable(followed.raw)
        if in_force is not None:
            in_force.check_successor(bundle)

    def _apply(self, raw: bytes, *, by: str) -> None:
        """Put exactly this bundle in force, unless it is not newer or an operator must approve it."""
        version = self.read(raw).version

        def judge(decisions: OperatorDecisions) -> None:
            offer = self._offer(raw, decisions)
            if offer is None or offer.reasons:
                raise _Waits

        with suppress(_Waits):
            self._follow(raw, version, by=by, judge=judge)

    def _follow(self, raw: bytes, version: int, *, by: str, judge: Callable[[OperatorDecisions], None]) -> None:
        bundle = FollowedBundle(raw=raw, version=version, decided_by=by, decided_at=self.clock.now())
        self.administration.follow(bundle, by=by, judge=judge)

    def _offer(self, raw: bytes, decisions: OperatorDecisions) -> Offer | None:
        """Return what the bundle would change. Return None if it is unreadable, not newer or rejected."""
        if decisions.rejected_bundle is not None and decisions.rejected_bundle.is_of(raw):
            return None
        bundle, followed = self._readable(raw), decisions.followed
        in_force = None if followed is None or followed.raw is None else self._readable(followed.raw)
        if bundle is None or (in_force is not None and bundle.version <= in_force.version):
            return None
        try:
            self._check(bundle, followed)
            after, ignored = self.administration.preview(bundle)
        except TrustError as error:
            return Offer(bundle=bundle, changes=(), ignored=(), reasons=(str(error),))
        # After the preview, which takes the changes of other replicas.
        before = self.administration.bundle()
        reasons = reasons_to_ask(before, after, now=self.clock.now())
        if followed is not None and followed.raw is None and bundle.version == followed.version:
            reasons = (f"{followed.decided_by} took it out of force", *reasons)
        return Offer(bundle=bundle, changes=changes_between(before, after), ignored=ignored, reasons=reasons)

    def _readable(self, raw: bytes) -> PublishedBundle | None:
        """Return the stored bundle, or None if another release stored one that this one cannot read."""
        try:
            return self.read(raw)
        except TrustError:
            return None

    def _report(self, before: FeedState, after: FeedState, status: FeedStatus) -> None:
        is_news = (before.problem, before.offered) != (after.problem, after.offered)
        if after.problem:
            self.recorder.record(FeedChecked(outcome=FeedOutcome.REFUSED, detail=after.problem, is_news=is_news))
            return
        detail = "no bundle is in force" if status.in_force is None else f"version {status.in_force.version} in force"
        if status.rejected is not None:
            detail += f", version {status.rejected.version} is rejected"
        if status.offer is not None:
            reasons = "; ".join(status.offer.reasons)
            detail += f", version {status.offer.bundle.version} waits for approval{reasons and f': {reasons}'}"
        self.recorder.record(FeedChecked(outcome=FeedOutcome.VERIFIED, detail=detail, is_news=is_news))

"""Report the trust of this process as gauges, computed at the time of the scrape."""

from collections import Counter as Counts
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from verifier.adapters.telemetry.gauge import ScrapedGauge
from verifier.core.issuer_review import ReviewStatus, survey_issuer
from verifier.core.trust.bundle import State, TrustBundle, TrustError
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.trust.horizon import horizon
from verifier.core.trust.published import PublishedBundle
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.ports.stores import Unavailable
from verifier.ports.trust import TrustRegistry, TrustSource

_HORIZON = ScrapedGauge(
    "verifier_trust_horizon_seconds",
    "Time from now during which a chain of usable certificates exists without a gap, by cloud; 0 without a chain. "
    "Closed clouds, and those that are not served, have none.",
    labels=("cloud",),
)
_END = ScrapedGauge(
    "verifier_trust_certificate_not_after_seconds",
    f"End of validity of each trusted certificate, in Unix time. Its state is {', '.join(State)} or denied.",
    labels=("subject", "sha256", "role", "state"),
)
_ISSUERS = ScrapedGauge(
    "verifier_issuers_discovered",
    f"Issuers that documents named without a pin, by their status now: {', '.join(ReviewStatus)}.",
    labels=("review_status",),
)
_LAST_SUCCESS = ScrapedGauge(
    "verifier_trust_feed_last_success_seconds",
    "Last verified look at the trust feed, in Unix time; 0 before the first.",
)
_IN_FORCE = ScrapedGauge("verifier_trust_feed_version", "Version of the feed's bundle that is in force; 0 without one.")
_OFFERED = ScrapedGauge(
    "verifier_trust_feed_offered_version", "Version of the feed's bundle that waits for an operator; 0 without one."
)
_EXPIRY = ScrapedGauge(
    "verifier_trust_feed_expiry_seconds",
    "End of the feed's bundle that is in force, in Unix time. An expired bundle stays in force.",
)


class TrustCollector(Collector):
    """Collect the gauges of trust. All replicas report the same after their next refresh."""

    GAUGES = (_HORIZON, _END, _ISSUERS, _LAST_SUCCESS, _IN_FORCE, _OFFERED, _EXPIRY)

    def __init__(
        self,
        *,
        trust: TrustSource,
        registry: TrustRegistry,
        clock: Clock,
        served: frozenset[Cloud] = SERVED_BY_DEFAULT,
        read_feed: Callable[[bytes], PublishedBundle] | None = None,
    ) -> None:
        """`read_feed` reads a bundle, or is None if the service follows no feed: then its gauges are absent."""
        self._trust = trust
        self._registry = registry
        self._clock = clock
        self._served = served
        self._read_feed = read_feed
        self._generation = ""
        self._horizons: dict[Cloud, _Horizon] = {}

    def collect(self) -> Iterable[Metric]:
        """Yield the gauges. A gauge is absent if its value is unknown now."""
        now = self._clock.now()
        with suppress(Unavailable):
            bundle = self._trust.bundle()
            yield self._collect_horizons(bundle, now)
            yield _collect_ends(bundle, now)
        with suppress(Unavailable):  # the registry and the bundle may both be unavailable
            yield self._collect_issuers(now)
        if self._read_feed is not None:
            with suppress(Unavailable):
                yield from self._collect_feed(self._read_feed)

    def _collect_feed(self, read: Callable[[bytes], PublishedBundle]) -> Iterable[Metric]:
        state, _ = self._registry.feed()
        decisions, _ = self._registry.decisions()
        in_force, expiry, offered = 0, None, 0
        followed = decisions.followed
        if followed is not None and followed.raw is not None:
            in_force = followed.version
            with suppress(TrustError):
                expiry = read(followed.raw).expires_at.timestamp()
        if state.offered is not None:
            with suppress(TrustError):
                offered = read(state.offered).version
        checked = 0.0 if state.checked_at is None else state.checked_at.timestamp()
        yield _LAST_SUCCESS.family(checked)
        yield _IN_FORCE.family(in_force)
        yield _OFFERED.family(offered if offered > in_force else 0)
        family = _EXPIRY.family()
        if expiry is not None:
            family.add_metric([], expiry)
        yield family

    def _collect_issuers(self, now: datetime) -> Metric:
        decisions, _ = self._registry.decisions()
        bundle = self._trust.bundle()
        surveyed = (survey_issuer(one, bundle, decisions, at=now) for one in self._registry.discovered())
        issuers = Counts(one.review_status for one in surveyed)
        family = _ISSUERS.family()
        for status in ReviewStatus:
            family.add_metric([status.value], issuers[status])
        return family

    def _collect_horizons(self, bundle: TrustBundle, now: datetime) -> Metric:
        if bundle.generation != self._generation:
            self._generation, self._horizons = bundle.generation, {}
        family = _HORIZON.family()
        for cloud, trust in bundle.open_clouds(self._served, at=now).items():
            known = self._horizons.get(cloud)
            if known is None or not known.since <= now <= known.end:
                # The horizon costs milliseconds of signature checks and stays the same until it has passed.
                end = horizon(trust, now=now)
                known = _Horizon(since=now, end=now if end is None else end)
                self._horizons[cloud] = known
            family.add_metric([cloud.value], (known.end - now).total_seconds())
        return family


@dataclass(frozen=True, slots=True, kw_only=True)
class _Horizon:
    """Cache a horizon that was computed at `since`. Without a chain, `end` equals `since`."""

    since: datetime
    end: datetime


def _collect_ends(bundle: TrustBundle, now: datetime) -> Metric:
    family = _END.family()
    for entry in bundle.entries:
        certificate = entry.certificate
        state = "denied" if bundle.denials.names(certificate) else entry.state_at(now).value
        family.add_metric(
            [certificate.subject, certificate.sha256, entry.role.value, state], certificate.not_after.timestamp()
        )
    return family

"""The metrics of trust: gauges, of the process that is asked, at the moment of the scrape."""

from collections import Counter as Counts
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from verifier.core.issuer_review import ReviewStatus, survey_issuer
from verifier.core.trust.bundle import TrustBundle
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.trust.horizon import horizon
from verifier.ports.clock import Clock
from verifier.ports.stores import Unavailable
from verifier.ports.trust import TrustRegistry, TrustSource

_DENIED = "denied"


class TrustCollector(Collector):
    """The trust of this process at the moment of the scrape. Replicas agree on it within a refresh."""

    def __init__(
        self,
        *,
        trust: TrustSource,
        registry: TrustRegistry,
        clock: Clock,
        served: frozenset[Cloud] = SERVED_BY_DEFAULT,
    ) -> None:
        self._trust = trust
        self._registry = registry
        self._clock = clock
        self._served = served
        self._generation = ""
        self._horizons: dict[Cloud, _Horizon] = {}

    def collect(self) -> Iterable[Metric]:
        """What cannot be known now is absent: no number stands for it."""
        now = self._clock.now()
        with suppress(Unavailable):
            bundle = self._trust.bundle()
            yield self._collect_horizons(bundle, now)
            yield _collect_ends(bundle, now)
        with suppress(Unavailable):  # the registry, or the trust that its issuers are held against
            yield self._collect_issuers(now)

    def _collect_issuers(self, now: datetime) -> Metric:
        decisions, _ = self._registry.decisions()
        bundle = self._trust.bundle()
        standings = Counts(
            survey_issuer(one, bundle, decisions, at=now).standing for one in self._registry.discovered()
        )
        family = GaugeMetricFamily(
            "verifier_issuers_discovered",
            "Issuers in the registry that documents came under while nobody pinned them, by what is decided since.",
            labels=["standing"],
        )
        for standing in ReviewStatus:
            family.add_metric([standing.value], standings[standing])
        return family

    def _collect_horizons(self, bundle: TrustBundle, now: datetime) -> Metric:
        if bundle.generation != self._generation:
            self._generation, self._horizons = bundle.generation, {}
        family = GaugeMetricFamily(
            "verifier_trust_horizon_seconds",
            "Time for which some chain of usable certificates exists, from now on without a gap; 0 if none does. "
            "Only for clouds that are served and not closed.",
            labels=["cloud"],
        )
        for cloud, trust in bundle.open_clouds(self._served, at=now).items():
            known = self._horizons.get(cloud)
            if known is None or not known.since <= now <= known.end:
                # Milliseconds of signatures to verify, and the same end until it has come.
                end = horizon(trust, now=now)
                known = _Horizon(since=now, end=now if end is None else end)
                self._horizons[cloud] = known
            family.add_metric([cloud.value], (known.end - now).total_seconds())
        return family


@dataclass(frozen=True, slots=True, kw_only=True)
class _Horizon:
    """As it was found at `since`; where there was none, it ended then."""

    since: datetime
    end: datetime


def _collect_ends(bundle: TrustBundle, now: datetime) -> Metric:
    family = GaugeMetricFamily(
        "verifier_trust_certificate_not_after_seconds",
        "The end of each trusted authority's certificate, in Unix time; its state is as of the scrape.",
        labels=["subject", "sha256", "role", "state"],
    )
    for entry in bundle.entries:
        certificate = entry.certificate
        state = _DENIED if bundle.denials.names(certificate) else entry.state_at(now).value
        family.add_metric(
            [certificate.subject, certificate.sha256, entry.role.value, state], certificate.not_after.timestamp()
        )
    return family

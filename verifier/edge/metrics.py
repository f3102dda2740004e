"""The metrics, as Prometheus reads them: what all workers of a service counted, and the trust of the one that answers.

Labels are few and ours: routes, statuses, codes, and certificate authorities that somebody trusts. Nothing that a
sender makes up is one.
"""

import os
import shutil
import tempfile
import threading
from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from verifier.core.clouds import Cloud
from verifier.core.discovery import Sighting
from verifier.core.horizon import horizon
from verifier.core.standing import Standing, survey_issuer
from verifier.core.trust import TrustBundle
from verifier.ports import (
    AuditEvent,
    Clock,
    Exchange,
    Recorder,
    ReloadOutcome,
    TrustRegistry,
    TrustSource,
    Unavailable,
)

#: Names the directory to the library.
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
#: In seconds: a remembered chain takes a millisecond, a fetched issuer up to five seconds.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_DENIED = "denied"


class ChainCounts(Protocol):
    """How often a chain was remembered, and how often not, in this process."""

    @property
    def hits(self) -> int: ...

    @property
    def misses(self) -> int: ...


@contextmanager
def shared_values() -> Iterator[Path]:
    """Inside, what this process and those that it forks count is added up: each counts in files of its own, in the
    directory that this gives, which nobody else may read. It is under $TMPDIR, and goes with the process that made it.

    Recorders must be made inside. Not checked: that workers end (`forget_worker`).
    """
    owner = os.getpid()
    directory = Path(tempfile.mkdtemp(prefix="imds-verifier-metrics-"))
    before = values.ValueClass
    os.environ[_VARIABLE] = str(directory)
    # The library chooses by the variable when it is imported, which is before there is a directory.
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]  # untyped in the library
    try:
        yield directory
    finally:
        # A worker that ends unwinds through here too, and must leave the files to the others.
        if os.getpid() == owner:
            values.ValueClass = before
            del os.environ[_VARIABLE]
            shutil.rmtree(directory, ignore_errors=True)


def forget_worker(process_id: int) -> None:
    """What only the living count is not counted for this process any more; what it added up stays. Call it where
    a worker has ended: gunicorn's child_exit."""
    mark_process_dead(process_id)  # type: ignore[no-untyped-call]  # untyped in the library


class MetricsRecorder:
    """Counts. Implements the Recorder port. One for all workers, made before they are forked: two in one process
    would write over each other's counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._responses = Counter(
            "verifier_http_responses",
            "Answers, by route, status and problem code (empty: no problem).",
            ["route", "status", "code"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "verifier_http_request_duration_seconds",
            "Time from a request's head to its answer, by route.",
            ["route"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._reloads = Counter(
            "verifier_trust_reload",
            "Trust bundles that a worker took, or refused and kept the one before.",
            ["outcome"],
            registry=self.registry,
        )
        self._chains = Counter(
            "verifier_chain_memory",
            "Chains that were remembered (hit), or had to be built (miss).",
            ["outcome"],
            registry=self.registry,
        )
        self._turn = threading.Lock()
        self._counts: ChainCounts | None = None
        self._hits = self._misses = 0
        # A counter that is first seen with a 1 is an increase that nobody sees.
        for outcome in ReloadOutcome:
            self._reloads.labels(outcome.value)
        for result in ("hit", "miss"):
            self._chains.labels(result)

    def follow(self, chains: ChainCounts) -> None:
        """What this process's chains count from now on is among the metrics."""
        with self._turn:
            self._counts, self._hits, self._misses = chains, chains.hits, chains.misses

    def answered(self, exchange: Exchange) -> None:
        self._responses.labels(exchange.route, str(exchange.status), exchange.code).inc()
        self._seconds.labels(exchange.route).observe(exchange.seconds)
        self._count_chains()

    def failed(self, request_id: str, error: Exception) -> None:
        """Its answer is counted."""

    def issuer_sighted(self, sighting: Sighting, *, authorities: int) -> None:
        """The registry knows how many there are."""

    def trust_changed(self, event: AuditEvent) -> None:
        """It shows as a reload, on every worker."""

    def trust_reloaded(self, outcome: ReloadOutcome, *, generation: str, detail: str) -> None:  # noqa: ARG002 - the port's
        self._reloads.labels(outcome.value).inc()

    def _count_chains(self) -> None:
        """After each answer, since another worker may be the one that is scraped."""
        with self._turn:
            if self._counts is None:
                return
            hits, misses = self._counts.hits, self._counts.misses
            self._chains.labels("hit").inc(hits - self._hits)
            self._chains.labels("miss").inc(misses - self._misses)
            self._hits, self._misses = hits, misses


class FanOut:
    """Tells several recorders, in their order. Implements the Recorder port."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._recorders = tuple(recorders)

    def answered(self, exchange: Exchange) -> None:
        for recorder in self._recorders:
            recorder.answered(exchange)

    def failed(self, request_id: str, error: Exception) -> None:
        for recorder in self._recorders:
            recorder.failed(request_id, error)

    def issuer_sighted(self, sighting: Sighting, *, authorities: int) -> None:
        for recorder in self._recorders:
            recorder.issuer_sighted(sighting, authorities=authorities)

    def trust_changed(self, event: AuditEvent) -> None:
        for recorder in self._recorders:
            recorder.trust_changed(event)

    def trust_reloaded(self, outcome: ReloadOutcome, *, generation: str, detail: str) -> None:
        for recorder in self._recorders:
            recorder.trust_reloaded(outcome, generation=generation, detail=detail)


class TrustCollector(Collector):
    """The trust of this process at the moment of the scrape. Replicas agree on it within a refresh."""

    def __init__(self, *, trust: TrustSource, registry: TrustRegistry, clock: Clock) -> None:
        self._trust = trust
        self._registry = registry
        self._clock = clock
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
            yield self._collect_issuers()

    def _collect_issuers(self) -> Metric:
        decisions, _ = self._registry.decisions()
        bundle = self._trust.bundle()
        standings = Counts(survey_issuer(one, bundle, decisions).standing for one in self._registry.discovered())
        family = GaugeMetricFamily(
            "verifier_issuers_discovered",
            "Issuers in the registry that documents came under while nobody pinned them, by what is decided since.",
            labels=["standing"],
        )
        for standing in Standing:
            family.add_metric([standing.value], standings[standing])
        return family

    def _collect_horizons(self, bundle: TrustBundle, now: datetime) -> Metric:
        if bundle.generation != self._generation:
            self._generation, self._horizons = bundle.generation, {}
        family = GaugeMetricFamily(
            "verifier_trust_horizon_seconds",
            "Time for which some chain of usable certificates exists, from now on without a gap; 0 where none does.",
            labels=["cloud"],
        )
        for cloud, trust in bundle.clouds.items():
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


class Metrics:
    """What GET /metrics answers in this process."""

    def __init__(
        self,
        *,
        recorder: MetricsRecorder,
        trust: TrustSource,
        registry: TrustRegistry,
        clock: Clock,
        chains: ChainCounts,
        version: str,
    ) -> None:
        recorder.follow(chains)
        self._recorder = recorder
        self._trust = TrustCollector(trust=trust, registry=registry, clock=clock)
        self._version = version

    def render(self) -> tuple[bytes, str]:
        """The metrics, and their media type: what every worker counted where `shared_values` is around the
        recorder, what this process did otherwise."""
        scrape = CollectorRegistry()
        directory = os.environ.get(_VARIABLE)
        if directory is None:
            scrape.register(self._recorder.registry)
        else:
            MultiProcessCollector(scrape, path=directory)  # type: ignore[no-untyped-call]  # untyped in the library
        scrape.register(self._trust)
        scrape.register(_Build(self._version))
        return generate_latest(scrape), CONTENT_TYPE_LATEST


class _Build(Collector):
    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("verifier_build_info", "The version of the service.", labels=["version"])
        family.add_metric([self._version], 1)
        yield family


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

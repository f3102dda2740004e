"""The metrics, as Prometheus reads them: what all workers of a service counted, and the trust of the one that answers.

Labels are few and ours: routes, statuses, codes, and certificate authorities that somebody trusts. Nothing that a
sender makes up is one.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from verifier.adapters.telemetry.trust_metrics import TrustCollector
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.ports.clock import Clock
from verifier.ports.telemetry import (
    AppraisalNotLogged,
    DocumentAppraised,
    Event,
    NonconformingGenuine,
    ReloadOutcome,
    ResponseSent,
    SettingsReloaded,
    StoreCallMeasured,
    StoreCircuitsChanged,
    TokenKeysReloaded,
    TrustReloaded,
)
from verifier.ports.trust import TrustRegistry, TrustSource

#: Names the directory to the library.
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
#: In seconds: a remembered chain takes a millisecond, a fetched issuer up to five seconds.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
#: A check of form takes 0.2 ms, a store on another host some.
_STEP_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


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
        self._settings = Counter(
            "verifier_settings_reload",
            "Settings that a worker took, or refused and kept the ones before.",
            ["outcome"],
            registry=self.registry,
        )
        self._token_keys = Counter(
            "verifier_token_keys_reload",
            "Keys of result tokens that a worker took, or refused and kept those before.",
            ["outcome"],
            registry=self.registry,
        )
        self._chains = Counter(
            "verifier_chain_memory",
            "Chains that were remembered (hit), or had to be built (miss).",
            ["outcome"],
            registry=self.registry,
        )
        self._attestations = Counter(
            "verifier_attestations",
            "Appraisals, by verdict, code (verified, or the problem's), and the cloud that the signer names.",
            ["outcome", "code", "cloud"],
            registry=self.registry,
        )
        self._checks = Histogram(
            "verifier_check_duration_seconds",
            "Time for one check of an appraisal, passed or not.",
            ["check"],
            registry=self.registry,
            buckets=_STEP_BUCKETS,
        )
        self._stores = Histogram(
            "verifier_store_duration_seconds",
            "Time until a store answered or was given up.",
            ["store", "operation"],
            registry=self.registry,
            buckets=_STEP_BUCKETS,
        )
        self._store_errors = Counter(
            "verifier_store_errors",
            "Calls of a store that it did not answer, or not in time.",
            ["store", "operation"],
            registry=self.registry,
        )
        self._open_circuits = Gauge(
            "verifier_store_circuits_open",
            "Redis servers that workers do not ask at the moment, since they did not answer: one for each worker.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._unkept = Counter(
            "verifier_audit_failures",
            "Decisions that could not be kept in the audit trail.",
            registry=self.registry,
        )
        self._nonconforming = Counter(
            "verifier_nonconforming_genuine",
            "Documents whose signature verified under a pinned issuer, and that exactness or a bound refused.",
            registry=self.registry,
        )
        self._turn = threading.Lock()
        self._counts: ChainCounts | None = None
        self._hits = self._misses = 0
        # A counter that is first seen with a 1 is an increase that nobody sees.
        for outcome in ReloadOutcome:
            self._reloads.labels(outcome.value)
            self._settings.labels(outcome.value)
            self._token_keys.labels(outcome.value)
        for result in ("hit", "miss"):
            self._chains.labels(result)

    def follow(self, chains: ChainCounts) -> None:
        """What this process's chains count from now on is among the metrics."""
        with self._turn:
            self._counts, self._hits, self._misses = chains, chains.hits, chains.misses

    def record(self, event: Event) -> None:  # noqa: C901 - one case for each event that it counts
        match event:
            case ResponseSent():
                self._responses.labels(event.route, str(event.status), event.code).inc()
                self._seconds.labels(event.route).observe(event.seconds)
                self._count_chains()
            case DocumentAppraised(record=record):
                cloud = record.cloud.value if record.cloud else ""
                self._attestations.labels(record.verdict.value, record.code, cloud).inc()
                for check, seconds in record.steps:
                    self._checks.labels(check.value).observe(seconds)
            case AppraisalNotLogged():
                self._unkept.inc()
            case NonconformingGenuine():
                self._nonconforming.inc()
            case TrustReloaded():
                self._reloads.labels(event.outcome.value).inc()
            case TokenKeysReloaded():
                self._token_keys.labels(event.outcome.value).inc()
            case SettingsReloaded():
                self._settings.labels(event.outcome.value).inc()
            case StoreCallMeasured():
                self._stores.labels(event.store, event.operation).observe(event.seconds)
                if event.failed:
                    self._store_errors.labels(event.store, event.operation).inc()
            case StoreCircuitsChanged():
                self._open_circuits.set(event.open_circuits)

    def _count_chains(self) -> None:
        """After each answer, since another worker may be the one that is scraped."""
        with self._turn:
            if self._counts is None:
                return
            hits, misses = self._counts.hits, self._counts.misses
            self._chains.labels("hit").inc(hits - self._hits)
            self._chains.labels("miss").inc(misses - self._misses)
            self._hits, self._misses = hits, misses


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
        served: frozenset[Cloud] = SERVED_BY_DEFAULT,
    ) -> None:
        recorder.follow(chains)
        self._recorder = recorder
        self._trust = TrustCollector(trust=trust, registry=registry, clock=clock, served=served)
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

"""Count events for Prometheus, over all workers of a service.

The service chooses all label values: routes, statuses, codes and trusted certificate authorities. A sender cannot
create a new time series.
"""

import os
import threading
from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from typing import Generic, Protocol, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from verifier.adapters.telemetry.gauge import ScrapedGauge
from verifier.adapters.telemetry.shared_values import DIRECTORY_VARIABLE
from verifier.adapters.telemetry.trust_metrics import TrustCollector
from verifier.ports import telemetry as events
from verifier.ports.decisions import AppraisalRecord, Stage, Verdict

#: In seconds. A request takes about 1 ms with a cached chain, and up to 5 s if it fetches an issuer.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
#: In seconds. A format check takes 0.2 ms, and a call to a store on another host some milliseconds.
_STEP_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
#: The metric of the times of checks counts one appraisal in this many. All checks would cost more than the other
#: counts of a request together.
_APPRAISALS_A_SAMPLE = 16

BUILD = ScrapedGauge("verifier_build_info", "The version of the service; always 1.", labels=("version",))

_Labelled = TypeVar("_Labelled", Counter, Histogram)


def _any_of(values_of_label: type[StrEnum]) -> str:
    return ", ".join(values_of_label)


class _Children(Generic[_Labelled]):
    """The time series of one metric, found faster than by its method `labels`."""

    def __init__(self, metric: _Labelled) -> None:
        self._metric: _Labelled = metric
        self._known: dict[tuple[str, ...], _Labelled] = {}

    def of(self, *labels: str) -> _Labelled:
        """Return the series with these labels. The caller bounds how many there are."""
        child = self._known.get(labels)
        if child is None:
            child = self._known[labels] = self._metric.labels(*labels)
        return child


class ChainCounts(Protocol):
    """Count the hits and misses of the chain cache in this process."""

    @property
    def hits(self) -> int: ...

    @property
    def misses(self) -> int: ...


class MetricsRecorder:
    """Count events. Implements the Recorder port.

    Create one recorder before the workers are forked. Two recorders in one process overwrite each other's counts.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)

        def labelled_counter(name: str, documentation: str, labels: list[str]) -> _Children[Counter]:
            return _Children(counter(name, documentation, labels))

        def labelled_histogram(
            name: str, documentation: str, labels: list[str], *, buckets: tuple[float, ...]
        ) -> _Children[Histogram]:
            return _Children(Histogram(name, documentation, labels, buckets=buckets, registry=self.registry))

        self._responses = labelled_counter(
            "verifier_http_responses",
            "Answers of every kind, by route, status and problem code. The code is empty without a problem.",
            ["route", "status", "code"],
        )
        self._seconds = labelled_histogram(
            "verifier_http_request_duration_seconds",
            "Time from the head of a request to its answer, by route.",
            ["route"],
            buckets=_BUCKETS,
        )
        self._reloads: dict[type, tuple[str, _Children[Counter]]] = {
            event: (
                subject,
                labelled_counter(
                    f"verifier_{subject}_reload",
                    f"{things} that a worker loaded, or refused while it kept the current {them}, by outcome "
                    f"({_any_of(events.ReloadOutcome)}).",
                    ["outcome"],
                ),
            )
            for event, subject, things, them in (
                (events.TrustReloaded, "trust", "Trust bundles", "one"),
                (events.SettingsReloaded, "settings", "Changed settings", "ones"),
                (events.TokenKeysReloaded, "token_keys", "Keys for result tokens", "ones"),
            )
        }
        self._refused = Gauge(
            "verifier_reload_refused",
            "Workers that refuse the present files and keep the last good ones, by subject (trust, settings, "
            "token_keys).",
            ["subject"],
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._chains = labelled_counter(
            "verifier_chain_cache",
            "Certificate chains, by outcome: taken from the cache (hit) or built (miss). Many misses come from "
            "strangers or from an issuer that is not pinned.",
            ["outcome"],
        )
        self._attestations = labelled_counter(
            "verifier_attestations",
            f"Appraisals, by outcome ({_any_of(Verdict)}), code and cloud. Only unavailable needs an operator. "
            "The code is verified or that of the problem. The cloud is empty if the document's is unknown.",
            ["outcome", "code", "cloud"],
        )
        self._checks = labelled_histogram(
            "verifier_check_duration_seconds",
            "Time for one check of an appraisal, if it passed or not. A worker measures one appraisal in "
            f"{_APPRAISALS_A_SAMPLE}.",
            ["check"],
            buckets=_STEP_BUCKETS,
        )
        self._stores = labelled_histogram(
            "verifier_store_duration_seconds",
            "Time until a store answered or the call failed, by store (nonces, registry, rates, outstanding, "
            "decisions, hsm) and operation. A request from a batch of a rate calls no store.",
            ["store", "operation"],
            buckets=_STEP_BUCKETS,
        )
        self._store_errors = labelled_counter(
            "verifier_store_errors",
            "Failed calls, by store and operation as in verifier_store_duration_seconds. A series begins with its "
            "first error.",
            ["store", "operation"],
        )
        self._open_circuits = Gauge(
            "verifier_store_circuits_open",
            "Redis servers that a worker does not call because its circuit breaker is open, added up over workers.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._decisions = labelled_counter(
            "verifier_decisions",
            "Appraisals and other requests that ended in a problem, by tenant, outcome and code. The tenant is empty "
            "without a valid key.",
            ["tenant", "outcome", "code"],
        )
        self._kept = counter(
            "verifier_decisions_kept",
            "Records that the decision store took in batches. With VERIFIER_AUDIT_REQUIRED, the records of appraisals "
            "are written before the answer and do not count.",
        )
        self._lost = labelled_counter(
            "verifier_decisions_lost",
            "Records that the decision store did not take, by reason and stage. They waited too long (waited), the "
            "queue was full (full) or the worker stopped (stopped). The stage is how far the document came: "
            f"{_any_of(Stage)}.",
            ["reason", "stage"],
        )
        self._waiting = Gauge(
            "verifier_decisions_waiting",
            "Records that wait for the decision store, added up over workers.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._nonconforming = counter(
            "verifier_nonconforming_genuine",
            "Refused documents whose signature verifies under a pinned issuer. Their form breaks a rule or a limit. A "
            "worker counts at most 20 a second.",
        )
        self._feed_looks = labelled_counter(
            "verifier_trust_feed_looks",
            f"Looks at the trust feed, by outcome ({_any_of(events.FeedOutcome)}). An unavailable feed counts as "
            "refused.",
            ["outcome"],
        )
        self._turn = threading.Lock()
        self._counts: ChainCounts | None = None
        self._hits = self._misses = 0
        self._appraised = 0
        # Start each counter at 0. Prometheus does not see an increase if the first sample is already 1.
        for _, reloads in self._reloads.values():
            for outcome in events.ReloadOutcome:
                reloads.of(outcome.value)
        for look in events.FeedOutcome:
            self._feed_looks.of(look.value)
        for result in ("hit", "miss"):
            self._chains.of(result)
        for reason in events.LossReason:
            for stage in Stage:
                self._lost.of(reason.value, stage.value)

    def follow(self, chains: ChainCounts) -> None:
        """Include the hits and misses of this chain cache from now on."""
        with self._turn:
            self._counts, self._hits, self._misses = chains, chains.hits, chains.misses

    def record(self, event: events.Event) -> None:  # noqa: C901 - one case for each event
        # The most frequent events come first: each case costs time.
        match event:
            case events.StoreCallMeasured():
                self._stores.of(event.store, event.operation).observe(event.seconds)
                if event.failed:
                    self._store_errors.of(event.store, event.operation).inc()
            case events.ResponseSent():
                self._responses.of(event.route, str(event.status), event.code).inc()
                self._seconds.of(event.route).observe(event.seconds)
                self._count_chains()
            case events.RequestRefused(record=record):
                self._count_decision(record)
            case events.DocumentAppraised(record=record):
                self._count_appraisal(record)
            case events.DecisionsKept():
                self._kept.inc(event.kept)
                self._waiting.set(event.waiting)
            case events.DecisionsLost():
                self._lost.of(event.reason.value, event.stage.value).inc(event.count)
            case events.NonconformingGenuine():
                self._nonconforming.inc()
            case events.TrustReloaded() | events.TokenKeysReloaded() | events.SettingsReloaded():
                self._count_reload(event)
            case events.FeedChecked():
                self._feed_looks.of(event.outcome.value).inc()
            case events.StoreCircuitsChanged():
                self._open_circuits.set(event.open_circuits)

    def _count_reload(self, event: events.TrustReloaded | events.TokenKeysReloaded | events.SettingsReloaded) -> None:
        subject, reloads = self._reloads[type(event)]
        reloads.of(event.outcome.value).inc()
        is_refused = event.outcome is events.ReloadOutcome.REFUSED
        if isinstance(event, events.TrustReloaded):  # a decision of an operator may be refused, or loaded, meanwhile
            is_refused = event.are_files_refused
        self._refused.labels(subject).set(is_refused)

    def _count_appraisal(self, record: AppraisalRecord) -> None:
        self._count_decision(record)
        self._attestations.of(record.verdict, record.code, record.cloud or "").inc()
        if self._appraised % _APPRAISALS_A_SAMPLE == 0:
            for check, seconds in record.steps:
                self._checks.of(check.value).observe(seconds)
        self._appraised += 1

    def _count_decision(self, record: AppraisalRecord) -> None:
        self._decisions.of(record.tenant, record.verdict, record.code).inc()

    def _count_chains(self) -> None:
        """Copy the counts after each response, because a scrape may reach another worker."""
        with self._turn:
            if self._counts is None:
                return
            hits, misses = self._counts.hits, self._counts.misses
            if hits != self._hits:
                self._chains.of("hit").inc(hits - self._hits)
            if misses != self._misses:
                self._chains.of("miss").inc(misses - self._misses)
            self._hits, self._misses = hits, misses


class Metrics:
    """Render the answer to GET /metrics."""

    def __init__(self, *, recorder: MetricsRecorder, trust: TrustCollector, chains: ChainCounts, version: str) -> None:
        recorder.follow(chains)
        self._recorder = recorder
        self._trust = trust
        self._version = version

    def render(self) -> tuple[bytes, str]:
        """Return the metrics and their media type.

        They cover all workers inside `shared_values`, and only this process otherwise.
        """
        scrape = CollectorRegistry()
        directory = os.environ.get(DIRECTORY_VARIABLE)
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
        family = BUILD.family()
        family.add_metric([self._version], 1)
        yield family

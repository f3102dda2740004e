"""Check the metrics of one process, of several processes, and of trust at the time of the scrape."""

import os
import re
import stat
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families
from support.chains import authority, root
from support.clocks import ManualClock
from support.documents import NOW, bundle_of, der, trusted
from support.feeds import published

from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.telemetry import trust_metrics
from verifier.adapters.telemetry.composite import CompositeRecorder
from verifier.adapters.telemetry.metrics import Metrics, MetricsRecorder
from verifier.adapters.telemetry.shared_values import shared_values
from verifier.adapters.telemetry.trust_metrics import TrustCollector
from verifier.adapters.trust.files import load_bundle
from verifier.adapters.trust.published import read_bundle, write_bundle
from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.reasons import Check
from verifier.core.trust.bundle import Denials, TrustBundle
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import FollowedBundle, OperatorDecisions
from verifier.ports.decisions import AppraisalRecord, Stage, Verdict
from verifier.ports.stores import StoreUnavailable, Unavailable
from verifier.ports.telemetry import (
    DecisionOutageChanged,
    DecisionsKept,
    DecisionsLost,
    DocumentAppraised,
    Event,
    FeedChecked,
    FeedOutcome,
    IssuerObserved,
    LossReason,
    NonconformingGenuine,
    Recorder,
    RefreshFailed,
    ReloadOutcome,
    RequestFailed,
    RequestRefused,
    ResponseSent,
    SettingsReloaded,
    StoreCallMeasured,
    StoreCircuitsChanged,
    TokenKeysReloaded,
    TrustChanged,
    TrustReloaded,
)
from verifier.ports.trust import FeedState, TrustAuditEvent

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(slots=True)
class Counts:
    hits: int = 0
    misses: int = 0


@dataclass(slots=True)
class Trust:
    """Implements the TrustSource port."""

    in_force: TrustBundle | None

    def bundle(self) -> TrustBundle:
        if self.in_force is None:
            raise Unavailable("No trust is loaded.")
        return self.in_force


def trust_reloaded(outcome: ReloadOutcome, generation: str = "", *, are_files_refused: bool = False) -> TrustReloaded:
    return TrustReloaded(outcome=outcome, generation=generation, are_files_refused=are_files_refused, detail="")


class UnavailableRegistry(SqliteTrustRegistry):
    def discovered(self) -> tuple[()]:
        raise StoreUnavailable("The registry is unavailable.")


def response(
    *, route: str = "POST /v1/nonces", status: int = 201, code: str = "", seconds: float = 0.002
) -> ResponseSent:
    return ResponseSent(request_id="request", route=route, status=status, code=code, seconds=seconds)


def observation(issuer: str = "CN=Unknown") -> IssuerObservation:
    return IssuerObservation(
        cloud=Cloud.PUBLIC,
        issuer=issuer,
        authority_key_identifier="aa",
        issuer_urls=(),
        signer_sha256="0" * 64,
        seen_at=NOW,
    )


def appraised(
    *,
    verdict: Verdict = Verdict.VERIFIED,
    code: str = "verified",
    cloud: Cloud | None = Cloud.PUBLIC,
    steps: tuple[tuple[Check, float], ...] = (),
) -> DocumentAppraised:
    record = AppraisalRecord(
        at=NOW, request_id="request", tenant="default", verdict=verdict, code=code, cloud=cloud, steps=steps
    )
    return DocumentAppraised(record=record)


@dataclass(kw_only=True)
class Page:
    """Render the metrics over parts that a test can change."""

    registry: SqliteTrustRegistry
    recorder: MetricsRecorder = field(default_factory=MetricsRecorder)
    trust: Trust = field(default_factory=lambda: Trust(load_bundle()))
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.metrics = Metrics(
            recorder=self.recorder,
            trust=TrustCollector(trust=self.trust, registry=self.registry, clock=self.clock),
            chains=self.counts,
            version="1.2.3",
        )

    def read(self) -> Samples:
        body, media_type = self.metrics.render()
        assert media_type.startswith("text/plain; version=")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.read().get((name, frozenset(labels.items())))


def issuers(page: Page) -> dict[str, float]:
    """Count the issuers by status, without statuses that have none."""
    name = "verifier_issuers_discovered"
    return {
        dict(labels)["review_status"]: value for (one, labels), value in page.read().items() if one == name and value
    }


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(registry=SqliteTrustRegistry(tmp_path / "registry.sqlite3"))


def nonconforming() -> NonconformingGenuine:
    document = NonconformingDocument(
        issuer="CN=Pinned",
        pin_sha256="aa" * 32,
        clouds=frozenset({Cloud.PUBLIC}),
        signer_sha256="bb" * 32,
        document_sha256="cc" * 32,
        detail="Two of an element.",
        seen_at=NOW,
    )
    return NonconformingGenuine(document=document)


def test_nonconforming_documents_are_counted_from_zero(page: Page) -> None:
    assert page.value("verifier_nonconforming_genuine_total") == 0
    for _ in range(2):
        page.recorder.record(nonconforming())
    assert page.value("verifier_nonconforming_genuine_total") == 2


class TestFeed:
    @pytest.fixture
    def feeding(self, tmp_path: Path) -> Page:
        page = Page(registry=SqliteTrustRegistry(tmp_path / "registry.sqlite3"))
        collector = TrustCollector(trust=page.trust, registry=page.registry, clock=page.clock, read_feed=read_bundle)
        page.metrics = Metrics(recorder=page.recorder, trust=collector, chains=page.counts, version="1")
        return page

    def test_has_no_gauge_without_a_feed(self, page: Page) -> None:
        gauges = {name for name, _ in page.read() if name.startswith("verifier_trust_feed")}
        assert gauges == {"verifier_trust_feed_looks_total", "verifier_trust_feed_looks_created"}

    def test_has_neither_look_nor_version_at_first(self, feeding: Page) -> None:
        assert feeding.value("verifier_trust_feed_last_success_seconds") == 0
        assert feeding.value("verifier_trust_feed_version") == 0
        assert feeding.value("verifier_trust_feed_offered_version") == 0
        assert feeding.value("verifier_trust_feed_expiry_seconds") is None

    def test_shows_the_version_in_force_and_the_offered_one(self, feeding: Page) -> None:
        first, second = published(version=7), published(version=8)
        followed = FollowedBundle(raw=write_bundle(first), version=7, decided_by="feed", decided_at=NOW)
        event = TrustAuditEvent(at=NOW, by="feed", what="follow feed", subject="7", before="", after="")
        assert feeding.registry.decide(OperatorDecisions(followed=followed), event, expected=0)
        state = FeedState(offered=write_bundle(first), checked_at=NOW)
        assert feeding.registry.keep_feed(state, expected=0)
        assert feeding.value("verifier_trust_feed_version") == 7
        assert feeding.value("verifier_trust_feed_offered_version") == 0
        assert feeding.value("verifier_trust_feed_expiry_seconds") == first.expires_at.timestamp()
        assert feeding.value("verifier_trust_feed_last_success_seconds") == NOW.timestamp()
        assert feeding.registry.keep_feed(FeedState(offered=write_bundle(second), checked_at=NOW), expected=1)
        assert feeding.value("verifier_trust_feed_offered_version") == 8

    def test_bundles_of_another_release_have_no_gauge(self, feeding: Page) -> None:
        followed = FollowedBundle(raw=b"{}", version=7, decided_by="feed", decided_at=NOW)
        event = TrustAuditEvent(at=NOW, by="feed", what="follow feed", subject="7", before="", after="")
        assert feeding.registry.decide(OperatorDecisions(followed=followed), event, expected=0)
        assert feeding.registry.keep_feed(FeedState(offered=b"{}"), expected=0)
        assert feeding.value("verifier_trust_feed_version") == 7
        assert feeding.value("verifier_trust_feed_offered_version") == 0
        assert feeding.value("verifier_trust_feed_expiry_seconds") is None

    def test_counts_looks_from_zero(self, page: Page) -> None:
        for outcome in (FeedOutcome.REFUSED, FeedOutcome.REFUSED, FeedOutcome.VERIFIED):
            page.recorder.record(FeedChecked(outcome=outcome, detail="", is_news=False))
        assert page.value("verifier_trust_feed_looks_total", outcome="refused") == 2
        assert page.value("verifier_trust_feed_looks_total", outcome="verified") == 1


class TestTrust:
    def test_horizons_cover_served_clouds_that_are_not_closed(self, tmp_path: Path) -> None:
        trust = Trust(load_bundle())
        registry, clock, recorder = SqliteTrustRegistry(tmp_path / "r.sqlite3"), ManualClock(NOW), MetricsRecorder()
        served = frozenset({Cloud.CHINA, Cloud.GERMANY})
        collector = TrustCollector(trust=trust, registry=registry, clock=clock, served=served)
        metrics = Metrics(recorder=recorder, trust=collector, chains=Counts(), version="1")
        [body, _] = metrics.render()
        assert re.findall(r'verifier_trust_horizon_seconds\{cloud="(\w+)"\}', body.decode()) == ["AzureChinaCloud"]

    def test_each_served_cloud_has_a_horizon(self, page: Page) -> None:
        seconds = page.value("verifier_trust_horizon_seconds", cloud="AzurePublicCloud")
        assert seconds is not None
        assert (NOW + timedelta(seconds=seconds)).isoformat() == "2029-06-03T23:03:41+00:00"
        assert {dict(labels)["cloud"] for name, labels in page.read() if name == "verifier_trust_horizon_seconds"} == {
            Cloud.PUBLIC,
            Cloud.US_GOVERNMENT,
            Cloud.CHINA,
        }

    def test_horizon_is_cached_and_decreases_with_time(self, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
        before = page.value("verifier_trust_horizon_seconds", cloud="AzurePublicCloud")
        monkeypatch.setattr(trust_metrics, "horizon", None)
        page.clock.advance(timedelta(days=1))
        assert before is not None
        assert page.value("verifier_trust_horizon_seconds", cloud="AzurePublicCloud") == before - 86400

    def test_horizon_is_zero_after_it_passed(self, page: Page) -> None:
        page.read()
        page.clock.advance(timedelta(days=4000))
        assert page.value("verifier_trust_horizon_seconds", cloud="AzurePublicCloud") == 0
        page.clock.advance(timedelta(days=-4000))
        assert page.value("verifier_trust_horizon_seconds", cloud="AzurePublicCloud") != 0

    def test_horizon_follows_the_bundle_in_force(self, page: Page) -> None:
        page.read()
        ca = authority("Metrics CA")
        page.trust.in_force = bundle_of(root().certificate, ca.certificate)
        end = ca.certificate.not_valid_after_utc
        assert page.value("verifier_trust_horizon_seconds", cloud="AzurePublicCloud") == (end - NOW).total_seconds()
        assert page.value("verifier_trust_horizon_seconds", cloud="AzureChinaCloud") is None

    def test_certificates_have_their_end_and_current_state(self, page: Page) -> None:
        ca = authority("Metrics CA").certificate
        anchor, pin = trusted(root().certificate), trusted(ca, retire_at=NOW + timedelta(days=10))
        page.trust.in_force = TrustBundle.of((anchor, pin))
        labels = {"subject": pin.certificate.subject, "sha256": pin.certificate.sha256, "role": "intermediate"}
        name = "verifier_trust_certificate_not_after_seconds"
        end = ca.not_valid_after_utc.timestamp()
        assert page.value(name, state="expiring", **labels) == end
        page.clock.advance(timedelta(days=10))
        assert page.value(name, state="retired", **labels) == end
        assert page.value(name, state="expiring", **labels) is None
        denied = Denials(serial_numbers=frozenset({ca.serial_number}))
        page.trust.in_force = TrustBundle.of((anchor, pin), denials=denied)
        assert page.value(name, state="denied", **labels) == end

    def test_each_certificate_has_one_series(self, page: Page) -> None:
        series = [name for name, _ in page.read() if name == "verifier_trust_certificate_not_after_seconds"]
        assert len(series) == len(load_bundle().entries)

    def test_horizons_are_absent_without_a_bundle(self, page: Page) -> None:
        page.trust.in_force = None
        assert not [name for name, _ in page.read() if name.startswith("verifier_trust_horizon")]

    def test_discovered_issuers_are_counted_by_status(self, page: Page) -> None:
        assert issuers(page) == {}
        ca = authority("Metrics CA").certificate
        page.trust.in_force = bundle_of(root().certificate)
        page.registry.record(observation(), [])
        page.registry.record(observation("CN=Another"), [der(ca)])
        assert sum(issuers(page).values()) == 2
        assert len(issuers(page)) == 2
        page.trust.in_force = bundle_of(root().certificate, ca)
        assert len(issuers(page)) == 2
        assert sum(issuers(page).values()) == 2

    def test_issuers_are_absent_if_the_registry_is_unavailable(self, tmp_path: Path) -> None:
        page = Page(registry=UnavailableRegistry(tmp_path / "registry.sqlite3"))
        assert not [name for name, _ in page.read() if name == "verifier_issuers_discovered"]
        assert page.value("verifier_build_info", version="1.2.3") == 1


class TestCounts:
    def test_responses_are_counted_by_route_status_and_code(self, page: Page) -> None:
        page.recorder.record(response())
        page.recorder.record(response())
        page.recorder.record(response(status=503, code="store-unavailable"))
        name = "verifier_http_responses_total"
        assert page.value(name, route="POST /v1/nonces", status="201", code="") == 2
        assert page.value(name, route="POST /v1/nonces", status="503", code="store-unavailable") == 1

    def test_durations_are_counted_by_route(self, page: Page) -> None:
        for seconds in (0.002, 0.02, 60):
            page.recorder.record(response(seconds=seconds))
        name, route = "verifier_http_request_duration_seconds", "POST /v1/nonces"
        assert page.value(f"{name}_count", route=route) == 3
        assert page.value(f"{name}_bucket", route=route, le="0.0025") == 1
        assert page.value(f"{name}_bucket", route=route, le="20.0") == 2
        assert page.value(f"{name}_sum", route=route) == pytest.approx(60.022)

    def test_trust_reloads_are_counted_by_outcome_from_zero(self, page: Page) -> None:
        assert page.value("verifier_trust_reload_total", outcome="refused") == 0
        page.recorder.record(trust_reloaded(ReloadOutcome.REFUSED, "0", are_files_refused=True))
        page.recorder.record(trust_reloaded(ReloadOutcome.LOADED, "1"))
        page.recorder.record(trust_reloaded(ReloadOutcome.LOADED, "2"))
        assert page.value("verifier_trust_reload_total", outcome="refused") == 1
        assert page.value("verifier_trust_reload_total", outcome="loaded") == 2

    def test_settings_reloads_are_counted_by_outcome_from_zero(self, page: Page) -> None:
        assert page.value("verifier_settings_reload_total", outcome="loaded") == 0
        page.recorder.record(SettingsReloaded(outcome=ReloadOutcome.REFUSED, detail="broken"))
        page.recorder.record(SettingsReloaded(outcome=ReloadOutcome.LOADED, detail=""))
        page.recorder.record(SettingsReloaded(outcome=ReloadOutcome.LOADED, detail=""))
        assert page.value("verifier_settings_reload_total", outcome="refused") == 1
        assert page.value("verifier_settings_reload_total", outcome="loaded") == 2

    def test_cached_and_built_chains_are_counted_from_the_start_of_following(self, tmp_path: Path) -> None:
        page = Page(registry=SqliteTrustRegistry(tmp_path / "r.sqlite3"), counts=Counts(hits=100, misses=100))
        page.counts.hits += 3
        page.counts.misses += 1
        for _ in range(2):
            page.recorder.record(response())
        assert page.value("verifier_chain_cache_total", outcome="hit") == 3
        assert page.value("verifier_chain_cache_total", outcome="miss") == 1

    def test_refusals_and_errors_are_counted_separately(self, page: Page) -> None:
        page.recorder.record(appraised())
        page.recorder.record(appraised())
        page.recorder.record(appraised(verdict=Verdict.REFUSED, code="malformed-evidence", cloud=None))
        page.recorder.record(appraised(verdict=Verdict.UNAVAILABLE, code="store-unavailable"))
        name, cloud = "verifier_attestations_total", Cloud.PUBLIC.value
        assert page.value(name, outcome="verified", code="verified", cloud=cloud) == 2
        assert page.value(name, outcome="refused", code="malformed-evidence", cloud="") == 1
        assert page.value(name, outcome="unavailable", code="store-unavailable", cloud=cloud) == 1

    def test_each_check_is_timed(self, page: Page) -> None:
        page.recorder.record(appraised(steps=((Check.FORMAT, 0.0002), (Check.CHAIN, 0.004))))
        for _ in range(16):
            page.recorder.record(appraised(steps=((Check.FORMAT, 0.002),)))
        name = "verifier_check_duration_seconds"
        assert page.value(f"{name}_count", check="format") == 2  # one appraisal in 16
        assert page.value(f"{name}_bucket", check="format", le="0.00025") == 1
        assert page.value(f"{name}_sum", check="chain") == pytest.approx(0.004)
        assert page.value(f"{name}_count", check="policy") is None

    def test_decisions_are_counted_by_tenant_and_code(self, page: Page) -> None:
        page.recorder.record(appraised())
        page.recorder.record(RequestRefused(record=appraised(verdict=Verdict.REFUSED, code="not-found").record))
        name = "verifier_decisions_total"
        assert page.value(name, tenant="default", outcome="verified", code="verified") == 1
        assert page.value(name, tenant="default", outcome="refused", code="not-found") == 1
        attestations = [sample for sample in page.read() if sample[0] == "verifier_attestations_total"]
        assert len(attestations) == 1

    def test_refused_files_are_shown_until_they_are_loaded(self, page: Page) -> None:
        name = "verifier_reload_refused"
        refused, loaded = ReloadOutcome.REFUSED, ReloadOutcome.LOADED
        page.recorder.record(trust_reloaded(refused, "0", are_files_refused=True))
        page.recorder.record(SettingsReloaded(outcome=refused, detail=""))
        page.recorder.record(TokenKeysReloaded(outcome=refused, detail=""))
        # A decision of an operator, while the files are still refused.
        page.recorder.record(trust_reloaded(loaded, "1", are_files_refused=True))
        page.recorder.record(SettingsReloaded(outcome=loaded, detail=""))
        assert page.value(name, subject="trust") == 1
        assert page.value(name, subject="settings") == 0
        assert page.value(name, subject="token_keys") == 1

    def test_kept_and_waiting_decisions_are_counted(self, page: Page) -> None:
        page.recorder.record(DecisionsKept(kept=3, waiting=4))
        page.recorder.record(DecisionsKept(kept=2, waiting=1))
        assert page.value("verifier_decisions_kept_total") == 5
        assert page.value("verifier_decisions_waiting") == 1

    def test_lost_decisions_are_counted_from_zero(self, page: Page) -> None:
        name, labels = "verifier_decisions_lost_total", {"reason": "full", "stage": "fresh"}
        assert page.value(name, **labels) == 0
        page.recorder.record(DecisionsLost(stage=Stage.FRESH, reason=LossReason.FULL, count=7))
        assert page.value(name, **labels) == 7
        assert page.value(name, reason="waited", stage="unverified") == 0

    def test_store_calls_and_failures_are_counted_by_operation(self, page: Page) -> None:
        for failed in (False, True):
            call = StoreCallMeasured(store="nonces", operation="redeem", seconds=0.002, failed=failed)
            page.recorder.record(call)
        assert page.value("verifier_store_duration_seconds_count", store="nonces", operation="redeem") == 2
        assert page.value("verifier_store_errors_total", store="nonces", operation="redeem") == 1

    def test_open_circuits_are_a_gauge(self, page: Page) -> None:
        for circuits in (2, 1):
            page.recorder.record(StoreCircuitsChanged(open_circuits=circuits))
        assert page.value("verifier_store_circuits_open") == 1

    def test_other_events_change_no_metric(self, page: Page) -> None:
        before = page.read()
        change = TrustAuditEvent(at=NOW, by="alice", what="deny", subject="", before="", after="")
        page.recorder.record(RequestFailed(request_id="request", error=ValueError("secret")))
        page.recorder.record(IssuerObserved(observation=observation(), authorities=0))
        page.recorder.record(TrustChanged(change=change))
        page.recorder.record(DecisionOutageChanged(error=ValueError("secret"), lost=1))
        assert page.read() == before


def test_composite_recorder_passes_each_event_to_each_recorder_in_order() -> None:
    recorded: list[tuple[str, Event]] = []

    class Named:
        """Implements the Recorder port."""

        def __init__(self, name: str) -> None:
            self.name = name

        def record(self, event: Event) -> None:
            recorded.append((self.name, event))

    recorder: Recorder = CompositeRecorder([Named("first"), Named("second")])
    events: list[Event] = [response(), appraised(), RefreshFailed(error=ValueError("why"))]
    for event in events:
        recorder.record(event)
    assert recorded == [(name, event) for event in events for name in ("first", "second")]


class TestSharedValues:
    def test_directory_is_private_under_tmpdir_and_deleted_at_the_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        before = values.ValueClass
        with shared_values() as directory:
            assert directory.parent == tmp_path
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(directory)
        assert not directory.exists()
        assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
        assert values.ValueClass is before

    def test_counts_of_running_and_exited_workers_are_added_up(self, tmp_path: Path) -> None:
        """Fork three workers in a separate process, after it created the recorder as gunicorn's master does.

        One worker is killed and one exits normally.
        """
        program = textwrap.dedent(
            """
            import os, signal, sys
            from pathlib import Path
            from verifier.adapters.telemetry.metrics import Metrics, MetricsRecorder
            from verifier.adapters.telemetry.shared_values import forget_worker, shared_values
            from verifier.adapters.clock import SystemClock
            from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
            from verifier.adapters.telemetry.trust_metrics import TrustCollector
            from verifier.adapters.trust.files import TrustDirectory
            from verifier.ports.telemetry import ReloadOutcome, ResponseSent, TrustReloaded

            class Counts:
                hits = misses = 0

            def work(recorder, answers):
                counts = Counts()
                registry = SqliteTrustRegistry(Path(sys.argv[1]))
                trust = TrustCollector(trust=TrustDirectory(), registry=registry, clock=SystemClock())
                metrics = Metrics(recorder=recorder, trust=trust, chains=counts, version="1")
                for number in range(answers):
                    counts.hits += 1
                    recorder.record(ResponseSent(request_id="", route="GET /", status=200, code="", seconds=0.01))
                loaded = ReloadOutcome.LOADED
                recorder.record(TrustReloaded(outcome=loaded, generation="", are_files_refused=False, detail=""))
                return metrics

            with shared_values() as directory:
                recorder = MetricsRecorder()
                for answers in (1, 10):
                    worker = os.fork()
                    if worker == 0:
                        work(recorder, answers)
                        if answers == 1:
                            os.kill(os.getpid(), signal.SIGKILL)
                        sys.exit(0)
                    os.waitpid(worker, 0)
                    forget_worker(worker)
                worker = os.fork()
                if worker == 0:
                    sys.stdout.buffer.write(work(recorder, 100).render()[0])
                    sys.exit(0)
                os.waitpid(worker, 0)
                assert directory.is_dir()
            assert not directory.exists()
            """
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, str(tmp_path / "registry.sqlite3")],
            check=True,
            capture_output=True,
            timeout=60,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        samples = {
            (sample.name, sample.labels.get("route") or sample.labels.get("outcome")): sample.value
            for family in text_string_to_metric_families(done.stdout.decode())
            for sample in family.samples
        }
        assert samples["verifier_http_responses_total", "GET /"] == 111
        assert samples["verifier_http_request_duration_seconds_count", "GET /"] == 111
        assert samples["verifier_chain_cache_total", "hit"] == 111
        assert samples["verifier_trust_reload_total", "loaded"] == 3
        assert not list(tmp_path.glob("imds-verifier-metrics-*"))

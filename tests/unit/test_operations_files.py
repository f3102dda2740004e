"""The alert rules and the dashboard: they can be read, and ask for what there is."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call
from prometheus_client import Gauge, Histogram
from support.documents import NOW
from support.scripts import load_script

from verifier.adapters.telemetry.metrics import MetricsRecorder
from verifier.api.problems import DOCUMENTATION
from verifier.core.issuer_review import ReviewStatus
from verifier.ports.decisions import AppraisalRecord, Verdict
from verifier.ports.telemetry import ReloadOutcome

ROOT = Path(__file__).parents[2]
RULES = ROOT / "ops" / "prometheus-rules.yaml"
CASES = ROOT / "ops" / "prometheus-rules-test.yaml"
PROMTOOL = shutil.which("promtool")
DASHBOARD = ROOT / "ops" / "grafana-dashboard.json"

#: The labels of the gauges of trust, which are made at each scrape.
GAUGES = {
    "verifier_trust_horizon_seconds": {"cloud"},
    "verifier_trust_certificate_not_after_seconds": {"subject", "sha256", "role", "state"},
    "verifier_issuers_discovered": {"review_status"},
    "verifier_trust_feed_last_success_seconds": set(),
    "verifier_trust_feed_version": set(),
    "verifier_trust_feed_offered_version": set(),
    "verifier_trust_feed_expiry_seconds": set(),
    "verifier_build_info": {"version"},
}
_NAME = re.compile(r"\bverifier_[a-z_]+")
_SELECTOR = re.compile(r"\b(verifier_[a-z_]+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)(?:=~|!=|=)"([^"]*)"')
_GROUPING = re.compile(r"\bby \(([a-z_, ]+)\)")
#: Labels that Prometheus adds to what it scrapes, and that of a histogram's buckets.
_ADDED = {"namespace", "job", "le"}


def labels_by_metric() -> dict[str, set[str]]:
    """Of every series that there can be, by its name."""
    known = dict(GAUGES)
    for collector in vars(MetricsRecorder().registry)["_collector_to_names"]:
        names = getattr(collector, "_labelnames", ())
        [family] = collector.describe()
        match collector:
            case Histogram():
                suffixes: tuple[str, ...] = ("_bucket", "_count", "_sum")
            case Gauge():
                suffixes = ("",)
            case _:
                suffixes = ("_total",)
        known |= {f"{family.name}{suffix}": set(names) for suffix in suffixes}
    return known


def alerts() -> dict[str, str]:
    rules = yaml.safe_load(RULES.read_text("utf-8"))
    return {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}


def panels() -> dict[str, str]:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }


EXPRESSIONS = alerts() | panels()


def test_there_is_an_alert_for_each_thing_that_can_go_wrong() -> None:
    asked = " ".join(alerts().values())
    assert len(alerts()) >= 10
    for metric in (
        "verifier_trust_horizon_seconds",
        "verifier_issuers_discovered",
        "verifier_trust_reload_total",
        "verifier_trust_feed_last_success_seconds",
        "verifier_trust_feed_looks_total",
        "verifier_trust_feed_offered_version",
        "verifier_trust_feed_expiry_seconds",
        "verifier_settings_reload_total",
        "verifier_reload_refused",
        "verifier_token_keys_reload_total",
        "verifier_store_errors_total",
        "verifier_store_circuits_open",
        "verifier_http_responses_total",
        "verifier_http_request_duration_seconds_bucket",
        "verifier_decisions_lost_total",
        "verifier_decisions_waiting",
    ):
        assert metric in asked


def test_every_alert_says_how_urgent_it_is_what_is_wrong_and_what_to_do() -> None:
    runbook = (ROOT / "docs" / "operate" / "alerts.md").read_text("utf-8")
    sections = re.findall(r"^## (\w+)\n\n(\w+)", runbook, re.MULTILINE)
    rules = [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/operate/alerts.md#{rule['alert'].lower()}")
    assert sections == [(rule["alert"], rule["labels"]["severity"].capitalize()) for rule in rules]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: .ci/run installs it")
def test_every_alert_is_quiet_first_and_fires_in_its_case() -> None:
    assert PROMTOOL is not None
    for arguments in (["check", "rules", str(RULES)], ["test", "rules", str(CASES)]):
        done = subprocess.run([PROMTOOL, *arguments], check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_case_for_every_alert() -> None:
    cases = yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    names = [case["name"].removesuffix(", of one of two releases") for case in cases]
    assert list(dict.fromkeys(names)) == list(alerts())
    for name, case in zip(names, cases, strict=True):
        quiet, fires = case["alert_rule_test"]
        assert quiet["alertname"] == fires["alertname"] == name
        assert "exp_alerts" not in quiet
        assert fires["exp_alerts"]


@pytest.mark.parametrize("name", sorted(EXPRESSIONS))
def test_asks_for_metrics_and_labels_that_there_are(name: str) -> None:
    expression = EXPRESSIONS[name]
    known = labels_by_metric()
    found = _SELECTOR.findall(expression)
    assert found
    assert {metric for metric, _ in found} <= known.keys()
    labels = _ADDED.union(*(known[metric] for metric, _ in found))
    for metric, matchers in found:
        assert {label for label, _ in _MATCHER.findall(matchers)} <= known[metric] | _ADDED
    for group in _GROUPING.findall(expression):
        assert {label.strip() for label in group.split(",")} <= labels


@pytest.mark.parametrize("name", sorted(EXPRESSIONS))
def test_asks_for_label_values_that_there_are(name: str) -> None:
    values: dict[str, set[str]] = {
        "review_status": {status.value for status in ReviewStatus},
        "outcome": {*(verdict.value for verdict in Verdict), *(outcome.value for outcome in ReloadOutcome), "hit"},
        "code": {code.value for code in DOCUMENTATION},
        "route": {"POST /v1/attestations"},
    }
    for label, value in _MATCHER.findall(EXPRESSIONS[name]):
        if label in values:
            assert set(value.split("|")) <= values[label]


def test_the_dashboard_can_be_imported_anywhere() -> None:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    [wanted] = dashboard["__inputs"]
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == f"${{{wanted['name']}}}"
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_the_page_of_metrics_is_generated() -> None:
    page = load_script("tools/generate_metrics.py").page()
    assert (ROOT / "docs" / "operate" / "metrics.md").read_text("utf-8") == page


def test_the_page_names_the_labels_of_every_metric() -> None:
    page = (ROOT / "docs" / "operate" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(verifier_[a-z_]+)` \| \w+ \| ([^|]*) \|", page, re.MULTILINE)
    known = {re.sub(r"_(bucket|count|sum)$", "", name): labels for name, labels in labels_by_metric().items()}
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == known


def test_the_page_explains_every_metric() -> None:
    page = (ROOT / "docs" / "operate" / "metrics.md").read_text("utf-8")
    rows = set(re.findall(r"^\| `(verifier_[a-z_]+)` \|", page, re.MULTILINE))
    assert rows == {re.sub(r"_(bucket|count|sum)$", "", name) for name in labels_by_metric()}
    assert set(_NAME.findall(page)) <= rows


def test_the_page_explains_every_field_of_a_decision() -> None:
    page = (ROOT / "docs" / "operate" / "monitoring.md").read_text("utf-8")
    told = AppraisalRecord(at=NOW, request_id="", tenant="", verdict=Verdict.VERIFIED, code="").fields()
    rows = {
        name
        for row in re.findall(r"^\| (`[^|]+`) \|", page, re.MULTILINE)
        for name in re.findall(r"`([A-Za-z0-9]+)`", row)
    }
    assert told.keys() <= rows

"""Print docs/operate/metrics.md from the code. `make generate` writes it.

The texts are those that `GET /metrics` shows as HELP.
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

from verifier.adapters.telemetry.metrics import BUILD, MetricsRecorder
from verifier.adapters.telemetry.trust_metrics import TrustCollector

_INTRODUCTION = """\
# Metrics

These are the metrics of `GET /metrics`. [Monitoring](monitoring.md#metrics) says which workers they cover.

`make generate` writes this page with [generate_metrics.py](../../tools/generate_metrics.py). Do not edit it.

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
"""

#: The page that explains more.
_MORE = {
    "verifier_attestations_total": "[codes](../integrate/reasons.md)",
    "verifier_decisions_lost_total": "[records](decisions.md#records)",
    "verifier_issuers_discovered": "[statuses](ca-rotation.md#unannounced-change)",
    "verifier_nonconforming_genuine_total": "[changed documents](ca-rotation.md#changed-documents)",
    "verifier_store_circuits_open": "[circuit breaker](redis.md#unavailable)",
    "verifier_store_duration_seconds": "[batches](capacity.md#what-one-attestation-costs)",
    "verifier_trust_certificate_not_after_seconds": "[states](ca-rotation.md#trust-directory)",
    "verifier_trust_horizon_seconds": "[horizon](ca-rotation.md#status)",
}


class Described(NamedTuple):
    """One metric, by the name that a scrape shows before its series."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


def described() -> Iterator[Described]:
    """Yield every metric of the service."""
    # The library shows the labels of a metric without series only in private attributes.
    for collector in vars(MetricsRecorder().registry)["_collector_to_names"]:
        [family] = collector.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield Described(name, family.type, tuple(vars(collector)["_labelnames"]), family.documentation)
    for gauge in (*TrustCollector.GAUGES, BUILD):
        yield Described(gauge.name, "gauge", gauge.labels, gauge.documentation)


def page() -> str:
    """Return the text of docs/operate/metrics.md."""
    rows = []
    for metric in described():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        more = f" More: {_MORE[metric.name]}." if metric.name in _MORE else ""
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.text}{more} |\n")
    return _INTRODUCTION + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page())

"""Describe a gauge that is computed at the time of the scrape."""

from prometheus_client.core import GaugeMetricFamily

from verifier.core.values import dataclass


@dataclass(frozen=True, slots=True)
class ScrapedGauge:
    """Describe one gauge. docs/operate/metrics.md has the same text as the scrape."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()

    def family(self, value: float | None = None) -> GaugeMetricFamily:
        """Return the gauge for one scrape. One with labels gets its values by `add_metric`."""
        labels = self.labels if value is None else None
        return GaugeMetricFamily(self.name, self.documentation, value, labels)

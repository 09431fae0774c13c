"""Metrics in Prometheus' text format, of one process or of several combined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from authgate.observability.families import BUCKETS, FAMILIES, MetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric

    from authgate.observability.counter_store import Labels
    from authgate.observability.figures import Figures


class Exposition:
    """Render what `figures` returns at a scrape, and the metrics of this process."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Families(figures))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


def cumulative(numbers: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
    """Return a histogram's cumulative count at each upper bound, as Prometheus expects, and the sum."""
    total = 0.0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), numbers[:-1], strict=True):
        total += count
        buckets.append((bound, total))
    return buckets, numbers[-1]


class _Families(Collector):
    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield every family, including those without a value."""
        figures = self._figures()
        for name, family in FAMILIES.items():
            members = figures.get(name, {})
            if not family.labels:
                members = members or {(): [0.0] * family.width}
            yield _metric(family, members)


def _metric(family: MetricFamily, members: dict[Labels, list[float]]) -> Metric:
    name, text, labels = family.name, family.text, family.labels
    match family.kind:
        case "counter":
            counter = CounterMetricFamily(name, text, labels=labels)
            for key, numbers in sorted(members.items()):
                counter.add_metric(key, numbers[0])
            return counter
        case "gauge":
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for key, numbers in sorted(members.items()):
                gauge.add_metric(key, numbers[0])
            return gauge
        case "histogram":
            histogram = HistogramMetricFamily(name, text, labels=labels)
            for key, numbers in sorted(members.items()):
                histogram.add_metric(key, *cumulative(numbers))
            return histogram

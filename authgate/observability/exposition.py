"""Metrics in Prometheus' text format, of one process or of several combined."""

from __future__ import annotations

import operator
import os
import resource
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from authgate.observability.families import BUCKETS, FAMILIES, MetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client import Metric

    from authgate.observability.counter_store import Labels
    from authgate.observability.figures import Figures


class Exposition:
    """Render what `figures` returns at a scrape, and the sums of the processes `pids`."""

    def __init__(
        self, figures: Callable[[], Figures], pids: Callable[[], Iterable[int]] = lambda: (os.getpid(),)
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Families(figures))
        self._registry.register(_Processes(pids))

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


class _Processes(Collector):
    """The usual metrics of a process, summed over several. CPU time includes that of children that have ended."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; nothing on systems without /proc."""
        found: dict[str, Metric] = {}
        for pid in self._pids():
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                known = found.setdefault(metric.name, metric)
                if known is not metric:
                    combine = min if metric.name == "process_start_time_seconds" else operator.add
                    _set(known, combine(known.samples[0].value, metric.samples[0].value))
        if (cpu := found.get("process_cpu_seconds")) is not None:
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            _set(cpu, cpu.samples[0].value + ended.ru_utime + ended.ru_stime)
        yield from found.values()


def _set(metric: Metric, value: float) -> None:
    metric.samples = [metric.samples[0]._replace(value=value)]


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

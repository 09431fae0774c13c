"""Metrics in Prometheus' text format, of one process or of several combined.

The text is written here because prometheus-client takes ten times as long. The event loop waits for it, and with a
hundred policies there are thousands of lines.
"""

from __future__ import annotations

import operator
import os
import resource
from functools import partial
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from authgate.observability.families import BUCKETS, FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client import Metric

    from authgate.observability.counter_store import Labels
    from authgate.observability.families import MetricFamily
    from authgate.observability.figures import Figures

_BOUNDS: Final = tuple(f'le="{bound}"}} ' for bound in (*BUCKETS, "+Inf"))


class Exposition:
    """Render what `figures` returns at a scrape, and the sums of the processes `pids`."""

    def __init__(
        self, figures: Callable[[], Figures], pids: Callable[[], Iterable[int]] = lambda: (os.getpid(),)
    ) -> None:
        self._figures = figures
        self._processes = CollectorRegistry(auto_describe=False)
        self._processes.register(_Processes(pids))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return text_of(self._figures()).encode() + generate_latest(self._processes)


def text_of(figures: Figures) -> str:
    """Return every family, including those without a value."""
    lines: list[str] = []
    for name, family in FAMILIES.items():
        members = figures.get(name, {})
        if not family.labels:
            members = members or {(): [0.0] * family.width}
        shown = f"{name}_total" if family.kind == "counter" else name
        lines += (f"# HELP {shown} {family.text}", f"# TYPE {shown} {family.kind}")
        for key, numbers in sorted(members.items()):
            labels = _labels(family, key)
            if family.kind == "histogram":
                lines += _histogram(name, labels, numbers)
            else:
                lines.append(f"{shown}{{{labels}}} {numbers[0]!r}" if labels else f"{shown} {numbers[0]!r}")
    return "\n".join(lines) + "\n"


def _labels(family: MetricFamily, values: Labels) -> str:
    pairs = sorted(zip(family.labels, values, strict=True))  # as prometheus-client, for readers of the text
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _histogram(name: str, labels: str, numbers: Sequence[float]) -> Iterator[str]:
    """Yield the cumulative count at each upper bound, then the count of all and the sum."""
    total = 0.0
    begin = f"{name}_bucket{{{labels},"
    for bound, count in zip(_BOUNDS, numbers[:-1], strict=True):
        total += count
        yield f"{begin}{bound}{total!r}"
    yield f"{name}_count{{{labels}}} {total!r}"
    yield f"{name}_sum{{{labels}}} {numbers[-1]!r}"


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

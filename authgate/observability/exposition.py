"""Metrics in Prometheus' text format, of one process or of several combined.

The text is written here and not by prometheus-client, which takes ten times as long, and 1 MB of memory. The event loop
waits for it, and with a hundred policies there are thousands of lines.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from authgate.observability.families import BUCKETS, FAMILIES
from authgate.observability.process_metrics import process_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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
        self._pids = pids

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return (text_of(self._figures()) + process_metrics(self._pids())).encode()


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
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(family.labels, values, strict=True))


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

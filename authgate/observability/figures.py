"""The numbers of one process, or of several combined, by family and labels."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

from authgate.observability.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.observability.counter_store import CounterStore, Labels

Figures = dict[str, dict["Labels", list[float]]]
"""Numbers by family and labels."""

_COMBINED: dict[str, Callable[[float, float], float]] = {"sum": operator.add, "min": min, "max": max}


def figures_of(stores: Iterable[tuple[CounterStore, bool]]) -> Figures:
    """Return the combined figures of several stores. The flag is False for a store without a live writer.

    A store without a live writer contributes its counters and histograms, but no gauges.
    """
    combined: Figures = {}
    for store, live in stores:
        for (name, labels), numbers in store.numbers():
            family = FAMILIES[name]
            if family.kind == "gauge" and (not live or math.isnan(numbers[0])):
                continue
            members = combined.setdefault(name, {})
            known = members.get(labels)
            combine = _COMBINED[family.aggregation]
            members[labels] = numbers if known is None else [*map(combine, known, numbers)]
    return combined

"""Decide whether memory or descriptors grew over a long run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_RSS_GROWTH = 1.05
_RSS_SLACK_MB = 3.0
_DESCRIPTOR_SLACK = 5


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources of all processes of a gate at the end of a minute."""

    rss_mb: float
    descriptors: int


def drift(minutes: Sequence[Usage]) -> list[str]:
    """Compare the two halves of the minutes, without the first minute, and return the resources that grew.

    Memory may grow by 5 % and 3 MB on average, and descriptors by five.
    """
    settled = minutes[1:]
    if len(settled) < 2:
        return []
    first, second = settled[: len(settled) // 2], settled[len(settled) // 2 :]
    rss = [sum(usage.rss_mb for usage in half) / len(half) for half in (first, second)]
    descriptors = [max(usage.descriptors for usage in half) for half in (first, second)]
    grown = []
    if rss[1] > rss[0] * _RSS_GROWTH + _RSS_SLACK_MB:
        grown.append(f"memory grew from {rss[0]:.1f} MB to {rss[1]:.1f} MB")
    if descriptors[1] > descriptors[0] + _DESCRIPTOR_SLACK:
        grown.append(f"descriptors grew from {descriptors[0]} to {descriptors[1]}")
    return grown

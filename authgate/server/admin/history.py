"""The decisions of the last hour by reason, minute by minute, read from counters that only grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = tuple[str, str]
"""A decision (allow, deny, unavailable) and its reason."""

MINUTES: Final = 60
INTERVAL: Final = 10.0
"""Seconds between two observations."""


@dataclass(frozen=True, slots=True)
class ReasonHour:
    """How many decisions had a reason in each of the last 60 minutes, oldest first. The last minute is not over."""

    decision: str
    reason: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """The number of decisions in the hour."""
        return sum(self.counts)


class DecisionHistory:
    """Turns counters that only grow into numbers per minute. The first observed counters are those since 0."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last: Mapping[Kind, float] = {}
        self._observed_at = monotonic()
        self._minutes: dict[int, dict[Kind, int]] = {}

    @property
    def elapsed(self) -> float:
        """The seconds since the last observation."""
        return self._monotonic() - self._observed_at

    def observe(self, totals: Mapping[Kind, float]) -> None:
        """Add what was counted since the last observation to the current minute."""
        self._observed_at = self._monotonic()
        minute = int(self._observed_at // 60)
        grown = {kind: int(total - self._last.get(kind, 0.0)) for kind, total in totals.items()}
        self._last = dict(totals)
        counts = self._minutes.setdefault(minute, {})
        for kind, number in grown.items():
            if number > 0:
                counts[kind] = counts.get(kind, 0) + number
        for old in [known for known in self._minutes if known <= minute - MINUTES]:
            del self._minutes[old]

    def last_hour(self) -> tuple[ReasonHour, ...]:
        """Return the reasons of the last hour, the most frequent first."""
        now = int(self._monotonic() // 60)
        minutes = [self._minutes.get(minute, {}) for minute in range(now - MINUTES + 1, now + 1)]
        kinds = dict.fromkeys(kind for counts in minutes for kind in counts)
        hours = [ReasonHour(*kind, tuple(counts.get(kind, 0) for counts in minutes)) for kind in kinds]
        return tuple(sorted(hours, key=lambda hour: (-hour.total, hour.reason)))

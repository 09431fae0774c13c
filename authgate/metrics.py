"""Counting what happens: plain integers on the hot path, turned into families (`exposition`) when Prometheus asks.

Labels come from closed enums and from configured names only; never a subject, a path or a kid.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from authgate.exposition import Families

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BUCKETS: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)
"""Upper bounds of the duration buckets, in seconds: 100 µs to 2.5 s."""


class Histogram:
    """A distribution of durations in seconds over `BUCKETS`."""

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """Return the cumulative count at each upper bound, as Prometheus wants them, and the sum."""
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets, self._sum


class AnswerCell:
    """The count of answers of one kind, and the durations of all that share its source."""

    __slots__ = ("count", "duration")

    def __init__(self, duration: Histogram) -> None:
        self.count = 0
        self.duration = duration

    def add(self, seconds: float) -> None:
        """Count one answer and the time it took."""
        self.count += 1
        self.duration.observe(seconds)


class Metrics:
    """Every figure of one gate; the attributes are counted directly by whoever knows them."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str, str, str], AnswerCell] = {}
        """By decision, reason, source, policy."""
        self.verify_duration: dict[str, Histogram] = {}
        self.cache_requests: Counter[tuple[str, str]] = Counter()
        self.cache_evictions: Counter[str] = Counter()
        self.cache_entries: dict[str, Callable[[], int]] = {}
        self.jwks_fetches: Counter[tuple[str, str]] = Counter()
        self.jwks_last_success: dict[str, float] = {}
        self.jwks_keys: dict[str, int] = {}
        self.jwks_skipped: dict[str, int] = {}
        self.tokenreview_requests: Counter[str] = Counter()
        self.tokenreview_duration = Histogram()
        self.accessreview_requests: Counter[str] = Counter()
        self.accessreview_duration = Histogram()
        self.watch_restarts: Counter[tuple[str, str, str]] = Counter()
        self.watches: dict[str, Callable[[], Mapping[str, tuple[int, float]]]] = {}
        """By cluster: what tells, by resource, how many objects are known and when the server last said anything."""
        self.config_reloads: Counter[str] = Counter()
        self.config_last_success = 0.0
        self.audit_suppressed = 0
        self.internal_errors = 0
        self.http_errors: Counter[str] = Counter()
        self.connections_refused = 0
        self.in_flight = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Families(self))
        ProcessCollector(registry=self._registry)

    def answer_cell(self, decision: str, reason: str, source: str, policy: str) -> AnswerCell:
        """Return where answers of this kind are counted; the cell stays the same for the life of the process."""
        cell = self.answers.get((decision, reason, source, policy))
        if cell is None:
            histogram = self.verify_duration.setdefault(source, Histogram())
            cell = self.answers[decision, reason, source, policy] = AnswerCell(histogram)
        return cell

    def count_review(self, result: str, seconds: float) -> None:
        """Count one TokenReview by its result; one that was not sent has no duration."""
        self.tokenreview_requests[result] += 1
        if result != "throttled":
            self.tokenreview_duration.observe(seconds)

    def count_access_review(self, result: str, seconds: float) -> None:
        """Count one SubjectAccessReview by its result; one that was not sent has no duration."""
        self.accessreview_requests[result] += 1
        if result != "throttled":
            self.accessreview_duration.observe(seconds)

    def render(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)

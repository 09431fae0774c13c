"""The figures as Prometheus reads them: names, help texts and labels of every family."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from authgate import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from authgate.metrics import Metrics

_Labels = TypeVar("_Labels", bound=tuple[str, ...])


class Families(Collector):
    """Collects the figures of one gate at the moment of a scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return every family, those without a value too."""
        m = self._metrics
        yield from self._answers(m)
        yield _counter(
            "authgate_cache_requests",
            "Look-ups in a cache by result (hit, miss).",
            ("cache", "result"),
            m.cache_requests,
        )
        entries = {(cache,): float(size()) for cache, size in m.cache_entries.items()}
        yield _gauge("authgate_cache_entries", "Entries that a cache holds now.", ("cache",), entries)
        yield _counter(
            "authgate_cache_evictions",
            "Entries that a full cache gave up before their time.",
            ("cache",),
            {(cache,): count for cache, count in m.cache_evictions.items()},
        )
        yield from self._keys(m)
        yield from self._reviews(m)
        yield from self._watches(m)
        yield from self._process(m)

    @staticmethod
    def _answers(m: Metrics) -> Iterator[Metric]:
        yield _counter(
            "authgate_verify_requests",
            "Answers of the verify port by decision, reason, what decided, and policy.",
            ("decision", "reason", "source", "policy"),
            {labels: cell.count for labels, cell in m.answers.items()},
        )
        duration = HistogramMetricFamily(
            "authgate_verify_duration_seconds",
            "Time from a request's headers to its answer, by what decided.",
            labels=("source",),
        )
        for source, histogram in m.verify_duration.items():
            buckets, total = histogram.cumulative()
            duration.add_metric((source,), buckets, total)
        yield duration
        yield _counter(
            "authgate_http_errors",
            "Requests that were no proper HTTP and were answered without a decision, by status.",
            ("status",),
            {(status,): count for status, count in m.http_errors.items()},
        )
        yield _gauge(
            "authgate_in_flight_requests", "Requests being decided now.", (), {(): float(m.in_flight)}
        )

    @staticmethod
    def _keys(m: Metrics) -> Iterator[Metric]:
        yield _counter(
            "authgate_jwks_fetches",
            "Fetches of an issuer's keys by result.",
            ("issuer", "result"),
            m.jwks_fetches,
        )
        for name, text, values in (
            (
                "authgate_jwks_last_success_timestamp_seconds",
                "When an issuer's keys were last fetched well.",
                m.jwks_last_success,
            ),
            (
                "authgate_jwks_keys",
                "Usable keys that an issuer published at the last good fetch.",
                m.jwks_keys,
            ),
            (
                "authgate_jwks_skipped_keys",
                "Keys of the last good fetch that could not be used.",
                m.jwks_skipped,
            ),
        ):
            yield _gauge(
                name, text, ("issuer",), {(issuer,): float(value) for issuer, value in values.items()}
            )

    @staticmethod
    def _reviews(m: Metrics) -> Iterator[Metric]:
        yield _counter(
            "authgate_tokenreview_requests",
            "TokenReviews by result: authenticated, refused, throttled, or how the API server failed.",
            ("result",),
            {(result,): count for result, count in m.tokenreview_requests.items()},
        )
        duration = HistogramMetricFamily(
            "authgate_tokenreview_duration_seconds",
            "Time that the API server took for a TokenReview.",
            labels=(),
        )
        buckets, total = m.tokenreview_duration.cumulative()
        duration.add_metric((), buckets, total)
        yield duration
        yield _counter(
            "authgate_accessreview_requests",
            "SubjectAccessReviews by result: allowed, denied, throttled, or how the API server failed.",
            ("result",),
            {(result,): count for result, count in m.accessreview_requests.items()},
        )
        duration = HistogramMetricFamily(
            "authgate_accessreview_duration_seconds",
            "Time that the API server took for a SubjectAccessReview.",
            labels=(),
        )
        buckets, total = m.accessreview_duration.cumulative()
        duration.add_metric((), buckets, total)
        yield duration

    @staticmethod
    def _watches(m: Metrics) -> Iterator[Metric]:
        figures = {
            (cluster, resource): figure
            for cluster, told in m.watches.items()
            for resource, figure in told().items()
        }
        yield _gauge(
            "authgate_watch_last_event_timestamp_seconds",
            "When a watch was last told anything, a bookmark included; 0: never.",
            ("cluster", "resource"),
            {labels: heard for labels, (_, heard) in figures.items()},
        )
        yield _gauge(
            "authgate_watch_objects",
            "Objects that a watch knows now.",
            ("cluster", "resource"),
            {labels: float(count) for labels, (count, _) in figures.items()},
        )
        yield _counter(
            "authgate_watch_restarts",
            "Ends of a watch by reason: ended or silent (as usual), expired, too_many, or how the API server failed.",
            ("cluster", "resource", "reason"),
            m.watch_restarts,
        )

    @staticmethod
    def _process(m: Metrics) -> Iterator[Metric]:
        yield _counter(
            "authgate_config_reloads",
            "Times that the configuration was loaded by result.",
            ("result",),
            {(result,): count for result, count in m.config_reloads.items()},
        )
        yield _gauge(
            "authgate_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded well.",
            (),
            {(): m.config_last_success},
        )
        for name, text, value in (
            (
                "authgate_audit_suppressed",
                "Audit lines left out because too many were alike.",
                m.audit_suppressed,
            ),
            (
                "authgate_internal_errors",
                "Errors that the gate did not expect, answered 503.",
                m.internal_errors,
            ),
            (
                "authgate_connections_refused",
                "Connections closed at once because the limit was reached.",
                m.connections_refused,
            ),
        ):
            yield _counter(name, text, (), {(): value})
        info = {(__version__, platform.python_version()): 1.0}
        yield _gauge("authgate_build_info", "The version that runs; always 1.", ("version", "python"), info)


def _counter(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[_Labels, float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _gauge(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[_Labels, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family

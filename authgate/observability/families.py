"""Every metric family: name, kind, labels, help text, and how the gauges of several processes are combined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

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


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """One metric family. `aggregation` is how a gauge is combined over several processes.

    Counters and histograms are always summed. The name has no `_total`, which the text format adds to counters.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    aggregation: Literal["sum", "min", "max"] = "sum"

    @property
    def width(self) -> int:
        """How many numbers one combination of labels has: for a histogram its buckets and their sum, else one."""
        return len(BUCKETS) + 2 if self.kind == "histogram" else 1


_ALL: Final = (
    MetricFamily(
        "authgate_verify_requests",
        "counter",
        "Decisions of the verify port by decision, reason, source and policy.",
        ("decision", "reason", "source", "policy"),
    ),
    MetricFamily(
        "authgate_verify_duration_seconds",
        "histogram",
        "Time from a request's headers to its response, by decision source.",
        ("source",),
    ),
    MetricFamily(
        "authgate_http_errors",
        "counter",
        "Requests with invalid HTTP, answered without a decision, by status.",
        ("status",),
    ),
    MetricFamily("authgate_in_flight_requests", "gauge", "Requests that are being decided now."),
    MetricFamily(
        "authgate_cache_requests",
        "counter",
        "Cache lookups by cache and result (hit, miss).",
        ("cache", "result"),
    ),
    MetricFamily(
        "authgate_shadow_differences",
        "counter",
        "Requests that a policy's shadow decided differently, by policy, live reason and shadow reason.",
        ("policy", "live", "shadow"),
    ),
    MetricFamily("authgate_cache_entries", "gauge", "Entries in a cache.", ("cache",)),
    MetricFamily(
        "authgate_cache_bytes", "gauge", "Estimated size of a cache's entries in bytes.", ("cache",)
    ),
    MetricFamily(
        "authgate_cache_evictions",
        "counter",
        "Entries evicted from a full cache before they expired.",
        ("cache",),
    ),
    MetricFamily(
        "authgate_jwks_fetches",
        "counter",
        "Fetches of an issuer's keys by result.",
        ("issuer", "result"),
    ),
    MetricFamily(
        "authgate_jwks_last_success_timestamp_seconds",
        "gauge",
        "Unix time of the last successful fetch of an issuer's keys.",
        ("issuer",),
        "min",
    ),
    MetricFamily(
        "authgate_jwks_keys",
        "gauge",
        "Usable keys in the last successful fetch.",
        ("issuer",),
        "min",
    ),
    MetricFamily(
        "authgate_jwks_skipped_keys",
        "gauge",
        "Keys in the last successful fetch that authgate cannot use.",
        ("issuer",),
        "max",
    ),
    MetricFamily(
        "authgate_tokenreview_requests",
        "counter",
        "TokenReviews by cluster and result: authenticated, refused, throttled, or the kind of API server error.",
        ("cluster", "result"),
    ),
    MetricFamily(
        "authgate_tokenreview_duration_seconds",
        "histogram",
        "API server response time for a TokenReview.",
        ("cluster",),
    ),
    MetricFamily(
        "authgate_tokenreview_saturation",
        "gauge",
        "TokenReviews needed in the last minute divided by those that tokenReview.qps allows, by budget.",
        ("cluster", "budget"),
        "max",
    ),
    MetricFamily(
        "authgate_accessreview_requests",
        "counter",
        "SubjectAccessReviews by cluster and result: allowed, denied, throttled, or the kind of API server error.",
        ("cluster", "result"),
    ),
    MetricFamily(
        "authgate_accessreview_duration_seconds",
        "histogram",
        "API server response time for a SubjectAccessReview.",
        ("cluster",),
    ),
    MetricFamily(
        "authgate_exchange_requests",
        "counter",
        "Token exchanges by result: issued, or the RFC 6749 error code returned.",
        ("result",),
    ),
    MetricFamily(
        "authgate_watch_last_event_timestamp_seconds",
        "gauge",
        "Unix time of the last event or bookmark of a watch; 0 if there was no event yet.",
        ("cluster", "resource"),
        "min",
    ),
    MetricFamily(
        "authgate_watch_objects",
        "gauge",
        "Objects that a watch currently tracks.",
        ("cluster", "resource"),
        "max",
    ),
    MetricFamily(
        "authgate_watch_restarts",
        "counter",
        "Watch restarts by reason: ended or silent (both normal), expired, too_many, or the kind of API server error.",
        ("cluster", "resource", "reason"),
    ),
    MetricFamily(
        "authgate_config_reloads",
        "counter",
        "Configuration loads by result.",
        ("result",),
    ),
    MetricFamily(
        "authgate_config_last_reload_success_timestamp_seconds",
        "gauge",
        "Unix time of the last successful configuration load.",
        aggregation="max",
    ),
    MetricFamily(
        "authgate_config_rejected_since_timestamp_seconds",
        "gauge",
        "Unix time since when the configuration file is rejected and an older one is in use; 0 if it is accepted.",
        aggregation="max",
    ),
    MetricFamily(
        "authgate_audit_suppressed", "counter", "Decisions without their own line in the audit log."
    ),
    MetricFamily(
        "authgate_log_dropped", "counter", "Log lines dropped because standard error was not being read."
    ),
    MetricFamily("authgate_internal_errors", "counter", "Unexpected errors, answered with 503."),
    MetricFamily(
        "authgate_connections_refused",
        "counter",
        "Connections closed immediately because the connection limit was reached.",
    ),
    MetricFamily(
        "authgate_unfinished_heads_ended",
        "counter",
        "Connections closed, oldest first, because incomplete request headers used too much memory.",
    ),
    MetricFamily(
        "authgate_descriptors_exhausted",
        "counter",
        "Seconds in which the process had no free file descriptor.",
    ),
    MetricFamily("authgate_workers", "gauge", "Worker processes that are serving requests."),
    MetricFamily(
        "authgate_worker_restarts",
        "counter",
        "Worker restarts by reason: exited, killed (by a signal), or stuck.",
        ("reason",),
    ),
    MetricFamily(
        "authgate_build_info",
        "gauge",
        "Version of authgate and of Python, as labels; the value is always 1.",
        ("version", "python"),
        "max",
    ),
)

FAMILIES: Final = {family.name: family for family in _ALL}
"""Every family by name, in the order of the exposition."""

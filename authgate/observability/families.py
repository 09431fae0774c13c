"""The figures that the gate tells: every family's name, kind, labels and meaning, and how several processes' add up."""

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
    """One family; of several processes that each tell a gauge, their `sum`, the `least` or the `most` is told.

    Counters and histograms are always sums. The name is that of the file format, without a counter's `_total`.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    aggregation: Literal["sum", "least", "most"] = "sum"

    @property
    def width(self) -> int:
        """How many numbers stand for one combination of labels: of a histogram its buckets, and their sum."""
        return len(BUCKETS) + 2 if self.kind == "histogram" else 1


_ALL: Final = (
    MetricFamily(
        "authgate_verify_requests",
        "counter",
        "Answers of the verify port by decision, reason, what decided, and policy.",
        ("decision", "reason", "source", "policy"),
    ),
    MetricFamily(
        "authgate_verify_duration_seconds",
        "histogram",
        "Time from a request's headers to its answer, by what decided.",
        ("source",),
    ),
    MetricFamily(
        "authgate_http_errors",
        "counter",
        "Requests that were no proper HTTP and were answered without a decision, by status.",
        ("status",),
    ),
    MetricFamily("authgate_in_flight_requests", "gauge", "Requests being decided now."),
    MetricFamily(
        "authgate_cache_requests",
        "counter",
        "Look-ups in a cache by result (hit, miss).",
        ("cache", "result"),
    ),
    MetricFamily(
        "authgate_shadow_differences",
        "counter",
        "Requests that a policy's shadow would have decided otherwise, by policy and the reason of each.",
        ("policy", "live", "shadow"),
    ),
    MetricFamily("authgate_cache_entries", "gauge", "Entries that a cache holds now.", ("cache",)),
    MetricFamily(
        "authgate_cache_bytes", "gauge", "Bytes that a cache's entries take, as estimated.", ("cache",)
    ),
    MetricFamily(
        "authgate_cache_evictions",
        "counter",
        "Entries that a full cache gave up before their time.",
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
        "When an issuer's keys were last fetched well.",
        ("issuer",),
        "least",
    ),
    MetricFamily(
        "authgate_jwks_keys",
        "gauge",
        "Usable keys that an issuer published at the last good fetch.",
        ("issuer",),
        "least",
    ),
    MetricFamily(
        "authgate_jwks_skipped_keys",
        "gauge",
        "Keys of the last good fetch that could not be used.",
        ("issuer",),
        "most",
    ),
    MetricFamily(
        "authgate_tokenreview_requests",
        "counter",
        "TokenReviews by cluster and result: authenticated, refused, throttled, or how the API server failed.",
        ("cluster", "result"),
    ),
    MetricFamily(
        "authgate_tokenreview_duration_seconds",
        "histogram",
        "Time that a cluster's API server took for a TokenReview.",
        ("cluster",),
    ),
    MetricFamily(
        "authgate_tokenreview_saturation",
        "gauge",
        "TokenReviews wanted in the last minute as a part of those that tokenReview.qps allows, by budget.",
        ("cluster", "budget"),
        "most",
    ),
    MetricFamily(
        "authgate_accessreview_requests",
        "counter",
        "SubjectAccessReviews by cluster and result: allowed, denied, throttled, or how the API server failed.",
        ("cluster", "result"),
    ),
    MetricFamily(
        "authgate_accessreview_duration_seconds",
        "histogram",
        "Time that a cluster's API server took for a SubjectAccessReview.",
        ("cluster",),
    ),
    MetricFamily(
        "authgate_exchange_requests",
        "counter",
        "Token exchanges by result: issued, or the error of RFC 6749 that was answered.",
        ("result",),
    ),
    MetricFamily(
        "authgate_watch_last_event_timestamp_seconds",
        "gauge",
        "When a watch was last told anything, a bookmark included; 0: never.",
        ("cluster", "resource"),
        "least",
    ),
    MetricFamily(
        "authgate_watch_objects",
        "gauge",
        "Objects that a watch knows now.",
        ("cluster", "resource"),
        "most",
    ),
    MetricFamily(
        "authgate_watch_restarts",
        "counter",
        "Ends of a watch by reason: ended or silent (as usual), expired, too_many, or how the API server failed.",
        ("cluster", "resource", "reason"),
    ),
    MetricFamily(
        "authgate_config_reloads",
        "counter",
        "Times that the configuration was loaded by result.",
        ("result",),
    ),
    MetricFamily(
        "authgate_config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the configuration was last loaded well.",
        aggregation="most",
    ),
    MetricFamily(
        "authgate_config_rejected_since_timestamp_seconds",
        "gauge",
        "Since when the configuration file is rejected and an older one is in use; 0: it is not rejected.",
        aggregation="most",
    ),
    MetricFamily(
        "authgate_audit_suppressed", "counter", "Decisions that the audit stream has no line of its own for."
    ),
    MetricFamily("authgate_log_dropped", "counter", "Log lines lost because standard error was not read."),
    MetricFamily("authgate_internal_errors", "counter", "Errors that the gate did not expect, answered 503."),
    MetricFamily(
        "authgate_connections_refused",
        "counter",
        "Connections closed at once because the limit was reached.",
    ),
    MetricFamily(
        "authgate_unfinished_heads_ended",
        "counter",
        "Connections closed because unfinished request headers took too much memory; the oldest is closed first.",
    ),
    MetricFamily(
        "authgate_descriptors_exhausted",
        "counter",
        "Seconds in which the process had no file descriptor left.",
    ),
    MetricFamily("authgate_workers", "gauge", "Processes that answer requests now."),
    MetricFamily(
        "authgate_worker_restarts",
        "counter",
        "Workers started again by reason: exited, killed (by a signal), or stuck.",
        ("reason",),
    ),
    MetricFamily(
        "authgate_build_info",
        "gauge",
        "The version that runs; always 1.",
        ("version", "python"),
        "most",
    ),
)

FAMILIES: Final = {family.name: family for family in _ALL}
"""Every family by its name, in the order in which they are told."""

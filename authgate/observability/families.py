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


@dataclass(frozen=True, slots=True, kw_only=True)
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
        name="authgate_verify_requests",
        kind="counter",
        text="Decisions of the verify port by decision, reason, source and policy.",
        labels=("decision", "reason", "source", "policy"),
    ),
    MetricFamily(
        name="authgate_unavailable",
        kind="counter",
        text="Requests that could not be decided (503), by reason, token exchanges included.",
        labels=("reason",),
    ),
    MetricFamily(
        name="authgate_verify_duration_seconds",
        kind="histogram",
        text="Time from a request's headers to its response, by decision source and policy.",
        labels=("source", "policy"),
    ),
    MetricFamily(
        name="authgate_rule_requests",
        kind="counter",
        text="Requests that a rule decided, by policy and the index of the rule in it.",
        labels=("policy", "rule"),
    ),
    MetricFamily(
        name="authgate_http_errors",
        kind="counter",
        text="Requests with invalid HTTP, answered without a decision, by status.",
        labels=("status",),
    ),
    MetricFamily(
        name="authgate_in_flight_requests", kind="gauge", text="Requests that are being decided now."
    ),
    MetricFamily(
        name="authgate_cache_requests",
        kind="counter",
        text="Cache lookups by cache and result (hit, miss).",
        labels=("cache", "result"),
    ),
    MetricFamily(
        name="authgate_shadow_differences",
        kind="counter",
        text="Requests that a policy's shadow decided differently, by policy, live reason and shadow reason.",
        labels=("policy", "live", "shadow"),
    ),
    MetricFamily(name="authgate_cache_entries", kind="gauge", text="Entries in a cache.", labels=("cache",)),
    MetricFamily(
        name="authgate_cache_bytes",
        kind="gauge",
        text="Estimated size of a cache's entries in bytes.",
        labels=("cache",),
    ),
    MetricFamily(
        name="authgate_cache_evictions",
        kind="counter",
        text="Entries evicted from a full cache before they expired.",
        labels=("cache",),
    ),
    MetricFamily(
        name="authgate_jwks_fetches",
        kind="counter",
        text="Fetches of an issuer's keys by result.",
        labels=("issuer", "result"),
    ),
    MetricFamily(
        name="authgate_jwks_last_success_timestamp_seconds",
        kind="gauge",
        text="Unix time of the last successful fetch of an issuer's keys.",
        labels=("issuer",),
        aggregation="min",
    ),
    MetricFamily(
        name="authgate_jwks_keys",
        kind="gauge",
        text="Usable keys in the last successful fetch.",
        labels=("issuer",),
        aggregation="min",
    ),
    MetricFamily(
        name="authgate_jwks_skipped_keys",
        kind="gauge",
        text="Keys in the last successful fetch that authgate cannot use.",
        labels=("issuer",),
        aggregation="max",
    ),
    MetricFamily(
        name="authgate_tokenreview_requests",
        kind="counter",
        text="TokenReviews by cluster and result: authenticated, refused, throttled, or the kind of API server error.",
        labels=("cluster", "result"),
    ),
    MetricFamily(
        name="authgate_tokenreview_duration_seconds",
        kind="histogram",
        text="API server response time for a TokenReview.",
        labels=("cluster",),
    ),
    MetricFamily(
        name="authgate_tokenreview_saturation",
        kind="gauge",
        text="TokenReviews needed in the last minute divided by those that tokenReview.qps allows, by budget.",
        labels=("cluster", "budget"),
        aggregation="max",
    ),
    MetricFamily(
        name="authgate_introspection_requests",
        kind="counter",
        text="Introspection requests by server and result: active, inactive, throttled, or the kind of error.",
        labels=("issuer", "result"),
    ),
    MetricFamily(
        name="authgate_introspection_duration_seconds",
        kind="histogram",
        text="Response time of an introspection endpoint.",
        labels=("issuer",),
    ),
    MetricFamily(
        name="authgate_introspection_saturation",
        kind="gauge",
        text="Introspection requests needed in the last minute divided by those that qps allows, by budget.",
        labels=("issuer", "budget"),
        aggregation="max",
    ),
    MetricFamily(
        name="authgate_accessreview_requests",
        kind="counter",
        text="SubjectAccessReviews by cluster and result: allowed, denied, throttled, or the kind of API server error.",
        labels=("cluster", "result"),
    ),
    MetricFamily(
        name="authgate_accessreview_duration_seconds",
        kind="histogram",
        text="API server response time for a SubjectAccessReview.",
        labels=("cluster",),
    ),
    MetricFamily(
        name="authgate_exchange_requests",
        kind="counter",
        text="Token exchanges by result: issued, or the RFC 6749 error code returned.",
        labels=("result",),
    ),
    MetricFamily(
        name="authgate_watch_last_event_timestamp_seconds",
        kind="gauge",
        text="Unix time of the last event or bookmark of a watch; 0 if there was no event yet.",
        labels=("cluster", "resource"),
        aggregation="min",
    ),
    MetricFamily(
        name="authgate_watch_objects",
        kind="gauge",
        text="Objects that a watch currently tracks.",
        labels=("cluster", "resource"),
        aggregation="max",
    ),
    MetricFamily(
        name="authgate_watch_restarts",
        kind="counter",
        text="Watch restarts by reason: ended or silent (both normal), expired, too_many, or the kind of API server "
        "error.",
        labels=("cluster", "resource", "reason"),
    ),
    MetricFamily(
        name="authgate_credential_expiry_timestamp_seconds",
        kind="gauge",
        text="Unix time at which a certificate or token that authgate presents expires.",
        labels=("credential", "name"),
        aggregation="min",
    ),
    MetricFamily(
        name="authgate_credential_lifetime_seconds",
        kind="gauge",
        text="Whole lifetime of that certificate or token.",
        labels=("credential", "name"),
        aggregation="min",
    ),
    MetricFamily(
        name="authgate_config_reloads",
        kind="counter",
        text="Configuration loads by result.",
        labels=("result",),
    ),
    MetricFamily(
        name="authgate_config_last_reload_success_timestamp_seconds",
        kind="gauge",
        text="Unix time of the last successful configuration load.",
        aggregation="max",
    ),
    MetricFamily(
        name="authgate_config_rejected_since_timestamp_seconds",
        kind="gauge",
        text="Unix time since when the configuration file is rejected and an older one is in use; 0 if it is accepted.",
        aggregation="max",
    ),
    MetricFamily(
        name="authgate_audit_suppressed",
        kind="counter",
        text="Decisions without their own line in the audit log.",
    ),
    MetricFamily(
        name="authgate_log_dropped",
        kind="counter",
        text="Log lines dropped because standard error was not being read.",
    ),
    MetricFamily(
        name="authgate_internal_errors", kind="counter", text="Unexpected errors, answered with 503."
    ),
    MetricFamily(
        name="authgate_connections_refused",
        kind="counter",
        text="Connections closed immediately because the connection limit was reached.",
    ),
    MetricFamily(
        name="authgate_unfinished_heads_ended",
        kind="counter",
        text="Connections closed, oldest first, because incomplete request headers used too much memory.",
    ),
    MetricFamily(
        name="authgate_descriptors_exhausted",
        kind="counter",
        text="Seconds in which the process had no free file descriptor.",
    ),
    MetricFamily(name="authgate_workers", kind="gauge", text="Worker processes that are serving requests."),
    MetricFamily(
        name="authgate_worker_restarts",
        kind="counter",
        text="Worker restarts by reason: exited, killed (by a signal), or stuck.",
        labels=("reason",),
    ),
    MetricFamily(
        name="authgate_build_info",
        kind="gauge",
        text="Version of authgate and of Python, as labels; the value is always 1.",
        labels=("version", "python"),
        aggregation="max",
    ),
)

FAMILIES: Final = {family.name: family for family in _ALL}
"""Every family by name, in the order of the exposition."""

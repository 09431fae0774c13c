"""The metrics as Prometheus reads them: names, labels and help texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from authgate import __version__
from authgate.observability.families import BUCKETS
from authgate.observability.metrics import Gauges, Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

LABELS = {
    "authgate_verify_requests": {"decision", "reason", "source", "policy"},
    "authgate_rule_requests": {"policy", "rule"},
    "authgate_unavailable": {"reason"},
    "authgate_verify_duration_seconds": {"source", "policy"},
    "authgate_shadow_differences": {"policy", "live", "shadow"},
    "authgate_cache_requests": {"cache", "result"},
    "authgate_cache_bytes": {"cache"},
    "authgate_cache_entries": {"cache"},
    "authgate_cache_evictions": {"cache"},
    "authgate_jwks_fetches": {"issuer", "result"},
    "authgate_jwks_last_success_timestamp_seconds": {"issuer"},
    "authgate_jwks_keys": {"issuer"},
    "authgate_jwks_skipped_keys": {"issuer"},
    "authgate_tokenreview_requests": {"cluster", "result"},
    "authgate_tokenreview_duration_seconds": {"cluster"},
    "authgate_tokenreview_saturation": {"cluster", "budget"},
    "authgate_introspection_requests": {"issuer", "result"},
    "authgate_introspection_duration_seconds": {"issuer"},
    "authgate_introspection_saturation": {"issuer", "budget"},
    "authgate_accessreview_requests": {"cluster", "result"},
    "authgate_accessreview_duration_seconds": {"cluster"},
    "authgate_exchange_requests": {"result"},
    "authgate_watch_last_event_timestamp_seconds": {"cluster", "resource"},
    "authgate_watch_objects": {"cluster", "resource"},
    "authgate_watch_restarts": {"cluster", "resource", "reason"},
    "authgate_credential_expiry_timestamp_seconds": {"credential", "name"},
    "authgate_credential_lifetime_seconds": {"credential", "name"},
    "authgate_config_reloads": {"result"},
    "authgate_config_last_reload_success_timestamp_seconds": set[str](),
    "authgate_config_rejected_since_timestamp_seconds": set[str](),
    "authgate_in_flight_requests": set[str](),
    "authgate_http_errors": {"status"},
    "authgate_audit_suppressed": set[str](),
    "authgate_log_dropped": set[str](),
    "authgate_workers": set[str](),
    "authgate_worker_restarts": {"reason"},
    "authgate_internal_errors": set[str](),
    "authgate_connections_refused": set[str](),
    "authgate_unfinished_heads_ended": set[str](),
    "authgate_descriptors_exhausted": set[str](),
    "authgate_build_info": {"version", "python"},
}
"""Every family and its labels: a contract with dashboards and alerts."""


def counted() -> Metrics:
    """Metrics with a value in each family."""
    metrics = Metrics()
    metrics.answer_cell("allow", "authenticated", "jwks", "default").add(0.0003)
    metrics.answer_cell("allow", "authenticated", "jwks", "default").add(3.0)
    metrics.answer_cell("deny", "token_expired", "none", "app").add(0.0001)
    metrics.answer_cell("deny", "not_allowed", "jwks", "app", 2).add(0.0001)
    metrics.count_review("home", "authenticated", 0.02)
    metrics.count_review("home", "throttled", 0.0)
    metrics.count_introspection("opaque", "active", 0.04)
    metrics.count_introspection("opaque", "throttled", 0.0)
    metrics.count_access_review("home", "allowed", 0.03)
    metrics.count_access_review("home", "throttled", 0.0)
    metrics.cache_requests["verdict", "hit"] += 3
    metrics.gauges = lambda: Gauges(
        cache_entries={"verdict": 7},
        cache_bytes={"verdict": 9000},
        saturation={("home", "signed"): 0.5, ("home", "renewal"): 1.5},
        introspection_saturation={("opaque", "renewal"): 0.25},
        watch_objects={("home", "pods"): 3},
        watch_last_event={("home", "pods"): 1_800_000_000.0},
        credentials={("cluster token", "home"): (1_800_003_600.0, 3600.0)},
    )
    metrics.cache_evictions["verdict"] += 1
    metrics.jwks_fetches["corp", "success"] += 1
    metrics.jwks_last_success["corp"] = 1_800_000_000.5
    metrics.jwks_keys["corp"] = 2
    metrics.jwks_skipped["corp"] = 1

    metrics.watch_restarts["home", "pods", "expired"] += 1
    metrics.config_reloads["success"] += 1
    metrics.config_last_success = 1_800_000_000.0
    metrics.http_errors["431"] += 1
    metrics.audit_suppressed = 4
    metrics.shadow_differences["default", "not_allowed", "authenticated"] += 1
    metrics.internal_errors = 5
    metrics.connections_refused = 6
    metrics.unfinished_heads_ended = 10
    metrics.descriptors_exhausted = 11
    metrics.in_flight = 8
    metrics.exchange_requests["issued"] += 1
    metrics.worker_restarts["killed"] += 1
    return metrics


def families(metrics: Metrics) -> dict[str, Metric]:
    """Return the gate's own metrics by name, as Prometheus reads them."""
    found = text_string_to_metric_families(metrics.render().decode())
    return {family.name: family for family in found if not family.name.startswith("process_")}


def value(metrics: Metrics, sample: str, **labels: str) -> float:
    """Return the value of one sample, which must exist once."""
    (found,) = [
        item.value
        for family in families(metrics).values()
        for item in family.samples
        if item.name == sample and item.labels == labels
    ]
    return float(found)


def test_every_family_has_its_labels_and_no_others() -> None:
    """Besides `le`, the label of buckets."""
    found = {
        name: {label for sample in family.samples for label in sample.labels} - {"le"}
        for name, family in families(counted()).items()
    }

    assert found == LABELS


@pytest.mark.parametrize("metrics", [Metrics(), counted()], ids=["nothing counted", "all counted"])
def test_every_family_has_a_help_line_that_is_a_sentence(metrics: Metrics) -> None:
    """Even before anything was counted."""
    found = families(metrics)

    assert set(found) == set(LABELS)
    assert [
        name for name, family in found.items() if not re.fullmatch(r"[A-Z].+\S+.*[.1]", family.documentation)
    ] == []


@pytest.mark.parametrize(
    ("sample", "labels", "number"),
    [
        (
            "authgate_verify_requests_total",
            {"decision": "allow", "reason": "authenticated", "source": "jwks", "policy": "default"},
            2,
        ),
        (
            "authgate_verify_requests_total",
            {"decision": "deny", "reason": "token_expired", "source": "none", "policy": "app"},
            1,
        ),
        ("authgate_cache_requests_total", {"cache": "verdict", "result": "hit"}, 3),
        ("authgate_cache_entries", {"cache": "verdict"}, 7),
        ("authgate_cache_bytes", {"cache": "verdict"}, 9000),
        ("authgate_cache_evictions_total", {"cache": "verdict"}, 1),
        ("authgate_jwks_fetches_total", {"issuer": "corp", "result": "success"}, 1),
        ("authgate_jwks_last_success_timestamp_seconds", {"issuer": "corp"}, 1_800_000_000.5),
        ("authgate_jwks_keys", {"issuer": "corp"}, 2),
        ("authgate_jwks_skipped_keys", {"issuer": "corp"}, 1),
        ("authgate_tokenreview_requests_total", {"cluster": "home", "result": "authenticated"}, 1),
        ("authgate_tokenreview_requests_total", {"cluster": "home", "result": "throttled"}, 1),
        ("authgate_tokenreview_saturation", {"cluster": "home", "budget": "renewal"}, 1.5),
        ("authgate_introspection_requests_total", {"issuer": "opaque", "result": "active"}, 1),
        ("authgate_introspection_requests_total", {"issuer": "opaque", "result": "throttled"}, 1),
        ("authgate_introspection_saturation", {"issuer": "opaque", "budget": "renewal"}, 0.25),
        ("authgate_accessreview_requests_total", {"cluster": "home", "result": "allowed"}, 1),
        ("authgate_accessreview_requests_total", {"cluster": "home", "result": "throttled"}, 1),
        (
            "authgate_credential_expiry_timestamp_seconds",
            {"credential": "cluster token", "name": "home"},
            1_800_003_600,
        ),
        ("authgate_credential_lifetime_seconds", {"credential": "cluster token", "name": "home"}, 3600),
        ("authgate_config_reloads_total", {"result": "success"}, 1),
        ("authgate_config_last_reload_success_timestamp_seconds", {}, 1_800_000_000),
        ("authgate_http_errors_total", {"status": "431"}, 1),
        ("authgate_audit_suppressed_total", {}, 4),
        ("authgate_internal_errors_total", {}, 5),
        ("authgate_connections_refused_total", {}, 6),
        ("authgate_unfinished_heads_ended_total", {}, 10),
        ("authgate_descriptors_exhausted_total", {}, 11),
        ("authgate_in_flight_requests", {}, 8),
    ],
)
def test_counted_numbers_are_exposed(sample: str, labels: dict[str, str], number: float) -> None:
    """Each under its name."""
    assert value(counted(), sample, **labels) == number


def test_numbers_that_decrease_are_not_counters() -> None:
    """Prometheus treats a counter that falls as a restart."""
    kinds = {name: family.type for name, family in families(counted()).items()}
    gauges = {name for name, kind in kinds.items() if kind == "gauge"}

    assert gauges == {
        "authgate_build_info",
        "authgate_cache_bytes",
        "authgate_cache_entries",
        "authgate_config_last_reload_success_timestamp_seconds",
        "authgate_config_rejected_since_timestamp_seconds",
        "authgate_credential_expiry_timestamp_seconds",
        "authgate_credential_lifetime_seconds",
        "authgate_in_flight_requests",
        "authgate_introspection_saturation",
        "authgate_jwks_keys",
        "authgate_jwks_last_success_timestamp_seconds",
        "authgate_jwks_skipped_keys",
        "authgate_tokenreview_saturation",
        "authgate_watch_last_event_timestamp_seconds",
        "authgate_watch_objects",
        "authgate_workers",
    }
    assert {kinds[name] for name in kinds.keys() - gauges} == {"counter", "histogram"}


def test_durations_are_counted_by_source_and_policy() -> None:
    """From 100 µs to 2.5 s. Slower ones are only in the last bucket."""
    metrics = counted()
    buckets = {
        bound: value(
            metrics, "authgate_verify_duration_seconds_bucket", source="jwks", policy="default", le=bound
        )
        for bound in ("0.00025", "0.0005", "2.5", "+Inf")
    }

    assert buckets == {"0.00025": 0, "0.0005": 1, "2.5": 1, "+Inf": 2}
    of_policy = {"source": "jwks", "policy": "default"}
    assert value(metrics, "authgate_verify_duration_seconds_count", **of_policy) == 2
    assert value(metrics, "authgate_verify_duration_seconds_sum", **of_policy) == pytest.approx(3.0003)


def test_a_throttled_review_has_no_duration() -> None:
    """It was not sent to the API server."""
    metrics = counted()

    assert value(metrics, "authgate_tokenreview_duration_seconds_count", cluster="home") == 1
    assert value(metrics, "authgate_tokenreview_duration_seconds_sum", cluster="home") == pytest.approx(0.02)
    assert value(metrics, "authgate_introspection_duration_seconds_count", issuer="opaque") == 1
    assert value(metrics, "authgate_accessreview_duration_seconds_count", cluster="home") == 1
    assert value(metrics, "authgate_accessreview_duration_seconds_sum", cluster="home") == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        (0.0, 0),
        (0.0001, 0),
        (0.00010001, 1),
        (2.5, len(BUCKETS) - 1),
        (2.50001, len(BUCKETS)),
        (1e9, len(BUCKETS)),
    ],
)
def test_a_duration_belongs_to_the_first_bucket_that_holds_it(seconds: float, bucket: int) -> None:
    """Upper bounds are inclusive, and counts add up."""
    metrics = Metrics()
    metrics.verify_duration["jwks", "default"].observe(seconds)
    family = families(metrics)["authgate_verify_duration_seconds"]
    counts = [item.value for item in family.samples if item.name.endswith("_bucket")]
    total = value(metrics, "authgate_verify_duration_seconds_sum", source="jwks", policy="default")

    assert counts == [0.0] * bucket + [1.0] * (len(BUCKETS) + 1 - bucket)
    assert total == seconds


def test_the_buckets_are_those_of_the_contract() -> None:
    """From 100 µs to 2.5 s, in order."""
    assert (BUCKETS[0], BUCKETS[-1]) == (0.0001, 2.5)
    assert list(BUCKETS) == sorted(set(BUCKETS))


def test_gauges_are_read_at_a_scrape() -> None:
    """The size of a cache is not counted at each change."""
    metrics = Metrics()
    entries = [1, 2]
    metrics.gauges = lambda: Gauges(cache_entries={"verdict": len(entries)})
    assert value(metrics, "authgate_cache_entries", cache="verdict") == 2
    entries.append(3)
    assert value(metrics, "authgate_cache_entries", cache="verdict") == 3


def test_odd_names_are_escaped() -> None:
    """A configured name may hold a quote."""
    metrics = Metrics()
    metrics.jwks_keys['corp "A"\\'] = 1

    assert value(metrics, "authgate_jwks_keys", issuer='corp "A"\\') == 1


def test_the_version_is_exposed() -> None:
    """A dashboard can show which version runs."""
    (sample,) = families(Metrics())["authgate_build_info"].samples

    assert sample.labels["version"] == __version__
    assert sample.value == 1


def test_two_gates_count_separately() -> None:
    """No metric is global."""
    one, two = counted(), Metrics()

    assert value(one, "authgate_internal_errors_total") == 5
    assert value(two, "authgate_internal_errors_total") == 0


def _singles(metrics: Metrics) -> Iterator[tuple[tuple[str, tuple[str, ...]], list[float]]]:
    """Yield the names and numbers of counters and gauges."""
    return (item for item in metrics.store.numbers() if len(item[1]) == 1)


def test_rules_beyond_a_limit_are_not_counted() -> None:
    """Their answers still are. Rules must not take the place of other counters in shared memory."""
    metrics = Metrics()
    for rule in range(10_050):
        metrics.answer_cell("allow", "authenticated", "jwks", "app", rule).add(0.1)
    assert sum("rule" in family for (family, _), _ in _singles(metrics)) == 10_000
    assert metrics.answers["allow", "authenticated", "jwks", "app"].count == 10_050


def test_a_rule_is_counted_beside_the_answer() -> None:
    """All answers of a rule have one counter. Answers of other rules, and of none, have their own."""
    metrics = Metrics()
    metrics.answer_cell("allow", "authenticated", "jwks", "app", 1).add(0.1)
    metrics.answer_cell("deny", "not_allowed", "cache", "app", 1).add(0.1)
    metrics.answer_cells("allow", "authenticated", "app").under(1)["jwks"].add(0.1)
    metrics.answer_cells("allow", "authenticated", "app", 1).under(None)["jwks"].add(0.1)
    metrics.answer_cell("allow", "authenticated", "jwks", "app", 2).add(0.1)
    counted_rules = {labels: number for (family, labels), [number] in _singles(metrics) if "rule" in family}
    assert counted_rules == {("app", "1"): 3, ("app", "2"): 1}
    assert metrics.answers["allow", "authenticated", "jwks", "app"].count == 4

"""The metrics of several processes, combined as those of one gate."""

from __future__ import annotations

import os
from functools import partial
from itertools import accumulate
from pathlib import Path

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from authgate.observability.exposition import Exposition, text_of
from authgate.observability.families import BUCKETS, FAMILIES
from authgate.observability.figures import figures_of
from authgate.observability.metrics import Gauges, Metrics


def two() -> tuple[Metrics, Metrics]:
    """The metrics of two processes."""
    one, other = Metrics(), Metrics()
    for metrics, entries, fetched, keys in ((one, 3, 1000.0, 2), (other, 4, 900.0, 5)):
        metrics.answer_cell("allow", "authenticated", "jwks", "default").add(0.0003)
        metrics.gauges = partial(Gauges, cache_entries={"verdict": entries})
        metrics.jwks_last_success["corp"] = fetched
        metrics.jwks_keys["corp"] = keys
        metrics.jwks_skipped["corp"] = keys
        metrics.publish()
    other.answer_cell("deny", "token_expired", "none", "default").add(0.01)
    return one, other


def test_counters_and_histograms_are_sums() -> None:
    """Even if their process has ended."""
    one, other = two()
    figures = figures_of([(one.store, True), (other.store, False)])

    assert figures["authgate_verify_requests"] == {
        ("allow", "authenticated", "jwks", "default"): [2.0],
        ("deny", "token_expired", "none", "default"): [1.0],
    }
    duration = figures["authgate_verify_duration_seconds"]["jwks", "default"]
    assert sum(duration[:-1]) == 2
    assert duration[-1] == 0.0006


def test_gauges_are_combined_by_their_aggregation() -> None:
    """Entries are summed. The time of the last fetch is the minimum, so that an alert sees the slowest process."""
    one, other = two()
    figures = figures_of([(one.store, True), (other.store, True)])

    assert figures["authgate_cache_entries"] == {("verdict",): [7.0]}
    assert figures["authgate_jwks_last_success_timestamp_seconds"] == {("corp",): [900.0]}
    assert figures["authgate_jwks_keys"] == {("corp",): [2.0]}
    assert figures["authgate_jwks_skipped_keys"] == {("corp",): [5.0]}
    assert [*figures["authgate_build_info"].values()] == [[1.0]]


def test_gauges_of_an_ended_process_are_not_exposed() -> None:
    """Its cache no longer exists."""
    one, other = two()
    figures = figures_of([(one.store, True), (other.store, False)])

    assert figures["authgate_cache_entries"] == {("verdict",): [3.0]}


def test_a_process_that_continues_counters_resets_gauges() -> None:
    """Counters continue."""
    before, _ = two()
    after = Metrics(before.store)
    after.answer_cell("allow", "authenticated", "jwks", "default").add(0.0003)
    figures = figures_of([(after.store, True)])

    assert figures["authgate_verify_requests"] == {("allow", "authenticated", "jwks", "default"): [2.0]}
    assert "authgate_cache_entries" not in figures
    assert "authgate_jwks_keys" not in figures
    assert after.in_flight == 0


def test_every_family_is_exposed_without_a_process() -> None:
    """From the first scrape, so that dashboards find it."""
    text = Exposition(dict).render().decode()

    assert [name for name in FAMILIES if f"# HELP {name}" not in text] == []


def test_gauges_of_removed_issuers_are_not_exposed() -> None:
    """Their counters remain."""
    metrics = Metrics()
    for issuer in ("one", "other"):
        metrics.jwks_keys[issuer] = 1
        metrics.jwks_fetches[issuer, "success"] += 1
    metrics.keep_only_issuers({"one"})
    figures = figures_of([(metrics.store, True)])

    assert figures["authgate_jwks_keys"] == {("one",): [1.0]}
    assert len(figures["authgate_jwks_fetches"]) == 2


def test_gauges_are_those_of_the_configuration_in_use() -> None:
    """A cache that the next configuration does not have is no longer exposed."""
    metrics = Metrics()
    metrics.gauges = partial(Gauges, cache_entries={"verdict": 7, "access": 1})
    metrics.publish()
    metrics.gauges = partial(Gauges, cache_entries={"verdict": 2})
    metrics.publish()

    assert figures_of([(metrics.store, True)])["authgate_cache_entries"] == {("verdict",): [2.0]}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="not applicable: no /proc")
def test_the_metrics_of_processes_are_sums() -> None:
    """A process that has ended meanwhile is ignored."""
    me = os.getpid()
    found = {
        family.name: family.samples
        for family in text_string_to_metric_families(
            Exposition(dict, lambda: [me, me, 2**22 + 1]).render().decode()
        )
        if family.name.startswith("process_")
    }
    once = {
        family.name: family.samples
        for family in text_string_to_metric_families(Exposition(dict).render().decode())
        if family.name.startswith("process_")
    }

    assert {name: len(samples) for name, samples in found.items()} == dict.fromkeys(once, 1)
    assert found["process_max_fds"][0].value == 2 * once["process_max_fds"][0].value
    assert found["process_start_time_seconds"] == once["process_start_time_seconds"]


def test_the_text_is_that_of_prometheus_own_client() -> None:
    """Its parser reads the same names, labels and values that its writer would have written."""
    metrics = Metrics()
    metrics.jwks_keys['corp "A"\\\n'] = 1.5e20
    metrics.answer_cell("allow", "authenticated", "jwks", "default").add(0.0003)
    metrics.answer_cell("allow", "authenticated", "jwks", "default").add(30.0)
    figures = figures_of([(metrics.store, True)])
    read = {family.name: family for family in text_string_to_metric_families(text_of(figures))}
    written: dict[str, Metric] = {}
    for name, family in FAMILIES.items():
        kinds = {
            "counter": CounterMetricFamily,
            "gauge": GaugeMetricFamily,
            "histogram": HistogramMetricFamily,
        }
        written[name] = kinds[family.kind](name, family.text, labels=family.labels)
        for labels, numbers in sorted(figures.get(name, {} if family.labels else {(): [0.0]}).items()):
            if family.kind == "histogram":
                counts = accumulate(numbers[:-1])
                buckets = list(zip((*map(str, BUCKETS), "+Inf"), counts, strict=True))
                written[name].add_metric(labels, buckets, numbers[-1])  # type: ignore[attr-defined]
            else:
                written[name].add_metric(labels, numbers[0])  # type: ignore[attr-defined]

    assert read == written

"""Write the Grafana dashboard of the chart: python helm/authgate/dashboard/generate.py [FILE]."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[1] / "files" / "dashboard.json"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLORS = {"allow": "green", "deny": "orange", "unavailable": "red"}
_WIDTH, _HEIGHT = 24, 8

# What the variables select: all metrics, and those of policies.
_S = 'namespace=~"$namespace",pod=~"$pod"'
_P = f'{_S},policy=~"$policy"'


@dataclass(frozen=True)
class Panel:
    """One panel. `queries` are pairs of an expression and its legend; a table has the legend ""."""

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    stacked: bool = False
    bad: bool = False
    """Whether a number above 0 is red."""
    most: float | None = None
    height: int = _HEIGHT


def _rate(metric: str, by: str, matchers: str = _S) -> str:
    rates = f"sum by ({by}) (rate({metric}{{{matchers}}}[$__rate_interval]))"
    return _with_no_policy(rates) if by == "policy" else rates


def _increase(metric: str, by: str, matchers: str = _S) -> str:
    return f"sum by ({by}) (increase({metric}{{{matchers}}}[$__rate_interval]))"


def _age(metric: str, by: str) -> str:
    """Return the seconds since a time. A time of 0 is left out: the event has not happened yet."""
    return f"max by ({by}) (time() - ({metric}{{{_S}}} > 0))"


def _occurring(expression: str) -> str:
    """Leave out results that do not occur, because every result of a counter starts at 0."""
    return f"{expression} > 0"


def _with_no_policy(expression: str) -> str:
    """Name the requests to paths without a policy, whose label is empty."""
    return f'label_replace({expression}, "policy", "(no policy)", "policy", "")'


def _of_process(expression: str) -> str:
    """Take `process_` metrics of authgate only, because every program with a Prometheus client has them."""
    return f"sum by (pod, instance) ({expression} and on (job, instance) authgate_build_info{{{_S}}})"


def _quantiles(metric: str, by: str, matchers: str = _S) -> tuple[tuple[str, str], ...]:
    rates = f"sum by (le, {by}) (rate({metric}_bucket{{{matchers}}}[$__rate_interval]))"
    rates = _with_no_policy(rates) if by == "policy" else rates
    return tuple(
        (f"histogram_quantile({share}, {rates})", f"{name} {{{{{by}}}}}")
        for share, name in ((0.5, "p50"), (0.99, "p99"))
    )


def _stat(title: str, description: str, unit: str, expression: str, *, bad: bool = False) -> Panel:
    return Panel(title, description, unit, ((expression, ""),), kind="stat", height=4, bad=bad)


_REQUESTS = "authgate_verify_requests_total"
ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Overview",
        (
            _stat(
                "Requests per second",
                "Decisions of the verify port per second.",
                "reqps",
                f"sum(rate({_REQUESTS}{{{_P}}}[$__rate_interval]))",
            ),
            _stat(
                "Allowed",
                "Share of decisions that allowed the request.",
                "percentunit",
                f'sum(rate({_REQUESTS}{{{_P},decision="allow"}}[$__rate_interval]))'
                f" / sum(rate({_REQUESTS}{{{_P}}}[$__rate_interval]))",
            ),
            _stat(
                "Unavailable",
                "Requests per second that could not be decided (503).",
                "reqps",
                f"sum(rate(authgate_unavailable_total{{{_S}}}[$__rate_interval]))",
                bad=True,
            ),
            _stat(
                "Gates",
                "Running authgate pods or processes.",
                "short",
                f"count(authgate_build_info{{{_S}}})",
            ),
            _stat(
                "Workers",
                "Worker processes that are serving requests, over all gates.",
                "short",
                f"sum(authgate_workers{{{_S}}})",
            ),
            _stat(
                "Rejected configurations",
                "Gates whose configuration file is rejected, so that an older one is in use.",
                "short",
                f"sum(authgate_config_rejected_since_timestamp_seconds{{{_S}}} > bool 0)",
                bad=True,
            ),
        ),
    ),
    (
        "Traffic and latency by policy",
        (
            Panel(
                "Decisions",
                "Decisions of the verify port per second.",
                "reqps",
                ((_rate(_REQUESTS, "decision", _P), "{{decision}}"),),
                stacked=True,
            ),
            Panel(
                "Requests by policy",
                "Decisions per second by policy. Requests to paths without a policy have no name.",
                "reqps",
                ((_rate(_REQUESTS, "policy", _P), "{{policy}}"),),
                stacked=True,
            ),
            Panel(
                "Response time by policy",
                "Median and 99th percentile of the time from a request's headers to its response.",
                "s",
                _quantiles("authgate_verify_duration_seconds", "policy", _P),
            ),
            Panel(
                "Requests in flight",
                "Requests that wait for a fetch or a review now, by pod.",
                "short",
                ((f"sum by (pod, instance) (authgate_in_flight_requests{{{_S}}})", "{{pod}} {{instance}}"),),
            ),
        ),
    ),
    (
        "Denials by reason",
        (
            Panel(
                "Denials by reason",
                "Requests that were denied (401, 403, 404), by reason code (docs/reasons.md).",
                "reqps",
                ((_rate(_REQUESTS, "reason", f'{_P},decision="deny"'), "{{reason}}"),),
            ),
            Panel(
                "Unavailable by reason",
                "Requests that could not be decided (503), by reason code, over all policies.",
                "reqps",
                ((_occurring(_rate("authgate_unavailable_total", "reason")), "{{reason}}"),),
            ),
            Panel(
                "Most frequent denials",
                "Denied and unavailable requests in the selected time, by policy and reason.",
                "short",
                (
                    (
                        (
                            f'topk(20, sum by (policy, reason) (increase({_REQUESTS}{{{_P},decision!="allow"}}'
                            "[$__range])) > 0)"
                        ),
                        "",
                    ),
                ),
                kind="table",
            ),
            Panel(
                "Malformed requests",
                "Requests with invalid HTTP, answered without a decision, by status.",
                "reqps",
                ((_occurring(_rate("authgate_http_errors_total", "status")), "{{status}}"),),
            ),
        ),
    ),
    (
        "Verification source",
        (
            Panel(
                "Decision source",
                "jwks: a local key; tokenreview: the API server; introspection: an authorization server; cache: a"
                " cached verdict; none: no token was verified.",
                "reqps",
                ((_rate(_REQUESTS, "source", _P), "{{source}}"),),
                stacked=True,
            ),
            Panel(
                "Response time by source",
                "Median and 99th percentile of the time from a request's headers to its response.",
                "s",
                _quantiles("authgate_verify_duration_seconds", "source", _P),
            ),
        ),
    ),
    (
        "Keys",
        (
            Panel(
                "Key age",
                "Time since the last successful fetch of an issuer's keys. authgate drops keys that reach"
                " keys.maxStale.",
                "s",
                ((_age("authgate_jwks_last_success_timestamp_seconds", "issuer"), "{{issuer}}"),),
            ),
            Panel(
                "Key fetches",
                "Fetches of signing keys, by issuer and result.",
                "short",
                ((_increase("authgate_jwks_fetches_total", "issuer, result"), "{{issuer}} {{result}}"),),
            ),
            Panel(
                "Keys",
                "Usable and skipped keys in the last successful fetch, by issuer.",
                "short",
                (
                    (f"min by (issuer) (authgate_jwks_keys{{{_S}}})", "{{issuer}}"),
                    (f"max by (issuer) (authgate_jwks_skipped_keys{{{_S}}})", "{{issuer}} skipped"),
                ),
            ),
        ),
    ),
    (
        "TokenReview and access review",
        (
            Panel(
                "TokenReviews",
                "TokenReviews per second by result. Authenticated and refused are answers; the others are failures.",
                "reqps",
                (
                    (
                        _occurring(_rate("authgate_tokenreview_requests_total", "cluster, result")),
                        "{{cluster}} {{result}}",
                    ),
                ),
            ),
            Panel(
                "TokenReview response time",
                "Median and 99th percentile of the API server's response time.",
                "s",
                _quantiles("authgate_tokenreview_duration_seconds", "cluster"),
            ),
            Panel(
                "TokenReview saturation",
                "TokenReviews needed in the last minute divided by those that tokenReview.qps allows. Above 1, some"
                " requests get 503.",
                "percentunit",
                (
                    (
                        f"max by (cluster, budget) (authgate_tokenreview_saturation{{{_S}}})",
                        "{{cluster}} {{budget}}",
                    ),
                ),
            ),
            Panel(
                "Access reviews",
                "SubjectAccessReviews per second by result. Allowed and denied are answers; the others are failures.",
                "reqps",
                (
                    (
                        _occurring(_rate("authgate_accessreview_requests_total", "cluster, result")),
                        "{{cluster}} {{result}}",
                    ),
                ),
            ),
            Panel(
                "Access review response time",
                "Median and 99th percentile of the API server's response time.",
                "s",
                _quantiles("authgate_accessreview_duration_seconds", "cluster"),
            ),
        ),
    ),
    (
        "Introspection",
        (
            Panel(
                "Introspection requests",
                "Introspection requests per second by result. Active and inactive are answers; the others are"
                " failures.",
                "reqps",
                (
                    (
                        _occurring(_rate("authgate_introspection_requests_total", "issuer, result")),
                        "{{issuer}} {{result}}",
                    ),
                ),
            ),
            Panel(
                "Introspection response time",
                "Median and 99th percentile of the endpoint's response time.",
                "s",
                _quantiles("authgate_introspection_duration_seconds", "issuer"),
            ),
            Panel(
                "Introspection saturation",
                "Requests needed in the last minute divided by those that qps allows. Above 1, some requests get 503.",
                "percentunit",
                (
                    (
                        f"max by (issuer, budget) (authgate_introspection_saturation{{{_S}}})",
                        "{{issuer}} {{budget}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Watches",
        (
            Panel(
                "Watch lag",
                "Time since the last event or bookmark of a watch. Up to 75 s is normal.",
                "s",
                (
                    (
                        _age("authgate_watch_last_event_timestamp_seconds", "cluster, resource"),
                        "{{cluster}} {{resource}}",
                    ),
                ),
            ),
            Panel(
                "Watched objects",
                "Objects that a watch tracks.",
                "short",
                (
                    (
                        f"max by (cluster, resource) (authgate_watch_objects{{{_S}}})",
                        "{{cluster}} {{resource}}",
                    ),
                ),
            ),
            Panel(
                "Watch restarts",
                "Watch restarts by reason. Ended and silent are normal.",
                "short",
                (
                    (
                        _occurring(_increase("authgate_watch_restarts_total", "cluster, resource, reason")),
                        "{{cluster}} {{resource}} {{reason}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Cache",
        (
            Panel(
                "Cache hit ratio",
                "Share of lookups that found an entry.",
                "percentunit",
                (
                    (
                        _rate("authgate_cache_requests_total", "cache", f'{_S},result="hit"')
                        + " / "
                        + _rate("authgate_cache_requests_total", "cache"),
                        "{{cache}}",
                    ),
                ),
                most=1,
            ),
            Panel(
                "Cache entries",
                "Entries of a cache, over all pods.",
                "short",
                ((f"sum by (cache) (authgate_cache_entries{{{_S}}})", "{{cache}}"),),
            ),
            Panel(
                "Cache size",
                "Estimated size of a cache's entries, by pod.",
                "bytes",
                (
                    (
                        f"sum by (pod, instance, cache) (authgate_cache_bytes{{{_S}}})",
                        "{{pod}} {{instance}} {{cache}}",
                    ),
                ),
            ),
            Panel(
                "Cache evictions",
                "Entries that left a full cache before they expired: cache.maxEntries or cache.maxBytes is too small.",
                "short",
                ((_increase("authgate_cache_evictions_total", "cache"), "{{cache}}"),),
            ),
        ),
    ),
    (
        "Workers and reloads",
        (
            Panel(
                "Workers",
                "Worker processes that are serving requests, by pod.",
                "short",
                ((f"sum by (pod, instance) (authgate_workers{{{_S}}})", "{{pod}} {{instance}}"),),
            ),
            Panel(
                "Worker restarts",
                "Workers that ended and were replaced, by reason.",
                "short",
                ((_increase("authgate_worker_restarts_total", "reason"), "{{reason}}"),),
            ),
            Panel(
                "Reloads",
                "Configuration loads by result.",
                "short",
                ((_increase("authgate_config_reloads_total", "result"), "{{result}}"),),
            ),
            Panel(
                "Configuration age",
                "Time since the last successful configuration load, by pod.",
                "s",
                (
                    (
                        _age("authgate_config_last_reload_success_timestamp_seconds", "pod, instance"),
                        "{{pod}} {{instance}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Shadow policies and token exchange",
        (
            Panel(
                "Shadow differences",
                "Requests that a policy's shadow decided differently: the live reason, then the shadow's.",
                "reqps",
                (
                    (
                        _rate("authgate_shadow_differences_total", "policy, live, shadow", _P),
                        "{{policy}}: {{live}}, shadow {{shadow}}",
                    ),
                ),
            ),
            Panel(
                "Token exchanges",
                "Token exchanges per second: issued, or the error code returned.",
                "reqps",
                ((_occurring(_rate("authgate_exchange_requests_total", "result")), "{{result}}"),),
            ),
        ),
    ),
    (
        "Resources and errors",
        (
            Panel(
                "CPU",
                "CPU cores in use, by pod.",
                "short",
                (
                    (
                        _of_process(f"rate(process_cpu_seconds_total{{{_S}}}[$__rate_interval])"),
                        "{{pod}} {{instance}}",
                    ),
                ),
            ),
            Panel(
                "Memory",
                "Resident memory by pod. Memory that workers share is counted in each.",
                "bytes",
                ((_of_process(f"process_resident_memory_bytes{{{_S}}}"), "{{pod}} {{instance}}"),),
            ),
            Panel(
                "Open file descriptors",
                "Open descriptors divided by the limit, by pod.",
                "percentunit",
                (
                    (
                        _of_process(f"process_open_fds{{{_S}}} / process_max_fds{{{_S}}}"),
                        "{{pod}} {{instance}}",
                    ),
                ),
            ),
            Panel(
                "Limits that were reached",
                "Closed connections, and seconds without a free file descriptor.",
                "short",
                (
                    (
                        f"sum(increase(authgate_connections_refused_total{{{_S}}}[$__rate_interval]))",
                        "connections refused",
                    ),
                    (
                        f"sum(increase(authgate_unfinished_heads_ended_total{{{_S}}}[$__rate_interval]))",
                        "incomplete headers ended",
                    ),
                    (
                        f"sum(increase(authgate_descriptors_exhausted_total{{{_S}}}[$__rate_interval]))",
                        "seconds without descriptor",
                    ),
                ),
            ),
            Panel(
                "Errors and lost log lines",
                "Unexpected errors, decisions without an own audit line, and dropped log lines.",
                "short",
                (
                    (
                        f"sum(increase(authgate_internal_errors_total{{{_S}}}[$__rate_interval]))",
                        "internal errors",
                    ),
                    (
                        f"sum(increase(authgate_audit_suppressed_total{{{_S}}}[$__rate_interval]))",
                        "audit lines suppressed",
                    ),
                    (
                        f"sum(increase(authgate_log_dropped_total{{{_S}}}[$__rate_interval]))",
                        "log lines dropped",
                    ),
                ),
            ),
            Panel(
                "Credentials",
                "Time until a certificate or token that authgate presents expires.",
                "s",
                (
                    (
                        (
                            "min by (credential, name)"
                            f" (authgate_credential_expiry_timestamp_seconds{{{_S}}} - time())"
                        ),
                        "{{credential}} {{name}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Version",
        (
            Panel(
                "Versions",
                "Gates by version of authgate and of Python.",
                "short",
                ((f"count by (version, python) (authgate_build_info{{{_S}}})", ""),),
                kind="table",
            ),
            Panel(
                "Gates by version",
                "Running gates by version, during an upgrade and after it.",
                "short",
                ((f"count by (version) (authgate_build_info{{{_S}}})", "{{version}}"),),
                stacked=True,
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return {
        "title": "authgate",
        "uid": "authgate",
        "tags": ["authgate"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                _variable("namespace", "Namespace", "label_values(authgate_build_info, namespace)"),
                _variable("pod", "Pod", 'label_values(authgate_build_info{namespace=~"$namespace"}, pod)'),
                _variable("policy", "Policy", f"label_values({_REQUESTS}{{{_S}}}, policy)"),
            ]
        },
        "panels": list(_panels()),
    }


def write(file: Path = _FILE) -> None:
    """Write the dashboard."""
    file.write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="utf-8")


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    # Without Kubernetes there are no namespaces and pods: "All" must also select series without the label.
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for title, panels in ROWS:
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": _WIDTH, "h": 1},
            "panels": [],
        }
        number, y = number + 1, y + 1
        per_line = len(panels) if panels[0].kind == "stat" else 2 if len(panels) in (2, 4) else 3
        for start in range(0, len(panels), per_line):
            line = panels[start : start + per_line]
            width = _WIDTH // len(line)
            for place, panel in enumerate(line):
                yield _panel(panel, number, {"x": place * width, "y": y, "w": width, "h": panel.height})
                number += 1
            y += line[0].height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    overrides: list[dict[str, Any]] = []
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom: dict[str, Any] = {"fillOpacity": 20 if panel.stacked else 0, "showPoints": "auto"}
        if panel.stacked:
            custom["stacking"] = {"mode": "normal"}
        if any("increase(" in expression for expression, _ in panel.queries):
            custom |= {"drawStyle": "bars", "fillOpacity": 60}
        defaults |= {"min": 0, "noValue": "nothing in this time", "custom": custom}
        defaults |= {} if panel.most is None else {"max": panel.most}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        if any("{{decision}}" in legend for _, legend in panel.queries):
            overrides = [_colored(name, color) for name, color in _COLORS.items()]
    elif panel.kind == "stat":
        mode = "value" if panel.bad else "none"
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area", "colorMode": mode}
        steps = [{"color": "green", "value": None}, {"color": "red", "value": 1e-9}]
        defaults |= {"thresholds": {"mode": "absolute", "steps": steps}} if panel.bad else {}
    else:
        defaults |= {"decimals": 0}
        hidden = {"excludeByName": {"Time": True}, "renameByName": {"Value": "count"}}
        extra = {"transformations": [{"id": "organize", "options": hidden}]}
    table = {"format": "table", "instant": True} if panel.kind == "table" else {}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
        "options": options,
        **extra,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": expression}
            | ({"legendFormat": legend} if legend else {})
            | table
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _colored(name: str, color: str) -> dict[str, Any]:
    value = {"mode": "fixed", "fixedColor": color}
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": "color", "value": value}],
    }


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))

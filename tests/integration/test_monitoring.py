"""The alerts and the dashboard of the chart over the metrics of a real gate."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.helm import CHART
from tests.support.monitored import monitored
from tests.support.process import until
from tests.support.prometheus import prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.monitored import Monitored
    from tests.support.prometheus import Prometheus

VARIABLES = {
    "$namespace": "prod",
    "$pod": "gate-0",
    "$policy": ".*",
    "$__rate_interval": "10m",  # longer than the test, so that every event is inside
    "$__range": "10m",
}
SPARSE = {"authgate_verify_requests_total", "authgate_shadow_differences_total"}
"""Counters with too many combinations of labels to start all of them."""
AT_REST = (
    "authgate_in_flight_requests",
    "authgate_jwks_skipped_keys",
    "authgate_connections_refused_total",
    "authgate_unfinished_heads_ended_total",
    "authgate_descriptors_exhausted_total",
    "authgate_internal_errors_total",
    "authgate_audit_suppressed_total",
    "authgate_log_dropped_total",
)
"""Metrics of panels that stay 0 here: no limit is reached, and no error happens."""

_SELECTOR = re.compile(r"(authgate_\w+_total)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|=|!=|!~)"([^"]*)"')


def expressions() -> list[str]:
    """Return the expressions of all alerts and panels."""
    (group,) = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
    return [rule["expr"] for rule in group["rules"]] + [expression for _, expression in queries()]


def dashboard() -> dict[str, Any]:
    """Return the chart's dashboard."""
    document: dict[str, Any] = json.loads((CHART / "files" / "dashboard.json").read_text())
    return document


def queries() -> Iterator[tuple[str, str]]:
    """Yield the title of each panel with each of its expressions."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def filled_in(expression: str) -> str:
    """Return an expression with values for the dashboard's variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def selects(matchers: str, labels: dict[str, str]) -> bool:
    """Return whether a selector selects a series. Matchers with variables of the dashboard select all."""
    for name, operator, value in _MATCHER.findall(matchers):
        if "$" in value:
            continue
        found = (
            re.fullmatch(value, labels.get(name, "")) if "~" in operator else value == labels.get(name, "")
        )
        if bool(found) == operator.startswith("!"):
            return False
    return True


async def test_counters_of_alerts_and_panels_exist_before_the_first_event(tmp_path: Path) -> None:
    """Each selector of a counter finds a series, so that `increase()` notices the first event."""
    selectors = {match for expression in expressions() for match in _SELECTOR.findall(expression)}
    assert len(selectors) > 10
    async with monitored(tmp_path) as it:
        samples = [(sample.name, dict(sample.labels)) for sample in await it.gate.samples()]
    policies = {labels["policy"] for name, labels in samples if name == "authgate_verify_requests_total"}
    assert {"default", "staff", "rbac"} <= policies
    assert [
        f"{name}{{{matchers}}}"
        for name, matchers in sorted(selectors)
        if not any(
            name == other and (name in SPARSE or selects(matchers, labels)) for other, labels in samples
        )
    ] == []


async def test_every_panel_has_data_under_a_mixed_load(tmp_path: Path) -> None:
    """A real Prometheus scrapes a gate whose features are all in use. Each query returns what was sent."""
    async with monitored(tmp_path) as it, prometheus(tmp_path, scraping(it.gate.admin_address)) as monitor:
        await happened(it, monitor)
        missing: list[str] = []

        async def complete() -> bool:
            await it.traffic()
            missing[:] = [
                f"{title}: {expression}"
                for title, expression in queries()
                if not await shows(monitor, expression)
            ]
            return not missing

        await until(complete, within=120, otherwise=lambda: "\n".join(missing))
        for variable in dashboard()["templating"]["list"][1:]:
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", filled_in(variable["query"]["query"]))
            assert found is not None
            values = await monitor.ask(f"label/{found[2]}/values", **{"match[]": found[1]})
            assert values, variable["name"]
        assert {"default", "staff", "rbac"} <= set(values)


async def test_the_first_event_fires_an_alert(tmp_path: Path) -> None:
    """Prometheus accepts the chart's rules as they are, and one killed worker is enough."""
    rules = [str(CHART / "files" / "alerts.yaml")]
    async with monitored(tmp_path) as it:
        config = {**scraping(it.gate.admin_address), "rule_files": rules}
        async with prometheus(tmp_path, config) as monitor:
            await scraped(monitor)
            pid = await it.gate.kill(0)

            async def fires() -> bool:
                alerts = (await monitor.ask("alerts"))["alerts"]
                return "AuthgateWorkerRestarts" in {alert["labels"]["alertname"] for alert in alerts}

            await until(fires, within=180)
            await it.gate.replaced(0, pid, within=30)
            (group,) = (await monitor.ask("rules"))["groups"]
            assert {rule["health"] for rule in group["rules"]} == {"ok"}


def scraping(address: str) -> dict[str, Any]:
    """Return a configuration of Prometheus that scrapes a gate as a pod."""
    target = {"targets": [address], "labels": {"namespace": "prod", "pod": "gate-0"}}
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "gate", "static_configs": [target]}],
    }


async def scraped(monitor: Prometheus) -> None:
    """Wait until Prometheus has the counters of a gate that nothing has happened to."""

    async def known() -> bool:
        return bool(await monitor.query("authgate_worker_restarts_total"))

    await until(known, within=180)


async def happened(it: Monitored, monitor: Prometheus) -> None:
    """Let everything happen that traffic does not cause: a killed worker, a reload, and a rejected file."""
    await scraped(monitor)
    pid = await it.gate.kill(0)
    await it.gate.replaced(0, pid, within=30)
    it.rewrite(policies={**it.document["policies"], "more": {}})

    async def reloaded() -> bool:
        return await it.gate.metric("authgate_config_reloads_total", result="success") > 1

    await until(reloaded, within=30)
    it.rewrite(policies={"default": {"allow": "nobody"}})

    async def rejected() -> bool:
        return await it.gate.metric("authgate_config_reloads_total", result="failure") > 0

    await until(rejected, within=30)


async def shows(monitor: Prometheus, expression: str) -> bool:
    """Return whether a query returns a series, and one that is not 0 unless its metric is at rest."""
    values = [value for _, value in await monitor.query(filled_in(expression))]
    if any(name in expression for name in AT_REST):
        return bool(values)
    return any(math.isfinite(value) and value > 0 for value in values)

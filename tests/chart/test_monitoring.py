"""Alerts, the dashboard and the scrape targets."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.helm import CHART, ROOT, Helm, values_of
from tests.support.tools import require_tool

_DOCUMENTED = re.compile(r"^\| `(authgate_[a-z_]+)` \| (\w+)", re.MULTILINE)


def _known() -> set[str]:
    """Return the sample names of the documented metrics."""
    found = _DOCUMENTED.findall((ROOT / "docs" / "metrics.md").read_text())
    assert found
    return {f"{name}_bucket" if kind == "histogram" else name for name, kind in found}


def test_expressions_use_documented_metrics() -> None:
    """Every metric in an alert or a panel is documented."""
    texts = [(CHART / "files" / name).read_text() for name in ("alerts.yaml", "dashboard.json")]
    asked = {name for text in texts for name in re.findall(r"authgate_[a-z_]+", text)}
    assert asked - _known() == set()


def test_promtool_accepts_the_rules(helm: Helm, tmp_path: Path) -> None:
    """promtool finds no error in the rules."""
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(helm.template(values_of("monitored")).one("PrometheusRule")["spec"]))
    promtool = require_tool("promtool", "it judges the alerts")
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("reason", "fires"),
    [("keys_unavailable", True), ("key_pending", False)],
    ids=["outage", "invented key ids"],
)
def test_an_outage_fires_and_invented_key_ids_do_not(tmp_path: Path, reason: str, fires: bool) -> None:
    """A client whose tokens name unknown keys cannot cause an alert."""
    (alert,) = {rule["alert"] for rule in _rules() if 'decision="unavailable"' in rule["expr"]}
    sample = f'authgate_verify_requests_total{{decision="unavailable", reason="{reason}"}}'
    labels = {"severity": "warning", "reason": reason}
    _judge(tmp_path, alert, {sample: "0+30x60"}, {"20m": [labels] if fires else []})


def test_a_rejected_configuration_fires_after_a_minute(tmp_path: Path) -> None:
    """The alert fires for the gate that rejects it, until it is accepted, and not for other gates."""
    name = "authgate_config_rejected_since_timestamp_seconds"
    # Samples are 30 s apart: rejected from 60 s on, rejected again later, and accepted at 240 s.
    series = {f'{name}{{pod="one"}}': "0 0 60x5 0x5", f'{name}{{pod="other"}}': "0x13"}
    firing = {"severity": "critical", "pod": "one"}
    _judge(
        tmp_path,
        "AuthgateConfigRejected",
        series,
        {"30s": [], "1m": [], "2m": [], "2m30s": [firing], "3m30s": [firing], "4m": [], "6m": []},
    )


@pytest.mark.parametrize(
    ("result", "fires"), [("unauthorized", True), ("inactive", False)], ids=["credentials", "revoked tokens"]
)
def test_rejected_client_credentials_fire(tmp_path: Path, result: str, fires: bool) -> None:
    """The alert fires only if an endpoint rejects authgate itself. Clients with revoked tokens cause no alert."""
    sample = f'authgate_introspection_requests_total{{issuer="login", result="{result}"}}'
    labels = {"severity": "critical", "issuer": "login", "result": result}
    firing = {"20m": [labels] if fires else []}
    _judge(tmp_path, "AuthgateIntrospectionRefused", {sample: "0+30x60"}, firing)


def _rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _judge(folder: Path, name: str, series: dict[str, str], firing: dict[str, list[dict[str, str]]]) -> None:
    """Have promtool check an alert's labels at some times, for series with a sample every 30 s."""
    (alert,) = [{**rule, "annotations": {}} for rule in _rules() if rule["alert"] == name]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [alert]}]}))
    test = {
        "interval": "30s",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "alert_rule_test": [
            {"eval_time": at, "alertname": name, "exp_alerts": [{"exp_labels": labels} for labels in found]}
            for at, found in firing.items()
        ],
    }
    (folder / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "30s", "tests": [test]})
    )
    promtool = require_tool("promtool", "it evaluates the alert")
    test_file = folder / "test.yaml"
    done = subprocess.run([promtool, "test", "rules", test_file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_described() -> None:
    """It has a severity, a summary and a description of what to do."""
    for rule in _rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_dashboard_reaches_grafana(helm: Helm) -> None:
    """The ConfigMap has the label that Grafana's sidecar looks for, and panels with descriptions."""
    (made,) = [
        item
        for item in helm.template(values_of("monitored")).all("ConfigMap")
        if item["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    panels = json.loads(made["data"]["authgate.json"])["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 0
    assert all(panel["description"] for panel in panels)


def test_targets_are_gates(helm: Helm) -> None:
    """The PodMonitor scrapes the admin port of the gate's pods, and of injected gates in all namespaces."""
    shared, injected = helm.template(values_of("everything")).all("PodMonitor")
    assert [item["port"] for item in shared["spec"]["podMetricsEndpoints"]] == ["admin"]
    assert [item["port"] for item in injected["spec"]["podMetricsEndpoints"]] == ["authgate-admin"]
    assert injected["spec"]["namespaceSelector"] == {"any": True}


def test_a_service_monitor_finds_only_the_admin_port(helm: Helm) -> None:
    """Its headless Service has the admin port, and the Service for proxies is not scraped."""
    rendered = helm.template(values_of("service-monitor"))
    spec = rendered.one("ServiceMonitor")["spec"]
    (found,) = [
        item
        for item in rendered.all("Service")
        if spec["selector"]["matchLabels"].items() <= item["metadata"]["labels"].items()
    ]
    gate = rendered.one("Deployment")["spec"]["template"]
    assert found["spec"]["clusterIP"] == "None"
    assert found["spec"]["selector"].items() <= gate["metadata"]["labels"].items()
    assert found["spec"]["ports"] == [{"name": "admin", "port": 9191, "targetPort": "admin"}]
    assert spec["endpoints"] == [{"port": "admin", "interval": "15s"}]
    assert rendered.all("PodMonitor") == []

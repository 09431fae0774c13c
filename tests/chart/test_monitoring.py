"""Alerts, the dashboard and the scrape targets."""

import json
import re
import runpy
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from authgate.observability.families import FAMILIES
from tests.support.helm import CHART, ROOT, Helm, values_of
from tests.support.tools import require_tool

_CASES = Path(__file__).parent / "alerts.yaml"
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_RUNBOOKS = f"{_PROJECT['urls']['Documentation']}runbooks/"  # where `make site` writes docs/runbooks.md
_DOCUMENTED = re.compile(r"^\| `(authgate_[a-z_]+)` \| (\w+)", re.MULTILINE)


def _known() -> set[str]:
    """Return the sample names of the documented metrics."""
    found = _DOCUMENTED.findall((ROOT / "docs" / "metrics.md").read_text())
    assert found
    return {f"{name}_bucket" if kind == "histogram" else name for name, kind in found}


def _rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _cases() -> list[dict[str, Any]]:
    return [case for test in yaml.safe_load(_CASES.read_text())["tests"] for case in test["alert_rule_test"]]


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


def test_alerts_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    """promtool evaluates the rules over the series of alerts.yaml."""
    rules = [{**rule, "annotations": {}} for rule in _rules()]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": rules}]}))
    (tmp_path / "alerts.yaml").write_text(_CASES.read_text())
    promtool = require_tool("promtool", "it evaluates the alerts")
    cases = tmp_path / "alerts.yaml"
    done = subprocess.run([promtool, "test", "rules", cases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_firing_and_silent() -> None:
    """alerts.yaml has an expectation of both kinds for each alert."""
    names = {rule["alert"] for rule in _rules()}
    assert {case["alertname"] for case in _cases() if case["exp_alerts"]} == names
    assert {case["alertname"] for case in _cases() if not case["exp_alerts"]} == names


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_every_alert_has_a_remedy(rule: dict[str, Any]) -> None:
    """It has a severity, a summary, a description, and a runbook: a section of a document with its name."""
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, anchor = rule["annotations"]["runbook_url"].split("#")
    assert page == _RUNBOOKS
    headings = re.findall(r"^## (.*)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]
    assert anchor == rule["alert"].lower()


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_the_texts_of_an_alert_use_labels_that_it_has(rule: dict[str, Any]) -> None:
    """Prometheus writes nothing for a label that is missing. `cluster` and `issuer` can exclude each other."""
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    firing = [
        item["exp_labels"]
        for case in _cases()
        if case["alertname"] == rule["alert"]
        for item in case["exp_alerts"]
    ]
    assert used - set().union(*firing) == set()


def test_the_documented_alerts_are_those_of_the_rules() -> None:
    """docs/metrics.md lists each alert with its severity and how long its condition must hold."""
    rows = re.findall(
        r"^\| \[(\w+)\]\(runbooks\.md#(\w+)\) \| (\w+) \| (\w*) \|",
        (ROOT / "docs" / "metrics.md").read_text(),
        re.MULTILINE,
    )
    assert rows == [
        (rule["alert"], rule["alert"].lower(), rule["labels"]["severity"], rule.get("for", ""))
        for rule in _rules()
    ]


def test_runbooks_can_be_elsewhere(helm: Helm) -> None:
    """prometheusRule.runbookURL is the page of all alerts. By default, it is that of the documentation site."""
    names = {rule["alert"] for rule in _rules()}
    elsewhere = "https://git.example.com/docs/runbooks.md"
    for given, page in (({}, _RUNBOOKS), ({"runbookURL": elsewhere}, elsewhere)):
        values = {**values_of("monitored"), "prometheusRule": {"enabled": True, **given}}
        (group,) = helm.template(values).one("PrometheusRule")["spec"]["groups"]
        found = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in group["rules"]}
        assert found == {name: f"{page}#{name.lower()}" for name in names}


def test_the_dashboard_reaches_grafana(helm: Helm) -> None:
    """The ConfigMap has the label that Grafana's sidecar looks for, and panels with descriptions."""
    (made,) = [
        item
        for item in helm.template(values_of("monitored")).all("ConfigMap")
        if item["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    dashboard = json.loads(made["data"]["authgate.json"])
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == [
        "datasource",
        "namespace",
        "pod",
        "policy",
    ]
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 0
    assert all(panel["type"] == "row" or panel["description"] for panel in panels)


def test_the_dashboard_is_current(tmp_path: Path) -> None:
    """`make dashboard` would not change the file."""
    file = tmp_path / "dashboard.json"
    runpy.run_path(str(CHART / "dashboard" / "generate.py"))["write"](file)
    assert file.read_text() == (CHART / "files" / "dashboard.json").read_text()


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    """Grafana's own model reads the file and writes the same again. It drops fields that it does not know."""
    text = (CHART / "files" / "dashboard.json").read_text()
    read = Dashboard.from_json(json.loads(text))
    written = json.loads(JSONEncoder().encode(read))
    assert _without(written, json.loads(text)) == []


def _without(written: Any, given: Any, path: str = "") -> list[str]:
    """Return the paths at which what was given is missing or different in what was written."""
    if isinstance(given, dict):
        return [
            item
            for key, value in given.items()
            for item in _without(
                written.get(key) if isinstance(written, dict) else None, value, f"{path}.{key}"
            )
        ]
    if isinstance(given, list) and isinstance(written, list) and len(given) == len(written):
        pairs = enumerate(zip(written, given, strict=True))
        return [item for index, pair in pairs for item in _without(*pair, f"{path}[{index}]")]
    return [] if written == given else [path]


def test_panels_do_not_overlap() -> None:
    """Each place of Grafana's grid of 24 columns belongs to one panel at most."""
    panels = json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]
    used = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(used) == len(set(used))
    assert max(x for x, _ in used) == 23


def test_a_panel_selects_by_the_variables_of_its_metrics() -> None:
    """Each selector has the namespace and the pod, and the policy if the metric has one."""
    with_policy = {name for name, family in FAMILIES.items() if "policy" in family.labels}
    panels = json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]
    for panel in panels:
        for target in panel.get("targets", []):
            for name, matchers in re.findall(r"((?:authgate|process)_\w+)\{([^}]*)\}", target["expr"]):
                assert 'namespace=~"$namespace",pod=~"$pod"' in matchers
                family = re.sub(r"_(total|bucket)$", "", name)
                assert ('policy=~"$policy"' in matchers) == (family in with_policy)


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


def test_prometheus_sends_its_token_to_a_protected_port(helm: Helm) -> None:
    """The monitor names the file, the Secret or the scrape class with the token."""
    spec = helm.template(values_of("admin-policy")).one("ServiceMonitor")["spec"]
    assert spec["scrapeClass"] == "tokens"
    [endpoint] = spec["endpoints"]
    assert endpoint["bearerTokenFile"] == "/var/run/secrets/authgate/token"

    secret = {"credentials": {"name": "authgate-token", "key": "token"}}
    values = values_of("everything")
    values["config"] = {**values["config"], "admin": {"policy": "default"}}
    values["podMonitor"] = {**values["podMonitor"], "authorization": secret, "scrapeClass": "tokens"}
    for monitor in helm.template(values).all("PodMonitor"):
        assert monitor["spec"]["scrapeClass"] == "tokens"
        assert [item["authorization"] for item in monitor["spec"]["podMetricsEndpoints"]] == [secret]

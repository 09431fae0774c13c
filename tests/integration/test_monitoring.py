"""The alerts and the dashboard of the chart over the metrics of a real gate."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import yaml

from tests.support.helm import CHART
from tests.support.monitored import monitored

if TYPE_CHECKING:
    from pathlib import Path

_SELECTOR = re.compile(r"(authgate_\w+_total)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|=|!=|!~)"([^"]*)"')


def expressions() -> list[str]:
    """Return the expressions of all alerts and panels."""
    (group,) = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
    panels = json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]
    return [rule["expr"] for rule in group["rules"]] + [
        target["expr"] for panel in panels for target in panel.get("targets", [])
    ]


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
    assert [
        f"{name}{{{matchers}}}"
        for name, matchers in sorted(selectors)
        if not any(name == other and selects(matchers, labels) for other, labels in samples)
    ] == []

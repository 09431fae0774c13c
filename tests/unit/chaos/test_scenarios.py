"""The promises of docs/reliability.md and the scenarios of `make chaos` are the same."""

from __future__ import annotations

import re
from pathlib import Path

from tests.chaos.scenarios import SCENARIOS

DOCUMENT = (Path(__file__).parents[3] / "docs" / "reliability.md").read_text()


def test_each_promise_has_a_scenario() -> None:
    """The table of faults names every scenario once, in their order."""
    rows = re.findall(r"^\| [^|]*\(`([\w-]+)`\) \|.*\|$", DOCUMENT, re.MULTILINE)
    assert rows == [scenario.name for scenario in SCENARIOS]


def test_each_scenario_was_measured() -> None:
    """The table of figures has a row for every scenario."""
    rows = re.findall(r"^\| `([\w-]+)` \|", DOCUMENT, re.MULTILINE)
    assert rows == [scenario.name for scenario in SCENARIOS]

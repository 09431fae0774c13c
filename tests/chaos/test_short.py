"""The quick scenarios of `make chaos`, with short faults and the same checks of every answer.

How long clients wait is judged by `make chaos` on a quiet machine, and here only that they do not wait forever.
"""

from __future__ import annotations

import pytest

from tests.chaos.scenarios import SCENARIOS
from tests.chaos.stage import played

_QUICK = (
    "workers-killed",
    "supervisor-killed",
    "reload-storm",
    "issuer-down",
    "key-rotation",
    "same-key-id",
    "api-down",
    "api-hangs",
    "introspection-down",
)
_SECONDS = 3.0
_SLACK = 60.0


@pytest.mark.parametrize("name", _QUICK)
async def test_a_fault_makes_no_answer_wrong(name: str) -> None:
    """The promise of docs/reliability.md is kept during the fault and after it."""
    scenario = next(each for each in SCENARIOS if each.name == name)
    row = await played(scenario, _SECONDS, _SLACK)
    assert row.verdict == "kept", dict(row.tally.examples)
    assert row.tally.sent > 0

"""What counts as a growth of the instructions of a request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import instructions
from tests.bench.instructions import figures, grown

COUNTS = [500.0, 30_500.0, 40_000.0, 350_000.0, 80_000.0, 540_000.0]
"""An empty step, the reference, a digest, a signature check, a hit and a miss."""


def test_digest_and_signature_do_not_count() -> None:
    """Their instructions depend on the processor."""
    slower = [count + extra for count, extra in zip(COUNTS, [0, 0, 9000, 70_000, 9000, 79_000], strict=True)]

    assert figures(COUNTS) == figures(slower) == {"hit": 1.333, "miss": 5.017}


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ({"hit": 1.0, "miss": 5.0}, []),
        ({"hit": 1.05, "miss": 5.25}, []),
        ({"hit": 0.5, "miss": 2.0}, []),
        ({"hit": 1.06, "miss": 5.0}, ["hit: 1.06 instead of 1.00, +6.0%"]),
        ({"hit": 1.0, "miss": 5.3}, ["miss: 5.30 instead of 5.00, +6.0%"]),
    ],
)
def test_five_percent_more_are_accepted(found: dict[str, float], lines: list[str]) -> None:
    """A hit and a miss are compared one by one."""
    assert grown(found, {"hit": 1.0, "miss": 5.0}) == lines


def test_there_are_figures_for_both_cases() -> None:
    """Each recorded version has a hit and a miss."""
    recorded = json.loads(Path(instructions.__file__).with_suffix(".json").read_text())

    assert recorded
    assert all(set(figures) == {"hit", "miss"} for figures in recorded.values())
